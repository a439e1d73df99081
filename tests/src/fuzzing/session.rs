//! Authenticated sequences: requests that are signed as they should be and hold whatever the bytes say, from several
//! five-tuples over UDP and streams, on two workers, over time.
//!
//! What must hold whatever the script: every answer is well formed, goes to whoever asked, and is signed if it grants
//! something; nothing is granted without the password, nor to a request that was altered; every packet in is one reply,
//! one relayed packet or one drop; nothing is sent where nobody may; and in the end every port is back.

mod world;

use super::bytes::Script;
use relay::wire::{Integrity, MessageClass, Method, Request, TransactionId, attribute as attr};
use world::{CALLERS, World};

/// Steps of one script.
const MOST_STEPS: usize = 96;

/// Attributes a request may hold, and those it must not.
const NUMBERS: [u16; 16] = [
    attr::XOR_PEER_ADDRESS,
    attr::CHANNEL_NUMBER,
    attr::LIFETIME,
    attr::REQUESTED_TRANSPORT,
    attr::REQUESTED_ADDRESS_FAMILY,
    attr::EVEN_PORT,
    attr::RESERVATION_TOKEN,
    attr::DONT_FRAGMENT,
    attr::DATA,
    attr::USERHASH,
    attr::PASSWORD_ALGORITHM,
    attr::PASSWORD_ALGORITHMS,
    attr::SOFTWARE,
    attr::NONCE,
    attr::XOR_RELAYED_ADDRESS,
    attr::UNKNOWN_ATTRIBUTES,
];
const METHODS: [Method; 8] = [
    Method::Allocate,
    Method::Refresh,
    Method::CreatePermission,
    Method::ChannelBind,
    Method::Connect,
    Method::ConnectionBind,
    Method::Binding,
    Method::ConnectionAttempt,
];

/// How a request is made other than by the book: bits of one byte of the script.
mod how {
    pub(super) const FINGERPRINT: u8 = 1;
    pub(super) const SHA256: u8 = 2;
    pub(super) const HIDDEN_NAME: u8 = 4;
    pub(super) const SAME_TRANSACTION: u8 = 8;
    pub(super) const SOMETHING_BEHIND: u8 = 16;
    pub(super) const ALTERED: u8 = 32;
}

pub(super) fn run(script: &[u8]) {
    play(script);
}

fn play(script: &[u8]) -> World {
    let mut world = World::new();
    let mut script = Script::new(script);
    for _ in 0..MOST_STEPS {
        if script.is_over() {
            break;
        }
        step(&mut world, &mut script);
    }
    world.end();
    world
}

fn step(world: &mut World, script: &mut Script<'_>) {
    match script.byte() % 8 {
        0..=2 => request(world, script),
        3 => repeat(world, script),
        4 => data(world, script),
        5 => {
            let (which, peer) = (script.byte(), script.byte());
            let payload = script.slice(256);
            let from = world.peer(peer);
            world.outsider(which, from, payload);
        }
        6 => world.pass_time(u64::from(script.word()) * 50),
        _ => match script.byte() % 4 {
            0 => world.disconnect(caller(script)),
            1 => world.close_call(),
            2 => world.new_call(),
            _ => world.forget_nonce(caller(script)),
        },
    }
}

fn caller(script: &mut Script<'_>) -> usize {
    usize::from(script.byte()) % CALLERS
}

fn request(world: &mut World, script: &mut Script<'_>) {
    let (caller, method, manner) = (caller(script), script.byte(), script.byte());
    let method = METHODS[usize::from(method) % METHODS.len()];
    let id = world.transaction(manner & how::SAME_TRANSACTION != 0);
    let mut request = Request::new(method, id);
    for _ in 0..script.byte() % 8 {
        request = attribute(world, script, request);
    }
    let sha256 = manner & how::SHA256 != 0;
    let (request, key) = world.sign(caller, request, sha256, manner & how::HIDDEN_NAME != 0);
    let request = match manner & how::SOMETHING_BEHIND != 0 {
        // Behind the integrity nothing is there (RFC 8489 §14.5).
        true => attribute(world, script, key.iter().fold(request, Request::integrity)),
        false => request,
    };
    let mut bytes = if manner & how::FINGERPRINT != 0 {
        request.finish_with_fingerprint(key.as_ref())
    } else {
        request.finish(key.as_ref())
    };
    // What lies behind the first integrity attribute may be changed by anybody; in front of it, nothing.
    let covered = covered(&bytes);
    let mut altered = false;
    if manner & how::ALTERED != 0 {
        let (at, flip) = (usize::from(script.word()), script.byte().max(1));
        altered = !covered.is_empty();
        if altered {
            bytes[at % covered.len()] ^= flip;
        }
    }
    world.ask(caller, &bytes, altered);
}

/// Well formed as often as not.
fn attribute(world: &World, script: &mut Script<'_>, request: Request) -> Request {
    let (kind, value) = (script.byte(), script.byte());
    let number = NUMBERS[usize::from(kind) % NUMBERS.len()];
    match kind >> 4 {
        0..=1 => request.raw(number, script.slice(64)),
        2 => request.raw(script.word(), script.slice(64)),
        3 => request.raw(number, &[value; 4]),
        _ => match number {
            attr::XOR_PEER_ADDRESS => request.xor_peer_address(world.peer(value)),
            attr::CHANNEL_NUMBER => request.channel_number(0x3FFE + u16::from(value % 8)),
            attr::LIFETIME => request.lifetime(u32::from(value) * 20),
            attr::REQUESTED_TRANSPORT => request.requested_transport(if value < 0xF0 { 17 } else { value }),
            attr::REQUESTED_ADDRESS_FAMILY => request.requested_address_family(value % 4),
            attr::EVEN_PORT => request.even_port(value % 2 == 1),
            attr::RESERVATION_TOKEN => request.reservation_token(world.token(value)),
            attr::DONT_FRAGMENT => request.dont_fragment(),
            _ => request.raw(number, script.slice(64)),
        },
    }
}

/// What an integrity attribute protects.
fn covered(bytes: &[u8]) -> std::ops::Range<usize> {
    let mut at = 20;
    while let Some(&[n0, n1, l0, l1]) = bytes.get(at..at + 4) {
        let number = u16::from_be_bytes([n0, n1]);
        if number == attr::MESSAGE_INTEGRITY || number == attr::MESSAGE_INTEGRITY_SHA256 {
            return 0..at;
        }
        at += 4 + usize::from(u16::from_be_bytes([l0, l1])).next_multiple_of(4);
    }
    0..0
}

/// The last request once more: from where it came, or in somebody else's name.
fn repeat(world: &mut World, script: &mut Script<'_>) {
    let (manner, other) = (script.byte(), caller(script));
    world.repeat((manner % 2 == 1).then_some(other));
}

fn data(world: &mut World, script: &mut Script<'_>) {
    let (caller, manner, value) = (caller(script), script.byte(), script.byte());
    let payload = script.slice(256);
    let bytes = match manner % 4 {
        0 => payload.to_vec(),
        1 => {
            let request = Request::indication(Method::Send, TransactionId([9; 12]));
            request.xor_peer_address(world.peer(value)).data(payload).finish(None)
        }
        2 => {
            let request =
                Request::of_class(MessageClass::Success, METHODS[usize::from(value) % 8], TransactionId([8; 12]));
            request.raw(attr::DATA, payload).finish(None)
        }
        _ => {
            let number = 0x3FFE + u16::from(value % 8);
            let length = u16::try_from(payload.len()).expect("a short payload");
            [&number.to_be_bytes()[..], &length.to_be_bytes(), payload].concat()
        }
    };
    world.data(caller, &bytes);
}

/// Each caller earns its nonce with its first request, and has an allocation with its second.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    const UDP: [u8; 2] = [0x43, 0];
    let allocate = |caller: u8, manner: u8| vec![0, caller, 0, manner, 1, UDP[0], UDP[1]];
    let twice = |caller: u8, manner: u8| [allocate(caller, manner), allocate(caller, manner)].concat();
    let permit = |caller: u8, peer: u8| vec![1, caller, 2, 0, 1, 0x40, peer];
    let bind = |caller: u8, peer: u8| vec![1, caller, 3, 1, 2, 0x41, 3, 0x40, peer];
    let refresh = |caller: u8, value: u8| vec![2, caller, 1, 0, 1, 0x42, value];
    let send = |caller: u8, peer: u8| [&[4, caller, 1, peer, 0, 5][..], b"voice"].concat();
    // RTP by its header, as it must be in a call.
    let channel = |caller: u8| [&[4, caller, 3, 3, 0, 12][..], &[0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2]].concat();
    let outside = |which: u8, peer: u8| [&[5, which, peer, 0, 5][..], b"voice"].concat();
    let wait = |words: u16| [&[6][..], &words.to_be_bytes()].concat();
    vec![
        [twice(0, 0), twice(1, 1), permit(0, 0x80), send(0, 0x80), outside(0, 0x80), refresh(0, 0), send(0, 0x80)]
            .concat(),
        [twice(2, how::SHA256), twice(1, how::FINGERPRINT), permit(2, 1), permit(1, 0), send(2, 1), vec![7, 0, 2]]
            .concat(),
        [twice(4, 0), twice(5, 0), bind(4, 1), bind(5, 0), channel(4), channel(5), vec![7, 1], channel(4)].concat(),
        [twice(3, 2), bind(3, 0x81), channel(3), wait(6_000), permit(3, 0x81), wait(6_001), channel(3)].concat(),
        [twice(6, 0), vec![3, 0, 0], twice(0, how::HIDDEN_NAME | how::SHA256), vec![3, 1, 1], refresh(0, 90)].concat(),
        [twice(0, 0), vec![0, 1, 0, 0, 2, 0x43, 0, 0x45, 1], vec![0, 1, 0, 0, 2, 0x43, 0, 0x45, 1]].concat(),
        [
            allocate(0, 0),
            [allocate(0, how::ALTERED), vec![0, 30, 1]].concat(),
            [allocate(0, how::SOMETHING_BEHIND), vec![0x42, 9]].concat(),
            wait(12_000),
            refresh(0, 9),
        ]
        .concat(),
    ]
}

/// Which attribute a signature of this kind stands in.
fn integrity_number(signs: Integrity) -> u16 {
    match signs {
        Integrity::Sha1 => attr::MESSAGE_INTEGRITY,
        Integrity::Sha256 => attr::MESSAGE_INTEGRITY_SHA256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_get_far() {
        let (mut granted, mut relayed) = (0, 0);
        for (number, seed) in seeds().iter().enumerate() {
            let world = play(seed);
            assert!(world.granted > 0, "seed {number} meets only refusals: a poor start");
            granted += world.granted;
            relayed += world.relayed_packets;
        }
        assert!(granted >= 20 && relayed >= 5, "{granted} granted, {relayed} relayed");
    }
}

//! What may happen to a server. Small numbers, so that a failure shrinks to something readable.

use proptest::prelude::*;

/// Clients: two five-tuples of alice, one of them a stream; bob; carol on IPv6; three of callers, two of them on the same
/// handle; and one more handle's.
pub(super) const CLIENTS: usize = 8;
/// Handles of calls.
pub(super) const HANDLES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Ask {
        who: usize,
        what: Ask,
        proof: Proof,
    },
    /// The same bytes again: the request before last counts as the first, and so on.
    AskAgain {
        who: usize,
        back: usize,
    },
    Send {
        who: usize,
        peer: Peer,
    },
    Channel {
        who: usize,
        number: u16,
    },
    /// A datagram at somebody's relayed address.
    FromOutside {
        whose: usize,
        peer: Peer,
    },
    Disconnect {
        who: usize,
    },
    /// Another process goes on with what this one has.
    Upgrade,
    /// A fresh call-bound credential.
    Mint {
        who: usize,
    },
    Open {
        handle: usize,
    },
    Pair {
        one: usize,
        other: usize,
    },
    /// `late`: workers hear of it only at the next request.
    Close {
        handle: usize,
        late: bool,
    },
    /// `late`: no timer runs before the next request.
    Wait {
        millis: u64,
        late: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Allocate {
        transport: Option<u8>,
        family: Option<u8>,
        port: Port,
        lifetime: Option<u32>,
    },
    Refresh {
        lifetime: Option<u32>,
        family: Option<u8>,
    },
    /// Up to three peers.
    Permit {
        peers: [Option<Peer>; 3],
    },
    Bind {
        number: Option<u16>,
        peer: Option<Peer>,
    },
}

/// Which relayed port an Allocate asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Port {
    Any,
    Even,
    Pair,
    /// The token of that many reservations ago.
    Token(usize),
    /// A token and EVEN-PORT, which exclude each other.
    TokenAndEven,
}

/// How a request proves who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    Right {
        sha256: bool,
    },
    /// Right, and something in it that no server knows.
    RightButUnknown,
    Nothing,
    WrongPassword,
    UnknownUser,
    /// The good credentials of somebody else.
    SomebodyElse,
    /// A nonce that is not ours.
    ForeignNonce,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// Host and port: permissions are for the host.
    Outside(u8, u8),
    Outside6(u8),
    /// The relayed address of a client, or what it was.
    Relayed(usize),
    /// The same as this machine knows it.
    RelayedBound(usize),
    /// An IPv4 host written as an IPv6 address.
    Mapped(u8),
    Forbidden(u8),
}

pub(super) fn life() -> impl Strategy<Value = Vec<Action>> {
    let lifetime = prop_oneof![1 => Just(None), 2 => Just(Some(3600))];
    let beginning = prop::collection::vec(prop::option::weighted(0.85, lifetime), CLIENTS);
    (beginning, prop::bool::weighted(0.8), prop::collection::vec(scene(), 1..30)).prop_map(
        |(present, paired, scenes)| {
            let mut all = Vec::new();
            if paired {
                all.push(Action::Pair { one: 0, other: 1 });
            }
            let plain = |lifetime| Ask::Allocate { transport: Some(17), family: None, port: Port::Any, lifetime };
            let present = present.into_iter().enumerate().filter_map(|(who, wish)| Some((who, wish?)));
            all.extend(present.map(|(who, lifetime)| right(who, plain(lifetime))));
            all.extend(scenes.into_iter().flatten());
            all
        },
    )
}

fn right(who: usize, what: Ask) -> Action {
    Action::Ask { who, what, proof: Proof::Right { sha256: false } }
}

/// A few actions that make sense together, now and then at the very end of what they brought about.
fn scene() -> impl Strategy<Value = Vec<Action>> {
    let who = 0..CLIENTS;
    // Those of a call among themselves more often than chance has it.
    let two =
        prop_oneof![2 => (0..4_usize, 0..4_usize), 1 => (4..7_usize, 4..7_usize), 1 => (who.clone(), who.clone())];
    prop_oneof![
        10 => action().prop_map(|action| vec![action]),
        1 => Just(end_of_a_call()),
        3 => (two, number(), 0..8_u8, prop::option::of(end())).prop_map(|((one, other), number, how, end)| {
            let mut all = vec![reach(one, Peer::Relayed(other), number, how & 1 != 0)];
            all.push(reach(other, Peer::Relayed(one), number ^ 1, how & 2 != 0));
            all.push(right(one, PROLONG));
            all.extend(end.map(|millis| Action::Wait { millis, late: how & 4 != 0 }));
            let number = if how & 1 != 0 { number } else { 0x4000 };
            all.extend([Action::Send { who: one, peer: Peer::Relayed(other) }, Action::Channel { who: one, number }]);
            all.push(Action::Send { who: other, peer: Peer::Relayed(one) });
            all
        }),
        2 => (who.clone(), ask(), proof()).prop_map(|(who, what, proof)| {
            vec![right(who, END), Action::Ask { who, what, proof }]
        }),
        2 => (who.clone(), who.clone(), prop::option::of(29_999..30_002_u64)).prop_map(|(one, other, wait)| {
            let of = |port| Ask::Allocate { transport: Some(17), family: None, port, lifetime: None };
            let mut all = vec![right(one, END), right(one, of(Port::Pair)), right(other, END)];
            all.extend(wait.map(|millis| Action::Wait { millis, late: false }));
            all.push(right(other, of(Port::Token(0))));
            all
        }),
        3 => (who, peer(), number(), any::<bool>(), prop::option::of(end())).prop_map(|(who, peer, number, bind, end)| {
            let mut all = vec![reach(who, peer, number, bind), right(who, PROLONG)];
            all.extend(end.map(|millis| Action::Wait { millis, late: bind }));
            all.extend([Action::Send { who, peer }, Action::Channel { who, number }]);
            all.push(Action::FromOutside { whose: who, peer });
            all
        }),
    ]
}

/// Both sides may still talk when the call ends; nothing of it passes any more.
fn end_of_a_call() -> Vec<Action> {
    let send = |who, other| Action::Send { who, peer: Peer::Relayed(other) };
    vec![send(4, 5), send(5, 4), Action::Close { handle: 0, late: true }, send(4, 5), send(5, 4)]
}

const END: Ask = Ask::Refresh { lifetime: Some(0), family: None };
const PROLONG: Ask = Ask::Refresh { lifetime: Some(3600), family: None };

/// A permission for a peer, or a channel to it.
fn reach(who: usize, peer: Peer, number: u16, bind: bool) -> Action {
    let permit = Ask::Permit { peers: [Some(peer), None, None] };
    right(who, if bind { Ask::Bind { number: Some(number), peer: Some(peer) } } else { permit })
}

/// Up to, at and past the end of a permission, of a channel and of an allocation.
fn end() -> impl Strategy<Value = u64> {
    let ends = prop::sample::select(vec![300_000_u64, 300_000, 600_000, 3_600_000]);
    (ends, 0..3_u64).prop_map(|(end, off)| end - 1 + off)
}

fn action() -> impl Strategy<Value = Action> {
    let who = 0..CLIENTS;
    let handle = 0..HANDLES;
    prop_oneof![
        30 => (who.clone(), ask(), proof()).prop_map(|(who, what, proof)| Action::Ask { who, what, proof }),
        3 => (who.clone(), 0..3_usize).prop_map(|(who, back)| Action::AskAgain { who, back }),
        10 => (who.clone(), peer()).prop_map(|(who, peer)| Action::Send { who, peer }),
        10 => (who.clone(), number()).prop_map(|(who, number)| Action::Channel { who, number }),
        8 => (who.clone(), peer()).prop_map(|(whose, peer)| Action::FromOutside { whose, peer }),
        1 => who.clone().prop_map(|who| Action::Disconnect { who }),
        4 => Just(Action::Upgrade),
        1 => who.prop_map(|who| Action::Mint { who }),
        1 => handle.clone().prop_map(|handle| Action::Open { handle }),
        2 => (handle.clone(), 0..HANDLES).prop_map(|(one, other)| Action::Pair { one, other }),
        2 => (handle, any::<bool>()).prop_map(|(handle, late)| Action::Close { handle, late }),
        8 => (millis(), any::<bool>()).prop_map(|(millis, late)| Action::Wait { millis, late }),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        7 => (transport(), family(), port(), lifetime())
            .prop_map(|(transport, family, port, lifetime)| Ask::Allocate { transport, family, port, lifetime }),
        4 => (lifetime(), prop_oneof![4 => Just(None), 1 => Just(Some(1)), 1 => Just(Some(2))])
            .prop_map(|(lifetime, family)| Ask::Refresh { lifetime, family }),
        7 => [prop::option::weighted(0.9, peer()), prop::option::weighted(0.2, peer()), prop::option::weighted(0.1, peer())]
            .prop_map(|peers| Ask::Permit { peers }),
        7 => (prop::option::weighted(0.97, number()), prop::option::weighted(0.97, peer()))
            .prop_map(|(number, peer)| Ask::Bind { number, peer }),
    ]
}

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![
        30 => Just(Proof::Right { sha256: false }),
        4 => Just(Proof::Right { sha256: true }),
        1 => Just(Proof::RightButUnknown),
        1 => Just(Proof::Nothing),
        1 => Just(Proof::WrongPassword),
        1 => Just(Proof::UnknownUser),
        2 => Just(Proof::SomebodyElse),
        1 => Just(Proof::ForeignNonce),
    ]
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        8 => (1..3_u8, 0..2_u8).prop_map(|(host, port)| Peer::Outside(host, port)),
        1 => (1..3_u8).prop_map(Peer::Outside6),
        12 => (0..CLIENTS).prop_map(Peer::Relayed),
        2 => (0..CLIENTS).prop_map(Peer::RelayedBound),
        1 => (1..3_u8).prop_map(Peer::Mapped),
        1 => (0..4_u8).prop_map(Peer::Forbidden),
    ]
}

/// The last three are no channel numbers (RFC 8656 §12).
fn number() -> impl Strategy<Value = u16> {
    prop_oneof![20 => 0x4000..0x4004_u16, 1 => Just(0x4FFF), 1 => Just(0x3FFF), 1 => Just(0x5000), 1 => Just(0x8000)]
}

fn transport() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![20 => Just(Some(17)), 2 => Just(None), 2 => Just(Some(99))]
}

fn family() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![6 => Just(None), 2 => Just(Some(1)), 2 => Just(Some(2)), 1 => Just(Some(3))]
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![
        6 => Just(Port::Any),
        1 => Just(Port::Even),
        2 => Just(Port::Pair),
        2 => (0..3_usize).prop_map(Port::Token),
        1 => Just(Port::TokenAndEven),
    ]
}

fn lifetime() -> impl Strategy<Value = Option<u32>> {
    let some = prop::sample::select(vec![0, 1, 599, 601, 1200, 3600, 3601, u32::MAX]);
    prop_oneof![2 => Just(None), 3 => some.prop_map(Some)]
}

/// Up to, at and past everything that ends: 30 s, 1 min, 5 min, 10 min, 20 min, an hour.
fn millis() -> impl Strategy<Value = u64> {
    let ends = prop::sample::select(vec![30_000_u64, 60_000, 300_000, 600_000, 601_000, 1_200_000, 3_600_000]);
    prop_oneof![
        1 => (ends, 0..3_u64).prop_map(|(end, off)| end - 1 + off),
        4 => prop::sample::select(vec![1, 500, 1_000, 16_000, 100_000, 250_000]),
    ]
}

//! Row 7: thousands of messages with a few bytes changed, from a seed.

use e2e::Daemon;
use e2e::raw::client::{UDP, channel_data};
use e2e::raw::message::{attr, method};
use e2e::raw::{Ask, Client, Said, Transport};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

rows! {
    p11_mutations_are_survived_and_answered_with_less_than_four_times_their_size on udp tcp tls udp6;
}

const MUTATIONS: usize = 4_000;
/// Between two fences, so that no socket buffer overflows.
const AT_ONCE: usize = 50;

fn p11_mutations_are_survived_and_answered_with_less_than_four_times_their_size(daemon: &Daemon, on: Transport) {
    let mut random = ChaCha12Rng::seed_from_u64(0x5EED);
    let (mut client, relayed) = Client::allocated(daemon, on);
    let seeds = seeds(&client, relayed);
    let (mut sent, mut answered) = (0, 0);
    for _ in 0..MUTATIONS / AT_ONCE {
        let batch: Vec<Vec<u8>> = (0..AT_ONCE).map(|_| mutate(&seeds, on.is_stream(), &mut random)).collect();
        sent += batch.iter().map(Vec::len).sum::<usize>();
        match client.say_all(&batch) {
            Said::Messages(messages) => answered += messages.iter().map(Vec::len).sum::<usize>(),
            said => panic!("mutations with true headers ended it: {said:?}"),
        }
    }
    assert!(answered < 4 * sent, "{answered} bytes for {sent}");
}

/// One of each thing a client sends.
fn seeds(client: &Client, peer: std::net::SocketAddr) -> Vec<Vec<u8>> {
    let signed = |ask: Ask| ask.signed(&client.login, &client.challenge).fingerprinted().bytes();
    vec![
        Ask::request(method::BINDING).bytes(),
        Ask::request(method::ALLOCATE).transport(UDP).bytes(),
        signed(Ask::request(method::ALLOCATE).transport(UDP).with(attr::EVEN_PORT, &[0x80])),
        signed(Ask::request(method::REFRESH).lifetime(600)),
        signed(Ask::request(method::CREATE_PERMISSION).peer(peer)),
        signed(Ask::request(method::CHANNEL_BIND).channel(0x4000).peer(peer)),
        signed(Ask::request(method::CONNECT).peer(peer)),
        Ask::indication(method::SEND).peer(peer).data(b"payload").bytes(),
        channel_data(0x4000, b"payload!", true),
    ]
}

/// A few bytes changed, anywhere; over a stream not those that say where the message ends.
fn mutate(seeds: &[Vec<u8>], stream: bool, random: &mut ChaCha12Rng) -> Vec<u8> {
    let mut bytes = seeds[random.next_u32() as usize % seeds.len()].clone();
    for _ in 0..1 + random.next_u32() % 6 {
        let place = random.next_u32() as usize % bytes.len();
        let framing = if bytes[0] < 0x40 { place == 0 || (2..8).contains(&place) } else { place < 4 };
        if !(stream && framing) {
            bytes[place] = random.next_u32() as u8;
        }
    }
    bytes
}

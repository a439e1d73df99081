//! What happens in the middle of a batch must not touch what the rest of the batch carries.

use std::net::UdpSocket;

use super::client::{Client, Relay};

const CHANNEL: u16 = 0x4000;
const ROUNDS: usize = 100;
/// Requests that keep the worker busy while a round is sent, so that it finds full batches.
const REQUESTS: usize = 100;
/// Of each talker in each round: several batches.
const PACKETS: usize = 133;

/// A client that talks to a peer of its own, in words of its own.
fn talker(relay: &Relay) -> (Client, UdpSocket) {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_nonblocking(true).unwrap();
    let mut client = Client::new(relay.addresses[0], 0);
    client.allocate().unwrap();
    client.bind_channel(CHANNEL, peer.local_addr().unwrap());
    (client, peer)
}

/// Packets that arrived; every one must be this talker's.
fn heard(peer: &UdpSocket, word: u8) -> usize {
    let mut bytes = [0; 2048];
    let mut count = 0;
    while let Ok((length, _)) = peer.recv_from(&mut bytes) {
        assert!(bytes[..length].iter().all(|byte| *byte == word), "somebody else's payload");
        count += 1;
    }
    count
}

#[test]
fn an_allocation_that_ends_in_mid_batch_leaves_everybody_their_own_payloads() {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let talkers: Vec<_> = (b'a'..=b'c').map(|word| (word, talker(&relay))).collect();
    let mut busy = Client::new(relay.addresses[0], 1);
    busy.allocate().unwrap();
    let mut delivered = 0;
    for round in 0..ROUNDS {
        let mut leaving = Client::new(relay.addresses[0], 1);
        leaving.allocate().unwrap();
        (0..REQUESTS).for_each(|_| busy.ask_to_refresh(600));
        for packet in 0..PACKETS {
            for (word, (client, _)) in &talkers {
                client.send_on_channel(CHANNEL, &[*word; 160]);
            }
            if packet == PACKETS / 2 + round % 16 {
                leaving.ask_to_refresh(0);
            }
        }
        leaving.receive().unwrap();
        (0..REQUESTS).for_each(|_| drop(busy.receive()));
        delivered += talkers.iter().map(|(word, (_, peer))| heard(peer, *word)).sum::<usize>();
    }
    assert!(delivered > ROUNDS * PACKETS, "too few arrived to tell: {delivered}");
}

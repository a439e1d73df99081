//! Two full peers with a perfect path between them and a clock of their own.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::media::voice::{Codec, Voice};

const RELAYED: [&str; 2] = ["127.0.0.1:50000", "127.0.0.1:50001"];

struct Pair {
    now: Nanos,
    peers: [FullPeer; 2],
    notes: [Vec<Note>; 2],
    /// Applied to what the first peer sends.
    spoil: fn(&mut Vec<u8>),
}

impl Pair {
    fn new() -> Pair {
        let (clock, now) = (Clock::start(), Nanos(1_000_000));
        let speaker = |seed| Speaker::new(Voice { codec: Codec::Opus, spurts: false }, seed);
        let peer = |side| FullPeer::new(clock, now, StreamId { call: 9, side }, speaker(u64::from(side)));
        Pair { now, peers: [peer(0), peer(1)], notes: [Vec::new(), Vec::new()], spoil: |_| {} }
    }

    fn negotiate(&mut self) {
        let [a, b] = &mut self.peers;
        let offer = a.offer(self.now).unwrap();
        let answer = b.accept_offer(self.now, &offer).unwrap();
        assert!(a.accept_answer(self.now, &answer));
        let [addr_a, addr_b] = RELAYED.map(|text| text.parse::<SocketAddr>().unwrap());
        let (line_a, line_b) =
            (a.local_candidate(self.now, addr_a).unwrap(), b.local_candidate(self.now, addr_b).unwrap());
        assert!(a.remote_candidate(self.now, addr_b, &line_b) && b.remote_candidate(self.now, addr_a, &line_a));
        a.handle_bound(self.now);
        b.handle_bound(self.now);
    }

    fn run(&mut self, until: Nanos) {
        while self.now < until {
            for side in 0..2 {
                while let Some(mut data) = self.peers[side].poll_transmit() {
                    if side == 0 {
                        (self.spoil)(&mut data);
                    }
                    self.peers[1 - side].handle_data(self.now, &data);
                }
                while let Some(note) = self.peers[side].poll_note() {
                    self.notes[side].push(note);
                }
            }
            self.now = Nanos(self.now.0 + 1_000_000);
            for peer in &mut self.peers {
                match self.now.0 % 20_000_000 {
                    0 => peer.tick(self.now, self.now),
                    _ => peer.handle_timeout(self.now),
                }
            }
        }
    }

    fn count(&self, side: usize, wanted: fn(&Note) -> bool) -> usize {
        self.notes[side].iter().filter(|note| wanted(note)).count()
    }
}

#[test]
fn two_peers_connect_secure_the_path_and_hear_every_packet() {
    let mut pair = Pair::new();
    pair.negotiate();
    pair.run(Nanos(4_000_000_000));
    for side in 0..2 {
        let at = |wanted: fn(&Note) -> bool| pair.notes[side].iter().position(wanted).unwrap();
        let connected = at(|note| matches!(note, Note::Connected));
        let secured = at(|note| matches!(note, Note::Secured));
        let heard = at(|note| matches!(note, Note::Heard { first: true, .. }));
        assert!(connected < secured && connected < heard);
    }
    let accounts = [0, 1].map(|side| pair.peers[side].hush().unwrap());
    for side in 0..2 {
        let (heard, sent) = (accounts[side].summary, accounts[1 - side].sent);
        assert!(sent > 100 && heard.lost == 0 && heard.received + 1 >= u64::from(sent), "{accounts:?}");
    }
    assert!(pair.peers[0].hush().is_none(), "an account is given once");
}

#[test]
fn what_a_stranger_changes_on_the_way_is_not_heard() {
    let mut pair = Pair::new();
    pair.negotiate();
    pair.run(Nanos(2_000_000_000));
    let before = pair.count(1, |note| matches!(note, Note::Heard { .. }));
    assert!(before > 0);
    // SRTP begins with two bits 10 (RFC 7983); the last byte is of its authentication tag.
    pair.spoil = |data| {
        if let [0x80..=0xBF, .., last] = data.as_mut_slice() {
            *last ^= 1;
        }
    };
    pair.run(Nanos(3_000_000_000));
    let after = pair.count(1, |note| matches!(note, Note::Heard { .. }));
    assert!(after <= before + 1, "{before} then {after}");
}

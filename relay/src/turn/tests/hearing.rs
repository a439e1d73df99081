//! What the ledger learns of the sides of a call while their packets pass.

use super::world::*;
use crate::calls::{Handle, Media};
use crate::time::Millis;
use crate::turn::*;

const CHANNEL: u16 = 0x4000;

struct Call {
    world: World,
    handles: [Handle; 2],
    clients: [Client; 2],
}

/// Two who can reach each other, on different workers.
fn call(settings: Settings) -> Call {
    let mut world = World::new(settings, 2);
    let (a, b) = world.call();
    let clients = [world.caller(a, 1), Client { worker: 1, ..world.caller(b, 2) }];
    let relayed = clients.each_ref().map(|client| world.allocate(client));
    assert_eq!(world.bind(&clients[0], CHANNEL, relayed[1]), 0);
    assert_eq!(world.bind(&clients[1], CHANNEL, relayed[0]), 0);
    Call { world, handles: [a, b], clients }
}

impl Call {
    fn pass(&mut self, millis: u64) {
        self.world.now = self.world.now.after(millis);
    }

    fn says(&mut self, side: usize, payload: &[u8]) {
        let client = self.clients[side].clone();
        assert_ne!(self.world.channel(&client, CHANNEL, payload), Out::Nothing);
    }

    fn speaks(&mut self, side: usize, number: u16) {
        let mut packet = [0x5A; 92];
        packet[..2].copy_from_slice(&[0x80, 111]);
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(number) * 960).to_be_bytes());
        packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
        self.says(side, &packet);
    }

    /// As signalling asks.
    fn listen(&mut self, side: usize, media: bool) -> Media {
        let (_, held) = self.world.shared.ledger.heard(&self.handles[side]).unwrap();
        for (worker, port) in held.into_iter().flatten() {
            self.world.workers[usize::from(worker)].handle_command(self.world.now, Command::Listen { port, media });
        }
        self.world.shared.ledger.heard(&self.handles[side]).unwrap().0.media
    }
}

fn check(class: u8, transaction: u8) -> Vec<u8> {
    let mut message = vec![class, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    message.extend([transaction; 12]);
    message
}

#[test]
fn every_packet_counts_from_the_first_and_for_the_side_that_sent_it() {
    let mut call = call(settings());
    let start = call.world.now.mono;
    for number in (0..200).filter(|number| number % 20 != 7) {
        call.speaks(0, number);
        if number < 50 {
            call.speaks(1, number);
        }
        call.pass(20);
    }
    let (a, b) = (call.listen(0, true), call.listen(1, true));
    assert_eq!((a.since, a.expected, a.lost(), a.jitter_micros > 0), (Some(start), 200, 10, true));
    assert_eq!((b.expected, b.lost()), (50, 3));
}

#[test]
fn the_leg_of_who_answers_is_timed_though_the_request_passed_another_worker() {
    let mut call = call(settings());
    call.speaks(0, 0);
    call.speaks(1, 0);
    call.says(0, &check(0, 1));
    call.world.now.micros = 250;
    call.pass(40);
    call.says(1, &check(1, 1));
    call.says(1, &check(1, 2));
    assert_eq!(call.listen(1, true).round_trip_micros, Some(40_250));
    assert_eq!(call.listen(0, true).round_trip_micros, None, "it was not asked");
    // Its own request, which the partner leaves unanswered.
    call.says(1, &check(0, 3));
    call.pass(10);
    call.says(1, &check(1, 3));
    assert_eq!(call.listen(1, true).round_trip_micros, Some(40_250), "nobody answers for another");
    // Smoothed by an eighth.
    call.says(0, &check(0, 4));
    call.pass(120);
    call.says(1, &check(1, 4));
    let micros = call.listen(1, true).round_trip_micros.unwrap();
    assert!((50_000..50_300).contains(&micros), "{micros}");
}

#[test]
fn who_moves_to_another_allocation_keeps_what_was_counted() {
    let mut call = call(settings());
    (0..100).for_each(|number| call.speaks(0, number));
    let old = call.clients[0].clone();
    let new = Client { ..call.world.caller(call.handles[0], 3) };
    let relayed = call.world.allocate(&new);
    assert_eq!(call.world.refresh(&old, 0).code, 0);
    call.clients[0] = new;
    let partner = call.clients[1].clone();
    assert_eq!(call.world.bind(&partner, CHANNEL + 1, relayed), 0);
    let partners = call.world.shared.ledger.relayed(&call.handles[1])[0];
    let own = call.clients[0].clone();
    assert_eq!(call.world.bind(&own, CHANNEL, partners), 0);
    (101..200).for_each(|number| call.speaks(0, number));
    let media = call.listen(0, true);
    assert_eq!((media.expected, media.received), (199, 199));
}

#[test]
fn with_quality_off_an_ear_is_open_until_the_first_packet_and_knows_no_more() {
    let mut call = call(Settings { quality: false, ..settings() });
    (0..10).for_each(|number| call.speaks(0, number));
    assert_eq!(call.listen(0, true), Media::default());
    let began = call.world.now.mono;
    (10..60).step_by(2).for_each(|number| call.speaks(0, number));
    call.says(1, &check(0, 1));
    call.says(0, &check(1, 1));
    let only = Media { since: Some(began), ..Media::default() };
    assert_eq!(call.listen(0, true), only);
    assert_eq!(call.listen(0, false), only);
    call.pass(1_000);
    (60..90).for_each(|number| call.speaks(0, number));
    assert_eq!(call.listen(0, false), only);
    assert!(call.world.shared.ledger.heard(&call.handles[0]).unwrap().0.last > began, "silence is still noticed");
}

#[test]
fn a_user_who_is_in_no_call_is_not_listened_to() {
    let mut world = world();
    let (alice, peer) = (world.user("alice", 1), outside(1));
    world.allocate(&alice);
    assert_eq!(world.bind(&alice, CHANNEL, peer), 0);
    let mut packet = [0; 92];
    (packet[0], packet[1]) = (0x80, 111);
    assert_ne!(world.channel(&alice, CHANNEL, &packet), Out::Nothing);
    assert!(
        world.workers[0]
            .allocations
            .find(&alice.from)
            .and_then(|key| world.workers[0].allocations.get(key))
            .is_some_and(|it| it.ear.is_none())
    );
    assert_eq!(world.now.mono, Millis(1_000_000));
}

#[test]
fn a_stream_is_heard_on_across_an_upgrade_as_if_there_had_been_none() {
    let mut call = call(Settings { quality: true, ..settings() });
    for number in (0..80).filter(|number| *number != 7 && *number != 50) {
        call.pass(20);
        call.speaks(0, number);
        if number == 40 {
            call.world.upgrade();
        }
    }
    let heard = call.listen(0, true);
    assert_eq!((heard.expected, heard.received, heard.duplicates, heard.reordered), (80, 78, 0, 0));
    assert_eq!((heard.since, heard.spoken_ms), (Some(Millis(1_000_020)), 1_600));
}

//! What the relay hears of a call, and who is told of it.

use serde_json::{Value, json};

use super::*;
use crate::calls::{Heard, Media};

/// A call that stands, and the handles of both sides.
fn talking() -> (World, String, [[u8; 12]; 2]) {
    let mut world = World::new();
    let (call, a, b) = world.match_two();
    world.connect(&call);
    (world, call, [handle_of(&a), handle_of(&b)])
}

impl World {
    /// Time passes in which packets of these sides come every 20 ms.
    fn pass_hearing(&mut self, millis: u64, sides: &[[u8; 12]]) {
        for _ in 0..millis / 20 {
            self.pass(20);
            for side in sides {
                self.relay.0.lock().unwrap().heard.entry(*side).or_default().last = self.now.mono;
            }
        }
    }

    fn hear_media(&mut self, side: [u8; 12], media: Media) {
        self.relay.0.lock().unwrap().heard.insert(side, Heard { last: self.now.mono, media });
    }

    fn hears_peer(&mut self, who: u64, s: &str) {
        assert_eq!(self.hear(who, "peer")["s"], s);
    }
}

#[test]
fn a_partner_whose_media_stops_is_missed_within_two_seconds() {
    let (mut world, _, [a, b]) = talking();
    world.pass_hearing(10_000, &[a, b]);
    world.silent(1);
    world.pass_hearing(1_400, &[b]);
    world.silent(2);
    world.pass_hearing(500, &[b]);
    world.hears_peer(2, "stalled");
    world.silent(1);
    world.pass_hearing(600, &[a, b]);
    world.hears_peer(2, "back");
    world.pass_hearing(30_000, &[a, b]);
    world.silent(1);
    world.silent(2);
    assert_eq!(world.counters.restarts(), 0);
}

#[test]
fn a_silent_partner_costs_a_restart_and_then_the_call() {
    let (mut world, _, [a, b]) = talking();
    world.pass_hearing(5_000, &[a, b]);
    world.pass_hearing(7_500, &[b]);
    world.hears_peer(2, "stalled");
    world.hear(1, "restart");
    world.hear(2, "restart");
    world.pass_hearing(20_000, &[b]);
    for who in [1, 2] {
        world.hear(who, "ended");
    }
    assert_eq!(world.open_handles(), 0);
}

#[test]
fn who_was_quiet_before_is_missed_after_eight_seconds() {
    let (mut world, _, [a, b]) = talking();
    for _ in 0..4 {
        world.pass_hearing(20, &[a, b]);
        world.pass(5_500);
    }
    world.silent(1);
    world.silent(2);
    world.pass_hearing(20, &[a, b]);
    world.pass_hearing(7_700, &[a]);
    world.silent(1);
    world.pass_hearing(600, &[a]);
    world.hears_peer(1, "stalled");
    world.silent(2);
}

#[test]
fn who_mutes_is_not_missed_for_it_and_the_partner_knows() {
    let (mut world, call, [a, b]) = talking();
    world.pass_hearing(5_000, &[a, b]);
    let mic = |s: &str| json!({ "t": "mic", "call": call, "s": s });
    world.say(1, mic("muted"));
    assert_eq!(world.hear(2, "peer"), json!({ "t": "peer", "call": call, "s": "mic_off" }));
    world.say(1, mic("ended"));
    world.say(1, mic("muted"));
    world.silent(2);
    for _ in 0..4 {
        world.pass_hearing(20, &[a, b]);
        world.pass(5_500);
    }
    world.silent(1);
    world.silent(2);
    world.say(1, mic("on"));
    world.hears_peer(2, "mic_on");
    world.silent(1);
}

#[test]
fn playing_with_the_mute_button_is_slowed_down() {
    let (mut world, call, _) = talking();
    for press in 0..10 {
        world.say(1, json!({ "t": "mic", "call": call, "s": if press % 2 == 0 { "muted" } else { "on" } }));
        world.hear(2, "peer");
    }
    world.say(1, json!({ "t": "mic", "call": call, "s": "muted" }));
    world.hear_error(1, "E_RATE");
    world.silent(2);
}

#[test]
fn two_reasons_to_miss_a_partner_are_told_once_and_both_must_end() {
    let (mut world, call, [a, b]) = talking();
    world.pass_hearing(5_000, &[a, b]);
    world.say(2, json!({ "t": "ice", "call": call, "s": "disconnected" }));
    world.hears_peer(2, "stalled");
    world.pass_hearing(2_000, &[b]);
    world.silent(2);
    world.pass_hearing(1_000, &[a, b]);
    world.silent(2);
    world.say(2, json!({ "t": "ice", "call": call, "s": "connected" }));
    world.hears_peer(2, "back");
}

#[test]
fn a_call_whose_media_flows_both_ways_stands_whatever_clients_say_of_ice() {
    let mut world = World::new();
    let (call, a, b) = world.match_two();
    let [a, b] = [handle_of(&a), handle_of(&b)];
    let flows = |since: Millis| Media { since: Some(since), expected: 1, received: 1, jitter_ms: 0 };
    // A stream of before the match proves nothing.
    world.hear_media(a, flows(Millis(1)));
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
    world.hear(2, "offer");
    world.say(2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
    world.hear(1, "answer");
    world.pass(300);
    world.hear_media(b, flows(world.now.mono));
    world.pass(300);
    world.silent(1);
    world.hear_media(a, flows(world.now.mono));
    world.pass(300);
    for who in [1, 2] {
        world.hear(who, "connected");
        world.say(who, json!({ "t": "ice", "call": call, "s": "connected" }));
        world.silent(who);
    }
    assert_eq!((world.counters.first_packet.sum_ms(), world.counters.audible.sum_ms()), (300, 600));
}

#[test]
fn a_restart_after_which_both_are_heard_needs_no_word_of_theirs() {
    let (mut world, call, [a, b]) = talking();
    world.pass_hearing(3_000, &[a, b]);
    world.say(1, json!({ "t": "restart", "call": call }));
    for who in [1, 2] {
        world.hear(who, "restart");
    }
    world.pass_hearing(15_020, &[a, b]);
    for who in [1, 2] {
        world.hear(who, "connected");
        world.silent(who);
    }
}

#[test]
fn a_stream_that_loses_packets_is_told_to_both_when_it_begins_and_when_it_ends() {
    let (mut world, call, [a, b]) = talking();
    let media = |received| Media { since: Some(Millis(2_000)), expected: 200, received, jitter_ms: 5 };
    let windows = |world: &mut World, received: u32| {
        for _ in 0..10_000 / 20 {
            world.pass_hearing(20, &[a, b]);
            world.hear_media(a, media(received));
            world.hear_media(b, media(200));
        }
    };
    windows(&mut world, 200);
    world.silent(1);
    windows(&mut world, 170);
    let told = |up: &str, down: &str| json!({ "t": "quality", "call": call, "up": up, "down": down });
    let hears = |world: &mut World, who: u64, expected: Value| assert_eq!(world.hear(who, "quality"), expected);
    hears(&mut world, 1, told("poor", "good"));
    hears(&mut world, 2, told("good", "poor"));
    windows(&mut world, 190);
    hears(&mut world, 1, told("fair", "good"));
    hears(&mut world, 2, told("good", "fair"));
    windows(&mut world, 198);
    hears(&mut world, 1, told("good", "good"));
    world.ignore(2);
    windows(&mut world, 199);
    world.silent(1);
    world.silent(2);
}

#[test]
fn streams_are_listened_to_for_four_seconds_in_ten() {
    let (mut world, _, [a, b]) = talking();
    let mut listened = 0;
    for _ in 0..1_000 {
        world.pass_hearing(20, &[a, b]);
        listened += usize::from(!world.relay.0.lock().unwrap().listens.is_empty());
    }
    assert!((350..500).contains(&listened), "{listened} of 1000");
}

#[test]
fn a_call_that_may_go_past_the_relay_is_not_listened_to() {
    let mut world = World::with(Settings { direct_first: true, ..settings() });
    let (call, a, b) = world.match_two();
    world.connect(&call);
    world.pass_hearing(3_000, &[handle_of(&a), handle_of(&b)]);
    world.pass(60_000);
    world.silent(1);
    world.silent(2);
}

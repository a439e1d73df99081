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
    let flows = |since: Millis| Media { since: Some(since), expected: 1, received: 1, ..Media::default() };
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

/// What a side has sent so far, and what was heard of it.
#[derive(Default)]
struct Streams(Media, Media);

impl Streams {
    /// Five seconds of both in 20 ms frames, of which those of the first side come so incompletely.
    fn window(&mut self, world: &mut World, [a, b]: [[u8; 12]; 2], received: u32) {
        for _ in 0..5_000 / 20 {
            world.pass_hearing(20, &[a, b]);
        }
        let since = Some(Millis(2_000));
        let round_trip_micros = Some(40_000);
        let grown = |media: &Media, received| Media {
            since,
            expected: media.expected + 250,
            received: media.received + received,
            jitter_micros: 5_000,
            round_trip_micros,
            ..Media::default()
        };
        (self.0, self.1) = (grown(&self.0, received), grown(&self.1, 250));
        world.hear_media(a, self.0);
        world.hear_media(b, self.1);
        world.pass(500);
    }
}

fn latest(world: &mut World, who: u64) -> Value {
    world.hear(who, "quality")
}

#[test]
fn a_stream_that_loses_packets_is_told_to_both_and_whose_it_is() {
    let (mut world, call, sides) = talking();
    let mut streams = Streams::default();
    let up = |said: &Value, side: &str| said[side]["up"].clone();
    streams.window(&mut world, sides, 250);
    world.pass_hearing(5_000, &sides);
    let (first, second) = (latest(&mut world, 1), latest(&mut world, 2));
    assert_eq!(
        first["your"],
        json!({ "up": { "packets": 250, "missing": 0, "reordered": 0, "lost": 0.0, "jitter_ms": 5.0, "rtt_ms": 40, "mos": "best", "profile": "g711-plc" } })
    );
    assert_eq!((&first["call"], &first["up"], &first["down"]), (&json!(call), &json!("good"), &json!("good")));
    assert_eq!((&first["your"], &first["their"]), (&second["their"], &second["your"]));
    streams.window(&mut world, sides, 225);
    world.pass_hearing(5_000, &sides);
    let (first, second) = (latest(&mut world, 1), latest(&mut world, 2));
    assert_eq!(
        (&first["up"], &first["down"], &second["up"], &second["down"]),
        (&json!("poor"), &json!("good"), &json!("good"), &json!("poor"))
    );
    let lossy = json!({ "packets": 500, "missing": 25, "reordered": 0, "lost": 10.0, "jitter_ms": 5.0, "rtt_ms": 40, "mos": "low", "profile": "g711-plc" });
    assert_eq!((up(&first, "your"), up(&second, "their")), (lossy.clone(), lossy));
    assert_eq!((up(&first, "their")["lost"].clone(), up(&second, "your")["lost"].clone()), (json!(0.0), json!(0.0)));
    world.pass_hearing(20_000, &sides);
    world.silent(1); // nothing new
    world.silent(2);
}

#[test]
fn the_downlink_is_what_the_client_says_of_it_and_otherwise_unknown() {
    let (mut world, call, sides) = talking();
    let mut streams = Streams::default();
    streams.window(&mut world, sides, 250);
    world.pass_hearing(5_000, &sides);
    for who in [1, 2] {
        let said = latest(&mut world, who);
        assert_eq!((&said["your"]["down"], &said["their"]["down"]), (&Value::Null, &Value::Null));
    }
    world.say(2, json!({ "t": "heard", "call": call, "lost": 1.25, "jitter_ms": 4 }));
    world.pass_hearing(5_500, &sides);
    let down = json!({ "lost": 1.3, "jitter_ms": 4 });
    let (first, second) = (latest(&mut world, 1), latest(&mut world, 2));
    assert_eq!((&first["their"]["down"], &first["your"]["down"]), (&down, &Value::Null));
    assert_eq!((&second["your"]["down"], &second["their"]["down"]), (&down, &Value::Null));
    world.pass_hearing(20_500, &sides);
    assert_eq!(latest(&mut world, 2)["your"]["down"], Value::Null, "who says nothing more is no longer believed");
    assert_eq!(latest(&mut world, 1)["their"]["down"], Value::Null);
}

#[test]
fn who_reports_in_haste_is_slowed_down_and_nobody_reports_on_calls_of_others() {
    let (mut world, call, _) = talking();
    let heard = |call: &str| json!({ "t": "heard", "call": call, "lost": 0, "jitter_ms": 4 });
    (0..5).for_each(|_| world.say(1, heard(&call)));
    world.silent(1);
    world.say(1, heard(&call));
    world.hear_error(1, "E_RATE");
    world.say(2, heard("AAAAAAAAAAAAAAAAAAAAAA"));
    world.hear_error(2, "E_CALL");
}

#[test]
fn each_side_of_a_call_is_counted_once_when_it_is_over() {
    let (mut world, call, sides) = talking();
    let mut streams = Streams::default();
    (0..3).for_each(|_| streams.window(&mut world, sides, 225));
    let quality = |world: &World| {
        let quality = &world.counters.quality;
        [&quality.loss, &quality.jitter, &quality.round_trip, &quality.mos]
            .map(|it| (it.buckets().iter().sum::<u64>(), it.sum_ms()))
    };
    assert_eq!(quality(&world), [(0, 0); 4]);
    world.say(1, json!({ "t": "hangup", "call": call }));
    // 10 % and none; 66.13 and 93.2 of R are 3.411 and 4.409.
    assert_eq!(quality(&world), [(2, 100), (2, 10), (2, 80), (2, 3_411 + 4_409)]);
}

#[test]
fn with_quality_off_streams_are_listened_to_until_they_begin_and_nobody_is_told_or_counted() {
    let mut world = World::with(Settings { quality: false, ..settings() });
    let (call, a, b) = world.match_two();
    world.connect(&call);
    let sides = [handle_of(&a), handle_of(&b)];
    world.pass_hearing(1_000, &sides);
    assert_eq!(world.relay.0.lock().unwrap().listens.len(), 2);
    let mut streams = Streams::default();
    (0..3).for_each(|_| streams.window(&mut world, sides, 200));
    assert!(world.relay.0.lock().unwrap().listens.is_empty());
    world.pass_hearing(20_000, &sides);
    world.silent(1);
    world.silent(2);
    world.say(1, json!({ "t": "hangup", "call": call }));
    assert_eq!(world.counters.quality.loss.buckets().iter().sum::<u64>(), 0);
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

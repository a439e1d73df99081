//! Set-ups that fail: who is at fault is dropped, who is not keeps their place.

use super::*;

fn offer(call: &str) -> Value {
    json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM })
}

fn answer(call: &str) -> Value {
    json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER })
}

#[test]
fn hello_must_come_within_five_seconds() {
    let mut world = World::new();
    world.open(1);
    world.pass(4_999);
    world.silent(1);
    world.pass(1);
    assert_eq!(world.hear_error(1, "E_DEADLINE")["fatal"], true);
    assert_eq!(world.closed[&1], 4400);
    world.assert_nothing_left();
}

#[test]
fn a_sleeper_is_dropped_and_the_innocent_keeps_their_place() {
    let mut world = World::new();
    world.enter(1);
    let first = world.queue(1);
    let t0 = world.now.mono;
    world.pass(3_500);
    world.ignore(1);
    world.enter(2);
    world.queue(2);
    let call = world.hear(1, "matched")["call"].clone();
    world.hear(2, "matched");
    world.say(1, json!({ "t": "ack", "call": call }));
    world.pass(999);
    world.silent(1);
    world.pass(1);
    world.hear_error(2, "E_DEADLINE");
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"server","why":"asleep"}));
    world.silent(2);
    assert_eq!(world.hear(1, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"asleep","requeued":true}));
    let again = world.hear(1, "queued");
    assert_ne!(handle_of(&again), handle_of(&first), "a new place: the old allocation ended with the call");
    let Place::Queued(waiting) = &world.desk.sessions[&Connection(1)].place else { panic!("1 waits") };
    assert_eq!(waiting.since, t0, "with the seniority of the first wait");
    // The sleeper is not matched while asleep, and may queue again when awake.
    world.pass(5_000);
    world.silent(2);
    world.queue(2);
    assert_eq!(world.ended("asleep"), 1);
}

#[test]
fn seniority_decides_who_gets_the_next_stranger() {
    let mut world = World::new();
    // 1 waits alone for a woman; 2, who sleeps, is one.
    let woman = |number| Profile { gender: Gender::F, ..profile(number) };
    let hope = wish(&[Gender::F], None, TopicMode::Prefer, &[]);
    world.enter(1);
    world.say(1, hope.clone());
    world.hear(1, "queued");
    world.pass(100);
    world.enter_as(2, &woman(2));
    world.queue(2);
    let call = world.hear(1, "matched")["call"].clone();
    world.say(1, json!({ "t": "ack", "call": call }));
    // While 2 sleeps, 3 begins to wait for a woman too: later than 1.
    world.pass(500);
    world.enter(3);
    world.say(3, hope);
    world.hear(3, "queued");
    world.pass(500);
    world.hear(1, "ended");
    world.hear(1, "queued");
    world.enter_as(4, &woman(4));
    world.queue(4);
    world.hear(4, "matched");
    world.hear(1, "matched");
}

#[test]
fn two_sleepers_are_both_dropped() {
    let mut world = World::new();
    for who in [1, 2] {
        world.enter(who);
        world.queue(who);
        world.ignore(who);
    }
    world.ignore(1);
    world.pass(1_000);
    for who in [1, 2] {
        world.hear_error(who, "E_DEADLINE");
        assert_eq!(world.hear(who, "ended")["why"], "asleep");
        world.silent(who);
    }
    assert_eq!(world.open_handles(), 0);
}

#[test]
fn any_frame_of_the_call_proves_that_somebody_is_awake() {
    let mut world = World::new();
    for who in [1, 2] {
        world.enter(who);
        world.queue(who);
    }
    let call = world.hear(1, "matched")["call"].as_str().unwrap().to_owned();
    world.hear(2, "matched");
    world.say(1, offer(&call));
    world.hear(2, "offer");
    world.say(2, answer(&call));
    world.hear(1, "answer");
    world.pass(5_000);
    world.silent(1);
    world.silent(2);
}

#[test]
fn an_offerer_who_does_not_offer_is_dropped_after_three_seconds() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    world.pass(2_999);
    world.silent(1);
    world.pass(1);
    world.hear_error(1, "E_DEADLINE");
    assert_eq!(world.hear(1, "ended"), json!({"t":"ended","call":call,"by":"server","why":"deadline"}));
    assert_eq!(world.hear(2, "ended")["requeued"], true);
    world.hear(2, "queued");
}

#[test]
fn an_answerer_has_three_seconds_from_the_offer() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    world.pass(2_000);
    world.say(1, offer(&call));
    world.hear(2, "offer");
    world.pass(2_999);
    world.silent(1);
    world.silent(2);
    world.pass(1);
    world.hear_error(2, "E_DEADLINE");
    assert_eq!(world.hear(2, "ended")["by"], "server");
    assert_eq!(world.hear(1, "ended")["requeued"], true);
    world.hear(1, "queued");
}

#[test]
fn a_call_must_be_connected_within_ten_seconds_and_who_never_allocated_is_at_fault() {
    let mut world = World::new();
    let (call, a, _) = world.match_two();
    world.say(1, offer(&call));
    world.say(2, answer(&call));
    world.allocate(handle_of(&a));
    world.ignore(1);
    world.ignore(2);
    world.pass(9_999);
    world.silent(1);
    world.pass(1);
    assert_eq!(world.hear(1, "ended")["requeued"], true);
    world.hear(1, "queued");
    world.hear_error(2, "E_DEADLINE");
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"server","why":"deadline"}));
}

/// matching.md §4.6: a hard cap, however well they get on.
#[test]
fn no_call_is_longer_than_four_hours() {
    let mut world = World::new();
    let call = world.talking();
    world.pass(MAX_CALL_MS - 60_000);
    assert_eq!(world.desk.calls.len(), 1);
    assert!(world.desk.timers.len() < 10, "{}", world.desk.timers.len());
    world.pass(2 * AGE_LOOK_MS);
    for who in [1, 2] {
        assert_eq!(world.hear(who, "ended"), json!({"t":"ended","call":call,"by":"server","why":"deadline"}));
    }
    assert_eq!(world.open_handles(), 0);
}

#[test]
fn nobody_goes_round_for_ever_with_a_network_that_lets_nothing_through() {
    let mut world = World::new();
    world.enter(1);
    world.queue(1);
    for stranger in 2..=4 {
        world.enter(stranger);
        world.queue(stranger);
        let (a, b) = (world.hear(1, "matched"), world.hear(stranger, "matched"));
        let call = a["call"].as_str().unwrap().to_owned();
        let offerer = if a["role"] == "offerer" { 1 } else { stranger };
        world.say(offerer, offer(&call));
        world.say(1 + stranger - offerer, answer(&call));
        for handle in [handle_of(&a), handle_of(&b)] {
            world.allocate(handle);
        }
        world.ignore(1);
        world.ignore(stranger);
        world.say(1, json!({ "t": "ice", "call": call, "s": "failed" }));
        if stranger < 4 {
            let ended = world.hear(1, "ended");
            assert_eq!(ended, json!({"t":"ended","call":call,"by":"server","why":"failed","requeued":true}));
            world.hear(1, "queued");
            world.leave(stranger);
        }
    }
    world.hear_error(1, "E_DEADLINE");
    assert_eq!(world.hear(1, "ended")["by"], "server");
    world.silent(1);
    assert_eq!(world.hear(4, "ended")["requeued"], true, "the stranger has failed once only");
}

#[test]
fn losing_the_partner_before_the_call_stands_costs_no_seniority() {
    let mut world = World::new();
    world.enter(1);
    world.queue(1);
    let t0 = world.now.mono;
    world.pass(50);
    world.enter(2);
    world.queue(2);
    world.ignore(1);
    world.leave(2);
    assert_eq!(world.hear(1, "ended")["requeued"], true);
    world.hear(1, "queued");
    let Place::Queued(waiting) = &world.desk.sessions[&Connection(1)].place else { panic!("1 waits") };
    assert_eq!(waiting.since, t0);
}

#[test]
fn a_partner_who_hangs_up_before_the_call_stands_has_decided_so() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    world.say(1, json!({ "t": "hangup", "call": call }));
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"hangup"}));
    world.silent(2);
}

#[test]
fn candidates_before_the_description_wait_for_it() {
    let mut world = World::new();
    let (call, a, _) = world.match_two();
    let line = world.allocate(handle_of(&a));
    world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": line, "mid": "0" }));
    world.silent(2);
    world.say(1, offer(&call));
    world.hear(2, "offer");
    assert!(world.hear(2, "cand")["c"].as_str().unwrap().contains("typ relay"));
}

#[test]
fn no_more_candidates_wait_than_sixteen() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    for _ in 0..16 {
        world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": null }));
    }
    world.silent(1);
    world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": null }));
    world.hear_error(1, "E_RATE");
}

#[test]
fn a_relay_that_will_not_pair_is_a_fault_of_ours() {
    let mut world = World::new();
    world.relay.0.lock().unwrap().refuses_pairs = true;
    for who in [1, 2] {
        world.enter(who);
        world.say(who, json!({ "t": "queue" }));
        world.hear(who, "queued");
    }
    for who in [1, 2] {
        world.hear_error(who, "E_INTERNAL");
        assert_eq!(world.closed[&who], 1011);
    }
    world.assert_nothing_left();
}

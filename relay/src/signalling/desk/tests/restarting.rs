//! ICE restart, and sides that hear nothing.

use super::*;

fn restart(call: &str) -> Value {
    json!({ "t": "restart", "q": 5, "call": call })
}

fn ice(call: &str, s: &str) -> Value {
    json!({ "t": "ice", "call": call, "s": s })
}

/// Both have new descriptions and hear each other.
fn come_back(world: &mut World, call: &str, generation: u32) {
    world.say(1, json!({ "t": "offer", "call": call, "gen": generation, "sdp": CHROMIUM }));
    assert_eq!(world.hear(2, "offer")["gen"], generation);
    world.say(2, json!({ "t": "answer", "call": call, "gen": generation, "sdp": FIREFOX_ANSWER }));
    assert_eq!(world.hear(1, "answer")["gen"], generation);
    for who in [1, 2] {
        world.say(who, ice(call, "connected"));
    }
    for who in [1, 2] {
        world.hear(who, "connected");
    }
}

#[test]
fn a_restart_gives_both_fresh_credentials_and_a_new_generation() {
    let mut world = World::new();
    let call = world.talking();
    world.pass(30_000);
    world.say(2, restart(&call));
    let (a, b) = (world.hear(1, "restart"), world.hear(2, "restart"));
    assert_eq!((&a["gen"], a.get("q"), &b["q"]), (&json!(2), None, &json!(5)));
    for frame in [&a, &b] {
        let username = frame["ice"]["servers"][0]["username"].as_str().unwrap();
        assert!(username.ends_with(".2"), "a credential of the second generation");
    }
    assert_ne!(handle_of(&a), handle_of(&b));
    world.pass(200);
    come_back(&mut world, &call, 2);
    assert_eq!((world.counters.restarts(), world.counters.connected()), (1, 1), "one call, however often it restarts");
    world.pass(RESTART_MS);
    assert_eq!(world.desk.calls.len(), 1);
}

#[test]
fn what_the_old_generation_still_sends_is_dropped() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, restart(&call));
    world.hear(1, "restart");
    world.hear(2, "restart");
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
    world.say(2, json!({ "t": "cand", "call": call, "gen": 1, "c": null }));
    world.silent(1);
    world.silent(2);
    world.say(1, json!({ "t": "offer", "call": call, "gen": 3, "sdp": CHROMIUM }));
    world.hear_error(1, "E_GEN");
    come_back(&mut world, &call, 2);
}

#[test]
fn two_who_ask_at_once_get_one_restart() {
    let mut world = World::new();
    let call = world.talking();
    for who in [1, 2] {
        world.say(who, restart(&call));
    }
    for who in [1, 2] {
        assert_eq!(world.hear(who, "restart")["gen"], 2);
        world.silent(who);
    }
}

#[test]
fn candidates_of_the_new_generation_wait_for_their_description() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, restart(&call));
    world.hear(1, "restart");
    world.hear(2, "restart");
    world.say(1, json!({ "t": "cand", "call": call, "gen": 2, "c": null }));
    world.silent(2);
    world.say(1, json!({ "t": "offer", "call": call, "gen": 2, "sdp": CHROMIUM }));
    world.hear(2, "offer");
    world.hear(2, "cand");
}

#[test]
fn a_restart_that_leads_nowhere_ends_the_call() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, restart(&call));
    world.hear(1, "restart");
    world.hear(2, "restart");
    world.pass(RESTART_MS);
    for who in [1, 2] {
        assert_eq!(world.hear(who, "ended"), json!({"t":"ended","call":call,"by":"server","why":"failed"}));
    }
    assert_eq!(world.open_handles(), 0);
}

#[test]
fn restarts_are_for_calls_that_stand_and_not_for_ever() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    world.say(1, restart(&call));
    world.hear_error(1, "E_STATE");
    world.connect(&call);
    for generation in 2..5 {
        world.say(1, restart(&call));
        world.hear(1, "restart");
        world.hear(2, "restart");
        come_back(&mut world, &call, generation);
    }
    world.say(1, restart(&call));
    assert!(world.hear_error(1, "E_RATE")["retry_ms"].as_u64().unwrap() > 0);
    world.silent(2);
}

#[test]
fn ice_that_fails_in_a_standing_call_gets_one_more_chance() {
    let mut world = World::new();
    let call = world.talking();
    world.say(2, ice(&call, "failed"));
    world.hear(1, "restart");
    world.hear(2, "restart");
    world.say(1, ice(&call, "failed"));
    for who in [1, 2] {
        assert_eq!(world.hear(who, "ended")["why"], "failed");
    }
    assert_eq!(world.open_handles(), 0);
}

#[test]
fn a_side_that_hears_nothing_is_told_so_then_gets_new_paths_and_then_its_partner_is_lost() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, ice(&call, "disconnected"));
    assert_eq!(world.hear(1, "peer"), json!({ "t": "peer", "call": call, "s": "stalled" }));
    world.silent(2);
    world.pass(4_999);
    world.silent(1);
    world.pass(1);
    world.hear(1, "restart");
    world.hear(2, "restart");
    world.pass(15_000);
    for who in [1, 2] {
        let why = world.hear(who, "ended")["why"].clone();
        assert!(why == "lost" || why == "failed", "{why}");
    }
}

#[test]
fn a_side_that_hears_again_is_told_so_and_nothing_else_happens() {
    let mut world = World::new();
    let call = world.talking();
    for _ in 0..3 {
        world.say(1, ice(&call, "disconnected"));
        world.say(1, ice(&call, "disconnected"));
        assert_eq!(world.hear(1, "peer")["s"], "stalled");
        world.pass(4_000);
        world.say(1, ice(&call, "connected"));
        assert_eq!(world.hear(1, "peer")["s"], "back");
    }
    world.pass(60_000);
    world.silent(1);
    world.silent(2);
    assert_eq!(world.counters.restarts(), 0);
}

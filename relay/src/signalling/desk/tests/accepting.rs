//! People who are asked before they are connected (`policy.acceptance`).

use super::*;

fn asking() -> (World, String) {
    let mut settings = settings();
    settings.acceptance = true;
    let mut world = World::with(settings);
    let (call, matched, _) = world.match_two();
    assert_eq!(matched["deadline_ms"], ACCEPT_MS);
    (world, call)
}

fn of_call(t: &str, call: &str) -> Value {
    json!({ "t": t, "q": 3, "call": call })
}

fn describe(world: &mut World, call: &str) {
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
    world.hear(2, "offer");
    world.say(2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
    world.say(2, json!({ "t": "cand", "call": call, "gen": 1, "c": null }));
}

#[test]
fn the_answer_waits_until_both_have_agreed() {
    let (mut world, call) = asking();
    describe(&mut world, &call);
    world.silent(1);
    world.say(1, of_call("accept", &call));
    world.silent(1);
    world.say(1, json!({ "t": "ice", "call": call, "s": "connected" }));
    world.hear_error(1, "E_STATE");
    world.pass(5_000);
    world.say(2, of_call("accept", &call));
    world.hear(1, "answer");
    world.hear(1, "cand");
    for who in [1, 2] {
        world.say(who, json!({ "t": "ice", "call": call, "s": "connected" }));
    }
    world.hear(1, "connected");
    world.hear(2, "connected");
    world.say(1, of_call("accept", &call));
    world.hear_error(1, "E_STATE");
    world.say(2, of_call("decline", &call));
    world.hear_error(2, "E_STATE");
    world.pass(60_000);
    assert_eq!(world.desk.calls.len(), 1);
}

#[test]
fn who_was_first_to_agree_gets_the_answer_when_it_comes() {
    let (mut world, call) = asking();
    for who in [1, 2] {
        world.say(who, of_call("accept", &call));
    }
    describe(&mut world, &call);
    world.hear(1, "answer");
    world.hear(1, "cand");
}

#[test]
fn who_is_declined_keeps_their_place_and_who_declines_does_not() {
    let (mut world, call) = asking();
    world.pass(700);
    world.say(2, of_call("decline", &call));
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","q":3,"call":call,"by":"self","why":"declined"}));
    world.silent(2);
    let ended = world.hear(1, "ended");
    assert_eq!((&ended["by"], &ended["why"], &ended["requeued"]), (&json!("peer"), &json!("declined"), &json!(true)));
    world.hear(1, "queued");
    let Place::Queued(waiting) = &world.desk.sessions[&Connection(1)].place else { panic!("not queued") };
    assert_eq!(waiting.since, Millis(1_000), "t0 is kept");
}

#[test]
fn who_says_nothing_has_not_agreed() {
    let (mut world, call) = asking();
    describe(&mut world, &call);
    world.say(1, of_call("accept", &call));
    world.pass(ACCEPT_MS - 1);
    world.silent(1);
    world.pass(1);
    world.hear_error(2, "E_DEADLINE");
    assert_eq!(world.hear(2, "ended")["why"], "declined");
    assert_eq!(world.hear(1, "ended")["requeued"], true);
    world.hear(1, "queued");
}

#[test]
fn nobody_is_asked_where_the_operator_does_not_want_it() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    world.say(1, of_call("accept", &call));
    world.hear_error(1, "E_STATE");
    world.say(2, of_call("decline", &call));
    world.hear_error(2, "E_STATE");
    assert_eq!(world.desk.calls.len(), 1);
}

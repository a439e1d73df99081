//! What one may do about a partner: `block` and `report`.

use super::*;
use crate::matchmaking::Recent;

fn block(call: &str) -> Value {
    json!({ "t": "block", "q": 6, "call": call })
}

/// 1 blocks or reports; 2 hears that they hung up, and nothing else.
fn hears_a_hangup(world: &mut World, call: &str) {
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"hangup"}));
    world.silent(2);
}

#[test]
fn a_block_ends_the_call_and_holds_on_the_very_next_match() {
    let mut settings = settings();
    settings.matching.recent = Recent::Allow;
    let mut world = World::with(settings);
    let call = world.talking();
    world.say(1, block(&call));
    assert_eq!(world.hear(1, "ended"), json!({"t":"ended","call":call,"by":"self","why":"block"}));
    assert_eq!(world.hear(1, "blocked"), json!({ "t": "blocked", "q": 6 }));
    hears_a_hangup(&mut world, &call);
    assert_eq!(world.open_handles(), 0);
    for who in [2, 1] {
        world.queue(who);
    }
    world.pass(60_000);
    assert_eq!((world.desk.queues.waiting(), world.desk.calls.len()), (2, 0));
}

#[test]
fn the_last_partner_can_be_blocked_while_waiting_for_the_next() {
    let mut settings = settings();
    settings.matching.recent = Recent::Allow;
    let mut world = World::with(settings);
    let call = world.talking();
    world.say(1, json!({ "t": "next", "call": call }));
    world.say(1, block(&call));
    world.hear(1, "ended");
    world.hear(1, "queued");
    world.hear(1, "blocked");
    world.ignore(2);
    world.queue(2);
    world.pass(30_000);
    assert_eq!((world.desk.queues.waiting(), world.desk.calls.len()), (2, 0));
}

#[test]
fn a_block_holds_when_either_side_comes_back_on_a_new_connection() {
    let mut settings = settings();
    settings.matching.recent = Recent::Allow;
    let mut world = World::with(settings);
    let call = world.talking();
    world.say(1, block(&call));
    for who in [1, 2] {
        world.leave(who);
        world.ignore(who);
        world.closed.clear();
        world.enter_as(who + 10, &profile(who));
        world.queue(who + 10);
    }
    world.pass(20_000);
    assert_eq!(world.desk.calls.len(), 0);
}

#[test]
fn a_list_that_is_full_makes_room_for_a_new_block() {
    let mut settings = settings();
    settings.matching.recent = Recent::Allow;
    let mut world = World::with(settings);
    let mut careful = profile(1);
    careful.blocks = (0..512u64).map(u64::to_be_bytes).collect();
    world.enter_as(1, &careful);
    world.queue(1);
    let mut partners = Vec::new();
    for who in 2..30 {
        world.enter(who);
        world.queue(who);
        let call = world.hear(who, "matched")["call"].as_str().unwrap().to_owned();
        world.ignore(1);
        world.say(1, json!({ "t": "next", "call": call }));
        world.say(1, block(&call));
        let heard: Vec<Value> = world.inbox.remove(&1).unwrap().into();
        assert!(heard.iter().any(|frame| frame["t"] == "blocked"), "{heard:?}");
        partners.push(who);
        world.pass(4_000);
        world.ignore(1);
        world.ignore(who);
    }
    assert_eq!(world.desk.calls.len(), 0);
    for who in partners.into_iter().rev().take(18) {
        world.queue(who);
    }
    let with_first = world
        .desk
        .calls
        .values()
        .filter(|call| [call.waiter.connection, call.arrival.connection].contains(&Connection(1)));
    assert_eq!(with_first.count(), 0);
}

#[test]
fn only_ones_own_partner_can_be_blocked_or_reported_and_only_for_ten_minutes() {
    let mut world = World::new();
    let call = world.talking();
    world.enter(3);
    let report = json!({ "t": "report", "call": call, "cat": "spam" });
    for frame in [block(&call), report.clone(), block("AAAAAAAAAAAAAAAAAAAAAA"), block("nonsense")] {
        world.say(3, frame);
        world.hear_error(3, "E_CALL");
    }
    world.say(1, json!({ "t": "hangup", "call": call }));
    world.hear(1, "ended");
    world.pass(LAST_CALL_MS - 1);
    world.say(1, report.clone());
    assert_eq!(world.reports.len(), 1);
    world.pass(1);
    world.say(1, report);
    world.hear_error(1, "E_CALL");
    world.say(1, block(&call));
    world.hear_error(1, "E_CALL");
    world.pass(RESUME_MS);
    let last = |who: u64| world.desk.sessions[&Connection(who)].caller.as_ref().unwrap().last.is_some();
    assert!(!last(1) && !last(2), "nobody's partner is remembered longer");
}

/// 2 says these; returns them as evidence.
fn say(world: &mut World, call: &str, texts: &[&str]) -> Vec<Value> {
    let mut evidence = Vec::new();
    for (k, text) in texts.iter().enumerate() {
        world.say(2, json!({ "t": "text", "call": call, "k": k, "b": text }));
        let heard = world.hear(1, "text");
        evidence.push(json!({ "k": heard["k"], "b": heard["b"], "tag": heard["tag"] }));
    }
    evidence
}

#[test]
fn a_report_proves_what_was_said_and_nothing_that_was_not() {
    let mut world = World::new();
    let call = world.talking();
    let mut evidence = say(&mut world, &call, &["a threat", "another"]);
    let mut forged = evidence[0].clone();
    forged["b"] = json!("something worse");
    evidence.push(forged);
    world.say(1, json!({ "t": "text", "call": call, "k": 0, "b": "my own words" }));
    let own_tag = world.hear(2, "text")["tag"].clone();
    evidence.push(json!({ "k": 0, "b": "my own words", "tag": own_tag }));
    let report = json!({ "t": "report", "q": 8, "call": call, "cat": "harassment", "note": "help", "ev": evidence });
    world.say(1, report);
    let Dispatch { id, urgent, json: body } = world.reports.pop().unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(!urgent);
    assert_eq!((&body["cat"], &body["note"], &body["unverified"]), (&json!("harassment"), &json!("help"), &json!(2)));
    assert_eq!(body["reporter_sub"], "pseudonym-000001");
    assert_eq!(body["reported_sub"], "pseudonym-000002");
    let said: Vec<&Value> = body["verified"].as_array().unwrap().iter().map(|text| &text["b"]).collect();
    assert_eq!(said, ["a threat", "another"]);
    assert_eq!(world.desk.calls.len(), 1, "it did not ask to end the call");
    world.silent(2);
    world.desk.handle_reported(world.now, id, true);
    world.collect();
    assert_eq!(world.hear(1, "reported"), json!({ "t": "reported", "q": 8 }));
    assert!(world.desk.reports.is_empty());
}

#[test]
fn evidence_of_one_call_proves_nothing_in_another() {
    let mut world = World::new();
    let call = world.talking();
    let evidence = say(&mut world, &call, &["a threat"]);
    world.say(1, json!({ "t": "hangup", "call": call }));
    for who in [1, 2] {
        world.ignore(who);
    }
    world.enter(3);
    world.queue(3);
    world.queue(1);
    let other = world.hear(1, "matched")["call"].clone();
    world.say(1, json!({ "t": "report", "call": other, "cat": "other", "ev": evidence }));
    let body: Value = serde_json::from_str(&world.reports.pop().unwrap().json).unwrap();
    assert_eq!((body["verified"].as_array().unwrap().len(), &body["unverified"]), (0, &json!(1)));
}

#[test]
fn a_report_about_a_childs_safety_ends_the_call_at_once() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, json!({ "t": "report", "q": 8, "call": call, "cat": "minor_safety" }));
    assert_eq!(world.hear(1, "ended"), json!({"t":"ended","call":call,"by":"self","why":"report"}));
    hears_a_hangup(&mut world, &call);
    assert_eq!(world.open_handles(), 0);
    assert!(world.reports.pop().unwrap().urgent);
}

#[test]
fn a_report_may_end_the_call() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, json!({ "t": "report", "call": call, "cat": "spam", "end": true }));
    world.hear(1, "ended");
    hears_a_hangup(&mut world, &call);
}

#[test]
fn an_undelivered_report_is_said_to_be_so() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, json!({ "t": "report", "q": 8, "call": call, "cat": "hate" }));
    let id = world.reports.pop().unwrap().id;
    world.desk.handle_reported(world.now, id, false);
    world.collect();
    assert_eq!(world.hear_error(1, "E_REPORT_RETRY")["q"], 8);
    world.desk.handle_reported(world.now, id, true);
    world.collect();
    world.silent(1);

    let mut settings = settings();
    settings.reports = false;
    let mut world = World::with(settings);
    let call = world.talking();
    world.say(1, json!({ "t": "report", "call": call, "cat": "hate" }));
    world.hear_error(1, "E_REPORT_RETRY");
    assert!(world.reports.is_empty());
}

#[test]
fn reports_are_limited_and_those_on_their_way_are_bounded() {
    let mut world = World::new();
    let call = world.talking();
    for _ in 0..5 {
        world.say(1, json!({ "t": "report", "call": call, "cat": "spam" }));
    }
    assert_eq!(world.reports.len(), 5);
    world.say(1, json!({ "t": "report", "call": call, "cat": "spam" }));
    assert!(world.hear_error(1, "E_RATE")["retry_ms"].as_u64().unwrap() > 600_000);
}

#[test]
fn no_node_that_shares_the_secret_is_needed_twice() {
    let mut settings = settings();
    settings.tag_secret = Some([9; 32]);
    let mut world = World::with(settings);
    let call = world.talking();
    let evidence = say(&mut world, &call, &["hello"]);
    let tags = Tags::new([9; 32]);
    let id = *world.desk.calls.keys().next().unwrap();
    let side = world.desk.calls[&id].waiter.connection != Connection(2);
    let said = crate::signalling::evidence::Said { call: id, side: u8::from(side), k: 0, b: "hello" };
    assert!(tags.verify(world.now.unix, said, evidence[0]["tag"].as_str().unwrap()).is_some());
}

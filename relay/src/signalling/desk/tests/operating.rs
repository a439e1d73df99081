//! What an app's backend asks: revocation, calls of its own, what is held, and the end of a shift.

use super::*;

fn sub(number: u64) -> String {
    profile(number).sub
}

#[test]
fn a_revocation_ends_socket_ticket_call_and_media_in_one_tick() {
    let mut world = World::new();
    world.talking();
    assert_eq!(world.desk.revoke(world.now, Subject::Person(&sub(1)), DENY_SECS), Ok(true));
    assert_eq!(world.open_handles(), 0, "before anybody is told");
    world.collect();
    world.hear_error(1, "E_REVOKED");
    assert_eq!(world.closed[&1], 4403);
    assert_eq!(world.hear(2, "ended")["why"], "lost");

    world.queue(2);
    assert_eq!(world.desk.revoke(world.now, Subject::Person(&sub(2)), DENY_SECS), Ok(true));
    world.collect();
    assert_eq!(world.closed[&2], 4403);
    world.assert_nothing_left();
    assert_eq!(world.desk.revoke(world.now, Subject::Person(&sub(2)), DENY_SECS), Ok(false));
}

#[test]
fn a_revocation_holds_for_as_long_as_tokens_live_and_no_longer() {
    let mut world = World::new();
    world.desk.revoke(world.now, Subject::Person(&sub(1)), 100).unwrap();
    let token = world.token(&profile(1));
    world.open(1);
    world.say(1, json!({ "t": "hello", "v": [1], "token": token }));
    world.hear_error(1, "E_REVOKED");
    assert_eq!(world.closed[&1], 4403);
    world.pass(100_000);
    world.enter_as(11, &profile(1));
}

#[test]
fn a_single_token_can_be_revoked_before_and_after_it_is_used() {
    let mut world = World::new();
    world.enter(1);
    // The harness numbers its tokens.
    assert_eq!(world.desk.revoke(world.now, Subject::Token("1"), DENY_SECS), Ok(true));
    world.collect();
    world.hear_error(1, "E_REVOKED");
    world.desk.revoke(world.now, Subject::Token("2"), DENY_SECS).unwrap();
    let token = world.token(&profile(1));
    world.open(2);
    world.say(2, json!({ "t": "hello", "v": [1], "token": token }));
    world.hear_error(2, "E_REVOKED");
    world.enter_as(3, &profile(1));
}

#[test]
fn what_another_node_was_asked_is_done_here_as_if_it_had_been_asked_here() {
    let mut world = World::new();
    world.talking();
    world.enter(3);
    let until = revoked_until(world.now.unix, 100);
    let person = Change::Revoke(Subject::Person(&sub(1)).revoked(), until);
    let token = Change::Revoke(Subject::Token("3").revoked(), until);
    world.desk.heed(world.now, &[person, token, Change::Erase(crate::matchmaking::entry(&sub(2)))]).unwrap();
    world.collect();
    assert!([1, 2, 3].iter().all(|who| world.closed[who] == 4403), "{:?}", world.closed);
    assert_eq!(world.desk.held(world.now, &sub(1)).denied_until, Some(until.0));
    assert_eq!(world.desk.held(world.now, &sub(2)).denied_until, None, "who was erased may come back");
    world.desk.heed(world.now, &[person, person]).unwrap();
    world.pass(100_000);
    world.enter_as(11, &profile(1));
    // However long another node says.
    world.desk.heed(world.now, &[Change::Revoke(Subject::Person(&sub(1)).revoked(), Unix(u64::MAX))]).unwrap();
    let day = revoked_until(world.now.unix, MAX_DENY_SECS).0;
    assert_eq!(world.desk.held(world.now, &sub(1)).denied_until, Some(day));
}

#[test]
fn nobody_is_let_in_before_it_is_known_whom_the_app_has_revoked() {
    let mut world = World::with(Settings { await_revocations: true, ..settings() });
    let banned = profile(1);
    let jti = world.claims(&profile(2));
    world.open(1);
    assert!(world.hear_error(1, "E_BUSY")["retry_ms"].as_u64().unwrap() > 0);
    assert_eq!((world.closed[&1], world.counters.awaiting_revocations()), (4503, 1));
    let until = Unix(world.now.unix.0 + 300);
    let (sub, token) = (banned.sub.clone(), jti["jti"].as_str().unwrap().to_owned());
    let over = profile(3).sub;
    let list = [
        (Subject::Person(&sub), until),
        (Subject::Token(&token), until),
        (Subject::Person(&over), Unix(world.now.unix.0)),
    ];
    world.desk.recall(world.now, list.into_iter()).unwrap();
    assert_eq!(world.counters.awaiting_revocations(), 0);
    for (who, token) in [(2, world.token(&banned)), (3, world.sign(&jti))] {
        world.open(who);
        world.say(who, json!({ "t": "hello", "q": 1, "v": [1], "token": token }));
        world.hear_error(who, "E_REVOKED");
    }
    world.enter_as(4, &profile(3));
    world.pass(301_000);
    world.enter_as(5, &banned);
}

#[test]
fn who_is_revoked_while_away_cannot_come_back() {
    let mut world = World::new();
    let welcome = world.enter(1);
    world.cut(1);
    assert_eq!(world.desk.revoke(world.now, Subject::Person(&sub(1)), DENY_SECS), Ok(true));
    world.collect();
    world.open(11);
    let resume = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": 0 });
    world.say(11, json!({ "t": "hello", "v": [1], "resume": resume }));
    world.hear_error(11, "E_TOKEN");
    world.pass(5_000);
    world.assert_nothing_left();
}

#[test]
fn what_is_held_can_be_seen_and_ended() {
    let mut world = World::new();
    let nothing = Held { connected: false, state: None, recent_partners: 0, blocks: 0, denied_until: None };
    assert_eq!(world.desk.held(world.now, &sub(1)), nothing);
    let call = world.talking();
    assert_eq!(world.desk.held(world.now, &sub(1)).state, Some("call"));
    world.say(1, json!({ "t": "block", "call": call }));
    world.ignore(2);
    world.queue(2);
    let held = world.desk.held(world.now, &sub(1));
    assert_eq!(held, Held { connected: true, state: Some("idle"), recent_partners: 1, blocks: 1, denied_until: None });
    world.cut(2);
    let away = world.desk.held(world.now, &sub(2));
    assert_eq!((away.connected, away.state), (false, Some("paused")));
    world.desk.erase(world.now, &sub(1));
    world.collect();
    assert_eq!(world.desk.held(world.now, &sub(1)), nothing);
    assert_eq!(world.closed[&1], 4403);
    assert_eq!(world.desk.held(world.now, &sub(2)).recent_partners, 0, "nor on the other side");
    world.closed.clear();
    world.enter_as(11, &profile(1));
}

fn handles(sides: &[Ice<'_>; 2]) -> [[u8; 12]; 2] {
    [0, 1].map(|side| {
        let username = &sides[side].servers[0].username;
        Handle::from_base64url(username.split('.').nth(2).unwrap()).unwrap().0
    })
}

#[test]
fn an_app_with_its_own_matchmaker_gets_two_places_that_reach_each_other() {
    let mut world = World::new();
    let (id, sides) = world.desk.bind_call(world.now, Lifetime::default()).unwrap();
    let [a, b] = handles(&sides);
    assert_eq!((sides[0].policy, sides[0].servers[0].urls.len()), ("relay", 1));
    assert_eq!(world.relay.0.lock().unwrap().paired[&a], b);
    world.allocate(a);
    world.pass(3_600_000);
    assert_eq!(world.open_handles(), 2, "somebody is there");
    let again = handles(&world.desk.rebind_call(world.now, id, 60).unwrap());
    assert_eq!(again, [a, b], "new credentials for the same places");
    assert!(world.desk.unbind_call(id) && !world.desk.unbind_call(id));
    assert!(world.desk.rebind_call(world.now, id, 60).is_none());
    assert_eq!(world.open_handles(), 0);
    world.pass(60_000);
    world.assert_nothing_left();
}

#[test]
fn a_call_of_an_app_ends_when_nobody_comes_when_all_have_gone_and_when_it_is_old() {
    let mut world = World::new();
    let life = Lifetime { start_secs: 100, max_secs: 7_200 };
    let _ = world.desk.bind_call(world.now, life).unwrap();
    world.pass(99_999);
    assert_eq!(world.open_handles(), 2);
    world.pass(1);
    assert_eq!(world.open_handles(), 0, "nobody came");

    let [a, _] = handles(&world.desk.bind_call(world.now, life).unwrap().1);
    world.allocate(a);
    world.pass(600_000);
    assert_eq!(world.open_handles(), 2);
    world.relay.0.lock().unwrap().relayed.clear();
    world.pass(30_000);
    assert_eq!(world.open_handles(), 0, "all have gone");

    let [a, _] = handles(&world.desk.bind_call(world.now, life).unwrap().1);
    world.allocate(a);
    world.pass(7_200_000 - 1);
    assert_eq!(world.open_handles(), 2);
    world.pass(1);
    assert_eq!(world.open_handles(), 0, "it was old enough");
    world.pass(60_000);
    world.assert_nothing_left();
}

#[test]
fn a_full_relay_gives_an_app_nothing_and_keeps_nothing() {
    let mut world = World::new();
    world.relay.0.lock().unwrap().capacity = Some(1);
    assert!(world.desk.bind_call(world.now, Lifetime::default()).is_err());
    world.assert_nothing_left();
}

#[test]
fn at_the_end_of_a_shift_nobody_new_is_let_in_and_calls_go_on() {
    let mut world = World::new();
    let call = world.talking();
    world.enter(3);
    world.desk.handle_drain(world.now, 30_000, Some("wss://other.example/v1/ws"));
    world.collect();
    for who in 1..=3 {
        let drain = world.hear(who, "drain");
        assert_eq!((&drain["in_ms"], &drain["to"]), (&json!(30_000), &json!("wss://other.example/v1/ws")));
    }
    assert_eq!(world.closed.get(&3), Some(&1001));
    world.turned_away(4);
    world.say(1, json!({ "t": "text", "call": call, "k": 1, "b": "goodbye then" }));
    world.hear(2, "text");
    world.say(1, json!({ "t": "next", "call": call }));
    world.hear(1, "ended");
    world.silent(1);
    assert_eq!(world.closed.get(&1), Some(&1001));
}

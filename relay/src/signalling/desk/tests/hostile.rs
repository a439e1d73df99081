//! What unkind clients try (hostile.md §6).

use super::*;
use crate::matchmaking::Gender;

#[test]
fn w12_no_token_a_forged_one_or_one_used_twice_opens_nothing() {
    let mut world = World::new();
    let good = world.token(&profile(1));
    let forged = format!("{}x", &good[..good.len() - 1]);
    let none = "eyJhbGciOiJub25lIn0.e30.";
    for (who, token) in [(1, "x"), (2, &*forged), (3, none)] {
        world.open(who);
        world.say(who, json!({ "t": "hello", "q": 1, "v": [1], "token": token }));
        let error = world.hear_error(who, "E_TOKEN");
        assert_eq!((&error["q"], &error["fatal"], world.closed[&who]), (&json!(1), &json!(true), 4401));
        assert!(!error.to_string().contains("pseudonym"));
    }
    for who in [4, 5] {
        world.open(who);
        world.say(who, json!({ "t": "hello", "v": [1], "token": good }));
    }
    world.hear(4, "welcome");
    world.hear_error(5, "E_TOKEN");
    assert_eq!(world.desk.people.len(), 1);
}

#[test]
fn the_age_gate_comes_before_anything_else() {
    let mut world = World::new();
    let mut claims = world.claims(&profile(1));
    claims.as_object_mut().unwrap().remove("age");
    claims["g"] = json!("nonsense that would be refused otherwise");
    let token = world.sign(&claims);
    world.open(1);
    // Not even a version this server does not speak is looked at.
    world.say(1, json!({ "t": "hello", "v": [9], "token": token }));
    world.hear_error(1, "E_AGE");
    assert_eq!(world.closed[&1], 4403);
    assert_eq!(world.relay.0.lock().unwrap().opened, 0);
    world.assert_nothing_left();
}

#[test]
fn no_common_version_is_said_so() {
    let mut world = World::new();
    let token = world.token(&profile(1));
    world.open(1);
    world.say(1, json!({ "t": "hello", "v": [2, 3], "token": token }));
    world.hear_error(1, "E_VERSION");
    assert_eq!(world.closed[&1], 4403);
}

#[test]
fn w13_nothing_happens_before_hello_and_hello_happens_once() {
    let mut world = World::new();
    world.open(1);
    for frame in [
        json!({ "t": "queue", "q": 1 }),
        json!({ "t": "leave" }),
        json!({ "t": "text", "call": "AAAAAAAAAAAAAAAAAAAAAA", "k": 1, "b": "x" }),
        json!({ "t": "hangup", "call": "AAAAAAAAAAAAAAAAAAAAAA" }),
    ] {
        world.say(1, frame);
        world.hear_error(1, "E_STATE");
    }
    world.pass(5_000);
    assert_eq!(world.closed[&1], 4400, "it was still no hello");
    world.enter(2);
    let another = world.token(&profile(3));
    world.say(2, json!({ "t": "hello", "v": [1], "token": another }));
    world.hear_error(2, "E_STATE");
    assert_eq!(world.desk.people.len(), 1, "nobody changes who they are");
}

#[test]
fn w14_broken_frames_close_and_unknown_ones_do_not() {
    let mut world = World::new();
    world.enter(1);
    world.say(1, json!({ "t": "teleport", "q": 6 }));
    assert_eq!(world.hear_error(1, "E_UNKNOWN")["q"], 6);
    world.raw(1, &format!(r#"{{"t":"leave","x":{}}}"#, "[".repeat(10_000)));
    assert_eq!(world.hear_error(1, "E_PROTO")["fatal"], true);
    assert_eq!(world.closed[&1], 4400);
    world.raw(1, r#"{"t":"ping","p":1}"#);
    world.silent(1);
    world.assert_nothing_left();
}

#[test]
fn w15_and_w18_calls_of_others_are_as_unknown_as_calls_that_never_were() {
    let mut world = World::new();
    let call = world.talking();
    world.enter(3);
    let own = world.talking_as(4, 5);
    let mut answers = BTreeSet::new();
    for (who, named) in [
        (3, call.as_str()),
        (4, call.as_str()),
        (3, "AAAAAAAAAAAAAAAAAAAAAA"),
        (4, "not a call at all"),
        (3, own.as_str()),
    ] {
        for frame in [
            json!({ "t": "ack", "call": named }),
            json!({ "t": "offer", "call": named, "gen": 1, "sdp": CHROMIUM }),
            json!({ "t": "answer", "call": named, "gen": 9, "sdp": "" }),
            json!({ "t": "cand", "call": named, "gen": 1, "c": null }),
            json!({ "t": "ice", "call": named, "s": "failed" }),
            json!({ "t": "text", "call": named, "k": 1, "b": "let me in" }),
            json!({ "t": "typing", "call": named }),
            json!({ "t": "hangup", "call": named }),
            json!({ "t": "next", "call": named }),
        ] {
            world.say(who, frame);
            answers.insert(world.hear_error(who, "E_CALL").to_string());
        }
    }
    assert_eq!(answers.len(), 1, "one answer, to the letter: {answers:?}");
    for who in [1, 2, 5] {
        world.silent(who);
    }
}

#[test]
fn descriptions_out_of_turn_are_refused() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    let answer = json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER });
    let offer = json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM });
    world.say(2, answer.clone());
    world.hear_error(2, "E_STATE");
    world.say(2, offer.clone());
    world.hear_error(2, "E_STATE");
    world.say(2, json!({ "t": "ice", "call": call, "s": "connected" }));
    world.hear_error(2, "E_STATE");
    world.say(1, offer.clone());
    world.hear(2, "offer");
    world.say(1, offer);
    world.hear_error(1, "E_STATE");
    world.say(1, answer.clone());
    world.hear_error(1, "E_STATE");
    world.say(2, answer.clone());
    world.hear(1, "answer");
    world.say(2, answer);
    world.hear_error(2, "E_STATE");
    world.silent(1);
}

#[test]
fn other_generations_are_dropped_or_refused() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    for t in ["offer", "cand"] {
        world.say(1, json!({ "t": t, "call": call, "gen": 0, "sdp": CHROMIUM, "c": null }));
        world.silent(1);
        world.say(1, json!({ "t": t, "call": call, "gen": 2, "sdp": CHROMIUM, "c": null }));
        world.hear_error(1, "E_GEN");
    }
    world.silent(2);
    world.enter(3);
    world.say(3, json!({ "t": "queue", "offer": { "gen": 2, "sdp": CHROMIUM } }));
    world.hear_error(3, "E_GEN");
}

#[test]
fn w19_descriptions_that_are_not_one_audio_call_are_refused() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    let video = include_str!("../../vectors/sdp/chromium-156-video.sdp");
    let script = CHROMIUM.replace("a=mid:0", "a=mid:<script>");
    for sdp in [video, &*script, "", "v=0\r\n"] {
        world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": sdp }));
        assert!(world.hear_error(1, "E_SDP").get("fatal").is_none());
    }
    world.silent(2);
    world.enter(3);
    world.say(3, json!({ "t": "queue", "q": 2, "offer": { "gen": 1, "sdp": video } }));
    world.hear_error(3, "E_SDP");
    assert_eq!(world.counters.queued(), 0);
}

#[test]
fn candidates_that_were_not_issued_to_this_side_are_refused() {
    let mut world = World::new();
    let (call, a, b) = world.match_two();
    let own = world.allocate(handle_of(&a));
    let partners = world.allocate(handle_of(&b));
    world.enter(3);
    let strangers = handle_of(&world.queue(3));
    let strangers = world.allocate(strangers);
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
    world.hear(2, "offer");
    let reflexive = "candidate:1 1 udp 1 198.51.100.9 4000 typ srflx raddr 10.0.0.1 rport 4000";
    let mdns = "candidate:1 1 udp 1 2881ed68-a972-427f-b521-49b57ff216c4.local 4000 typ host";
    for line in [&*partners, &*strangers, reflexive, mdns, "candidate:1 1 udp 1 127.0.0.1 22 typ host"] {
        world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": line, "mid": "0" }));
        world.hear_error(1, "E_CAND");
    }
    world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": own, "mid": "a\r\nb" }));
    world.hear_error(1, "E_CAND");
    world.silent(2);
    world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": own, "mid": "0" }));
    let passed = world.hear(2, "cand").to_string();
    assert!(!passed.contains("198.51.100.9"), "the address behind the relay stays hidden: {passed}");
}

#[test]
fn the_address_behind_a_description_stays_hidden() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    let gathered = include_str!("../../vectors/sdp/chromium-156-gathered.sdp");
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": gathered }));
    let passed = world.hear(2, "offer").to_string();
    for mark in ["192.0.2.2", "fd00::2", "127.0.0.1", "candidate"] {
        assert!(!passed.contains(mark), "{mark}");
    }
}

#[test]
fn w16_nobody_is_matched_twice_or_with_themselves() {
    let mut world = World::new();
    world.enter(1);
    world.queue(1);
    world.say(1, json!({ "t": "queue", "q": 3 }));
    world.hear_error(1, "E_STATE");
    // The same person on another connection: the first one goes.
    world.enter_as(2, &profile(1));
    assert_eq!(world.hear_error(1, "E_REPLACED")["fatal"], true);
    assert_eq!(world.closed[&1], 4409);
    world.queue(2);
    world.pass(20_000);
    assert_eq!((world.counters.matched(), world.counters.queued()), (0, 1));
    // Leaving while matched is not leaving the call.
    world.ignore(2);
    world.enter(3);
    world.queue(3);
    world.hear(2, "matched");
    world.say(2, json!({ "t": "leave", "q": 4 }));
    world.hear_error(2, "E_STATE");
    assert_eq!(world.counters.calls(), 1);
}

#[test]
fn w21_a_person_who_comes_back_elsewhere_leaves_the_call() {
    let mut world = World::new();
    let call = world.talking();
    world.enter_as(9, &profile(1));
    world.hear_error(1, "E_REPLACED");
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"lost"}));
    world.leave(1);
    assert_eq!(world.desk.people.len(), 2, "the late goodbye of the old connection does not touch the new one");
    world.queue(9);
}

#[test]
fn w17_a_flood_of_frames_is_answered_sparsely_and_then_closed() {
    let mut world = World::new();
    world.enter(1);
    for _ in 0..1_000 {
        world.raw(1, r#"{"t":"ping","p":1}"#);
    }
    assert_eq!(world.closed[&1], 4429);
    let answers = world.inbox.remove(&1).unwrap();
    assert!(answers.len() <= 150 + 21, "{}", answers.len());
}

#[test]
fn w11_a_reader_too_slow_is_told_and_closed() {
    let mut world = World::new();
    let call = world.talking();
    world.desk.handle_slow(world.now, Connection(1));
    world.collect();
    world.hear_error(1, "E_SLOW");
    assert_eq!(world.closed[&1], 4408);
    assert_eq!(world.hear(2, "ended")["call"], json!(call));
}

#[test]
fn what_the_token_switches_off_is_off() {
    let mut world = World::new();
    let mut claims = world.claims(&profile(1));
    claims["cap"] = json!({ "text": false, "next": false });
    let token = world.sign(&claims);
    world.open(1);
    world.say(1, json!({ "t": "hello", "v": [1], "token": token }));
    assert_eq!(world.hear(1, "welcome")["policy"]["text"], false);
    world.queue(1);
    world.enter(2);
    world.queue(2);
    let call = world.hear(1, "matched")["call"].clone();
    world.hear(2, "matched");
    for who in [1, 2] {
        world.say(who, json!({ "t": "text", "call": call, "k": 1, "b": "x" }));
        world.hear_error(who, "E_CRIT");
    }
    world.say(1, json!({ "t": "next", "call": call }));
    world.hear_error(1, "E_CRIT");
    world.silent(2);
}

#[test]
fn nothing_a_person_sent_is_in_any_error() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    let mark = "mark-of-a-person";
    for frame in [
        json!({ "t": mark, "q": 1 }),
        json!({ "t": "offer", "call": mark, "gen": 1, "sdp": mark }),
        json!({ "t": "offer", "call": call, "gen": 1, "sdp": mark }),
        json!({ "t": "cand", "call": call, "gen": 1, "c": mark, "mid": mark }),
        json!({ "t": "ack", "call": mark }),
        json!({ "t": "queue", "topics": [mark] }),
    ] {
        world.say(1, frame);
        assert!(!world.hear(1, "error").to_string().contains(mark));
    }
    assert!(!format!("{:?} {:?}", world.desk, world.desk.settings).contains("pseudonym"));
}

#[test]
fn identifiers_are_long_random_and_never_repeat() {
    let mut world = World::new();
    let mut seen = BTreeSet::new();
    for who in 1..=100 {
        let welcome = world.enter_as(who, &Profile { gender: Gender::F, ..profile(who) });
        for name in ["sid", "key"] {
            let id = welcome[name].as_str().unwrap().to_owned();
            assert_eq!(id.len(), 22);
            assert!(seen.insert(id));
        }
        assert!(seen.insert(format!("{:?}", handle_of(&welcome))));
    }
}

#[test]
fn w20_credentials_are_one_place_per_session_live_a_minute_and_end_with_the_person() {
    let mut world = World::new();
    let mut handles = BTreeSet::new();
    let welcome = world.enter(1);
    handles.insert(handle_of(&welcome));
    for _ in 0..5 {
        handles.insert(handle_of(&world.queue(1)));
        assert_eq!(world.open_handles(), 1, "never more than one place at a time");
        world.say(1, json!({ "t": "leave" }));
        world.hear(1, "left");
    }
    assert_eq!(handles.len(), 5, "a new one for every ticket but the first");
    let queued = world.queue(1);
    let username = queued["ice"]["servers"][0]["username"].as_str().unwrap();
    let expires: u64 = username.split('.').nth(1).unwrap().parse().unwrap();
    assert_eq!(expires - world.now.unix.0, 60);
    // More tickets would be more places: they are limited.
    world.say(1, json!({ "t": "leave" }));
    world.hear(1, "left");
    world.say(1, json!({ "t": "queue" }));
    world.hear_error(1, "E_RATE");
    world.enter(2);
    world.queue(2);
    world.desk.revoke(world.now, Subject::Person(&profile(2).sub), DENY_SECS).unwrap();
    world.collect();
    assert_eq!(world.open_handles(), 0, "and what was issued opens nothing more");
}

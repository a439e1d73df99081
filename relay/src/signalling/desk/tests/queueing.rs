//! Waiting: what a token entitles to, positions, tuning, and how much one may ask.

use super::*;
use crate::matchmaking::{Policy, RECENT_TTL_MS, Recent};

#[test]
fn wishes_beyond_the_token_are_refused() {
    let mut world = World::new();
    let modest = Profile { entitled: vec![Gender::F, Gender::X], ..profile(1) };
    world.enter_as(1, &modest);
    for beyond in [
        wish(&[Gender::M], None, TopicMode::Prefer, &[]),
        wish(&[Gender::F, Gender::M], None, TopicMode::Prefer, &[]),
        wish(&[Gender::F], Some(Level::C1), TopicMode::Prefer, &[]),
        wish(&[Gender::F], None, TopicMode::Prefer, &[5]),
    ] {
        world.say(1, beyond);
        assert_eq!(world.hear_error(1, "E_CRIT")["q"], 2);
    }
    world.say(1, wish(&[Gender::F], Some(Level::B1), TopicMode::Require, &[4]));
    world.hear(1, "queued");
}

#[test]
fn a_free_level_may_be_chosen() {
    let mut world = World::new();
    world.enter_as(1, &Profile { level_free: true, ..profile(1) });
    world.say(1, wish(&[Gender::X], Some(Level::C1), TopicMode::Prefer, &[]));
    world.hear(1, "queued");
    world.enter_as(2, &Profile { level: Level::C1, ..profile(2) });
    world.queue(2);
    assert_eq!(world.hear(2, "matched")["peer"]["lvl"], "C1");
}

#[test]
fn shared_topics_are_told_and_no_others() {
    let mut world = World::new();
    for (who, topics) in [(1, [0, 1, 4]), (2, [1, 2, 4])] {
        world.enter(who);
        world.say(who, wish(&[Gender::X], None, TopicMode::Prefer, &topics));
        world.hear(who, "queued");
    }
    for who in [1, 2] {
        assert_eq!(world.hear(who, "matched")["peer"]["topics"], json!([1, 4]));
    }
}

#[test]
fn people_of_different_cohorts_or_pools_never_meet() {
    let mut world = World::new();
    let people = [
        profile(1),
        Profile { band: Band::B16_17, ..profile(2) },
        Profile { band: Band::B13_15, ..profile(3) },
        Profile { pool: Some("oet-nurse".into()), ..profile(4) },
    ];
    for (who, person) in (1..).zip(&people) {
        world.enter_as(who, person);
        world.queue(who);
    }
    world.pass(60_000);
    assert_eq!(world.counters.matched(), 0);
    assert_eq!(world.counters.queued(), 4);
}

#[test]
fn blocked_people_never_meet_again() {
    let mut world = World::new();
    let mut entry = [0; 8];
    entry.copy_from_slice(&<sha2::Sha256 as sha2::Digest>::digest(b"pseudonym-000002")[..8]);
    world.enter_as(1, &Profile { blocks: vec![entry], ..profile(1) });
    world.enter(2);
    world.queue(1);
    world.queue(2);
    world.pass(60_000);
    assert_eq!(world.counters.matched(), 0);
}

#[test]
fn people_who_just_met_are_kept_apart_for_half_an_hour_if_the_operator_says_so() {
    for apart in [true, false] {
        let mut settings = settings();
        settings.matching.recent = if apart { Recent::Avoid } else { Recent::Allow };
        let mut world = World::with(settings);
        let call = world.talking();
        world.say(1, json!({ "t": "hangup", "call": call }));
        world.ignore(1);
        world.ignore(2);
        world.queue(1);
        world.queue(2);
        assert_eq!(world.counters.matched(), if apart { 1 } else { 2 });
        if apart {
            world.say(1, json!({ "t": "leave" }));
            world.pass(RECENT_TTL_MS);
            world.ignore(1);
            world.queue(1);
            world.say(2, json!({ "t": "leave" }));
            world.ignore(2);
            world.pass(60_000);
            world.queue(2);
            assert_eq!(world.counters.matched(), 2);
        }
    }
}

#[test]
fn people_who_just_met_meet_again_once_both_have_lost_patience_if_the_operator_says_so() {
    let mut settings = settings();
    settings.matching = Policy { recent: Recent::AvoidUntilLastStage, patience: 0, ..settings.matching };
    let last = settings.matching.widen_after_ms[2];
    let mut world = World::with(settings);
    let call = world.talking();
    world.say(1, json!({ "t": "hangup", "call": call }));
    world.ignore(1);
    world.ignore(2);
    world.queue(1);
    world.pass(5_000);
    world.queue(2);
    world.pass(last - 1);
    assert_eq!(world.counters.matched(), 1, "the second of them still hopes for somebody else");
    world.pass(1);
    assert_eq!(world.counters.matched(), 2);
}

#[test]
fn leaving_the_queue_frees_the_place_on_the_relay() {
    let mut world = World::new();
    world.enter(1);
    let first = handle_of(&world.queue(1));
    assert_eq!(world.open_handles(), 1);
    world.say(1, json!({ "t": "leave", "q": 3 }));
    assert_eq!(world.hear(1, "left"), json!({ "t": "left", "q": 3 }));
    assert_eq!((world.open_handles(), world.counters.queued()), (0, 0));
    assert_ne!(handle_of(&world.queue(1)), first);
    world.leave(1);
    world.assert_nothing_left();
}

#[test]
fn a_caller_may_tune_without_losing_the_place() {
    let mut world = World::new();
    world.enter(1);
    world.say(1, wish(&[Gender::M], None, TopicMode::Prefer, &[]));
    world.hear(1, "queued");
    world.enter(2);
    world.queue(2);
    world.say(1, json!({ "t": "tune", "q": 4, "gender": ["x"] }));
    assert_eq!(world.hear(1, "tuned"), json!({ "t": "tuned", "q": 4 }));
    assert_eq!(world.hear(1, "matched")["call"], world.hear(2, "matched")["call"]);
}

#[test]
fn positions_are_told_when_they_change_and_at_most_once_a_second() {
    let mut world = World::new();
    // Everybody here is a man who waits for a woman.
    for who in 1..=30 {
        world.enter_as(who, &Profile { gender: Gender::M, ..profile(who) });
        world.say(who, wish(&[Gender::F], None, TopicMode::Prefer, &[]));
        world.ignore(who);
    }
    world.pass(1_000);
    world.ignore(30);
    for who in 1..=20 {
        world.say(who, json!({ "t": "leave" }));
    }
    world.silent(30);
    world.pass(999);
    world.silent(30);
    world.pass(1);
    let position = world.hear(30, "position");
    assert_eq!(position["ahead"], 9);
    world.silent(30);
}

#[test]
fn those_who_all_came_at_once_are_not_told_their_positions_all_at_once() {
    const CROWD: u64 = 600;
    let mut world = World::new();
    for who in 1..=CROWD {
        world.enter_as(who, &Profile { gender: Gender::M, ..profile(who) });
        world.say(who, wish(&[Gender::F], None, TopicMode::Prefer, &[]));
        world.ignore(who);
    }
    // Everybody's place changes, so that everybody has something to hear.
    world.say(1, json!({ "t": "leave" }));
    world.pass(1_000);
    let told = |world: &mut World| (2..=CROWD).filter(|who| world.heard(*who, "position")).count();
    assert_eq!(told(&mut world), 64);
    world.pass(10);
    assert!(told(&mut world) <= 64 + 40);
    world.pass(500);
    assert_eq!(told(&mut world), CROWD as usize - 1, "and everybody in time");
}

#[test]
fn tuning_in_haste_is_slowed_down() {
    let mut world = World::new();
    world.enter(1);
    world.queue(1);
    for (after, allowed) in [(0, true), (0, true), (0, false), (1_000, true), (0, false)] {
        world.pass(after);
        world.ignore(1);
        world.say(1, json!({ "t": "tune", "q": 3, "topics": [1] }));
        if allowed {
            world.hear(1, "tuned");
        } else {
            assert_eq!(world.hear_error(1, "E_RATE")["retry_ms"], 1_000);
        }
    }
}

#[test]
fn queueing_in_haste_is_slowed_down_and_then_closed() {
    let mut world = World::new();
    world.enter(1);
    for _ in 0..6 {
        world.queue(1);
        world.say(1, json!({ "t": "leave" }));
        world.hear(1, "left");
    }
    world.say(1, json!({ "t": "queue", "q": 8 }));
    let error = world.hear_error(1, "E_RATE");
    assert_eq!((&error["q"], &error["retry_ms"], error.get("fatal")), (&json!(8), &json!(10_000), None));
    for _ in 0..19 {
        world.say(1, json!({ "t": "queue" }));
        world.hear_error(1, "E_RATE");
    }
    world.say(1, json!({ "t": "queue" }));
    assert_eq!(world.hear_error(1, "E_RATE")["fatal"], true);
    assert_eq!(world.closed[&1], 4429);
    world.assert_nothing_left();
}

#[test]
fn patience_pays() {
    let mut world = World::new();
    world.enter(1);
    for _ in 0..6 {
        world.queue(1);
        world.say(1, json!({ "t": "leave" }));
        world.hear(1, "left");
    }
    world.pass(10_000);
    world.queue(1);
}

#[test]
fn next_is_limited_to_twenty_a_minute() {
    let mut world = World::new();
    world.enter(1);
    world.queue(1);
    let mut nexts = 0;
    for stranger in 100..125 {
        world.enter(stranger);
        world.queue(stranger);
        let call = world.hear(1, "matched")["call"].clone();
        world.say(1, json!({ "t": "next", "call": call }));
        if world.desk.calls.is_empty() {
            nexts += 1;
            world.hear(1, "ended");
            world.hear(1, "queued");
            world.leave(stranger);
        } else {
            world.hear_error(1, "E_RATE");
            break;
        }
    }
    assert_eq!(nexts, 20);
}

#[test]
fn text_is_limited_to_bursts_of_ten() {
    let mut world = World::new();
    let call = world.talking();
    for k in 0..10 {
        world.say(1, json!({ "t": "text", "call": call, "k": k, "b": "x" }));
        world.hear(2, "text");
    }
    world.say(1, json!({ "t": "text", "call": call, "k": 10, "b": "x" }));
    assert_eq!(world.hear_error(1, "E_RATE")["retry_ms"], 200);
    world.silent(2);
}

#[test]
fn a_call_has_its_share_of_descriptions_and_candidates() {
    let mut world = World::new();
    let call = world.talking();
    for _ in 0..7 {
        world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": "x" }));
        world.hear_error(1, "E_SDP");
    }
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
    world.hear_error(1, "E_RATE");
    for _ in 0..64 {
        world.say(2, json!({ "t": "cand", "call": call, "gen": 1, "c": "candidate:x" }));
        world.hear_error(2, "E_CAND");
    }
    world.say(2, json!({ "t": "cand", "call": call, "gen": 1, "c": "candidate:x" }));
    world.hear_error(2, "E_RATE");
    world.silent(1);
}

#[test]
fn a_full_server_turns_newcomers_away_and_keeps_those_it_has() {
    let mut settings = settings();
    settings.max_sessions = 10;
    let mut world = World::with(settings);
    for who in 1..=9 {
        world.enter(who);
    }
    let mut waits = BTreeSet::new();
    for who in 10..20 {
        waits.insert(world.turned_away(who)["retry_ms"].as_u64().unwrap());
    }
    assert!(waits.len() > 5 && waits.iter().all(|wait| (2_000..4_000).contains(wait)), "spread: {waits:?}");
    world.queue(1);
    world.queue(2);
    world.hear(1, "matched");
}

/// The last tenth is for those who come back; beyond it nobody can.
#[test]
fn a_full_server_has_room_for_those_who_come_back() {
    let mut world = World::with(Settings { max_sessions: 10, ..settings() });
    let welcome = (1..=9).map(|who| world.enter(who)).last().unwrap();
    world.cut(9);
    world.open(19);
    let resume = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": 0 });
    world.say(19, json!({ "t": "hello", "v": [1], "resume": resume }));
    assert_eq!(world.hear(19, "welcome")["resumed"]["state"], "idle");
    world.open(20);
    world.open(21);
    world.hear_error(21, "E_BUSY");
    assert_eq!(world.closed.get(&21), Some(&4503), "not even a hello is read");
}

#[test]
fn a_machine_at_its_limits_serves_the_calls_it_has_and_nobody_new() {
    let mut world = World::new();
    let call = world.talking();
    world.desk.set_strained(true);
    world.turned_away(3);
    world.say(1, json!({ "t": "text", "call": call, "k": 1, "b": "still here" }));
    world.hear(2, "text");
    world.desk.set_strained(false);
    world.enter(4);
}

#[test]
fn a_full_relay_refuses_the_wish_and_keeps_the_session() {
    let mut world = World::new();
    world.enter(1);
    world.queue(1);
    world.say(1, json!({ "t": "leave" }));
    world.hear(1, "left");
    world.relay.0.lock().unwrap().capacity = Some(0);
    world.say(1, json!({ "t": "queue", "q": 5 }));
    let error = world.hear_error(1, "E_BUSY");
    assert!(error.get("fatal").is_none() && error["retry_ms"].is_u64());
    world.relay.0.lock().unwrap().capacity = None;
    world.queue(1);
}

#[test]
fn a_partners_country_may_be_asked_for_and_comes_from_the_token_alone() {
    let mut world = World::new();
    let from = |number: u64, country: &str| Profile { country: Some(country.into()), ..profile(number) };
    world.enter_as(1, &from(1, "VN"));
    world.say(1, json!({ "t": "queue", "countries": ["DE"] }));
    world.hear(1, "queued");
    world.enter_as(2, &from(2, "FR"));
    world.queue(2);
    world.pass(30_000);
    assert_eq!(world.desk.calls.len(), 0);
    world.enter(3);
    world.queue(3);
    world.hear(3, "matched");
    world.ignore(1);
    world.ignore(2);
    world.enter_as(4, &from(4, "DE"));
    world.queue(4);
    world.hear(4, "matched");
    world.hear(1, "matched");
}

#[test]
fn an_appointment_is_kept_by_the_two_who_have_it_and_again_after_they_have_met() {
    let mut world = World::new();
    let booked = |number: u64, with: &str| Profile { with: Some(with.into()), ..profile(number) };
    world.enter(9);
    world.queue(9);
    for (who, with) in [(1, "lesson-7"), (2, "lesson-8"), (3, "lesson-7")] {
        world.enter_as(who, &booked(who, with));
        world.queue(who);
    }
    let call = world.hear(1, "matched")["call"].clone();
    assert_eq!(world.hear(3, "matched")["call"], call);
    world.silent(2);
    world.silent(9);
    for who in [1, 3] {
        world.say(who, json!({ "t": "ack", "call": call }));
    }
    world.say(1, json!({ "t": "hangup", "call": call }));
    world.ignore(1);
    world.ignore(3);
    for who in [1, 3] {
        world.queue(who);
    }
    world.hear(1, "matched");
}

#[test]
fn who_waits_long_hears_which_wish_stands_in_the_way() {
    let mut world = World::new();
    for who in 1..=12 {
        world.enter(who);
    }
    let picky = |levels: u8| json!({ "t": "queue", "max_dist": levels, "gender": ["f"] });
    world.say(1, picky(5));
    world.hear(1, "queued");
    world.pass(9_000);
    world.ignore(1);
    world.pass(20_000);
    world.hear_error(1, "E_NO_SUPPLY");
    let frames: Vec<Value> = world.inbox.remove(&1).unwrap_or_default().into();
    assert!(frames.iter().all(|frame| frame["t"] == "position"), "and it is said once: {frames:?}");
    // Somebody who would do but for one wish.
    world.say(2, json!({ "t": "queue", "gender": ["x"], "topics": [1], "topic_mode": "require" }));
    world.hear(2, "queued");
    world.pass(10_000);
    let frames: Vec<Value> = world.inbox.remove(&1).unwrap_or_default().into();
    let hint = frames.iter().rfind(|frame| frame["t"] == "position").map(|frame| frame["hint"].clone());
    assert_eq!(hint, Some(json!({ "relax": "gender", "would_match": 1 })), "{frames:?}");
}

//! Other settings while people talk.

use super::*;
use crate::matchmaking::Recent;

#[test]
fn keys_rotate_with_overlap_and_whoever_is_inside_stays() {
    let mut world = World::new();
    world.talking();
    let with = |names: &[&str]| {
        let keys = names.iter().map(|name| ((*name).to_owned(), Key::hs256(SECRET).unwrap())).collect();
        Settings { token: token::Settings { keys, ..settings().token }, ..settings() }
    };
    // The same secret under another name: tokens of the harness are signed as "dev".
    world.desk.adopt(world.now, with(&["dev", "next"]));
    world.enter(3);
    world.desk.adopt(world.now, with(&["next"]));
    let token = world.token(&profile(4));
    world.open(4);
    world.say(4, json!({ "t": "hello", "v": [1], "token": token }));
    world.hear_error(4, "E_TOKEN");
    world.desk.adopt(world.now, settings());
    world.enter(5);
}

#[test]
fn who_enters_is_told_of_the_new_topics() {
    let mut world = World::new();
    let before = world.enter(1);
    world.desk.adopt(world.now, Settings { topics: vec!["weather".to_owned()], ..settings() });
    let after = world.enter(2);
    assert_eq!(after["topics"], json!(["weather"]));
    assert_ne!(before["topics_rev"], after["topics_rev"]);
}

#[test]
fn a_call_that_stands_goes_on_as_it_began() {
    let mut world = World::new();
    let call = world.talking();
    world.desk.adopt(world.now, Settings { direct_first: true, acceptance: true, turn_urls: Vec::new(), ..settings() });
    world.pass(60_000);
    world.say(1, json!({ "t": "text", "call": call, "k": 1, "b": "still here" }));
    assert_eq!(world.hear(2, "text")["b"], "still here");
}

#[test]
fn turned_off_calls_end_by_themselves_and_nobody_sits_down_until_it_is_on_again() {
    let mut world = World::new();
    let call = world.talking();
    world.enter(3);
    world.desk.adopt(world.now, Settings { open: false, ..settings() });
    world.collect();
    for who in [1, 2, 3] {
        world.hear(who, "drain");
    }
    assert_eq!((world.closed.get(&1), world.closed.get(&3)), (None, Some(&1001)));
    world.say(1, json!({ "t": "text", "call": call, "k": 1, "b": "still here" }));
    assert_eq!(world.hear(2, "text")["b"], "still here");
    world.turned_away(4);
    world.say(1, json!({ "t": "next", "q": 9, "call": call }));
    assert_eq!((world.closed.get(&1), world.closed.get(&2)), (Some(&1001), Some(&1001)));
    world.desk.adopt(world.now, settings());
    world.enter(5);
}

#[test]
fn turned_on_it_waits_for_the_revocations_of_before() {
    let mut world = World::with(Settings { open: false, ..settings() });
    world.desk.adopt(world.now, Settings { await_revocations: true, ..settings() });
    world.open(1);
    world.hear_error(1, "E_BUSY");
    world.desk.recall(world.now, std::iter::empty()).unwrap();
    world.enter(2);
}

#[test]
fn whether_people_who_just_met_meet_again_changes_for_who_comes_then() {
    let mut world = World::new();
    let with = |recent| Settings { matching: Policy { recent, ..settings().matching }, ..settings() };
    world.desk.adopt(world.now, with(Recent::Avoid));
    let mut call = world.talking();
    for (recent, meet) in [(Recent::Avoid, false), (Recent::Allow, true), (Recent::Avoid, true)] {
        world.desk.adopt(world.now, with(recent));
        world.say(1, json!({ "t": "hangup", "call": call }));
        world.ignore(1);
        world.ignore(2);
        let before = world.counters.matched();
        world.queue(1);
        world.queue(2);
        assert_eq!(world.counters.matched() > before, meet, "{recent:?}");
        if meet {
            call = world.hear(1, "matched")["call"].as_str().unwrap().to_owned();
        } else {
            world.say(1, json!({ "t": "leave" }));
            world.say(2, json!({ "t": "leave" }));
            world.ignore(1);
            world.ignore(2);
        }
    }
}

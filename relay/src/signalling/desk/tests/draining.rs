//! The server is going to end.

use super::*;

#[test]
fn whoever_is_in_no_call_is_sent_away_and_calls_go_on() {
    let mut world = World::new();
    world.talking();
    world.open(3); // has not said hello
    world.enter(4);
    world.enter(5);
    world.queue(5);
    world.drain();
    for who in [3, 4, 5] {
        assert_eq!(world.closed.get(&who), Some(&1001), "{who}");
    }
    world.pass(120_000);
    world.say(1, json!({ "t": "ping", "p": 7 }));
    world.hear(1, "pong");
    assert!(!world.closed.contains_key(&1) && !world.closed.contains_key(&2));
    assert_eq!(world.counters.calls(), 1);
}

#[test]
fn when_a_call_ends_both_sides_are_sent_away_after_they_are_told() {
    let mut world = World::new();
    let call = world.talking();
    world.drain();
    world.say(1, json!({ "t": "hangup", "q": 9, "call": call }));
    world.hear(1, "ended");
    world.hear(2, "ended");
    assert_eq!((world.closed.get(&1), world.closed.get(&2)), (Some(&1001), Some(&1001)));
    world.assert_nothing_left();
}

#[test]
fn next_leads_to_nobody() {
    let mut world = World::new();
    let call = world.talking();
    world.drain();
    world.say(2, json!({ "t": "next", "q": 9, "call": call }));
    assert_eq!((world.closed.get(&1), world.closed.get(&2)), (Some(&1001), Some(&1001)));
    world.assert_nothing_left();
}

#[test]
fn a_set_up_that_fails_puts_nobody_back_into_the_queue() {
    let mut world = World::new();
    world.match_two();
    world.drain();
    world.pass(20_000);
    assert_eq!((world.closed.get(&1), world.closed.get(&2)), (Some(&1001), Some(&1001)));
    world.assert_nothing_left();
}

#[test]
fn a_side_that_disappears_takes_the_call_with_it_and_the_other_is_sent_away() {
    let mut world = World::new();
    world.talking();
    world.drain();
    world.leave(1);
    assert_eq!(world.closed.get(&2), Some(&1001));
    world.assert_nothing_left();
}

#[test]
fn new_connections_are_turned_away_and_told_when_to_come_back() {
    let mut world = World::new();
    world.drain();
    world.open(1);
    assert!(world.hear_error(1, "E_BUSY")["retry_ms"].as_u64().is_some_and(|wait| wait > 0));
    assert_eq!(world.closed.get(&1), Some(&4503));
    world.assert_nothing_left();
}

#[test]
fn who_was_in_a_call_comes_back_to_it() {
    let mut world = World::new();
    let welcome = world.enter(1);
    world.queue(1);
    world.enter(2);
    world.queue(2);
    let call = world.hear(1, "matched")["call"].as_str().unwrap().to_owned();
    world.hear(2, "matched");
    world.connect(&call);
    world.drain();
    world.cut(1);
    world.open(11);
    let resume = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": world.numbers[&1] });
    world.say(11, json!({ "t": "hello", "v": [1], "resume": resume }));
    assert_eq!(world.hear(11, "welcome")["resumed"]["call"], json!(call));
    world.turned_away(12);
}

impl World {
    pub(super) fn turned_away(&mut self, who: u64) -> Value {
        let token = self.token(&profile(who));
        self.open(who);
        self.say(who, json!({ "t": "hello", "q": 1, "v": [1], "token": token }));
        let error = self.hear_error(who, "E_BUSY");
        assert_eq!((&error["fatal"], self.closed[&who]), (&json!(true), 4503));
        error
    }

    fn drain(&mut self) {
        self.desk.handle_drain(self.now, 30_000, None);
        self.collect();
        for heard in self.inbox.values_mut() {
            heard.retain(|frame| frame["t"] != "drain"); // looked at in `operating`
        }
    }
}

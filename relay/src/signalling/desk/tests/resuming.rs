//! Connections that break and come back.

use super::*;

/// What a client remembers.
pub(super) struct Ticket {
    pub(super) sid: Value,
    pub(super) key: Value,
}

impl Ticket {
    pub(super) fn of(welcome: &Value) -> Ticket {
        Ticket { sid: welcome["sid"].clone(), key: welcome["key"].clone() }
    }
}

impl World {
    /// `from` was cut; its client comes back as `to` with everything up to its last number. Returns what `to` hears first.
    pub(super) fn come_back(&mut self, from: u64, to: u64, ticket: &Ticket) -> Value {
        let n = self.numbers.get(&from).copied().unwrap_or(0);
        self.come_back_from(to, ticket, n);
        self.numbers.insert(to, n.max(self.numbers.get(&to).copied().unwrap_or(0)));
        self.inbox.get_mut(&to).and_then(VecDeque::pop_front).unwrap_or_default()
    }

    fn come_back_from(&mut self, to: u64, ticket: &Ticket, n: u64) {
        self.open(to);
        let resume = json!({ "sid": ticket.sid, "key": ticket.key, "n": n });
        self.say(to, json!({ "t": "hello", "q": 1, "v": [1], "resume": resume }));
    }

    /// 1 and 2 talk; their tickets.
    pub(super) fn talking_with_tickets(&mut self) -> (String, [Ticket; 2]) {
        let tickets = [1, 2].map(|who| {
            let ticket = Ticket::of(&self.enter(who));
            self.queue(who);
            ticket
        });
        let call = self.hear(1, "matched")["call"].as_str().unwrap().to_owned();
        self.hear(2, "matched");
        for who in [1, 2] {
            self.say(who, json!({ "t": "ack", "call": call }));
        }
        self.connect(&call);
        (call, tickets)
    }
}

#[test]
fn a_call_goes_on_while_a_connection_is_away_and_nothing_said_meanwhile_is_lost() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    world.cut(1);
    assert_eq!(world.hear(2, "peer"), json!({ "t": "peer", "call": call, "s": "reconnecting" }));
    for k in 1..=3 {
        world.say(2, json!({ "t": "text", "call": call, "k": k, "b": "are you there?" }));
    }
    assert_eq!(world.open_handles(), 2, "media does not depend on this connection");
    world.pass(RESUME_MS - 1);
    let welcome = world.come_back(1, 11, &ticket);
    assert_eq!(welcome["resumed"], json!({ "state": "call", "call": call, "gen": 1, "q": 2 }));
    assert_eq!(welcome["sid"], ticket.sid);
    assert_ne!(welcome["key"], ticket.key, "a key is good once");
    for k in 1..=3 {
        assert_eq!(world.hear(11, "text")["k"], k);
    }
    world.silent(11);
    assert_eq!(world.hear(2, "peer")["s"], "back");
    world.say(11, json!({ "t": "text", "call": call, "k": 1, "b": "yes" }));
    assert_eq!(world.hear(2, "text")["b"], "yes");
    world.pass(60_000);
    assert_eq!(world.desk.calls.len(), 1);
    world.say(2, json!({ "t": "hangup", "call": call }));
    assert_eq!(world.hear(11, "ended")["by"], "peer");
}

/// Exactly once: a client that breaks off again before it could repeat anything is told the same.
#[test]
fn what_a_broken_connection_swallowed_can_be_said_again() {
    let mut world = World::new();
    let (call, [mut ticket, _]) = world.talking_with_tickets();
    let text = |q: u64| json!({ "t": "text", "q": q, "call": call, "k": q, "b": "hello?" });
    world.say(1, text(5));
    assert_eq!(world.hear(2, "text")["k"], 5);
    // What bears a 6 was on its way when the connection broke.
    for (from, to) in [(1, 11), (11, 12)] {
        world.cut(from);
        world.open(to);
        let resume = json!({ "sid": ticket.sid, "key": ticket.key, "n": world.numbers[&1] });
        world.say(to, json!({ "t": "hello", "q": 7, "v": [1], "resume": resume }));
        let welcome = world.hear(to, "welcome");
        assert_eq!(welcome["resumed"]["q"], 5, "the number of `hello` is not one of them");
        ticket = Ticket::of(&welcome);
        world.ignore(2);
    }
    world.say(12, text(6));
    assert_eq!(world.hear(2, "text")["k"], 6);
}

#[test]
fn who_does_not_come_back_in_time_has_left_the_call() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    world.cut(1);
    world.hear(2, "peer");
    world.pass(RESUME_MS);
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"lost"}));
    assert_eq!(world.open_handles(), 0);
    assert_eq!(world.come_back(1, 11, &ticket)["code"], "E_TOKEN");
    assert_eq!(world.closed[&11], 4401);
}

#[test]
fn a_ticket_waits_unseen_and_keeps_its_seniority() {
    let mut world = World::new();
    let ticket = Ticket::of(&world.enter(1));
    let place = handle_of(&world.queue(1));
    world.pass(700);
    world.cut(1);
    world.enter(2);
    world.queue(2);
    world.pass(3_000);
    assert_eq!(world.desk.queues.waiting(), 1, "nobody is matched with somebody who is not there");
    world.ignore(2);
    let welcome = world.come_back(1, 11, &ticket);
    assert_eq!(welcome["resumed"], json!({ "state": "queued", "q": 2 }));
    let queued = world.hear(11, "queued");
    assert_eq!((handle_of(&welcome), handle_of(&queued)), (place, place), "the place on the relay has stayed");
    world.hear(11, "matched");
    world.hear(2, "matched");
    let call = world.desk.calls.values().next().unwrap();
    let sinces = [call.waiter.since, call.arrival.since];
    assert!(sinces.contains(&Millis(1_000)), "t0 of before: {sinces:?}");
}

#[test]
fn an_offer_in_a_ticket_survives_a_resumption() {
    let mut world = World::new();
    let ticket = Ticket::of(&world.enter(1));
    world.say(1, json!({ "t": "queue", "offer": { "gen": 1, "sdp": CHROMIUM } }));
    world.hear(1, "queued");
    world.cut(1);
    world.come_back(1, 11, &ticket);
    world.enter(2);
    world.queue(2);
    assert_eq!(world.hear(2, "matched")["offer"]["gen"], 1);
}

#[test]
fn losing_somebody_in_set_up_sends_both_back_with_their_seniority() {
    let mut world = World::new();
    let tickets = [1, 2].map(|who| Ticket::of(&world.enter(who)));
    world.queue(1);
    world.pass(400);
    world.queue(2);
    world.ignore(1);
    world.hear(2, "matched");
    world.pass(300);
    world.cut(1);
    let ended = world.hear(2, "ended");
    assert_eq!((&ended["why"], &ended["requeued"]), (&json!("lost"), &json!(true)));
    world.hear(2, "queued");
    let welcome = world.come_back(1, 11, &tickets[0]);
    assert_eq!(welcome["resumed"]["state"], "queued");
    assert_eq!(world.hear(11, "ended")["requeued"], true);
    world.hear(11, "queued");
    let Place::Queued(waiting) = &world.desk.sessions[&Connection(11)].place else { panic!("not queued") };
    assert_eq!(waiting.since, Millis(1_000));
}

#[test]
fn breaking_off_set_ups_again_and_again_keeps_no_place() {
    let mut world = World::new();
    let mut ticket = Ticket::of(&world.enter(1));
    let mut at = 1;
    world.queue(1);
    for round in 0..3 {
        let other = 20 + round;
        world.enter(other);
        world.queue(other);
        world.hear(at, "matched");
        world.cut(at);
        world.leave(other);
        world.ignore(other);
        let next = at + 100;
        let welcome = world.come_back(at, next, &ticket);
        ticket = Ticket::of(&welcome);
        assert_eq!(welcome["resumed"]["state"], if round < 2 { "queued" } else { "idle" });
        world.ignore(next);
        at = next;
    }
}

#[test]
fn w21_a_key_is_good_once_and_of_two_connections_the_newer_one_wins() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    // The old connection is not known to be broken.
    let welcome = world.come_back(1, 11, &ticket);
    assert_eq!(welcome["resumed"]["call"], json!(call));
    world.hear_error(1, "E_REPLACED");
    assert_eq!(world.closed[&1], 4409);
    world.silent(2);
    assert_eq!(world.come_back(1, 12, &ticket)["code"], "E_TOKEN", "the old key opens nothing");
    world.leave(1);
    world.say(11, json!({ "t": "text", "call": call, "k": 1, "b": "still here" }));
    world.hear(2, "text");
    assert_eq!(world.come_back(11, 13, &Ticket::of(&welcome))["t"], "welcome");
}

#[test]
fn a_wrong_key_opens_nothing_and_costs_the_owner_nothing() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    world.cut(1);
    world.ignore(2);
    let n = world.numbers[&1];
    for (who, key, n) in
        [(21, json!("AAAAAAAAAAAAAAAAAAAAAA"), n), (22, json!("x"), n), (23, ticket.key.clone(), n + 1)]
    {
        let forged = Ticket { sid: ticket.sid.clone(), key };
        world.come_back_from(who, &forged, n);
        world.hear_error(who, "E_TOKEN");
        assert_eq!(world.closed[&who], 4401);
    }
    assert_eq!(world.come_back(1, 11, &ticket)["resumed"]["call"], json!(call));
}

#[test]
fn who_missed_more_than_is_kept_starts_anew() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    let seen = world.numbers[&1];
    for burst in 0..10 {
        for k in 0..8 {
            world.say(2, json!({ "t": "text", "call": call, "k": burst * 8 + k, "b": "x" }));
        }
        world.pass(1_400);
    }
    world.ignore(2);
    world.come_back_from(11, &ticket, seen);
    world.hear_error(11, "E_TOKEN");
    // With a token beside it the same client is simply a newcomer, and its old session is replaced.
    let token = world.token(&profile(1));
    world.open(12);
    let resume = json!({ "sid": ticket.sid, "key": ticket.key, "n": seen });
    world.say(12, json!({ "t": "hello", "v": [1], "token": token, "resume": resume }));
    assert!(world.hear(12, "welcome").get("resumed").is_none());
    assert_eq!(world.closed[&1], 4409);
    assert_eq!(world.hear(2, "ended")["why"], "lost");
}

#[test]
fn text_is_kept_for_as_long_as_a_connection_may_be_resumed_and_not_after_the_call() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    let kept =
        |world: &World| world.desk.sessions[&Connection(1)].replay.after(0).filter(|it| it.contains("mark")).count();
    let text = json!({ "t": "text", "call": call, "k": 1, "b": "mark" });
    world.say(2, text.clone());
    assert_eq!(kept(&world), 1);
    world.pass(2 * RESUME_MS);
    assert_eq!(kept(&world), 0, "with nothing else happening");
    world.cut(1);
    world.say(2, text);
    world.say(2, json!({ "t": "hangup", "call": call }));
    assert_eq!(kept(&world), 0);
    assert_eq!(world.come_back(1, 11, &ticket)["resumed"], json!({ "state": "idle", "q": 2 }));
    assert_eq!(world.hear(11, "ended")["why"], "hangup", "and nothing of what was said");
}

#[test]
fn a_client_that_says_what_has_arrived_needs_nothing_kept() {
    let mut world = World::new();
    world.talking_with_tickets();
    let n = world.numbers[&1];
    world.say(1, json!({ "t": "ping", "p": 1, "n": n }));
    assert_eq!(world.hear(1, "pong")["p"], 1);
    assert!(world.desk.sessions[&Connection(1)].replay.is_empty());
}

#[test]
fn a_goodbye_is_no_break() {
    let mut world = World::new();
    let (_, [ticket, _]) = world.talking_with_tickets();
    world.leave(1);
    assert_eq!(world.hear(2, "ended")["why"], "lost");
    assert_eq!(world.come_back(1, 11, &ticket)["code"], "E_TOKEN");
}

#[test]
fn limits_survive_a_resumption() {
    let mut world = World::new();
    let mut ticket = Ticket::of(&world.enter(1));
    for turn in 0..6 {
        world.queue(1 + turn * 10);
        world.say(1 + turn * 10, json!({ "t": "leave" }));
        world.hear(1 + turn * 10, "left");
        world.cut(1 + turn * 10);
        ticket = Ticket::of(&world.come_back(1 + turn * 10, 11 + turn * 10, &ticket));
    }
    world.say(61, json!({ "t": "queue" }));
    world.hear_error(61, "E_RATE");
}

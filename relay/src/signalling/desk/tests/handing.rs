//! Another process takes this one's place.

use super::resuming::Ticket;
use super::*;
use crate::calls::Media;
use crate::matchmaking::Recent;

const NOBODY: &dyn Fn(&Handle) -> bool = &|_| false;

impl World {
    /// Everybody moves.
    fn upgrade(&mut self) -> World {
        let old = self.hand_over(settings(), NOBODY);
        let desk = &old.desk;
        assert_eq!((desk.sessions.len(), desk.calls.len(), desk.bound.len(), old.open_handles()), (0, 0, 0, 0));
        old
    }
}

#[test]
fn a_call_goes_on_in_the_other_process_and_nothing_said_meanwhile_is_lost() {
    let mut world = World::new();
    let (call, tickets) = world.talking_with_tickets();
    // On its way to 1 when the connection was closed.
    let seen = world.numbers[&1];
    world.say(2, json!({ "t": "text", "call": call, "k": 1, "b": "are you there?" }));
    let old = world.upgrade();
    assert_eq!((old.closed[&1], old.closed[&2]), (1012, 1012));
    world.numbers.insert(1, seen);
    let welcome = world.come_back(1, 11, &tickets[0]);
    assert_eq!(welcome["resumed"], json!({ "state": "call", "call": call, "gen": 1, "q": 2 }));
    assert_eq!(world.hear(11, "text")["b"], "are you there?");
    assert_eq!(world.hear(11, "peer")["s"], "reconnecting");
    assert_eq!(world.come_back(2, 12, &tickets[1])["resumed"]["call"], json!(call));
    assert_eq!(
        [world.hear(12, "peer"), world.hear(12, "peer")].map(|peer| peer["s"].clone()),
        ["reconnecting", "back"]
    );
    assert_eq!(world.hear(11, "peer")["s"], "back");
    world.say(11, json!({ "t": "text", "call": call, "k": 2, "b": "yes" }));
    assert_eq!(world.hear(12, "text")["b"], "yes");
    world.pass(60_000);
    assert_eq!((world.desk.calls.len(), world.open_handles()), (1, 2));
    world.say(12, json!({ "t": "hangup", "call": call }));
    assert_eq!(world.hear(11, "ended")["by"], "peer");
    assert_eq!(world.relay.0.lock().unwrap().paired.len(), 0);
}

#[test]
fn who_does_not_come_back_to_the_other_process_has_left_the_call() {
    let mut world = World::new();
    let (call, tickets) = world.talking_with_tickets();
    world.upgrade();
    world.pass(RESUME_MS - 1);
    world.come_back(1, 11, &tickets[0]);
    world.ignore(11);
    world.pass(1);
    assert_eq!(world.hear(11, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"lost"}));
    assert_eq!(world.come_back(2, 12, &tickets[1])["code"], "E_TOKEN");
}

#[test]
fn tickets_wait_unseen_and_come_back_in_the_order_they_had() {
    let mut world = World::new();
    let mut held = Vec::new();
    world.desk.hold(world.now);
    for who in 1..=4 {
        held.push((Ticket::of(&world.enter(who)), handle_of(&world.queue(who))));
        world.pass(100);
    }
    assert_eq!(world.desk.queues.waiting(), 4, "nobody is matched while the desk is held");
    world.upgrade();
    assert_eq!(world.desk.queues.waiting(), 0);
    // Those who waited longest are not the first to be back.
    for (from, to) in [(4, 14), (1, 11)] {
        let (ticket, place) = &held[from as usize - 1];
        let welcome = world.come_back(from, to, ticket);
        assert_eq!(welcome["resumed"], json!({ "state": "queued", "q": 2 }));
        assert_eq!(handle_of(&world.hear(to, "queued")), *place, "the place on the relay has stayed");
    }
    world.hear(11, "matched");
    world.hear(14, "matched");
    let call = world.desk.calls.values().next().unwrap();
    let mut sinces = [call.waiter.since, call.arrival.since];
    sinces.sort_unstable();
    assert_eq!(sinces, [Millis(1_000), Millis(1_300)], "t0 of before");
}

#[test]
fn an_offer_in_a_ticket_and_wishes_survive() {
    let mut world = World::new();
    let ticket = Ticket::of(&world.enter(1));
    world.say(1, json!({ "t": "queue", "topics": [2], "offer": { "gen": 1, "sdp": CHROMIUM } }));
    world.hear(1, "queued");
    world.upgrade();
    world.come_back(1, 11, &ticket);
    world.enter(2);
    world.queue(2);
    let matched = world.hear(2, "matched");
    assert_eq!((&matched["offer"]["gen"], &matched["peer"]["topics"]), (&json!(1), &json!([])));
    let caller = world.desk.sessions[&Connection(11)].caller.as_ref().unwrap();
    assert_eq!(caller.wishes.unwrap().topics.iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn whoever_was_away_already_has_the_whole_time_again() {
    let mut world = World::new();
    let idle = Ticket::of(&world.enter(1));
    let queued = Ticket::of(&world.enter(2));
    world.queue(2);
    world.cut(1);
    world.cut(2);
    world.pass(RESUME_MS - 1);
    let old = world.upgrade();
    assert!(old.closed.is_empty());
    world.pass(RESUME_MS - 1);
    assert_eq!(world.come_back(1, 11, &idle)["resumed"]["state"], "idle");
    assert_eq!(world.come_back(2, 12, &queued)["resumed"]["state"], "queued");
}

#[test]
fn a_call_in_set_up_is_over_at_nobodys_fault() {
    let mut world = World::new();
    let tickets = [1, 2].map(|who| Ticket::of(&world.enter(who)));
    world.queue(1);
    world.pass(400);
    world.queue(2);
    world.hear(1, "matched");
    world.hear(2, "matched");
    world.desk.hold(world.now);
    assert_eq!(world.desk.calls_in_set_up(), 1);
    let mut old = world.upgrade();
    for (who, ticket) in [(1, &tickets[0]), (2, &tickets[1])] {
        assert_eq!(old.hear(who, "ended")["requeued"], true);
        assert_eq!(world.come_back(who, who + 10, ticket)["resumed"]["state"], "queued");
        world.hear(who + 10, "queued");
        let session = &world.desk.sessions[&Connection(who + 10)];
        let Place::Queued(waiting) = &session.place else { panic!("not queued") };
        assert_eq!((waiting.since, session.caller.as_ref().unwrap().failures), (Millis(1_000 + 400 * (who - 1)), 0));
    }
}

#[test]
fn a_set_up_comes_to_its_end_while_the_desk_is_held() {
    let mut world = World::new();
    let (call, ..) = world.match_two();
    world.desk.hold(world.now);
    world.connect(&call);
    assert_eq!(world.desk.calls_in_set_up(), 0);
}

#[test]
fn whoever_waited_for_each_other_is_matched_at_once_when_the_desk_goes_on() {
    let mut world = World::new();
    let booked = |name: &str| Profile { with: Some(name.to_owned()), ..profile(4) };
    let (lesson, other) = (booked("lesson"), Profile { sub: "pseudonym-000005".into(), ..booked("lesson") });
    world.enter(1);
    world.enter(2);
    world.say(1, wish(&[Gender::X], None, TopicMode::Prefer, &[]));
    world.hear(1, "queued");
    world.desk.hold(world.now);
    world.queue(2);
    world.enter_as(4, &lesson);
    world.queue(4);
    world.enter_as(5, &other);
    world.queue(5);
    world.say(1, json!({ "t": "tune", "q": 3 }));
    world.hear(1, "tuned");
    world.pass(20_000);
    assert!([1, 2, 4, 5].iter().all(|who| !world.heard(*who, "matched")), "nor by a change of wishes, or patience");
    world.enter(3);
    world.queue(3);
    world.say(3, json!({ "t": "leave" }));
    world.desk.go_on(world.now);
    world.collect();
    assert!([1, 2, 4, 5].iter().all(|who| world.heard(*who, "matched")));
    world.ignore(3);
    world.queue(3);
    world.enter(6);
    world.queue(6);
    world.hear(6, "matched");
}

#[test]
fn a_call_whose_media_comes_over_a_stream_stays_whole() {
    let mut world = World::new();
    let (call, _) = world.talking_with_tickets();
    let stream = world.desk.calls.values().next().unwrap().arrival.handle;
    let ticket = Ticket::of(&world.enter(3));
    world.say(3, json!({ "t": "report", "call": call, "cat": "spam" }));
    world.hear_error(3, "E_CALL");
    let mut old = world.hand_over(settings(), &move |handle| *handle == stream);
    assert_eq!((old.closed.get(&1), old.closed.get(&2), old.closed[&3]), (None, None, 1012));
    assert_eq!((old.desk.calls.len(), old.open_handles()), (1, 2));
    old.say(1, json!({ "t": "text", "call": call, "k": 1, "b": "still here" }));
    assert_eq!(old.hear(2, "text")["b"], "still here");
    // As in a drain.
    old.say(1, json!({ "t": "next", "call": call }));
    assert_eq!((old.closed[&1], old.closed[&2]), (1001, 1001));
    old.assert_nothing_left();
    assert_eq!(world.come_back(3, 13, &ticket)["resumed"]["state"], "idle");
}

#[test]
fn somebody_who_waits_with_a_stream_moves_and_finds_another_place_on_the_relay() {
    let mut world = World::new();
    let ticket = Ticket::of(&world.enter(1));
    let place = handle_of(&world.queue(1));
    world.allocate(place);
    let old = world.hand_over(settings(), &move |handle| handle.0 == place);
    assert_eq!(old.open_handles(), 0, "what cannot move is closed");
    world.come_back(1, 11, &ticket);
    assert_ne!(handle_of(&world.hear(11, "queued")), place);
}

#[test]
fn whoever_comes_to_a_desk_that_is_packed_is_sent_to_the_other() {
    let mut world = World::new();
    world.talking();
    world.open(3); // has not said hello
    let stays: &dyn Fn(&Handle) -> bool = &|_| true;
    let mut old = world.hand_over(settings(), stays);
    assert_eq!(old.closed[&3], 1012);
    let token = old.token(&profile(4));
    old.open(4);
    old.say(4, json!({ "t": "hello", "v": [1], "token": token }));
    old.silent(4);
    assert_eq!(old.closed[&4], 1012);
    assert!(old.desk.bind_call(old.now, Lifetime::default()).is_err());
}

#[test]
fn a_call_of_an_apps_own_goes_on() {
    let mut world = World::new();
    let life = Lifetime { start_secs: 100, max_secs: 7_200 };
    let (empty, id) =
        (world.desk.bind_call(world.now, life).unwrap().0, world.desk.bind_call(world.now, life).unwrap().0);
    let [a, b] = world.desk.bound[&id].handles;
    world.allocate(a.0);
    world.pass(120_000 - 50_000);
    world.upgrade();
    assert_eq!(world.relay.0.lock().unwrap().paired[&a.0], b.0);
    world.pass(60_000);
    assert!(!world.desk.bound.contains_key(&empty), "nobody came");
    assert!(world.desk.rebind_call(world.now, id, 60).is_some());
    world.pass(7_200_000);
    world.assert_nothing_left();
}

#[test]
fn what_is_known_of_people_who_are_not_here_is_known_there() {
    let mut world = World::with(Settings { await_revocations: true, ..settings() });
    world.desk.recall(world.now, std::iter::empty()).unwrap();
    let call = world.talking();
    world.say(1, json!({ "t": "block", "call": call }));
    let used = world.token(&profile(3));
    for (who, closes) in [(3, None), (4, Some(4401))] {
        world.open(who);
        world.say(who, json!({ "t": "hello", "v": [1], "token": used }));
        assert_eq!(world.closed.get(&who).copied(), closes);
    }
    world.desk.revoke(world.now, Subject::Person("pseudonym-000007"), 600).unwrap();
    for who in 1..=3 {
        world.leave(who);
    }
    world.hand_over(Settings { await_revocations: true, ..settings() }, NOBODY);
    let held = world.desk.held(world.now, "pseudonym-000001");
    assert_eq!((held.recent_partners, held.blocks), (1, 1));
    world.open(21);
    world.say(21, json!({ "t": "hello", "v": [1], "token": used }));
    world.hear_error(21, "E_TOKEN");
    let token = world.token(&profile(7));
    world.open(22);
    world.say(22, json!({ "t": "hello", "v": [1], "token": token }));
    world.hear_error(22, "E_REVOKED");
    for who in [31, 32] {
        world.enter_as(who, &profile(who - 30));
        world.queue(who);
    }
    world.pass(60_000);
    assert_eq!(world.desk.queues.waiting(), 2, "who has blocked or met somebody does not meet them");
}

#[test]
fn who_waits_for_revocations_goes_on_waiting() {
    let waits = || Settings { await_revocations: true, ..settings() };
    let mut world = World::with(waits());
    world.hand_over(waits(), NOBODY);
    world.open(1);
    world.hear_error(1, "E_BUSY");
    world.hand_over(settings(), NOBODY);
    world.enter(2);
}

#[test]
fn the_last_call_can_be_blocked_or_reported_with_what_was_said_before() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    world.say(2, json!({ "t": "text", "call": call, "k": 1, "b": "mark" }));
    let tag = world.hear(1, "text")["tag"].clone();
    world.say(2, json!({ "t": "hangup", "call": call }));
    world.pass(60_000);
    world.hand_over(Settings { tag_secret: Some([9; 32]), ..settings() }, NOBODY);
    world.come_back(1, 11, &ticket);
    world.ignore(11);
    let evidence = json!([{ "k": 1, "b": "mark", "tag": tag }]);
    world.say(11, json!({ "t": "report", "q": 9, "call": call, "cat": "spam", "ev": evidence }));
    let report: Value = serde_json::from_str(&world.reports[0].json).unwrap();
    assert_eq!((&report["verified"][0]["b"], &report["reported_sub"]), (&json!("mark"), &json!("pseudonym-000002")));
    world.say(11, json!({ "t": "block", "q": 10, "call": call }));
    world.hear(11, "blocked");
}

#[test]
fn a_report_on_its_way_is_delivered_from_here_and_its_reporter_told_to_try_again() {
    let mut world = World::new();
    let (call, [ticket, _]) = world.talking_with_tickets();
    world.say(1, json!({ "t": "report", "q": 9, "call": call, "cat": "minor_safety" }));
    world.hear(1, "ended");
    let mut old = world.upgrade();
    assert_eq!(old.hear_error(1, "E_REPORT_RETRY")["q"], 9);
    old.desk.handle_reported(old.now, old.reports[0].id, true);
    old.collect();
    world.numbers.insert(1, world.numbers[&1] - 1);
    world.come_back(1, 11, &ticket);
    assert_eq!(world.hear_error(11, "E_REPORT_RETRY")["q"], 9, "also to who did not get to hear it");
    world.say(11, json!({ "t": "report", "q": 10, "call": call, "cat": "minor_safety" }));
    assert_eq!(world.reports.len(), 1);
}

#[test]
fn limits_and_a_wish_to_follow_survive() {
    let mut world = World::new();
    let ticket = Ticket::of(&world.enter(1));
    world.say(1, json!({ "t": "trace", "on": true }));
    world.hear(1, "tracing");
    for _ in 0..6 {
        world.queue(1);
        world.say(1, json!({ "t": "leave" }));
        world.hear(1, "left");
    }
    world.upgrade();
    world.come_back(1, 11, &ticket);
    world.say(11, json!({ "t": "queue" }));
    world.hear_error(11, "E_RATE");
    assert!(world.desk.sessions[&Connection(11)].traced);
}

#[test]
fn a_restart_under_way_comes_to_its_end_and_a_silence_to_its_own() {
    let mut world = World::new();
    let (call, tickets) = world.talking_with_tickets();
    world.say(1, json!({ "t": "restart", "call": call }));
    world.pass(10_000);
    world.upgrade();
    assert_eq!(world.come_back(1, 11, &tickets[0])["resumed"]["gen"], 2);
    world.ignore(11);
    world.come_back(2, 12, &tickets[1]);
    world.pass(RESTART_MS - 10_000);
    assert!(world.heard(11, "ended"));

    let mut world = World::new();
    let (call, tickets) = world.talking_with_tickets();
    world.say(1, json!({ "t": "ice", "call": call, "s": "disconnected" }));
    world.hear(1, "peer");
    world.pass(4_000);
    world.upgrade();
    world.come_back(1, 11, &tickets[0]);
    world.pass(1_000);
    assert!(world.heard(11, "restart"));
}

#[test]
fn what_was_heard_of_a_call_is_counted_on_and_a_pause_of_a_handover_is_no_silence() {
    let mut world = World::new();
    world.talking();
    let handles = world.relay.0.lock().unwrap().open.clone();
    let hear = |world: &World, packets: u32| {
        let media = Media { since: Some(world.now.mono), expected: packets, received: packets, ..Media::default() };
        let heard = Heard { last: world.now.mono, media };
        world.relay.0.lock().unwrap().heard = handles.iter().map(|handle| (*handle, heard)).collect();
    };
    for step in 1..=40 {
        hear(&world, 15 * step);
        world.pass(250);
    }
    let told = |world: &mut World, who| {
        let frames = world.inbox.remove(&who).unwrap_or_default();
        assert!(frames.iter().all(|frame| frame["s"] != "stalled"));
        frames.iter().rev().find(|frame| frame["t"] == "quality").map(|frame| frame["your"]["up"]["packets"].clone())
    };
    assert!(told(&mut world, 1).is_some());
    let sid = world.desk.sessions[&Connection(1)].caller.as_ref().map(|caller| (caller.sid, caller.key)).unwrap();
    world.upgrade();
    let ticket = Ticket { sid: json!(sid.0), key: json!(sid.1) };
    world.come_back(1, 11, &ticket);
    world.pass(3_000);
    for step in 41..=60 {
        hear(&world, 15 * step);
        world.pass(250);
    }
    assert!(told(&mut world, 11).and_then(|packets| packets.as_u64()).is_some_and(|packets| packets > 650));
}

#[test]
fn a_desk_whose_successor_died_has_everybody_back() {
    let mut world = World::new();
    let (call, tickets) = world.talking_with_tickets();
    let waiting = Ticket::of(&world.enter(3));
    world.queue(3);
    let id = world.desk.bind_call(world.now, Lifetime::default()).unwrap().0;
    world.desk.hold(world.now);
    let packed = world.desk.pack(world.now, NOBODY).unwrap();
    world.collect();
    // The edge's news of the connections it has closed.
    world.leave(1);
    world.desk.take_back(world.now, &packed).unwrap();
    world.cut(2);
    assert_eq!((world.desk.calls.len(), world.open_handles()), (1, 5));
    assert!(world.desk.rebind_call(world.now, id, 60).is_some());
    world.enter(4);
    world.queue(4);
    world.come_back(3, 13, &waiting);
    assert_eq!(world.desk.queues.waiting(), 2);
    world.desk.go_on(world.now);
    world.collect();
    world.hear(4, "matched");
    for (who, ticket) in [(1, &tickets[0]), (2, &tickets[1])] {
        assert_eq!(world.come_back(who, who + 10, ticket)["resumed"]["call"], json!(call));
    }
}

#[test]
fn other_settings_are_taken_as_a_reload_would() {
    let mut world = World::new();
    let (call, tickets) = world.talking_with_tickets();
    let idle = Ticket::of(&world.enter(3));
    let mut other = Settings { open: false, acceptance: true, max_sessions: 1, ..settings() };
    other.matching.recent = Recent::Allow;
    let mut shut = World::new();
    std::mem::swap(&mut world, &mut shut);
    shut.hand_over(other, NOBODY);
    assert_eq!(shut.come_back(1, 11, &tickets[0])["resumed"]["call"], json!(call));
    assert_eq!(shut.come_back(3, 13, &idle)["code"], "E_BUSY", "whoever is in no call is sent away");
    assert_eq!(shut.desk.recent.of(shut.now.mono, shut.desk.verifier.person("pseudonym-000001")).count(), 0);
}

#[test]
fn a_relay_with_less_room_keeps_whom_it_can() {
    let mut world = World::new();
    let (call, tickets) = world.talking_with_tickets();
    let waiting = Ticket::of(&world.enter(3));
    world.queue(3);
    let packed = world.desk.pack(world.now, NOBODY).unwrap();
    let relay = FakeRelay::default();
    relay.0.lock().unwrap().capacity = Some(2);
    let (own, counters) = (Box::new(relay.clone()), Arc::new(Counters::default()));
    let desk = Desk::unpack(settings(), own, [8; 32], Arc::clone(&counters), &packed, world.now).unwrap();
    let (now, numbers, minted) = (world.now, world.numbers, world.minted);
    let (inbox, closed) = (HashMap::new(), HashMap::new());
    let mut world =
        World { desk, relay, counters, now, inbox, closed, reports: Vec::new(), said: Vec::new(), numbers, minted };
    assert_eq!(world.come_back(1, 11, &tickets[0])["resumed"], json!({ "state": "idle", "q": 2 }));
    assert_eq!(world.hear(11, "ended")["call"], json!(call));
    assert_eq!(world.come_back(3, 13, &waiting)["resumed"]["state"], "queued");
}

/// Its allocations are restored after that, by handle.
#[test]
fn the_ledger_of_the_other_process_has_their_places_open_and_paired() {
    use crate::auth::CallKeys;
    use crate::calls::Ledger;
    use crate::routes::Routes;
    use crate::signalling::LocalRelay;

    let mut world = World::new();
    world.talking();
    world.enter(3);
    let packed = world.desk.pack(world.now, NOBODY).unwrap();
    let ledger = Arc::new(Ledger::new(Arc::new(Routes::new(&[])), 100, 1));
    let relay = LocalRelay::new(Arc::clone(&ledger), Arc::new(CallKeys::new([1; 32])), |_, _| {});
    let desk = Desk::unpack(settings(), Box::new(relay), [8; 32], Arc::default(), &packed, world.now).unwrap();
    assert_eq!((ledger.open_handles(), packed.moves().len()), (3, 3));
    assert!(packed.moves().iter().all(|handle| ledger.may_allocate(handle).is_ok()));
    let call = desk.calls.values().next().unwrap();
    let idle = packed.moves().iter().find(|handle| **handle != call.waiter.handle && **handle != call.arrival.handle);
    assert_eq!(ledger.pair(call.waiter.handle, *idle.unwrap()), Err(Gone), "paired already");
}

#[test]
fn all_may_come_back_at_once_to_a_server_that_was_nearly_full() {
    let mut world = World::with(Settings { max_sessions: 10, ..settings() });
    let mut tickets = Vec::new();
    for who in 1..=9 {
        tickets.push(Ticket::of(&world.enter(who)));
    }
    world.hand_over(Settings { max_sessions: 10, ..settings() }, NOBODY);
    for who in 1..=9 {
        world.open(who + 10);
    }
    for (who, ticket) in (1..=9).zip(&tickets) {
        let resume =
            json!({ "sid": ticket.sid, "key": ticket.key, "n": world.numbers.get(&who).copied().unwrap_or(0) });
        world.say(who + 10, json!({ "t": "hello", "v": [1], "resume": resume }));
        assert_eq!(world.hear(who + 10, "welcome")["resumed"]["state"], "idle");
    }
}

/// A world with something of everything in it, by a fixed seed.
fn full() -> Packed {
    let mut world = World::new();
    let card = Some(json!({ "name": "A" }));
    let profiles = [1, 2].map(|who| Profile { card: card.clone(), ..profile(who) });
    for (who, profile) in (1..).zip(&profiles) {
        world.enter_as(who, profile);
        world.queue(who);
    }
    let call = world.hear(1, "matched")["call"].as_str().unwrap().to_owned();
    world.hear(2, "matched");
    world.connect(&call);
    world.say(1, json!({ "t": "restart", "call": call }));
    world.say(2, json!({ "t": "cand", "call": call, "gen": 2, "c": null }));
    world.say(2, json!({ "t": "mic", "call": call, "s": "muted" }));
    world.say(2, json!({ "t": "typing", "call": call }));
    world.say(2, json!({ "t": "ice", "call": call, "s": "disconnected" }));
    for who in [3, 4] {
        world.enter(who);
        world.queue(who);
    }
    let before = world.hear(3, "matched")["call"].clone();
    world.say(3, json!({ "t": "block", "call": before }));
    world.say(4, json!({ "t": "queue", "topics": [1], "countries": ["VN"], "offer": { "gen": 1, "sdp": CHROMIUM } }));
    world.desk.bind_call(world.now, Lifetime::default()).unwrap();
    world.desk.revoke(world.now, Subject::Token("some"), 60).unwrap();
    world.desk.revoke(world.now, Subject::Person("pseudonym-000009"), 60).unwrap();
    world.desk.tags.move_on([5; 32]);
    world.desk.pack(world.now, NOBODY).unwrap()
}

/// Packed by this version, once.
const EXAMPLE: &[u8] = include_bytes!("packed-1.bin");

/// A field more or less, or in another place, and these bytes are read no more, or written otherwise: the version goes up, and an example of
/// the new one is written: `cargo test -p relay --lib -- --ignored example_of_a_new_version`.
#[test]
fn the_encoding_is_that_of_its_version() {
    let packed: Packed = postcard::from_bytes(EXAMPLE).unwrap();
    let (contents, knowledge) = packed.open().unwrap();
    let again = postcard::to_allocvec(&(PACKED_VERSION, &contents, &knowledge)).unwrap();
    assert!(EXAMPLE.ends_with(&again) && again.len() == packed.len());
    let fresh = full().len();
    assert!(fresh.abs_diff(packed.len()) < 1_000, "what is packed now is much the same");
}

#[test]
#[ignore = "writes a file"]
fn the_example_of_a_new_version_is_written() {
    let path = format!("{}/src/signalling/desk/tests/packed-{PACKED_VERSION}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, postcard::to_allocvec(&full()).unwrap()).unwrap();
}

#[test]
fn what_is_cut_short_or_of_another_version_is_refused() {
    let bytes = postcard::to_allocvec(&full()).unwrap();
    let unpack = |packed: &Packed| {
        let relay = Box::new(FakeRelay::default());
        Desk::unpack(settings(), relay, [8; 32], Arc::default(), packed, Now::default()).map(drop)
    };
    let opened: Packed = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(unpack(&opened), Ok(()));
    assert_eq!(format!("{opened:?}"), "Packed[redacted]");
    // The length of what is inside comes first.
    let inside = &bytes[bytes.len() - opened.len()..];
    let packed = |inside: &[u8]| postcard::from_bytes::<Packed>(&postcard::to_allocvec(inside).unwrap()).unwrap();
    assert_eq!(unpack(&packed(inside)), Ok(()));
    for length in (0..inside.len()).step_by(7) {
        assert_eq!(unpack(&packed(&inside[..length])), Err(BadPacked), "{length} bytes");
    }
    assert_eq!(unpack(&packed(&[inside, &[0]].concat())), Err(BadPacked), "more than there should be");
    let other = [&[u8::try_from(PACKED_VERSION).unwrap() + 1], &inside[1..]].concat();
    assert_eq!(unpack(&packed(&other)), Err(BadPacked));
}

mod garbage {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Refused, or a desk that lives until everything in it is over.
        #[test]
        fn garbage_makes_nobody_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
            thread_local!(static FULL: Vec<u8> = postcard::to_allocvec(&full()).unwrap());
            let mut bytes = FULL.with(Clone::clone);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let Ok(packed) = postcard::from_bytes::<Packed>(&bytes) else { return Ok(()) };
            let mut world = World::new();
            let relay = FakeRelay::default();
            let desk = Desk::unpack(settings(), Box::new(relay.clone()), [8; 32], Arc::default(), &packed, world.now);
            let Ok(desk) = desk else { return Ok(()) };
            (world.desk, world.relay) = (desk, relay);
            for (who, session) in (100..).zip(world.desk.sessions.values().map(|it| it.caller.as_ref().map(|it| (it.sid, it.key))).collect::<Vec<_>>()) {
                let (sid, key) = session.unwrap();
                world.open(who);
                world.say(who, json!({ "t": "hello", "v": [1], "resume": { "sid": sid, "key": key, "n": 9 } }));
            }
            world.pass(2 * RESUME_MS);
        }
    }
}

/// `cargo test --release -p relay --lib -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "a measurement"]
fn ten_thousand_sessions_are_packed() {
    let mut world = World::with(Settings { max_sessions: 20_000, ..settings() });
    world.desk.hold(world.now);
    for who in 1..=10_000 {
        world.enter(who);
        world.queue(who);
        world.ignore(who);
    }
    world.desk.go_on(world.now);
    world.collect();
    let calls: Vec<_> = world.desk.calls.values().map(|call| (call.id, call.waiter.connection.0)).collect();
    for (call, who) in calls {
        world.say(who, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
        if let Some(call) = world.desk.calls.get_mut(&call) {
            (call.negotiated, call.connected) = (true, true);
        }
    }
    let (calls, begun) = (world.desk.calls.len(), std::time::Instant::now());
    let packed = world.desk.pack(world.now, NOBODY).unwrap();
    let (took, begun) = (begun.elapsed(), std::time::Instant::now());
    let bytes = postcard::to_allocvec(&packed).unwrap();
    let packed: Packed = postcard::from_bytes(&bytes).unwrap();
    let (carried, begun) = (begun.elapsed(), std::time::Instant::now());
    let desk = Desk::unpack(settings(), Box::new(FakeRelay::default()), [8; 32], Arc::default(), &packed, world.now);
    eprintln!(
        "{calls} calls, {} bytes: packed in {took:?}, carried in {carried:?}, unpacked in {:?}",
        bytes.len(),
        begun.elapsed()
    );
    assert_eq!(desk.unwrap().sessions.len(), 10_000);
}

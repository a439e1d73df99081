//! What honest callers experience.

use super::*;

#[test]
fn two_strangers_are_matched_talk_and_hang_up() {
    let mut world = World::new();
    let welcome = world.enter(1);
    assert_eq!(welcome["topics"], json!(["travel", "films", "work", "food", "music"]));
    assert_eq!(
        welcome["policy"],
        json!({"relay":"always","acceptance":false,"text":true,"next":true,"direct":false,"report":true})
    );
    assert_eq!(welcome["ice"]["policy"], "relay");
    let queued = world.queue(1);
    assert_eq!(queued["ahead"], 0);
    assert_eq!(handle_of(&queued), handle_of(&welcome), "the warm place becomes the ticket's");

    world.pass(200);
    let mut other = profile(2);
    other.card = Some(json!({ "n": "Linh" }));
    world.enter_as(2, &other);
    world.say(2, json!({ "t": "queue", "q": 2, "topics": [1] }));
    let second = world.hear(2, "queued");
    let (a, b) = (world.hear(1, "matched"), world.hear(2, "matched"));
    assert_eq!((&a["role"], &b["role"]), (&json!("offerer"), &json!("answerer")));
    assert_eq!((&a["polite"], &b["polite"]), (&json!(false), &json!(true)));
    assert_eq!(a["call"], b["call"]);
    assert_eq!(a["call"].as_str().unwrap().len(), 22, "128 bits");
    assert_eq!(a["peer"], json!({ "card": { "n": "Linh" }, "lvl": "B1", "topics": [] }));
    assert_eq!(b["peer"], json!({ "lvl": "B1", "topics": [] }));
    assert_eq!((handle_of(&a), handle_of(&b)), (handle_of(&queued), handle_of(&second)));
    assert!(world.relay.0.lock().unwrap().paired.contains_key(&handle_of(&a)));

    let call = a["call"].as_str().unwrap().to_owned();
    for who in [1, 2] {
        world.say(who, json!({ "t": "ack", "call": call }));
    }
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
    let offer = world.hear(2, "offer");
    assert_eq!((&offer["call"], &offer["gen"]), (&json!(call), &json!(1)));
    assert!(!offer["sdp"].as_str().unwrap().contains("cname"));
    let line = world.allocate(handle_of(&a));
    world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": line, "mid": "0" }));
    world.say(1, json!({ "t": "cand", "call": call, "gen": 1, "c": null, "mid": "0" }));
    let candidate = world.hear(2, "cand");
    assert!(candidate["c"].as_str().unwrap().ends_with("typ relay raddr 0.0.0.0 rport 9"), "{candidate}");
    assert_eq!(candidate["mid"], "0");
    assert_eq!(world.hear(2, "cand")["c"], Value::Null);
    world.say(2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
    world.hear(1, "answer");

    world.pass(300);
    world.say(1, json!({ "t": "ice", "call": call, "s": "checking" }));
    world.say(1, json!({ "t": "ice", "call": call, "s": "connected" }));
    world.silent(1);
    world.say(2, json!({ "t": "ice", "call": call, "s": "connected" }));
    assert_eq!(world.hear(1, "connected")["setup_ms"], 300);
    assert_eq!(world.hear(2, "connected")["call"], json!(call));

    world.pass(60_000);
    world.say(2, json!({ "t": "hangup", "q": 9, "call": call }));
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","q":9,"call":call,"by":"self","why":"hangup"}));
    assert_eq!(world.hear(1, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"hangup"}));
    for who in [1, 2] {
        world.silent(who);
        world.leave(who);
    }
    world.assert_nothing_left();
    assert_eq!((world.counters.matched(), world.counters.connected(), world.ended("hangup")), (1, 1, 1));
}

#[test]
fn an_offer_in_the_ticket_reaches_the_arrival_inside_matched() {
    let mut world = World::new();
    world.enter(1);
    world.say(1, json!({ "t": "queue", "q": 2, "offer": { "gen": 1, "sdp": CHROMIUM } }));
    world.hear(1, "queued");
    world.enter(2);
    world.queue(2);
    let (a, b) = (world.hear(1, "matched"), world.hear(2, "matched"));
    assert!(a.get("offer").is_none());
    assert_eq!(b["offer"]["gen"], 1);
    assert!(b["offer"]["sdp"].as_str().unwrap().starts_with("v=0\r\no=- 1 1 IN IP4 0.0.0.0"));
    world.say(2, json!({ "t": "answer", "call": b["call"], "gen": 1, "sdp": FIREFOX_ANSWER }));
    world.hear(1, "answer");
}

#[test]
fn text_is_relayed_and_gone() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, json!({ "t": "text", "call": call, "k": 1, "b": "hello! \u{1F600}" }));
    let text = world.hear(2, "text");
    assert_eq!((&text["k"], &text["b"]), (&json!(1), &json!("hello! \u{1F600}")));
    assert_eq!(text["tag"].as_str().unwrap().len(), 27, "20 bytes");
    world.silent(1);
    world.say(2, json!({ "t": "typing", "call": call }));
    assert_eq!(world.hear(1, "typing"), json!({ "t": "typing", "call": call }));
    // Nobody who comes later, under whatever name, hears of it.
    world.say(1, json!({ "t": "hangup", "call": call }));
    world.ignore(1);
    world.ignore(2);
    world.say(2, json!({ "t": "text", "call": call, "k": 2, "b": "still there?" }));
    world.hear_error(2, "E_CALL");
    world.silent(1);
}

/// matching.md §4.11: to the one who asked, and to nobody else.
#[test]
fn who_asks_for_a_trace_of_their_own_calls_hears_each_step_and_the_partner_hears_nothing_of_it() {
    let mut world = World::new();
    for who in [1, 2] {
        world.enter(who);
    }
    world.say(1, json!({ "t": "trace", "q": 5, "on": true }));
    assert_eq!(world.hear(1, "tracing"), json!({ "t": "tracing", "q": 5, "on": true }));
    for who in [1, 2] {
        world.queue(who);
    }
    let call = world.hear(1, "matched")["call"].as_str().unwrap().to_owned();
    world.hear(2, "matched");
    world.pass(30);
    for who in [1, 2] {
        world.say(who, json!({ "t": "ack", "call": call }));
    }
    world.say(1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
    world.hear(2, "offer");
    world.silent(2);
    for (step, at) in [("matched", 0), ("awake", 30), ("offer_passed", 30)] {
        assert_eq!(world.hear(1, "trace"), json!({ "t": "trace", "call": call, "at_ms": at, "step": step }));
    }
    world.say(1, json!({ "t": "trace", "on": false }));
    world.hear(1, "tracing");
    world.say(2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
    world.hear(1, "answer");
    world.silent(1);
}

#[test]
fn next_is_one_transition_to_a_new_stranger() {
    let mut world = World::new();
    let call = world.talking();
    let before = world.open_handles();
    world.say(1, json!({ "t": "next", "q": 7, "call": call }));
    assert_eq!(world.hear(1, "ended"), json!({"t":"ended","q":7,"call":call,"by":"self","why":"next"}));
    let queued = world.hear(1, "queued");
    assert_eq!(queued["q"], 7);
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"next"}));
    assert_eq!((before, world.open_handles()), (2, 1), "both old places are gone, the new ticket has its own");
    // The one who was left does not come back to the same stranger, however long both wait.
    world.queue(2);
    world.pass(20_000);
    world.ignore(1);
    world.ignore(2);
    world.enter(3);
    world.queue(3);
    let matched = world.hear(3, "matched");
    assert_eq!(matched["call"], world.hear(1, "matched")["call"], "the one who waited longest");
}

#[test]
fn both_may_press_next_at_once() {
    let mut world = World::new();
    let call = world.talking();
    world.say(1, json!({ "t": "next", "q": 7, "call": call }));
    world.say(2, json!({ "t": "next", "q": 7, "call": call }));
    world.hear(1, "ended");
    world.hear(1, "queued");
    assert_eq!(world.hear(2, "ended")["by"], "peer");
    world.hear_error(2, "E_CALL");
    world.silent(2);
}

#[test]
fn the_relay_is_closed_before_anybody_hears_that_the_call_has_ended() {
    let mut world = World::new();
    let call = world.talking();
    world.desk.handle_frame(world.now, Connection(1), &json!({ "t": "hangup", "call": call }).to_string());
    assert_eq!(world.open_handles(), 0, "and no output has been polled yet");
    assert!(matches!(world.desk.poll_output(), Some(Output::Frame { .. })));
}

#[test]
fn a_partner_whose_connection_breaks_is_told_of_at_once() {
    let mut world = World::new();
    let call = world.talking();
    world.leave(1);
    assert_eq!(world.hear(2, "ended"), json!({"t":"ended","call":call,"by":"peer","why":"lost"}));
    world.queue(2);
    assert_eq!(world.open_handles(), 1);
}

#[test]
fn later_either_side_may_renegotiate_and_the_waiter_wins_a_collision() {
    let mut world = World::new();
    let call = world.talking();
    let describe = |world: &mut World, who: u64, t: &str| {
        let sdp = if t == "offer" { CHROMIUM } else { FIREFOX_ANSWER };
        world.say(who, json!({ "t": t, "q": 5, "call": call, "gen": 1, "sdp": sdp }));
    };
    describe(&mut world, 2, "offer");
    world.hear(1, "offer");
    describe(&mut world, 1, "answer");
    world.hear(2, "answer");
    // Both at once, the polite one first: the impolite one's goes through all the same.
    describe(&mut world, 2, "offer");
    world.hear(1, "offer");
    describe(&mut world, 1, "offer");
    world.hear(2, "offer");
    describe(&mut world, 2, "answer");
    world.hear(1, "answer");
    // The impolite one first: the polite one's is turned away.
    describe(&mut world, 1, "offer");
    world.hear(2, "offer");
    describe(&mut world, 2, "offer");
    world.hear_error(2, "E_STATE");
    describe(&mut world, 2, "answer");
    world.hear(1, "answer");
}

#[test]
fn a_ping_is_answered_in_every_state() {
    let mut world = World::new();
    world.open(1);
    world.say(1, json!({ "t": "ping", "q": 4, "p": 11 }));
    assert_eq!(world.hear(1, "pong"), json!({ "t": "pong", "q": 4, "p": 11 }));
    let call = world.talking_as(3, 4);
    world.say(3, json!({ "t": "ping", "p": 12 }));
    assert_eq!(world.hear(3, "pong"), json!({ "t": "pong", "p": 12 }));
    assert!(!call.is_empty());
}

#[test]
fn where_calls_may_go_direct_both_sides_must_allow_it() {
    let with = |first: Profile, second: Profile| {
        let mut settings = settings();
        settings.direct_first = true;
        let mut world = World::with(settings);
        let welcome = world.enter_as(1, &first);
        world.queue(1);
        world.enter_as(2, &second);
        world.queue(2);
        let (a, b) = (world.hear(1, "matched"), world.hear(2, "matched"));
        assert_eq!(a["ice"]["policy"], b["ice"]["policy"]);
        let host = "candidate:1 1 udp 2122260223 198.51.100.9 4000 typ host";
        world.say(1, json!({ "t": "offer", "call": a["call"], "gen": 1, "sdp": CHROMIUM }));
        world.hear(2, "offer");
        world.say(1, json!({ "t": "cand", "call": a["call"], "gen": 1, "c": host, "mid": "0" }));
        (welcome["policy"]["direct"] == true, a["ice"]["policy"] == "all", world)
    };
    let (may, all, mut world) = with(profile(1), profile(2));
    assert!(may && all);
    assert_eq!(world.hear(2, "cand")["c"], "candidate:1 1 udp 2122260223 198.51.100.9 4000 typ host");

    let mut careful = profile(2);
    careful.relay_only = true;
    let (may, all, mut world) = with(profile(1), careful);
    assert!(may && !all);
    world.hear_error(1, "E_CAND");
    world.silent(2);

    let minor = |number| Profile { band: Band::B16_17, ..profile(number) };
    let (may, all, mut world) = with(minor(1), minor(2));
    assert!(!may && !all, "bands that may not go direct are relayed");
    world.hear_error(1, "E_CAND");
}

impl World {
    /// Two people with these numbers are in a call; returns its id.
    pub(super) fn talking_as(&mut self, a: u64, b: u64) -> String {
        for who in [a, b] {
            self.enter(who);
            self.queue(who);
        }
        self.hear(b, "matched");
        self.hear(a, "matched")["call"].as_str().unwrap().to_owned()
    }
}

#[test]
fn what_a_warm_relay_was_issued_stands_in_the_description_and_nothing_else_does() {
    let mut world = World::new();
    let mut lines = Vec::new();
    for who in [1, 2] {
        let handle = handle_of(&world.enter(who));
        lines.push(world.allocate(handle).split(' ').nth(5).unwrap().to_owned());
    }
    world.say(1, json!({ "t": "queue", "offer": { "gen": 1, "sdp": CHROMIUM } }));
    world.hear(1, "queued");
    world.queue(2);
    let (_, matched) = (world.hear(1, "matched"), world.hear(2, "matched"));
    let call = matched["call"].as_str().unwrap();
    world.say(2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
    let answer = world.hear(1, "answer");
    for (sdp, port) in [(&matched["offer"]["sdp"], &lines[0]), (&answer["sdp"], &lines[1])] {
        let said: Vec<&str> = sdp.as_str().unwrap().lines().filter(|line| line.starts_with("a=candidate")).collect();
        let expected = format!("a=candidate:1 1 udp 50331647 203.0.113.7 {port} typ relay raddr 0.0.0.0 rport 9");
        assert_eq!(said, [expected]);
        let sdp = sdp.as_str().unwrap();
        let section = sdp.match_indices("\r\nm=").filter(|(at, _)| *at < sdp.find("a=candidate").unwrap()).count();
        assert_eq!(section, 1, "in the first section: {sdp}");
    }
}

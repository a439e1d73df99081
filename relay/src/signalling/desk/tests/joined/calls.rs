//! Whole calls between two nodes, with either of them as host and any of three as owner of the queue.

use super::*;

/// For every owner of the queue; the host is the waiter's node, or the arrival's because the other has no room.
fn everywhere(mut story: impl FnMut(&mut Nodes, usize)) {
    for owner in 0..3 {
        for host in 0..2 {
            let mut nodes = Nodes::new(3).owned_by(owner);
            if host == 1 {
                nodes.set_room(0, 0);
            }
            story(&mut nodes, host);
            nodes.assert_nothing_left();
        }
    }
}

fn ice_handle(frame: &Value) -> [u8; 12] {
    handle_of(frame)
}

#[test]
fn two_people_of_two_nodes_are_matched_and_both_allocate_on_one() {
    everywhere(|nodes, host| {
        let (call, a, b) = nodes.match_two(true);
        assert_eq!((&a["role"], &b["role"]), (&json!("offerer"), &json!("answerer")));
        assert_eq!((&a["peer"]["card"], &b["peer"]["card"]), (&json!({ "n": 2 }), &json!({ "n": 1 })));
        let moved = [&a, &b].map(|frame| frame.get("moved").cloned());
        let (stays, moves) = (None, Some(json!(true)));
        assert_eq!(moved, if host == 0 { [stays, moves] } else { [moves, stays] });
        assert_eq!(b.get("offer").is_some(), host == 0, "it names an address of the waiter's node");
        assert_eq!(nodes.open(), if host == 0 { [2, 0, 0] } else { [0, 2, 0] });
        let relay = nodes.worlds[host].relay.0.lock().unwrap();
        assert_eq!(relay.paired[&ice_handle(&a)], ice_handle(&b));
        drop(relay);
        nodes.say(0, 1, json!({ "t": "hangup", "q": 8, "call": call }));
        assert_eq!(nodes.hear(0, 1, "ended"), json!({ "t":"ended","q":8,"call":call,"by":"self","why":"hangup" }));
        assert_eq!(nodes.hear(1, 2, "ended"), json!({ "t":"ended","call":call,"by":"peer","why":"hangup" }));
        assert_eq!(nodes.open(), [0, 0, 0]);
        nodes.worlds[0].silent(1);
        nodes.worlds[1].silent(2);
    });
}

#[test]
fn everything_that_is_said_in_a_call_reaches_the_other_side() {
    everywhere(|nodes, host| {
        let (call, a, b) = nodes.match_two(false);
        for (handle, [(node, who), (other, partner)]) in
            [(ice_handle(&a), [(0, 1), (1, 2)]), (ice_handle(&b), [(1, 2), (0, 1)])]
        {
            let line = nodes.worlds[host].allocate(handle);
            nodes.say(node, who, json!({ "t": "cand", "call": call, "gen": 1, "c": line, "mid": "0" }));
            nodes.worlds[other].silent(partner);
        }
        nodes.say(0, 1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
        let offer = nodes.hear(1, 2, "offer");
        assert!(offer["sdp"].as_str().unwrap().contains("203.0.113.7"), "what the host's relay issued stands in it");
        nodes.hear(1, 2, "cand");
        nodes.say(1, 2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
        nodes.hear(0, 1, "answer");
        nodes.hear(0, 1, "cand");
        nodes.both_connect(&call);
        for [(node, who), (other, partner)] in [[(0, 1), (1, 2)], [(1, 2), (0, 1)]] {
            nodes.say(node, who, json!({ "t": "text", "call": call, "k": 7, "b": "hello" }));
            assert_eq!(nodes.hear(other, partner, "text")["b"], "hello");
            nodes.say(node, who, json!({ "t": "typing", "call": call }));
            nodes.hear(other, partner, "typing");
            nodes.say(node, who, json!({ "t": "mic", "call": call, "s": "muted" }));
            assert_eq!(nodes.hear(other, partner, "peer")["s"], "mic_off");
            nodes.say(node, who, json!({ "t": "heard", "call": call, "lost": 1.25, "jitter_ms": 4 }));
        }
        nodes.pass(11_000);
        for (node, who) in [(0, 1), (1, 2)] {
            assert_eq!(nodes.hear(node, who, "quality")["call"], call);
            nodes.worlds[node].ignore(who);
        }
        nodes.say(1, 2, json!({ "t": "restart", "q": 5, "call": call }));
        let (one, other) = (nodes.hear(0, 1, "restart"), nodes.hear(1, 2, "restart"));
        assert_eq!((&one["gen"], &other["gen"], &other["q"]), (&json!(2), &json!(2), &json!(5)));
        assert_eq!((ice_handle(&one), ice_handle(&other)), (ice_handle(&a), ice_handle(&b)));
        nodes.say(1, 2, json!({ "t": "hangup", "call": call }));
        nodes.hear(1, 2, "ended");
        nodes.hear(0, 1, "ended");
    });
}

#[test]
fn what_is_not_of_the_call_stays_where_the_connection_is() {
    everywhere(|nodes, _| {
        let call = nodes.talking();
        for (node, who) in [(0, 1), (1, 2)] {
            nodes.say(node, who, json!({ "t": "ping", "q": 9, "p": 4 }));
            assert_eq!(nodes.hear(node, who, "pong")["p"], 4);
            for frame in [json!({ "t": "queue", "q": 9 }), json!({ "t": "leave" }), json!({ "t": "tune" })] {
                nodes.say(node, who, frame);
                nodes.worlds[node].hear_error(who, "E_STATE");
            }
            for frame in
                [json!({ "t": "hangup", "call": "AAAAAAAAAAAAAAAAAAAAAA" }), json!({ "t": "ack", "call": "x" })]
            {
                nodes.say(node, who, frame);
                nodes.worlds[node].hear_error(who, "E_CALL");
            }
            nodes.say(node, who, json!({ "t": "trace", "on": true }));
            nodes.hear(node, who, "tracing");
            nodes.say(1 - node, 3 - who, json!({ "t": "ice", "call": call, "s": "disconnected" }));
            nodes.worlds[1 - node].ignore(3 - who);
            nodes.worlds[node].silent(who);
            nodes.say(node, who, json!({ "t": "restart", "call": call }));
            assert!(nodes.worlds[node].heard(who, "trace"), "{who}");
            [(0, 1), (1, 2)].iter().for_each(|&(node, who)| nodes.worlds[node].ignore(who));
            nodes.both_connect_again(&call);
        }
    });
}

impl Nodes {
    /// After a restart.
    fn both_connect_again(&mut self, call: &str) {
        for (node, who) in [(0, 1), (1, 2)] {
            self.say(node, who, json!({ "t": "ice", "call": call, "s": "connected" }));
        }
        [(0, 1), (1, 2)].iter().for_each(|&(node, who)| self.worlds[node].ignore(who));
    }
}

#[test]
fn who_says_too_much_is_told_so_by_the_host_under_their_own_number() {
    everywhere(|nodes, _| {
        let call = nodes.talking();
        for (node, who) in [(0, 1), (1, 2)] {
            for _ in 0..10 {
                nodes.say(node, who, json!({ "t": "text", "call": call, "k": 1, "b": "x" }));
            }
            nodes.worlds[node].silent(who);
            nodes.say(node, who, json!({ "t": "text", "q": 3, "call": call, "k": 1, "b": "x" }));
            assert_eq!(nodes.worlds[node].hear_error(who, "E_RATE")["q"], 3);
            nodes.worlds[1 - node].ignore(3 - who);
        }
    });
}

#[test]
fn limits_are_not_fresh_with_every_call() {
    everywhere(|nodes, _| {
        let next = |call: &str| json!({ "t": "next", "call": call });
        // 1 talks with a new partner each time.
        nodes.enter(0, 1);
        nodes.queue(0, 1, false);
        let mut turned_away = 0;
        for who in 10..35 {
            nodes.enter(1, who);
            nodes.queue(1, who, false);
            let call = nodes.hear(0, 1, "matched")["call"].as_str().unwrap().to_owned();
            nodes.hear(1, who, "matched");
            nodes.say(0, 1, next(&call));
            if nodes.worlds[0].heard(1, "error") {
                turned_away += 1;
                nodes.worlds[0].hear_error(1, "E_RATE");
                nodes.say(1, who, json!({ "t": "hangup", "call": call }));
                nodes.hear(0, 1, "ended");
                nodes.hear(1, who, "ended");
                break;
            }
            assert_eq!(nodes.hear(0, 1, "ended")["by"], "self");
            nodes.hear(0, 1, "queued");
            assert_eq!(nodes.hear(1, who, "ended")["why"], "next");
        }
        assert_eq!(turned_away, 1, "twenty a minute");
    });
}

#[test]
fn people_are_asked_before_they_are_connected_across_nodes_too() {
    for host in 0..2 {
        let mut nodes = Nodes::with(2, |settings| Settings { acceptance: true, ..settings });
        if host == 1 {
            nodes.set_room(0, 0);
        }
        let (call, a, _) = nodes.match_two(false);
        assert_eq!(a["deadline_ms"], ACCEPT_MS);
        nodes.say(0, 1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
        nodes.hear(1, 2, "offer");
        nodes.say(1, 2, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
        nodes.worlds[0].silent(1);
        nodes.pass(CONNECT_MS + 3_000);
        for (node, who) in [(0, 1), (1, 2)] {
            nodes.say(node, who, json!({ "t": "accept", "call": call }));
        }
        nodes.hear(0, 1, "answer");
        nodes.both_connect(&call);
        nodes.pass(60_000);
        assert_eq!(nodes.worlds[host].desk.calls.len(), 1);
        nodes.assert_nothing_left();
    }
}

#[test]
fn who_declines_is_idle_and_who_was_declined_keeps_their_place_at_home() {
    for host in 0..2 {
        for (decliner, other) in [((0, 1), (1, 2)), ((1, 2), (0, 1))] {
            let mut nodes = Nodes::with(2, |settings| Settings { acceptance: true, ..settings });
            if host == 1 {
                nodes.set_room(0, 0);
            }
            let (call, ..) = nodes.match_two(false);
            nodes.say(decliner.0, decliner.1, json!({ "t": "decline", "call": call }));
            assert_eq!(nodes.hear(decliner.0, decliner.1, "ended")["requeued"], json!(null));
            assert_eq!(nodes.hear(other.0, other.1, "ended")["requeued"], true);
            nodes.hear(other.0, other.1, "queued");
            assert_eq!(nodes.worlds[other.0].desk.waiting.len(), 1);
            nodes.assert_nothing_left();
        }
    }
}

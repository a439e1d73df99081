//! How calls between two nodes end: by a side, by a fault, by a block or report, by the app, by the end of a node.

use super::*;

/// With either node as host, and either side as the one something happens to: node and number of both.
fn both_ways(story: impl FnMut(&mut Nodes, usize, (usize, u64), (usize, u64))) {
    both_ways_with(|settings| settings, story);
}

/// The same where people may meet again at once.
fn again_and_again(story: impl FnMut(&mut Nodes, usize, (usize, u64), (usize, u64))) {
    let change = |mut settings: Settings| {
        settings.matching.recent = Recent::Allow;
        settings
    };
    both_ways_with(change, story);
}

fn both_ways_with(
    change: impl Fn(Settings) -> Settings,
    mut story: impl FnMut(&mut Nodes, usize, (usize, u64), (usize, u64)),
) {
    for host in 0..2 {
        for (one, other) in [((0, 1), (1, 2)), ((1, 2), (0, 1))] {
            let mut nodes = Nodes::with(2, &change);
            if host == 1 {
                nodes.set_room(0, 0);
            }
            story(&mut nodes, host, one, other);
            nodes.assert_nothing_left();
        }
    }
}

#[test]
fn next_waits_again_at_once_and_the_other_is_idle() {
    both_ways(|nodes, _, one, other| {
        let call = nodes.talking();
        nodes.say(one.0, one.1, json!({ "t": "next", "q": 4, "call": call }));
        assert_eq!(
            nodes.hear(one.0, one.1, "ended"),
            json!({ "t":"ended","q":4,"call":call,"by":"self","why":"next" })
        );
        assert_eq!(nodes.hear(one.0, one.1, "queued")["q"], 4);
        assert_eq!(nodes.hear(other.0, other.1, "ended"), json!({ "t":"ended","call":call,"by":"peer","why":"next" }));
        nodes.worlds[other.0].silent(other.1);
        assert_eq!(nodes.open().iter().sum::<usize>(), 1, "the one who waits");
    });
}

#[test]
fn who_sleeps_through_a_match_is_idle_and_the_other_keeps_their_seniority() {
    both_ways(|nodes, _, one, other| {
        nodes.enter(0, 1);
        nodes.queue(0, 1, false);
        nodes.pass(700);
        nodes.enter(1, 2);
        nodes.queue(1, 2, false);
        let call = nodes.hear(other.0, other.1, "matched")["call"].clone();
        nodes.hear(one.0, one.1, "matched");
        nodes.say(other.0, other.1, json!({ "t": "ack", "call": call }));
        let before = nodes.worlds[other.0].now.mono;
        nodes.pass(ACK_MS);
        assert_eq!(nodes.worlds[one.0].hear_error(one.1, "E_DEADLINE")["fatal"], json!(null));
        assert_eq!(nodes.hear(one.0, one.1, "ended")["why"], "asleep");
        let ended = nodes.hear(other.0, other.1, "ended");
        assert_eq!((&ended["why"], &ended["requeued"]), (&json!("asleep"), &json!(true)));
        nodes.hear(other.0, other.1, "queued");
        let desk = &nodes.worlds[other.0].desk;
        let since = desk.waiting_of(Connection(other.1)).unwrap().since;
        assert_eq!(before.since(since), if other == (0, 1) { 700 } else { 0 });
        nodes.worlds[one.0].silent(one.1);
    });
}

#[test]
fn who_leaves_ends_the_call_for_the_other() {
    both_ways(|nodes, _, one, other| {
        let call = nodes.talking();
        nodes.worlds[one.0].leave(one.1);
        nodes.deliver();
        assert_eq!(nodes.hear(other.0, other.1, "ended"), json!({ "t":"ended","call":call,"by":"peer","why":"lost" }));
        assert_eq!(nodes.open(), [0, 0]);
    });
}

#[test]
fn who_leaves_in_set_up_ends_the_call_and_the_other_waits_again() {
    both_ways(|nodes, _, one, other| {
        nodes.match_two(true);
        nodes.worlds[one.0].leave(one.1);
        nodes.deliver();
        assert_eq!(nodes.hear(other.0, other.1, "ended")["requeued"], true);
        nodes.hear(other.0, other.1, "queued");
        assert_eq!(nodes.open().iter().sum::<usize>(), 1);
    });
}

fn resume(nodes: &mut Nodes, (node, old): (usize, u64), new: u64, welcome: &Value) -> Value {
    let n = nodes.worlds[node].numbers.get(&old).copied().unwrap_or(0);
    nodes.worlds[node].numbers.insert(new, n);
    let key = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": n });
    nodes.worlds[node].open(new);
    nodes.say(node, new, json!({ "t": "hello", "v": [1], "resume": key }));
    nodes.hear(node, new, "welcome")
}

#[test]
fn a_connection_that_breaks_is_resumed_and_the_call_goes_on() {
    both_ways(|nodes, host, one, other| {
        let mut welcomes = HashMap::new();
        for (node, who) in [(0, 1), (1, 2)] {
            welcomes.insert(who, nodes.enter(node, who));
            nodes.queue(node, who, false);
        }
        let call = nodes.hear(0, 1, "matched")["call"].as_str().unwrap().to_owned();
        nodes.hear(1, 2, "matched");
        nodes.connect(&call);
        nodes.say(other.0, other.1, json!({ "t": "restart", "call": call }));
        [(0, 1), (1, 2)].iter().for_each(|&(node, who)| _ = nodes.hear(node, who, "restart"));
        nodes.both_connect(&call);
        nodes.worlds[one.0].cut(one.1);
        nodes.deliver();
        assert_eq!(nodes.hear(other.0, other.1, "peer")["s"], "reconnecting");
        nodes.say(other.0, other.1, json!({ "t": "text", "call": call, "k": 1, "b": "are you there" }));
        nodes.pass(3_000);
        let welcome = resume(nodes, one, 77, &welcomes[&one.1]);
        let resumed = &welcome["resumed"];
        assert_eq!((&resumed["state"], &resumed["call"], &resumed["gen"]), (&json!("call"), &json!(call), &json!(2)));
        assert_eq!(welcome.get("ice").is_some(), host == one.0, "only the host may mint");
        assert_eq!(nodes.hear(one.0, 77, "text")["b"], "are you there");
        assert_eq!(nodes.hear(other.0, other.1, "peer")["s"], "back");
        nodes.say(one.0, 77, json!({ "t": "text", "call": call, "k": 2, "b": "yes" }));
        assert_eq!(nodes.hear(other.0, other.1, "text")["b"], "yes");
        nodes.worlds[one.0].cut(77);
        nodes.pass(RESUME_MS);
        nodes.hear(other.0, other.1, "peer");
        assert_eq!(nodes.hear(other.0, other.1, "ended")["why"], "lost");
        assert_eq!(nodes.open(), [0, 0]);
    });
}

#[test]
fn a_connection_that_breaks_in_set_up_gives_the_call_up_and_both_keep_their_seniority() {
    both_ways(|nodes, _, one, other| {
        let mut welcomes = HashMap::new();
        for (node, who) in [(0, 1), (1, 2)] {
            welcomes.insert(who, nodes.enter(node, who));
            nodes.queue(node, who, false);
            nodes.pass(200);
        }
        [(0, 1), (1, 2)].iter().for_each(|&(node, who)| nodes.worlds[node].ignore(who));
        nodes.worlds[one.0].cut(one.1);
        nodes.deliver();
        assert_eq!(nodes.hear(other.0, other.1, "ended")["requeued"], true);
        nodes.hear(other.0, other.1, "queued");
        let session = &nodes.worlds[one.0].desk.sessions[&Connection(one.1)];
        assert!(
            matches!(&session.place, Place::Paused(paused) if nodes.worlds[one.0].now.mono.since(paused.since) >= 200)
        );
        resume(nodes, one, 77, &welcomes[&one.1]);
        let ended = nodes.hear(one.0, 77, "ended");
        assert_eq!(ended["requeued"], true);
        nodes.hear(one.0, 77, "queued");
    });
}

#[test]
fn a_block_holds_at_once_on_both_nodes_and_says_nothing_to_the_other() {
    again_and_again(|nodes, _, one, other| {
        let call = nodes.talking();
        nodes.say(one.0, one.1, json!({ "t": "block", "q": 6, "call": call }));
        assert_eq!(nodes.hear(one.0, one.1, "ended"), json!({ "t":"ended","call":call,"by":"self","why":"block" }));
        assert_eq!(nodes.hear(one.0, one.1, "blocked"), json!({ "t": "blocked", "q": 6 }));
        assert_eq!(
            nodes.hear(other.0, other.1, "ended"),
            json!({ "t":"ended","call":call,"by":"peer","why":"hangup" })
        );
        nodes.worlds[other.0].silent(other.1);
        assert_eq!(nodes.open(), [0, 0]);
        // Wherever they come back, before their token names the block.
        for node in 0..2 {
            for at in [0, 1] {
                nodes.worlds[at].leave(one.1 + 100 * at as u64);
                nodes.worlds[at].leave(other.1 + 100 * at as u64);
            }
            let (a, b) = (one.1 + 100 * (node as u64 + 1), other.1 + 100 * (node as u64 + 1));
            for (at, number, who) in [(node, a, one.1), (1 - node, b, other.1)] {
                let profile = nodes.profile(who);
                nodes.worlds[at].enter_as(number, &profile);
                nodes.queue(at, number, false);
            }
            nodes.pass(15_000);
            assert_eq!(nodes.worlds.iter().map(|world| world.desk.waiting.len()).sum::<usize>(), 2, "at {node}");
            nodes.worlds[node].leave(a);
            nodes.worlds[1 - node].leave(b);
            nodes.deliver();
        }
    });
}

#[test]
fn a_report_names_the_partner_with_what_they_said_and_may_end_the_call() {
    for category in ["spam", "minor_safety"] {
        both_ways(|nodes, _, one, other| {
            let call = nodes.talking();
            nodes.say(other.0, other.1, json!({ "t": "text", "call": call, "k": 3, "b": "an offence" }));
            let tag = nodes.hear(one.0, one.1, "text")["tag"].clone();
            let evidence = json!([{ "k": 3, "b": "an offence", "tag": tag }, { "k": 3, "b": "invented", "tag": tag }]);
            let report = json!({ "t": "report", "q": 7, "call": call, "cat": category, "ev": evidence });
            nodes.say(one.0, one.1, report.clone());
            assert_eq!(nodes.worlds[one.0].reports.len(), 1);
            let body: Value = serde_json::from_str(&nodes.worlds[one.0].reports[0].json).unwrap();
            assert_eq!(body["reported_sub"], format!("pseudonym-{:06}", other.1));
            assert_eq!(body["reporter_sub"], format!("pseudonym-{:06}", one.1));
            assert_eq!((&body["verified"][0]["b"], &body["unverified"]), (&json!("an offence"), &json!(1)));
            let ends = category == "minor_safety";
            assert_eq!(nodes.worlds[one.0].heard(one.1, "ended"), ends);
            if !ends {
                nodes.say(one.0, one.1, json!({ "t": "hangup", "call": call }));
            }
            let ended = nodes.hear(other.0, other.1, "ended");
            assert_eq!((&ended["by"], &ended["why"]), (&json!("peer"), &json!("hangup")));
            nodes.hear(one.0, one.1, "ended");
            // And after the call as well.
            nodes.say(one.0, one.1, report);
            let body: Value = serde_json::from_str(&nodes.worlds[one.0].reports[1].json).unwrap();
            assert_eq!(body["verified"][0]["b"], "an offence");
        });
    }
}

#[test]
fn who_is_revoked_or_erased_is_gone_and_their_call_with_them() {
    both_ways(|nodes, _, one, other| {
        let call = nodes.talking();
        let sub = format!("pseudonym-{:06}", one.1);
        // Every node is told.
        for world in &mut nodes.worlds {
            world.desk.erase(world.now, &sub);
            world.collect();
        }
        nodes.deliver();
        nodes.worlds[one.0].hear_error(one.1, "E_REVOKED");
        assert_eq!(nodes.worlds[one.0].closed[&one.1], 4403);
        assert_eq!(nodes.hear(other.0, other.1, "ended")["call"], call);
        nodes.say(other.0, other.1, json!({ "t": "block", "call": call }));
        let heard = nodes.worlds[other.0].inbox[&other.1].iter().find(|frame| frame["t"] != "pass");
        let heard = heard.unwrap()["t"].clone();
        assert!(heard == "blocked" || heard == "error");
        assert_eq!(nodes.open(), [0, 0]);
    });
}

#[test]
fn who_is_revoked_where_they_are_a_guest_has_no_call_from_then_on() {
    for by_token in [false, true] {
        let mut nodes = Nodes::new(2);
        let call = nodes.talking();
        let world = &mut nodes.worlds[0];
        // Of every node the first token that was minted has that number, so 1 is found as well.
        let sub = format!("pseudonym-{:06}", 2);
        let subject = if by_token { Subject::Token("1") } else { Subject::Person(&sub) };
        assert_eq!(world.desk.revoke(world.now, subject, 60), Ok(true));
        world.collect();
        assert_eq!(world.open_handles(), 0, "before its home has heard");
        nodes.deliver();
        assert!(nodes.worlds[0].closed.contains_key(&1) || nodes.worlds[1].closed.get(&2) == Some(&4403));
        if !by_token {
            nodes.worlds[1].hear_error(2, "E_REVOKED");
            assert_eq!(nodes.hear(0, 1, "ended")["call"], call);
        }
        nodes.assert_nothing_left();
    }
}

#[test]
fn a_node_that_drains_lets_calls_with_others_end_by_themselves() {
    both_ways(|nodes, _, one, other| {
        let call = nodes.talking();
        let world = &mut nodes.worlds[one.0];
        world.desk.handle_drain(world.now, 60_000, None);
        world.collect();
        nodes.deliver();
        nodes.hear(one.0, one.1, "drain");
        nodes.worlds[other.0].silent(other.1);
        nodes.say(other.0, other.1, json!({ "t": "text", "call": call, "k": 1, "b": "still here" }));
        nodes.hear(one.0, one.1, "text");
        nodes.say(other.0, other.1, json!({ "t": "hangup", "call": call }));
        nodes.hear(one.0, one.1, "ended");
        assert_eq!(nodes.worlds[one.0].closed[&one.1], 1001);
        nodes.hear(other.0, other.1, "ended");
        assert!(!nodes.worlds[other.0].closed.contains_key(&other.1));
    });
}

#[test]
fn a_set_up_that_fails_costs_both_a_try_wherever_it_was_hosted() {
    again_and_again(|nodes, _, one, _| {
        for who in [(0, 1), (1, 2)] {
            nodes.enter(who.0, who.1);
        }
        for turn in 0..3 {
            for (node, who) in [(0, 1), (1, 2)] {
                if turn == 0 {
                    nodes.queue(node, who, false);
                }
            }
            for (node, who) in [(0, 1), (1, 2)] {
                let call = nodes.hear(node, who, "matched")["call"].clone();
                nodes.say(node, who, json!({ "t": "ack", "call": call }));
            }
            let call = nodes.worlds.iter().flat_map(|world| world.desk.calls.keys()).next().unwrap().to_base64url();
            let (offers, answers) = if nodes.waits_first(&call) == 0 { ((0, 1), (1, 2)) } else { ((1, 2), (0, 1)) };
            for world in &nodes.worlds {
                let handles: Vec<[u8; 12]> = world.relay.0.lock().unwrap().open.iter().copied().collect();
                let mut relay = world.relay.0.lock().unwrap();
                for handle in handles {
                    relay.relayed.insert(handle, SocketAddr::from(([203, 0, 113, 7], 50_000)));
                }
            }
            nodes.say(offers.0, offers.1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
            nodes.say(answers.0, answers.1, json!({ "t": "answer", "call": call, "gen": 1, "sdp": FIREFOX_ANSWER }));
            [(0, 1), (1, 2)].iter().for_each(|&(node, who)| nodes.worlds[node].ignore(who));
            nodes.say(one.0, one.1, json!({ "t": "ice", "call": call, "s": "failed" }));
            for (node, who) in [(0, 1), (1, 2)] {
                if turn == 2 {
                    nodes.worlds[node].hear_error(who, "E_DEADLINE");
                }
                assert_eq!(nodes.hear(node, who, "ended")["requeued"] == true, turn < 2, "{turn}");
                if turn < 2 {
                    nodes.hear(node, who, "queued");
                }
            }
        }
        nodes.worlds.iter().for_each(|world| assert_eq!(world.desk.waiting.len(), 0));
    });
}

impl Nodes {
    /// Which of the two nodes has the waiter.
    fn waits_first(&self, call: &str) -> usize {
        let hosts = |world: &World| world.desk.calls.values().find(|it| it.id.to_base64url() == call).is_some();
        let host = self.worlds.iter().position(hosts).unwrap();
        let desk = &self.worlds[host].desk;
        let waiter = desk.calls.values().next().unwrap().waiter.connection;
        if desk.is_guest(waiter) { 1 - host } else { host }
    }
}

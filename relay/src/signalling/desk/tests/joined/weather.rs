//! Messages that are lost or doubled, nodes that die, a bus that goes down and comes back.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::cluster::{Body, DEAD_AFTER_MS, SILENT_MS};

/// Both enter, wait, are matched, answer whatever comes, and talk, if they get so far.
fn try_to_talk(nodes: &mut Nodes) {
    for (node, who) in [(0, 1), (1, 2)] {
        nodes.enter(node, who);
        nodes.say(node, who, json!({ "t": "queue" }));
    }
    for _ in 0..12 {
        [(0, 1), (1, 2)].iter().for_each(|&(node, who)| respond(nodes, node, who));
        nodes.pass(100);
    }
}

/// Says what a client says to what it has heard.
fn respond(nodes: &mut Nodes, node: usize, who: u64) {
    for frame in nodes.worlds[node].inbox.remove(&who).unwrap_or_default() {
        let call = frame["call"].clone();
        let says = match frame["t"].as_str().unwrap() {
            "matched" if frame["role"] == "offerer" => {
                vec![
                    json!({ "t": "ack", "call": call }),
                    json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }),
                ]
            }
            "matched" => vec![json!({ "t": "ack", "call": call })],
            "offer" => vec![json!({ "t": "answer", "call": call, "gen": frame["gen"], "sdp": FIREFOX_ANSWER })],
            "answer" => {
                nodes.say(1 - node, 3 - who, json!({ "t": "ice", "call": call, "s": "connected" }));
                vec![json!({ "t": "ice", "call": call, "s": "connected" })]
            }
            _ => vec![],
        };
        says.into_iter().for_each(|frame| nodes.say(node, who, frame));
    }
}

#[test]
fn whichever_message_is_lost_or_doubled_both_talk_or_neither_and_nothing_is_left() {
    for copies in [0, 2, LATE] {
        for host in 0..2 {
            for unlucky in 0..60 {
                let mut nodes = Nodes::new(2);
                if host == 1 {
                    nodes.set_room(0, 0);
                }
                let count = Rc::new(Cell::new(0));
                nodes.fate = Box::new(move |_, envelope| {
                    if !matches!(envelope.body, Body::Heartbeat(_)) {
                        count.set(count.get() + 1);
                    }
                    if count.get() == unlucky + 1 { copies } else { 1 }
                });
                try_to_talk(&mut nodes);
                nodes.judge_each();
                for _ in 0..300 {
                    [(0, 1), (1, 2)].iter().for_each(|&(node, who)| respond(&mut nodes, node, who));
                    nodes.pass(100);
                }
                nodes.judge_together();
                nodes.assert_nothing_left();
            }
        }
    }
}

#[test]
fn when_the_guests_node_dies_its_partner_is_told_and_after_a_while_alone() {
    for host in 0..2 {
        let mut nodes = Nodes::new(2);
        if host == 1 {
            nodes.set_room(0, 0);
        }
        let call = nodes.talking();
        let (node, who) = [(0, 1), (1, 2)][host];
        nodes.crash(1 - host);
        nodes.pass(DEAD_AFTER_MS + 100);
        assert_eq!(nodes.hear(node, who, "peer")["s"], "reconnecting");
        nodes.worlds[node].silent(who);
        nodes.pass(SILENT_MS);
        assert_eq!(nodes.hear(node, who, "ended"), json!({ "t":"ended","call":call,"by":"peer","why":"lost" }));
        assert_eq!(nodes.open()[node], 0);
        nodes.assert_nothing_left();
    }
}

#[test]
fn when_the_hosts_node_dies_its_guest_is_told_and_after_a_while_at_home() {
    for host in 0..2 {
        let mut nodes = Nodes::new(2);
        if host == 1 {
            nodes.set_room(0, 0);
        }
        let call = nodes.talking();
        let (node, who) = [(1, 2), (0, 1)][host];
        nodes.crash(host);
        nodes.pass(DEAD_AFTER_MS + 100);
        assert_eq!(nodes.hear(node, who, "peer")["s"], "reconnecting");
        nodes.pass(SILENT_MS);
        assert_eq!(nodes.hear(node, who, "ended"), json!({ "t":"ended","call":call,"by":"peer","why":"lost" }));
        nodes.say(node, who, json!({ "t": "block", "call": call }));
        nodes.hear(node, who, "blocked");
        nodes.queue(node, who, false);
        nodes.assert_nothing_left();
    }
}

#[test]
fn when_a_node_dies_in_set_up_the_other_waits_again_at_home_with_their_seniority() {
    for host in 0..2 {
        for dies in 0..2 {
            let mut nodes = Nodes::new(2);
            if host == 1 {
                nodes.set_room(0, 0);
            }
            let (call, ..) = nodes.match_two(false);
            nodes.say(0, 1, json!({ "t": "offer", "call": call, "gen": 1, "sdp": CHROMIUM }));
            let (node, who) = [(1, 2), (0, 1)][dies];
            nodes.worlds[node].ignore(who);
            let matched = nodes.worlds[node].now.mono;
            nodes.crash(dies);
            nodes.pass(DESCRIPTION_MS + 500);
            assert_eq!(nodes.hear(node, who, "ended")["requeued"], true);
            nodes.hear(node, who, "queued");
            assert!(nodes.worlds[node].desk.waiting_of(Connection(who)).unwrap().since <= matched);
            nodes.assert_nothing_left();
        }
    }
}

#[test]
fn a_node_that_comes_back_in_another_life_has_none_of_the_calls_of_the_one_before() {
    let mut nodes = Nodes::new(2);
    nodes.talking();
    nodes.crash(1);
    nodes.pass(300);
    nodes.revive(1);
    nodes.pass(600);
    assert_eq!(nodes.hear(0, 1, "ended")["why"], "lost");
    nodes.queue(0, 1, false);
    nodes.enter(1, 12);
    nodes.queue(1, 12, false);
    nodes.hear(0, 1, "matched");
    nodes.hear(1, 12, "matched");
    nodes.judge_together();
    nodes.assert_nothing_left();
}

#[test]
fn without_a_bus_everybody_matches_their_own_and_calls_stand() {
    let mut nodes = Nodes::new(2);
    let call = nodes.talking();
    nodes.set_bus(false);
    nodes.pass(60_000);
    nodes.worlds[0].silent(1);
    nodes.worlds[1].silent(2);
    for who in [11, 12] {
        nodes.enter(1, who);
        nodes.queue(1, who, false);
    }
    nodes.hear(1, 11, "matched");
    nodes.set_bus(true);
    nodes.pass(1_000);
    nodes.say(1, 2, json!({ "t": "text", "call": call, "k": 1, "b": "again" }));
    nodes.hear(0, 1, "text");
    nodes.assert_nothing_left();
}

#[test]
fn who_hangs_up_or_blocks_while_the_host_hears_nothing_is_free_after_a_moment() {
    for frame in [
        json!({ "t": "hangup" }),
        json!({ "t": "block", "q": 3 }),
        json!({ "t": "report", "cat": "spam", "end": true }),
    ] {
        let mut nodes = Nodes::new(2);
        let call = nodes.talking();
        nodes.set_bus(false);
        let mut frame = frame.clone();
        frame["call"] = json!(call);
        nodes.say(1, 2, frame.clone());
        nodes.worlds[1].silent(2);
        nodes.pass(3_000);
        let ended = nodes.hear(1, 2, "ended");
        assert_eq!(ended["by"], "self");
        if frame["t"] == "block" {
            nodes.hear(1, 2, "blocked");
        }
        nodes.queue(1, 2, false);
        nodes.set_bus(true);
        nodes.pass(cluster::AUDIT_MS);
        assert_eq!(nodes.hear(0, 1, "ended")["by"], "peer", "told when homes compare");
        nodes.judge_together();
        nodes.assert_nothing_left();
    }
}

#[test]
fn a_full_relay_hosts_nobody_and_whom_it_turns_away_knows() {
    let mut nodes = Nodes::new(2);
    nodes.enter(0, 1);
    nodes.queue(0, 1, false);
    nodes.worlds[0].relay.0.lock().unwrap().capacity = Some(1);
    nodes.enter(1, 2);
    nodes.queue(1, 2, false);
    nodes.worlds[0].hear_error(1, "E_BUSY");
    nodes.hear(1, 2, "queued");
    assert_eq!((nodes.open(), nodes.worlds[1].desk.waiting.len()), (vec![0, 1], 1));
    nodes.assert_nothing_left();
}

#[test]
fn who_comes_to_another_node_leaves_no_shadow_in_the_queue() {
    let mut nodes = Nodes::new(2);
    nodes.enter(0, 1);
    nodes.queue(0, 1, false);
    let profile = nodes.profile(1);
    nodes.worlds[1].enter_as(21, &profile);
    nodes.queue(1, 21, false);
    nodes.pass(100);
    nodes.worlds[0].hear_error(1, "E_REPLACED");
    assert_eq!(nodes.worlds[0].closed[&1], 4409);
    nodes.assert_nothing_left();
}

#[test]
fn nobody_speaks_for_another_node_and_noise_is_counted() {
    let mut nodes = Nodes::new(2);
    let call = nodes.talking();
    let said = Envelope { from: peer(1, 1), to: Some(peer(0, 1)), body: Body::Audit { calls: Vec::new() } }.encode();
    let world = &mut nodes.worlds[0];
    world.desk.handle_bus(world.now, peer(2, 1), &said);
    for noise in [&b""[..], b"\x01", b"\x09noise", &[1; 300]] {
        world.desk.handle_bus(world.now, peer(1, 1), noise);
    }
    world.collect();
    let id = *world.desk.shared.keys().next().unwrap();
    for luggage in [vec![], vec![0xFF; 40], vec![6, 0], vec![0, 4, b'{', b'}', b'{', b'}']] {
        let body = Body::Frame { call: id, luggage: cluster::Luggage(luggage) };
        let bytes = Envelope { from: peer(1, 1), to: Some(peer(0, 1)), body }.encode();
        world.desk.handle_bus(world.now, peer(1, 1), &bytes);
        world.collect();
    }
    nodes.say(1, 2, json!({ "t": "text", "call": call, "k": 1, "b": "fine" }));
    nodes.hear(0, 1, "text");
    nodes.assert_nothing_left();
}

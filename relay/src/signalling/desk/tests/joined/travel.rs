//! Passes: who was at a node that died is let in by another one, and keeps their place.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::cluster::DEAD_AFTER_MS;
use crate::signalling::desk::MAX_CALL_MS;
use crate::signalling::pass::{GOOD_FOR_MS, MAX_PASS_CHARS, Passes};

impl Nodes {
    /// The newest pass this client was given; what else it was told is forgotten.
    fn pass_of(&mut self, node: usize, who: u64) -> String {
        let told = self.worlds[node].inbox.remove(&who).unwrap_or_default();
        let pass = told.iter().rev().find(|frame| frame["t"] == "pass").expect("a pass");
        pass["pass"].as_str().unwrap().to_owned()
    }

    /// With a session of its node and a pass, as clients come back.
    fn travel(&mut self, node: usize, as_who: u64, pass: &str) {
        let none = "AAAAAAAAAAAAAAAAAAAAAA";
        self.worlds[node].open(as_who);
        let hello = json!({ "t": "hello", "v": [1], "resume": { "sid": none, "key": none, "n": 7 }, "pass": pass });
        self.say(node, as_who, hello);
    }

    fn since(&self, node: usize, who: u64) -> Millis {
        self.worlds[node].desk.waiting_of(Connection(who)).unwrap().since
    }
}

#[test]
fn who_waited_at_a_node_that_dies_waits_at_another_with_their_seniority() {
    let mut nodes = Nodes::new(3).owned_by(2);
    nodes.enter(0, 1);
    nodes.queue(0, 1, false);
    let pass = nodes.pass_of(0, 1);
    nodes.pass(60_000);
    nodes.crash(0);
    nodes.pass(DEAD_AFTER_MS + 500);
    nodes.travel(1, 11, &pass);
    assert_eq!(nodes.hear(1, 11, "welcome")["resumed"], json!({ "state": "queued", "q": 0 }));
    nodes.hear(1, 11, "queued");
    let waits = nodes.worlds[1].now.mono.since(nodes.since(1, 11));
    assert!((61_500..=64_500).contains(&waits), "{waits} ms, to the second");
    // Matched before somebody who came later.
    nodes.enter(2, 2);
    nodes.queue(2, 2, false);
    let call = nodes.hear(1, 11, "matched")["call"].clone();
    assert_eq!(nodes.hear(2, 2, "matched")["call"], call);
    nodes.judge_together();
    nodes.assert_nothing_left();
}

#[test]
fn a_pass_is_good_for_fifteen_seconds_after_its_node_fell_silent_and_not_while_it_lives() {
    let mut nodes = Nodes::new(2);
    nodes.enter(0, 1);
    nodes.queue(0, 1, false);
    let pass = nodes.pass_of(0, 1);
    nodes.travel(1, 11, &pass);
    let told = nodes.hear(1, 11, "error");
    assert_eq!(
        (&told["code"], told["retry_ms"].is_u64()),
        (&json!("E_BUSY"), true),
        "to be tried again: it may be dying"
    );
    nodes.crash(0);
    nodes.pass(GOOD_FOR_MS - 1_000);
    nodes.travel(1, 12, &pass);
    assert_eq!(nodes.hear(1, 12, "welcome")["resumed"]["state"], "queued");
    nodes.pass(2_000);
    nodes.travel(1, 13, &pass);
    assert_eq!(nodes.hear(1, 13, "error")["code"], "E_TOKEN", "too late");
}

#[test]
fn a_node_that_lives_again_takes_in_who_was_there_before() {
    let mut nodes = Nodes::new(2);
    nodes.enter(0, 1);
    let pass = nodes.pass_of(0, 1);
    nodes.crash(0);
    nodes.revive(0);
    nodes.worlds[0].now.mono = Millis(900);
    nodes.pass(600);
    nodes.travel(0, 11, &pass);
    assert_eq!(nodes.hear(0, 11, "welcome")["resumed"], json!({ "state": "idle", "q": 0 }));
    nodes.travel(1, 12, &pass);
    assert_eq!(nodes.hear(1, 12, "welcome")["resumed"]["state"], "idle", "the other one knows as well");
}

#[test]
fn a_pass_says_what_is_so_now() {
    let mut nodes = Nodes::new(2);
    let state = |nodes: &mut Nodes, pass: &str| {
        let world = &nodes.worlds[0];
        let papers = world.desk.passes.as_ref().unwrap().open(pass).unwrap();
        papers.wait.map(|wait| wait.criteria.max_distance)
    };
    nodes.enter(0, 1);
    let pass = nodes.pass_of(0, 1);
    assert_eq!(state(&mut nodes, &pass), None);
    nodes.queue(0, 1, false);
    let pass = nodes.pass_of(0, 1);
    assert!(state(&mut nodes, &pass).is_some());
    nodes.say(0, 1, json!({ "t": "tune", "d": 0 }));
    let pass = nodes.pass_of(0, 1);
    assert!(state(&mut nodes, &pass).is_some());
    nodes.say(0, 1, json!({ "t": "leave" }));
    let pass = nodes.pass_of(0, 1);
    assert_eq!(state(&mut nodes, &pass), None, "who has left does not wait elsewhere");
    nodes.queue(0, 1, false);
    nodes.enter(1, 2);
    nodes.queue(1, 2, false);
    let pass = nodes.worlds[0].inbox[&1].iter().rev().find(|frame| frame["t"] == "pass").unwrap()["pass"].clone();
    assert!(state(&mut nodes, pass.as_str().unwrap()).is_some(), "who is being connected keeps their place");
    let call = nodes.hear(0, 1, "matched")["call"].as_str().unwrap().to_owned();
    nodes.hear(1, 2, "matched");
    nodes.connect(&call);
    let pass = nodes.pass_of(0, 1);
    assert_eq!(state(&mut nodes, &pass), None, "who talks has none");
    nodes.say(0, 1, json!({ "t": "block", "call": call }));
    let pass = nodes.pass_of(0, 1);
    let blocked = nodes.worlds[0].desk.passes.as_ref().unwrap().open(&pass).unwrap().claims.blocks.len();
    assert_eq!(blocked, 1, "whom they do not want to meet travels with them");
}

#[test]
fn who_is_revoked_does_not_travel() {
    let mut nodes = Nodes::new(2);
    nodes.enter(0, 1);
    let pass = nodes.pass_of(0, 1);
    nodes.crash(0);
    nodes.pass(DEAD_AFTER_MS + 500);
    let subject = format!("pseudonym-{:06}", 1);
    let world = &mut nodes.worlds[1];
    world.desk.revoke(world.now, Subject::Person(&subject), 60).unwrap();
    nodes.travel(1, 11, &pass);
    assert_eq!(nodes.hear(1, 11, "error")["code"], "E_REVOKED");
}

#[test]
fn a_pass_that_was_kept_too_long_or_is_none_opens_no_door() {
    let mut nodes = Nodes::new(2);
    nodes.enter(0, 1);
    let pass = nodes.pass_of(0, 1);
    nodes.pass(MAX_CALL_MS + 2_000);
    nodes.crash(0);
    nodes.pass(DEAD_AFTER_MS + 500);
    for (who, pass) in [(11, &*pass), (12, "AQ"), (13, &pass[1..])] {
        nodes.travel(1, who, pass);
        assert_eq!(nodes.hear(1, who, "error")["code"], "E_TOKEN");
    }
    let mut alone = World::new();
    alone.open(1);
    alone.say(1, json!({ "t": "hello", "v": [1], "pass": pass }));
    assert_eq!(alone.hear(1, "error")["code"], "E_TOKEN", "by itself a node gives none and takes none");
    alone.enter(2);
    assert!(!alone.heard(2, "pass"));
}

#[test]
fn a_pass_that_was_changed_anywhere_is_none_and_no_stranger_reads_it() {
    let mut nodes = Nodes::new(2);
    nodes.enter(0, 1);
    nodes.queue(0, 1, false);
    let pass = nodes.pass_of(0, 1);
    let good = URL_SAFE_NO_PAD.decode(&pass).unwrap();
    let passes = nodes.worlds[1].desk.passes.as_ref().unwrap();
    assert!(passes.open(&pass).is_some() && Passes::new(&[9; 32]).open(&pass).is_none());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(passes.open(&URL_SAFE_NO_PAD.encode(&bad)).is_none(), "byte {at}");
        assert!(passes.open(&URL_SAFE_NO_PAD.encode(&good[..at])).is_none(), "cut at {at}");
    }
    for nonsense in ["", "?", "AQ", &"A".repeat(MAX_PASS_CHARS + 4)] {
        assert!(passes.open(nonsense).is_none());
    }
}

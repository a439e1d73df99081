//! Nodes and brokers that die under people who talk and wait.

use std::time::{Duration, Instant};

use e2e::Caller;
use e2e::across::{is_known_to_wait, relay};
use e2e::voice::{ANSWER, OFFER, Ways};

use super::*;

/// A dead node is missed after two seconds, and nobody can come back to it after fifteen.
const MISSED: Duration = Duration::from_secs(45);

/// Somebody who wants nobody but these, so that two of them do not meet each other.
async fn picky(daemon: &Daemon, name: &str, gender: &str, wants: &str) -> Voice {
    let claims = Claims::adult(name).with("g", json!(gender)).with("gp", json!([wants]));
    let mut voice = Voice::enter_by(Ways::straight(daemon), &claims).await;
    voice.caller.request(json!({ "t": "queue", "gender": [wants], "offer": { "gen": 1, "sdp": OFFER } })).await;
    voice.caller.expect("queued").await;
    voice
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_partners_node_is_killed_is_matched_again_with_the_seniority_they_had() {
    let broker = Broker::start();
    for killed_hosts in [true, false] {
        let (mut a, b, c) = (node("a", &broker).start(), node("b", &broker).start(), node("c", &broker).start());
        match_together(&[&a, &b, &c]);
        // The one who waits is on the relaying node.
        let (mut lost, mut innocent);
        if killed_hosts {
            lost = picky(&a, "lost", "f", "m").await;
            is_known_to_wait().await;
            innocent = picky(&b, "innocent", "m", "f").await;
        } else {
            innocent = picky(&b, "innocent", "m", "f").await;
            is_known_to_wait().await;
            lost = picky(&a, "lost", "f", "m").await;
        }
        let (of_lost, of_innocent) = (lost.caller.matched().await, innocent.caller.matched().await);
        assert_eq!(of_lost["call"], of_innocent["call"]);
        assert_eq!(relay(&of_lost) == a.turn(), killed_hosts);
        if killed_hosts {
            // Else it would be they who let a stranger wait.
            let call = &of_innocent["call"];
            innocent.caller.send(json!({ "t": "answer", "call": call, "gen": 1, "sdp": ANSWER })).await;
        }
        a.signal(libc::SIGKILL);
        let killed = Instant::now();
        // How long somebody has waited is known elsewhere but for the time that a message takes.
        is_known_to_wait().await;
        // Would be taken instead of them if seniority had been lost.
        let _junior = picky(&c, "junior", "m", "f").await;
        let said = tokio::time::timeout(MISSED, ended(&mut innocent)).await.expect("nobody says that the call is over");
        assert_eq!(said["requeued"], true, "{said}");
        let took = killed.elapsed();
        let again = Instant::now();
        let mut newcomer = picky(&c, "newcomer", "f", "m").await;
        let (of_new, of_old) = (newcomer.caller.matched().await, innocent.caller.matched().await);
        assert_eq!(of_new["call"], of_old["call"]);
        let met = again.elapsed();
        let (file, which) = if killed_hosts { ("host", "relaying") } else { ("guest", "other") };
        let text = format!(
            "the {which} node of two was killed: who was left waited again after {took:?}, and met somebody {met:?} later"
        );
        e2e::report(&format!("cluster-{file}-death.txt"), &text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_with_somebody_whose_node_is_killed_is_told_and_can_go_on() {
    let broker = Broker::start();
    for killed_hosts in [true, false] {
        let (mut a, b) = two(&broker);
        let (mut lost, mut innocent) = (Voice::enter(&a, "lost").await, Voice::enter(&b, "innocent").await);
        let call =
            if killed_hosts { talk(&mut lost, &mut innocent).await } else { talk(&mut innocent, &mut lost).await };
        assert_eq!(call.relay == a.turn(), killed_hosts);
        a.signal(libc::SIGKILL);
        let killed = Instant::now();
        assert_eq!(innocent.caller.at_last("peer").await["s"], "reconnecting");
        let told = killed.elapsed();
        let said = tokio::time::timeout(MISSED, ended(&mut innocent)).await.expect("nobody says that the call is over");
        assert_eq!(said["why"], "lost", "{said}");
        let over = killed.elapsed();
        let text = format!("a partner's node was killed in a call: told after {told:?}, over after {over:?}");
        e2e::report(if killed_hosts { "cluster-host-lost.txt" } else { "cluster-guest-lost.txt" }, &text);
        let mut other = Voice::enter(&b, "somebody-else").await;
        innocent.caller.request(json!({ "t": "queue" })).await;
        other.caller.request(json!({ "t": "queue" })).await;
        let calls = [innocent.caller.matched().await, other.caller.matched().await].map(|it| it["call"].clone());
        assert_eq!(calls[0], calls[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_every_node_matches_its_own_and_with_it_all_again() {
    let mut broker = Broker::start();
    let (a, b) = two(&broker);
    let mut waits = Voice::enter(&a, "waits").await;
    waits.queue().await;
    let alone = |daemon: &Daemon| metric(daemon, "relay_cluster_matching_alone", "") == 1;
    broker.kill();
    for daemon in [&a, &b] {
        eventually("a node on its own", || alone(daemon).then_some(()));
    }
    let mut comes = Voice::enter(&a, "comes").await;
    comes.queue().await;
    let call = connect(&mut waits, &mut comes).await;
    assert_eq!(call.relay, a.turn());
    let (mut on_a, mut on_b) = (Voice::enter(&a, "on-a").await, Voice::enter(&b, "on-b").await);
    on_a.queue().await;
    on_b.queue().await;
    stays_alone(&mut on_a).await;
    broker.start_again();
    let healed = Instant::now();
    connect(&mut on_a, &mut on_b).await;
    e2e::report(
        "cluster-broker-back.txt",
        &format!("two who waited met {:?} after the broker was there", healed.elapsed()),
    );
    hear_each_other(&mut waits, &mut comes);
    for daemon in [&a, &b] {
        assert!(!alone(daemon));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_between_nodes_outlives_a_broker_that_comes_back() {
    let mut broker = Broker::start();
    let (a, b) = two(&broker);
    let (mut ana, mut ben) = (Voice::enter(&a, "ana").await, Voice::enter(&b, "ben").await);
    let call = talk(&mut ana, &mut ben).await;
    broker.kill();
    hear_each_other(&mut ana, &mut ben);
    broker.start_again();
    match_together(&[&a, &b]);
    eventually("nobody on their own", || {
        [&a, &b].iter().all(|it| metric(it, "relay_cluster_matching_alone", "") == 0).then_some(())
    });
    hear_each_other(&mut ana, &mut ben);
    ana.caller.send(json!({ "t": "text", "call": call.id, "k": 1, "b": "there again" })).await;
    assert_eq!(ben.caller.at_last("text").await["b"], "there again");
}

/// What a client does that has lost its connection: it shows its session and its pass to whichever node answers.
async fn comes_back(to: &Daemon, lost: &Voice) -> (Caller, Value) {
    let begun = Instant::now();
    loop {
        let mut caller = Caller::open(to, None).await.unwrap();
        let resume = json!({ "sid": lost.welcome["sid"], "key": lost.welcome["key"], "n": lost.caller.heard });
        caller.request(json!({ "t": "hello", "v": [1], "resume": resume, "pass": lost.caller.pass })).await;
        let answer = caller.next().await.unwrap();
        if answer["t"] == "welcome" {
            return (caller, answer);
        }
        assert_eq!(answer["code"], "E_BUSY", "{answer}");
        assert!(begun.elapsed() < MISSED, "nobody takes them in");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_at_a_node_that_is_killed_waits_at_another_with_the_seniority_they_had() {
    let broker = Broker::start();
    let (mut a, b) = two(&broker);
    let mut lost = picky(&a, "lost", "f", "m").await;
    // Its pass has come before.
    assert_eq!(lost.caller.at_last("error").await["code"], "E_NO_SUPPLY");
    assert!(lost.caller.pass.is_some());
    // Would be taken instead of them if seniority had been lost.
    let _junior = picky(&b, "junior", "f", "m").await;
    a.signal(libc::SIGKILL);
    let killed = Instant::now();
    let (mut back, welcome) = comes_back(&b, &lost).await;
    let took = killed.elapsed();
    assert_eq!((&welcome["resumed"]["state"], welcome["sid"] == lost.welcome["sid"]), (&json!("queued"), false));
    back.expect("queued").await;
    let mut newcomer = picky(&b, "newcomer", "m", "f").await;
    assert_eq!(back.matched().await["call"], newcomer.caller.matched().await["call"]);
    e2e::report(
        "cluster-pass.txt",
        &format!("a node was killed: who waited there waited at another one after {took:?}"),
    );
}

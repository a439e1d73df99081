//! Nodes and brokers that die under people who talk and wait.

use std::time::{Duration, Instant};

use super::*;

/// A dead node is missed after two seconds, and nobody can come back to it after fifteen.
const MISSED: Duration = Duration::from_secs(45);

/// Waits again without having asked for it; how long it took.
async fn waits_again(voice: &mut Voice, since: Instant) -> Duration {
    let said = tokio::time::timeout(MISSED, ended(voice)).await.expect("nobody is told that the partner is gone");
    assert_eq!((&said["by"], &said["requeued"]), (&json!("server"), &json!(true)), "{said}");
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_partners_node_is_killed_is_matched_again_with_the_seniority_they_had() {
    let broker = Broker::start();
    for killed_hosts in [true, false] {
        let (mut a, b, c) = (node("a", &broker).start(), node("b", &broker).start(), node("c", &broker).start());
        match_together(&[&a, &b, &c]);
        let (mut lost, mut innocent) = (Voice::enter(&a, "lost").await, Voice::enter(&b, "innocent").await);
        let call =
            if killed_hosts { talk(&mut lost, &mut innocent).await } else { talk(&mut innocent, &mut lost).await };
        assert_eq!(call.relay == a.turn(), killed_hosts);
        a.signal(libc::SIGKILL);
        let killed = Instant::now();
        let took = waits_again(&mut innocent, killed).await;
        let again = Instant::now();
        let mut newcomer = Voice::enter(&c, "newcomer").await;
        newcomer.queue().await;
        let (of_new, of_old) = (matched(&mut newcomer).await, matched(&mut innocent).await);
        assert_eq!(of_new["call"], of_old["call"]);
        e2e::report(
            if killed_hosts { "cluster-host-death.txt" } else { "cluster-guest-death.txt" },
            &format!(
                "a call's {} node was killed: who was left waited again after {took:?} and was matched {:?} later",
                if killed_hosts { "relaying" } else { "other" },
                again.elapsed()
            ),
        );
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

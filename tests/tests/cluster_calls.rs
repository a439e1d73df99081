//! People of several nodes are matched and talk: real relays, a real nats-server, the whole of pair.v1 between them.

mod browsers;
mod failing;
mod unseen;

use e2e::across::{connect, hear_each_other, match_together, matched, talk};
use e2e::broker::Broker;
use e2e::daemon::Builder;
use e2e::vitals::metric;
use e2e::voice::Voice;
use e2e::webhook::Receiver;
use e2e::{Claims, Daemon, eventually, http};
use serde_json::{Value, json};

const KEY: &str = "thirty-two bytes or more that only these nodes have";

fn node(name: &str, broker: &Broker) -> Builder {
    Daemon::local().set(&format!("cluster = {{ nats = '{}', node = '{name}', keys = ['{KEY}'] }}", broker.url()))
}

fn two(broker: &Broker) -> (Daemon, Daemon) {
    let nodes = (node("a", broker).start(), node("b", broker).start());
    match_together(&[&nodes.0, &nodes.1]);
    nodes
}

fn allocations(daemon: &Daemon) -> u64 {
    metric(daemon, "relay_allocations", "")
}

async fn ended(voice: &mut Voice) -> Value {
    voice.caller.at_last("ended").await
}

/// Nobody comes for a while in which somebody who could would have.
async fn stays_alone(voice: &mut Voice) {
    let patience = std::time::Duration::from_secs(3);
    let end = tokio::time::Instant::now() + patience;
    while let Ok(said) = tokio::time::timeout_at(end, voice.caller.next()).await {
        assert!(said.as_ref().is_ok_and(|said| said["t"] != "matched"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_on_one_node_and_who_comes_on_the_other_talk_on_one_relay() {
    let broker = Broker::start();
    let (a, b) = two(&broker);
    for (home, elsewhere) in [(&a, &b), (&b, &a)] {
        let mut one = Voice::enter(home, &format!("waits-{}", home.turn().port())).await;
        let mut other = Voice::enter(elsewhere, &format!("comes-{}", home.turn().port())).await;
        let call = talk(&mut one, &mut other).await;
        assert_eq!(call.relay, home.turn(), "the offer that waited names it");
        hear_each_other(&mut one, &mut other);
        eventually("both places on one relay", || {
            (allocations(home) == 2 && allocations(elsewhere) == 0).then_some(())
        });
        other.caller.send(json!({ "t": "hangup", "call": call.id })).await;
        let said = ended(&mut one).await;
        assert_eq!((said["by"].as_str(), said["why"].as_str()), (Some("peer"), Some("hangup")));
        assert_eq!(ended(&mut other).await["by"], "self");
        eventually("the end of both places", || (allocations(home) == 0).then_some(()));
    }
    let made = [&a, &b].map(|node| metric(node, "relay_cluster_claims_total", "outcome=\"committed\""));
    assert_eq!(made.iter().sum::<u64>(), 2);
    for node in [&a, &b] {
        let seen = http::get(node.admin(), "/v1/cluster").json();
        assert_eq!((&seen["matching"]["nodes"], &seen["matching"]["alone"]), (&json!(2), &json!(false)), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_next_and_blocks_cross_and_a_report_is_delivered() {
    let (broker, backend) = (Broker::start(), Receiver::start());
    let start = |name| node(name, &broker).set(&backend.settings()).start();
    let (a, b) = (start("a"), start("b"));
    match_together(&[&a, &b]);
    let (mut ana, mut ben) = (Voice::enter(&a, "ana").await, Voice::enter(&b, "ben").await);
    let call = talk(&mut ana, &mut ben).await.id;
    for (number, words) in [(1, "hello over there"), (2, "and hello back")] {
        let (from, to) = if number == 1 { (&mut ana, &mut ben) } else { (&mut ben, &mut ana) };
        from.caller.send(json!({ "t": "text", "call": call, "k": number, "b": words })).await;
        let text = to.caller.at_last("text").await;
        assert_eq!((&text["b"], &text["k"]), (&json!(words), &json!(number)));
        // Both at the relay's node and away from it.
        let evidence = json!([{ "k": number, "b": words, "tag": text["tag"] }]);
        let report = json!({ "t": "report", "call": call, "cat": "spam", "ev": evidence });
        to.caller.request(report).await;
        to.caller.at_last("reported").await;
        let told = backend.report();
        assert_eq!((&told["verified"][0]["b"], &told["unverified"]), (&json!(words), &json!(0)), "{told}");
    }
    ben.caller.send(json!({ "t": "block", "call": call })).await;
    assert_eq!(
        (ended(&mut ana).await["why"].as_str(), ended(&mut ben).await["why"].as_str()),
        (Some("hangup"), Some("block"))
    );
    ben.caller.at_last("blocked").await;
    // They do not meet again, on whatever node.
    ana.queue().await;
    ben.queue().await;
    stays_alone(&mut ana).await;
    let mut cem = Voice::enter(&b, "cem").await;
    cem.queue().await;
    let met = matched(&mut cem).await;
    assert!(met["call"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn next_brings_somebody_of_another_node_at_once() {
    let broker = Broker::start();
    let (a, b) = two(&broker);
    let (mut ana, mut ben) = (Voice::enter(&a, "ana").await, Voice::enter(&b, "ben").await);
    let call = talk(&mut ana, &mut ben).await.id;
    let mut cem = Voice::enter(&a, "cem").await;
    cem.queue().await;
    ben.caller.send(json!({ "t": "next", "call": call })).await;
    assert_eq!(ended(&mut ana).await["why"], "next");
    assert_eq!(ended(&mut ben).await["by"], "self");
    let (of_ben, of_cem) = (matched(&mut ben).await, matched(&mut cem).await);
    assert_eq!(of_ben["call"], of_cem["call"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_a_node_without_room_are_called_over_to_the_other() {
    let broker = Broker::start();
    let full = node("a", &broker).set("limits.total_allocations = 1").start();
    let b = node("b", &broker).start();
    match_together(&[&full, &b]);
    // The one place there is.
    let mut one = Voice::enter(&full, "waits-on-a-full-node").await;
    // It is told every second.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let mut other = Voice::enter(&b, "comes").await;
    let call = talk(&mut one, &mut other).await;
    assert_eq!(call.relay, b.turn());
    hear_each_other(&mut one, &mut other);
    eventually("both places on the other", || (allocations(&b) == 2 && allocations(&full) == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_node_is_given_no_call_and_its_call_goes_on() {
    let broker = Broker::start();
    let a = node("a", &broker).set("drain.deadline_secs = 600").start();
    let b = node("b", &broker).start();
    let c = node("c", &broker).start();
    match_together(&[&a, &b, &c]);
    let (mut ana, mut ben) = (Voice::enter(&a, "ana").await, Voice::enter(&b, "ben").await);
    let call = talk(&mut ana, &mut ben).await;
    assert_eq!(call.relay, a.turn());
    assert_eq!(http::post(a.admin(), "/v1/drain", &json!({ "in_ms": 600_000 })).status, 204);
    hear_each_other(&mut ana, &mut ben);
    for (home, elsewhere) in [(&b, &c), (&c, &b)] {
        let name = home.turn().port();
        let mut one = Voice::enter(home, &format!("one-{name}")).await;
        let mut other = Voice::enter(elsewhere, &format!("other-{name}")).await;
        assert_eq!(talk(&mut one, &mut other).await.relay, home.turn());
    }
    ana.caller.send(json!({ "t": "text", "call": call.id, "k": 1, "b": "still here" })).await;
    assert_eq!(ben.caller.at_last("text").await["b"], "still here");
    eventually("nobody's queue there", || (metric(&a, "relay_cluster_tickets_owned", "") == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_began_with_different_keys_match_nobody_with_each_other_and_say_so() {
    let broker = Broker::start();
    let other = "another thirty-two bytes or more of these nodes";
    let keys = |order: [&str; 2]| format!("cluster.keys = ['{}', '{}']", order[0], order[1]);
    let mut a = node("a", &broker).set(&keys([KEY, other])).start();
    let b = node("b", &broker).set(&keys([other, KEY])).start();
    for daemon in [&a, &b] {
        eventually("one apart", || (metric(daemon, "relay_cluster_nodes_apart", "") == 1).then_some(()));
        daemon.says("nobody is matched with its people");
    }
    let (mut ana, mut ben) = (Voice::enter(&a, "ana").await, Voice::enter(&b, "ben").await);
    ana.queue().await;
    ben.queue().await;
    stays_alone(&mut ana).await;
    let seen = http::get(a.admin(), "/v1/cluster").json();
    assert_eq!(seen["nodes"][1]["matches"], false, "{seen}");
    // A reload changes what seals, and nothing of that.
    let c = node("c", &broker).set(&keys([KEY, other])).start();
    match_together(&[&a, &c]);
    let mut cem = Voice::enter(&c, "cem").await;
    cem.queue().await;
    let call = connect(&mut ana, &mut cem).await;
    a.reload(&keys([other, KEY]));
    a.says("changed: cluster.keys");
    hear_each_other(&mut ana, &mut cem);
    ana.caller.send(json!({ "t": "text", "call": call.id, "k": 1, "b": "a new key" })).await;
    assert_eq!(cem.caller.at_last("text").await["b"], "a new key");
    match_together(&[&a, &c]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_one_name_and_settings_that_differ_are_named_in_the_log() {
    let broker = Broker::start();
    let (a, twin) = (node("a", &broker).start(), node("a", &broker).start());
    for daemon in [&a, &twin] {
        daemon.says("another node of the cluster has this one's name");
    }
    let b = node("b", &broker).set("matching.topics = ['travel', 'music']").start();
    b.says("has other settings for matching");
    let like = |daemon: &Daemon| {
        let seen = http::get(daemon.admin(), "/v1/cluster").json();
        seen["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["same_settings"].as_bool().unwrap())
            .collect::<Vec<_>>()
    };
    eventually("both nodes", || (like(&b) == [false, true]).then_some(()));
    assert_eq!(metric(&b, "relay_cluster_nodes_unlike", ""), 1);
}

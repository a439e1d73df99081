//! Several relays on a real nats-server: who sees whom, what happens when one of them or the broker dies, and what the broker can know.

use std::time::{Duration, Instant};

use e2e::broker::Broker;
use e2e::daemon::Builder;
use e2e::{Caller, Claims, Daemon, eventually, http, memory};
use serde_json::{Value, json};

const KEY: &str = "thirty-two bytes or more that only these nodes have";
const OTHER: &str = "another thirty-two bytes or more, of other nodes";
/// A node that is gone may be missed for so long: two seconds, and what a busy machine adds.
const GONE: Duration = Duration::from_secs(20);

fn node(name: &str, broker: &Broker) -> Builder {
    Daemon::local().set(&format!("cluster = {{ nats = '{}', node = '{name}', keys = ['{KEY}'] }}", broker.url()))
}

fn seen(daemon: &Daemon) -> Value {
    http::get(daemon.admin(), "/v1/cluster").json()
}

/// The nodes it sees, itself among them, and of those that are ready.
fn names(daemon: &Daemon) -> Vec<String> {
    let nodes = seen(daemon)["nodes"].as_array().unwrap().clone();
    let ready = nodes.into_iter().filter(|node| node["ready"] == true);
    ready.map(|node| node["node"].as_str().unwrap().to_owned()).collect()
}

fn sees(daemon: &Daemon, wanted: &[&str]) {
    eventually(&format!("{wanted:?}"), || (names(daemon) == wanted).then_some(()));
}

fn metric(daemon: &Daemon, name: &str) -> u64 {
    let page = http::get(daemon.admin(), "/metrics").body;
    let sample = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    sample.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn reaches(daemon: &Daemon, name: &str, value: u64) {
    eventually(&format!("{name} {value}"), || (metric(daemon, name) == value).then_some(()));
}

fn denied(daemon: &Daemon, sub: &str) -> bool {
    http::get(daemon.admin(), &format!("/v1/subjects/{sub}")).json()["denied_until"].is_u64()
}

fn revoke(daemon: &Daemon, body: &Value) {
    assert_eq!(http::post(daemon.admin(), "/v1/revoke", body).status, 200);
}

/// The code of the error that is sure to come.
async fn last_words(caller: &mut Caller) -> String {
    let error = tokio::time::timeout(e2e::PATIENCE, caller.at_last("error")).await;
    error.expect("nobody is sent away")["code"].as_str().unwrap().to_owned()
}

#[test]
fn three_nodes_see_each_other_and_miss_one_that_is_killed() {
    let broker = Broker::start();
    let (a, b, mut c) = (node("a", &broker).start(), node("b", &broker).start(), node("c", &broker).start());
    for daemon in [&a, &b, &c] {
        sees(daemon, &["a", "b", "c"]);
        assert_eq!((metric(daemon, "relay_cluster_bus_connected"), metric(daemon, "relay_cluster_nodes")), (1, 3));
    }
    c.signal(libc::SIGKILL);
    let killed = Instant::now();
    sees(&a, &["a", "b"]);
    sees(&b, &["a", "b"]);
    let took = killed.elapsed();
    assert!(took < GONE, "{took:?}");
    e2e::report("cluster-node-death.txt", &format!("a node that was killed was missed after {took:?}"));
    assert_eq!(metric(&a, "relay_cluster_nodes"), 2);
    // Another run of it is seen at once, and one that says goodbye is not waited for: each time, whatever else it has to say just then.
    for run in 1..=4 {
        let mut again = node("c", &broker).start();
        sees(&a, &["a", "b", "c"]);
        again.process().stop();
        sees(&a, &["a", "b"]);
        let goodbyes = || a.log().matches("a node of the cluster has left").count();
        eventually("the last word", || (goodbyes() == run).then_some(()));
    }
}

#[test]
fn two_nodes_know_of_each_other_how_much_room_there_is_and_who_drains() {
    let broker = Broker::start();
    let a = node("a", &broker).start();
    let b = node("b", &broker).set("drain.deadline_secs = 600").start();
    sees(&a, &["a", "b"]);
    let of_b = |daemon: &Daemon| seen(daemon)["nodes"][1].clone();
    assert_eq!((of_b(&a)["draining"].clone(), of_b(&a)["here"].clone()), (json!(false), json!(false)));
    assert!(of_b(&a)["room"].as_u64().unwrap() > 0 && of_b(&b)["here"] == true);
    assert_eq!(http::post(b.admin(), "/v1/drain", &json!({ "in_ms": 600_000 })).status, 204);
    eventually("the drain", || (of_b(&a)["draining"] == true && of_b(&a)["ready"] == false).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_on_one_node_is_sent_away_from_another() {
    let broker = Broker::start();
    let (a, b) = (node("a", &broker).start(), node("b", &broker).start());
    sees(&a, &["a", "b"]);
    let (mut person, _) = Caller::connect(&b, &Claims::adult("somebody-on-node-b").token()).await;
    let token = Claims::adult("a-token").with("jti", json!("one token"));
    let (mut holder, _) = Caller::connect(&b, &token.token()).await;
    let (mut erased, _) = Caller::connect(&b, &Claims::adult("somebody-to-forget").token()).await;
    let (mut other, _) = Caller::connect(&b, &Claims::adult("another").token()).await;
    revoke(&a, &json!({ "sub": "somebody-on-node-b" }));
    revoke(&a, &json!({ "jti": "one token", "secs": 600 }));
    assert_eq!(http::request(a.admin(), "DELETE", "/v1/subjects/somebody-to-forget", None).unwrap().status, 204);
    for gone in [&mut person, &mut holder, &mut erased] {
        assert_eq!(last_words(gone).await, "E_REVOKED");
    }
    assert!(denied(&b, "somebody-on-node-b") && denied(&a, "somebody-on-node-b"));
    assert!(!denied(&b, "somebody-to-forget") && !denied(&b, "another"));
    Caller::connect(&b, &Claims::adult("somebody-to-forget").token()).await;
    other.request(json!({ "t": "queue" })).await;
    other.expect("queued").await;
    // Asked again nothing changes.
    revoke(&b, &json!({ "sub": "somebody-on-node-b" }));
    reaches(&a, "relay_cluster_revocations", 2);
}

#[test]
fn a_broker_that_comes_back_heals_what_it_broke() {
    let mut broker = Broker::start();
    let (a, b) = (node("a", &broker).start(), node("b", &broker).start());
    sees(&a, &["a", "b"]);
    revoke(&a, &json!({ "sub": "before" }));
    eventually("the first", || denied(&b, "before").then_some(()));
    broker.kill();
    for daemon in [&a, &b] {
        reaches(daemon, "relay_cluster_bus_connected", 0);
        reaches(daemon, "relay_cluster_nodes", 1);
        assert_eq!(http::get(daemon.admin(), "/readyz").status, 200, "it serves on");
    }
    // Each hears of something the other does not.
    revoke(&a, &json!({ "sub": "on-a" }));
    revoke(&b, &json!({ "sub": "on-b" }));
    assert!(denied(&a, "on-a") && !denied(&a, "on-b"));
    broker.start_again();
    for daemon in [&a, &b] {
        sees(daemon, &["a", "b"]);
        eventually("all of them", || (denied(daemon, "on-a") && denied(daemon, "on-b")).then_some(()));
    }
    // Who was not there yet is told as well.
    let c = node("c", &broker).start();
    eventually("the whole list", || ["before", "on-a", "on-b"].iter().all(|sub| denied(&c, sub)).then_some(()));
}

#[test]
fn a_node_begins_on_its_own_without_a_broker_and_finds_it_later() {
    let mut broker = Broker::start();
    broker.kill();
    let a = node("a", &broker).start();
    assert_eq!((names(&a), metric(&a, "relay_cluster_bus_connected")), (vec!["a".to_owned()], 0));
    assert!(a.log().contains("no broker of [cluster] answers"), "{}", a.log());
    broker.start_again();
    reaches(&a, "relay_cluster_bus_connected", 1);
}

#[test]
fn a_broker_that_could_keep_what_it_hears_is_refused() {
    let broker = Broker::that_keeps();
    let said = node("a", &broker).refused();
    assert!(said.contains("has JetStream for this account") && said.contains("without -js"), "{said}");
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn a_broker_that_comes_back_with_jetstream_is_left() {
    let mut broker = Broker::start();
    let a = node("a", &broker).start();
    reaches(&a, "relay_cluster_bus_connected", 1);
    broker.kill();
    broker.start_again_as("jetstream { store_dir: './kept' }");
    reaches(&a, "relay_cluster_bus_refused", 1);
    assert_eq!((metric(&a, "relay_cluster_bus_connected"), http::get(a.admin(), "/readyz").status), (0, 200));
    a.says("has JetStream for this account");
    let lines = a.log().lines().filter(|line| line.contains("JetStream")).count();
    assert_eq!(lines, 1, "it is said once");
    broker.kill();
    broker.start_again_as("");
    reaches(&a, "relay_cluster_bus_connected", 1);
    assert_eq!(metric(&a, "relay_cluster_bus_refused"), 0);
}

/// JetStream is the server's, what counts is the account; and who may not ask cannot know.
const ACCOUNTS: &str = r#"
jetstream { store_dir: "./kept" }
accounts {
  KEEPS { jetstream: enabled, users: [{ user: keeps, password: p }] }
  RELAY { users: [
    { user: relay, password: p, permissions: { publish: ["relay.v1.>", "$JS.API.INFO"], subscribe: "relay.v1.>" } }
    { user: mute, password: p, permissions: { publish: "relay.v1.>", subscribe: "relay.v1.>" } }
  ] }
}"#;

#[test]
fn of_a_broker_with_accounts_one_without_jetstream_will_do() {
    let broker = Broker::configured(ACCOUNTS);
    let user =
        |name: &str, user: &str| node(name, &broker).set(&format!("cluster = {{ user = '{user}', password = 'p' }}"));
    let (a, b) = (user("a", "relay").start(), user("b", "relay").start());
    sees(&a, &["a", "b"]);
    revoke(&a, &json!({ "sub": "somebody" }));
    eventually("the revocation", || denied(&b, "somebody").then_some(()));
    assert!(user("c", "keeps").refused().contains("has JetStream for this account"));
    assert!(user("c", "mute").refused().contains("does not say whether it has JetStream"));
    let stranger = user("c", "nobody").start();
    stranger.says("does not let this relay in");
    assert_eq!(metric(&stranger, "relay_cluster_bus_connected"), 0);
}

#[test]
fn over_tls_a_broker_is_trusted_by_its_certificate() {
    let tls = "tls { cert_file: cert.pem, key_file: key.pem }";
    let broker = Broker::prepared(tls, e2e::certificate::write);
    let ca = broker.directory().join("ca.pem");
    let at = |name: &str, more: &str| {
        let url = format!("tls://localhost:{}", broker.port());
        node(name, &broker).set(&format!("cluster = {{ nats = ['{url}'] {more} }}"))
    };
    let trusts = format!(", ca = '{}'", ca.display());
    let (a, b) = (at("a", &trusts).start(), at("b", &trusts).start());
    sees(&a, &["a", "b"]);
    sees(&b, &["a", "b"]);
    let doubts = at("c", "").start();
    doubts.says("is not trusted");
}

#[test]
fn a_node_with_another_key_is_not_heard_and_a_key_is_changed_without_silence() {
    let broker = Broker::start();
    let (mut a, mut b) = (node("a", &broker).start(), node("b", &broker).start());
    let stranger = node("c", &broker).set(&format!("cluster.keys = ['{OTHER}']")).start();
    sees(&a, &["a", "b"]);
    let foreign = "relay_cluster_messages_lost_total{reason=\"foreign_key\"}";
    eventually("a message of a foreign key", || (metric(&a, foreign) > 0).then_some(()));
    assert_eq!(names(&stranger), ["c"]);
    for step in [format!("'{KEY}', '{OTHER}'"), format!("'{OTHER}', '{KEY}'")] {
        for daemon in [&mut a, &mut b] {
            daemon.reload(&format!("cluster.keys = [{step}]"));
            daemon.says("changed: cluster.keys");
        }
        sees(&a, &["a", "b", "c"]);
        sees(&b, &["a", "b", "c"]);
    }
    for daemon in [&mut a, &mut b] {
        daemon.reload(&format!("cluster.keys = ['{OTHER}']"));
    }
    for daemon in [&a, &b, &stranger] {
        sees(daemon, &["a", "b", "c"]);
    }
}

/// Root may read the broker's memory.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_about_anybody_is_in_the_memory_or_on_the_disk_of_the_broker() {
    let broker = Broker::start();
    let (a, b) = (node("a", &broker).start(), node("b", &broker).start());
    sees(&a, &["a", "b"]);
    let subs: Vec<String> = (0..50).map(|number| format!("CANARYsub{number:08}")).collect();
    let (mut present, _) = Caller::connect(&b, &Claims::adult(&subs[0]).token()).await;
    for sub in &subs {
        revoke(&a, &json!({ "sub": sub }));
        revoke(&a, &json!({ "jti": format!("CANARYjti{sub}") }));
    }
    assert_eq!(last_words(&mut present).await, "E_REVOKED");
    reaches(&b, "relay_cluster_revocations", 100);
    // Pages of the list go over it too.
    let c = node("c", &broker).start();
    reaches(&c, "relay_cluster_revocations", 100);
    let mut marks: Vec<Vec<u8>> = subs.iter().flat_map(|sub| [sub.clone().into_bytes(), entry(sub)]).collect();
    marks.extend([b"CANARY".to_vec(), b"\"sessions\":".to_vec(), KEY.as_bytes().to_vec()]);
    // What is looked for can be found: subjects are there to be read.
    match memory::search(broker.id(), &[b"relay.v1.alive".to_vec()]) {
        Ok(found) => assert_eq!(found.len(), 1, "the search looks in the wrong place"),
        Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    let found = memory::search(broker.id(), &marks).unwrap();
    assert!(found.is_empty(), "in the broker's memory: {found:?}");
    let files: Vec<_> = std::fs::read_dir(broker.directory()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(files, ["nats.conf"], "it wrote nothing");
    assert!(!broker.log().contains("CANARY"));
}

/// As a revocation travels, inside its seal.
fn entry(sub: &str) -> Vec<u8> {
    relay::matchmaking::entry(sub).to_vec()
}

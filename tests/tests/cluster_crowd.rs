//! A crowd over several nodes, one of which is killed, and a broker that is away for a while: nobody is in two calls, every call has
//! two sides or none, and who was left behind is matched again soon. `loadgen` is both sides of every call, and judges.

use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::across::match_together;
use e2e::broker::Broker;
use e2e::daemon::build;
use e2e::vitals::metric;
use e2e::{Daemon, eventually, report};
use serde_json::Value;

use crate::upgrading::crowd::{load, outcome};

const KEY: &str = "thirty-two bytes or more that only these nodes have";
const NAMES: [&str; 3] = ["a", "b", "c"];
/// A decision, at most, whoever of those it is between dies meanwhile; and the next match of who was put back into the queue.
const MATCHED_AGAIN: Duration = Duration::from_secs(3);

/// Moments count from when the first caller comes.
struct Crowd {
    nodes: usize,
    /// Talking or waiting at the same time, on average.
    callers: u32,
    depth: &'static str,
    /// The mean length of a call.
    hold: Duration,
    killed_at: Duration,
    broker_killed_at: Duration,
    /// How long there is no broker.
    away: Duration,
    /// Nobody comes any more; who lost a partner with the node has been told, which takes up to twenty seconds.
    until: Duration,
}

impl Crowd {
    fn arguments(&self) -> Vec<String> {
        let rate = f64::from(self.callers) / 2.0 / self.hold.as_secs_f64();
        let hold = format!("exp:{}s", self.hold.as_secs());
        let until = format!("{}s", self.until.as_secs());
        let most = format!("peer.max_callers={}", 2 * self.callers);
        let words = ["--depth", self.depth, "--media", "none", "--calls/s", &rate.to_string(), "--hold", &hold];
        let more = ["--for", &until, "--warmup", "0s", "--drain", "3s", "--patience", "fixed:600s", "--set", &most];
        let alike = ["--set", "peer.mix.picky_share=0.0", "--set", "peer.mix.topics_share=0.0"];
        words.into_iter().chain(more).chain(alike).map(str::to_owned).collect()
    }
}

fn sum(nodes: &[Daemon], name: &str, label: &str) -> u64 {
    nodes.iter().map(|node| metric(node, name, label)).sum()
}

fn wait_until(begun: Instant, moment: Duration) {
    sleep(moment.saturating_sub(begun.elapsed()));
}

fn survives(name: &str, crowd: &Crowd) {
    // Before anybody waits for it.
    build("loadgen");
    let mut broker = Broker::start();
    let cluster = |node: &str| format!("cluster = {{ nats = '{}', node = '{node}', keys = ['{KEY}'] }}", broker.url());
    let start = |node: &&str| Daemon::local().set(&cluster(node)).start();
    let mut nodes: Vec<Daemon> = NAMES[..crowd.nodes].iter().map(start).collect();
    let all: Vec<&Daemon> = nodes.iter().collect();
    match_together(&all);
    let mut running = load(&all, name, &crowd.arguments());
    let alive = |running: &mut e2e::process::Process| assert!(running.is_running(), "{}", running.log());
    eventually("somebody", || (sum(&nodes, "relay_signalling_sessions", "") > 0).then_some(()));
    let begun = Instant::now();

    wait_until(begun, crowd.killed_at);
    alive(&mut running);
    let connected = sum(&nodes, "relay_signalling_sessions", "");
    let mut killed = nodes.remove(0);
    killed.signal(libc::SIGKILL);
    wait_until(begun, crowd.broker_killed_at);
    broker.kill();
    sleep(crowd.away);
    broker.start_again();
    let claims = |nodes: &[Daemon]| sum(nodes, "relay_cluster_claims_total", "outcome=\"committed\"");
    let before = claims(&nodes);
    if nodes.len() > 1 {
        eventually("calls across nodes again", || (claims(&nodes) > before).then_some(()));
    }
    let result = outcome(running, name);
    let said = &result["nodes"];
    let text = format!(
        "{} nodes, {connected} connected when one was killed; {}\n{:#}\ncauses {}\nviolations {}\n",
        crowd.nodes,
        result["outcomes"],
        brief(said),
        result["outcomes"]["causes"],
        result["violations"]
    );
    report(&format!("{name}.txt"), &text);

    assert_eq!(result["violations"], serde_json::json!({}), "{text}");
    let rows = said["rows"].as_array().unwrap();
    assert!(rows[0]["lost"].as_u64().unwrap() > 0 && said["total"]["came_over"].as_u64().unwrap() > 0, "{text}");
    for survivor in &rows[1..] {
        assert_eq!((&survivor["lost"], &survivor["refused"]), (&Value::from(0), &Value::from(0)), "{text}");
    }
    let causes = result["outcomes"]["causes"].as_object().unwrap();
    // Of a call that ends in set-up the routes and the place are gone before anybody is told (437: RFC 8656 §12): who binds a channel just then.
    let explained = ["signalling connection lost", "dropped when up: lost", "dropped when up: failed", "channel 437"];
    assert!(
        causes.keys().all(|cause| explained.contains(&cause.as_str())),
        "who fails lost the node, or a partner or the relay there: {text}"
    );
    let failed: u64 = causes.values().filter_map(Value::as_u64).sum();
    assert!(failed <= 2 * rows[0]["lost"].as_u64().unwrap(), "{text}");
    assert!(said["across_nodes"]["calls_up"].as_u64().unwrap() > 0, "{text}");
    for waited in ["/rematch", "/same_node/decision", "/across_nodes/decision"] {
        let longest = said.pointer(waited).and_then(|of| of["max"].as_f64()).unwrap_or(0.0);
        assert!(longest <= MATCHED_AGAIN.as_secs_f64() * 1e3, "{waited}: {text}");
    }
    for name in ["relay_calls", "relay_queue_tickets", "relay_allocations"] {
        eventually(&format!("{name} at zero, everybody has gone"), || (sum(&nodes, name, "") == 0).then_some(()));
    }
}

/// Without histograms.
fn brief(nodes: &Value) -> Value {
    let mut brief = nodes.clone();
    let distributions = ["decision", "setup", "setup_after_match", "moved_allocate"];
    let paths =
        ["same_node", "across_nodes"].into_iter().flat_map(|kind| distributions.map(|of| format!("/{kind}/{of}")));
    for path in paths.chain(["/rematch".to_owned()]) {
        if let Some(of) = brief.pointer_mut(&path).and_then(Value::as_object_mut) {
            of.retain(|key, _| ["n", "p50", "p99", "max"].contains(&key.as_str()));
        }
    }
    brief
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_small_crowd_outlives_a_node_that_is_killed_and_a_broker_that_comes_back() {
    survives(
        "cluster-crowd-small",
        &Crowd {
            nodes: 3,
            callers: 300,
            depth: "light",
            hold: 8 * SECOND,
            killed_at: 8 * SECOND,
            broker_killed_at: 13 * SECOND,
            away: SECOND,
            until: 30 * SECOND,
        },
    );
}

fn ten_thousand(nodes: usize) -> Crowd {
    Crowd {
        nodes,
        callers: 10_000,
        depth: "signalling",
        hold: 30 * SECOND,
        killed_at: 90 * SECOND,
        broker_killed_at: 125 * SECOND,
        away: 3 * SECOND,
        until: 150 * SECOND,
    }
}

#[test]
#[ignore = "three minutes of the whole machine: tests/run.sh --long"]
fn ten_thousand_over_two_nodes_outlive_one_of_them_and_a_broker_that_comes_back() {
    survives("cluster-crowd-two", &ten_thousand(2));
}

#[test]
#[ignore = "three minutes of the whole machine: tests/run.sh --long"]
fn ten_thousand_over_three_nodes_outlive_one_of_them_and_a_broker_that_comes_back() {
    survives("cluster-crowd-three", &ten_thousand(3));
}

//! What `configs/deploy` gives an operator: each file is looked at by the program it is for, and names nothing that does not exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::broker::Broker;
use e2e::daemon::target_directory;
use e2e::process::Process;
use e2e::{Caller, Daemon, eventually, http};
use serde_json::{Value, json};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/deploy").join(file)
}

fn text(file: &str) -> String {
    std::fs::read_to_string(deploy(file)).unwrap()
}

fn runbooks() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../relay/docs/runbooks.md")).unwrap()
}

/// Runs a program that judges a file; `None`, and a note for whoever ran the tests, where it is not installed.
pub(crate) fn judged(program: &str, package: &str, command: &mut Command) -> Option<String> {
    let Ok(output) = command.output() else {
        e2e::report(&format!("not-tested-{program}.txt"), &format!("not tested: {program} is missing ({package})"));
        return None;
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {said}");
    Some(said)
}

fn promtool() -> Command {
    Command::new("promtool")
}

/// A tool of the Python environment that `tests/run.sh` makes.
fn python_tool(name: &str) -> Command {
    Command::new(target_directory().join("interop/bin").join(name))
}

/// Names of metrics in a text, as they are in the expressions of alerts and dashboards.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("relay_"));
    words.filter(|word| !["relay_", "relay_doctor"].contains(word)).collect()
}

/// Everything there is to count: signalling and streams as well.
fn page(accept: &str) -> String {
    // A cluster counts whether its broker is there or not.
    let cluster =
        "cluster = { nats = 'nats://127.0.0.1:1', node = 'a', keys = ['thirty-two bytes or more of nobody else'] }";
    let daemon = Daemon::local().set("listen.tcp = ['127.0.0.1:0']").set(cluster).start();
    http::with_headers(daemon.admin(), "/metrics", &[("accept", accept)]).body
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    judged("promtool", "apt-get install prometheus", promtool().args(["check", "rules"]).arg(deploy("alerts.yml")));
    judged("promtool", "apt-get install prometheus", promtool().args(["test", "rules"]).arg(deploy("alerts_test.yml")));
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let (alerts, books) = (text("alerts.yml"), runbooks());
    let named = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let linked = alerts.lines().filter_map(|line| line.split_once("runbook_url: relay/docs/runbooks.md#"));
    let named: Vec<String> = named.map(str::to_owned).collect();
    assert!(named.len() >= 10);
    assert_eq!(
        linked.map(|(_, to)| to.to_owned()).collect::<Vec<_>>(),
        named.iter().map(|it| it.to_lowercase()).collect::<Vec<_>>()
    );
    let written: BTreeSet<&str> = books.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(written, named.iter().map(String::as_str).collect());
    let tested = text("alerts_test.yml");
    for alert in &named {
        assert!(tested.contains(alert.as_str()), "{alert} is never seen to fire");
    }
}

#[test]
fn what_alerts_dashboards_and_runbooks_count_is_counted() {
    let page = page("text/plain");
    let counted = metrics_in(&page);
    let (alerts, dashboard, books) = (text("alerts.yml"), text("grafana-dashboard.json"), runbooks());
    for wanted in [&alerts, &dashboard, &books].into_iter().flat_map(|text| metrics_in(text)) {
        assert!(counted.contains(wanted), "{wanted} is on no page of metrics");
    }
    // And labels: a reason, code or kind that does not exist would never fire.
    for pair in [&alerts, &dashboard].into_iter().flat_map(|text| text.split("{").skip(1)) {
        let Some((label, rest)) = pair.split_once("=\"").or_else(|| pair.split_once("=\\\"")) else { continue };
        let label = label.rsplit(',').next().unwrap_or(label);
        if ["code", "reason", "kind"].contains(&label) {
            let value = rest.split(['"', '\\']).next().unwrap();
            assert!(page.contains(&format!("{label}=\"{value}\"")), "no {label} is called {value}");
        }
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard: Value = serde_json::from_str(&text("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["gridPos"]["x"].as_u64().unwrap() + panel["gridPos"]["w"].as_u64().unwrap() <= 24, "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
            rules += &format!("  - record: panel:{}\n    expr: {}\n", panel["id"], Value::from(expression));
        }
    }
    let file = target_directory().join("dashboard-expressions.yml");
    std::fs::write(&file, rules).unwrap();
    judged("promtool", "apt-get install prometheus", promtool().args(["check", "rules"]).arg(&file));
}

#[test]
fn both_formats_of_the_page_are_read_by_their_readers() {
    let prometheus = target_directory().join("metrics.txt");
    std::fs::write(&prometheus, page("text/plain;version=0.0.4")).unwrap();
    let mut check = promtool();
    check.args(["check", "metrics"]).stdin(std::fs::File::open(&prometheus).unwrap());
    judged("promtool", "apt-get install prometheus", &mut check);
    let open = page("application/openmetrics-text;version=1.0.0");
    assert!(open.ends_with("# EOF\n"));
    let file = target_directory().join("metrics.om");
    std::fs::write(&file, open).unwrap();
    let read = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                print(len(list(read(open(sys.argv[1]).read()))))";
    if let Some(families) =
        judged("prometheus_client", "see tests/run.sh", python_tool("python").args(["-c", read]).arg(file))
    {
        assert!(families.trim().parse::<u32>().unwrap() > 30, "{families}");
    }
}

#[test]
fn the_unit_is_valid_and_shut_in() {
    // The program need not be installed where this is checked.
    let unit = text("relay.service").replace("/usr/bin/relay", "/bin/true");
    let file = target_directory().join("relay.service");
    std::fs::write(&file, unit).unwrap();
    let mut verify = Command::new("systemd-analyze");
    if let Some(said) = judged("systemd-analyze", "apt-get install systemd", verify.arg("verify").arg(&file)) {
        assert!(!said.contains("relay.service:"), "{said}");
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=20", "--no-pager"]).arg(&file);
    if let Some(said) = judged("systemd-analyze", "apt-get install systemd", &mut security) {
        e2e::report("systemd-security.txt", said.lines().last().unwrap());
    }
}

#[test]
fn the_container_file_and_the_manifests_are_clean() {
    judged("hadolint", "see tests/run.sh", python_tool("hadolint").arg(deploy("Containerfile")));
    let mut validate = python_tool("kubernetes-validate");
    judged("kubernetes-validate", "see tests/run.sh", validate.arg("--strict").arg(deploy("kubernetes.yaml")));
}

/// The configuration inside the Kubernetes example is one the daemon takes.
#[test]
fn the_configuration_of_the_manifests_is_one_the_daemon_takes() {
    let manifests = text("kubernetes.yaml");
    let (_, rest) = manifests.split_once("relay.toml: |\n").unwrap();
    let lines = rest.lines().take_while(|line| line.starts_with("    ")).map(|line| &line[4..]);
    let secrets = target_directory().join("kubernetes-secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    for name in ["rest", "tokens", "cluster", "broker"] {
        let (_, rest) = manifests.split_once(&format!("\n  {name}: \"")).unwrap();
        std::fs::write(secrets.join(name), rest.split('"').next().unwrap()).unwrap();
    }
    let toml = lines.collect::<Vec<_>>().join("\n").replace("/run/secrets/relay", &secrets.display().to_string());
    let toml = toml.replace("NODE_ADDRESS", "192.0.2.10");
    let settings = relay::config::parse(&toml, Path::new("/")).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((settings.auth.rest_secrets.len(), settings.auth.tokens.len()), (1, 1));
    assert_eq!(settings.cluster.unwrap().brokers[0].host, "relay-broker");
}

/// What the manifests tell the broker is what a real one takes, and what a relay needs of it.
#[test]
fn a_relay_of_the_manifests_and_their_broker_find_each_other_as_a_cluster() {
    let manifests = text("kubernetes.yaml");
    let (_, rest) = manifests.split_once("nats.conf: |\n").unwrap();
    let lines = rest.lines().take_while(|line| line.starts_with("    ")).map(|line| &line[4..]);
    let wanted = lines.filter(|line| !line.starts_with("listen")).collect::<Vec<_>>().join("\n");
    let broker = Broker::configured(&wanted.replace("$BROKER_PASSWORD", "of-the-broker"));
    let key = "keys = ['thirty-two bytes or more, the same on every node']";
    let cluster =
        format!("cluster = {{ nats = '{}', {key}, user = 'relay', password = 'of-the-broker' }}", broker.url());
    let nodes = ["a", "b"].map(|node| Daemon::local().set(&cluster).set(&format!("cluster.node = '{node}'")).start());
    for node in &nodes {
        eventually("two nodes", || {
            http::get(node.admin(), "/metrics").body.contains("\nrelay_cluster_nodes 2\n").then_some(())
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_starts_two_nodes_here_whose_people_are_matched() {
    let mut command = Command::new(deploy("two-nodes.sh"));
    command.arg("--relay").arg(e2e::daemon::binary());
    let mut example = Process::start(&mut command, "bash and nats-server (tests/run.sh installs it)");
    let mut at = |what: &str| -> Vec<std::net::SocketAddr> {
        let of = |node: &str| {
            let find = |line: &str| {
                let (_, rest) = line.strip_prefix(&format!("node {node}: "))?.split_once(&format!("{what} http://"))?;
                rest.split([' ', '/']).next()?.parse().ok()
            };
            example.wait_for(node, find)
        };
        ["one", "two"].map(of).into()
    };
    let (nodes, pages) = (at("dashboard"), at("page"));
    for node in &nodes {
        eventually("both", || (http::get(*node, "/v1/cluster").json()["nodes"].as_array()?.len() == 2).then_some(()));
    }
    assert_eq!(http::post(nodes[0], "/v1/revoke", &json!({ "sub": "somebody" })).status, 200);
    eventually("the revocation", || {
        http::get(nodes[1], "/v1/subjects/somebody").json()["denied_until"].is_u64().then_some(())
    });
    for node in &nodes {
        let together = || http::get(*node, "/metrics").body.contains("\nrelay_cluster_matching_nodes 2\n");
        eventually("both desks", || together().then_some(()));
    }
    let mut pair = Vec::new();
    for page in &pages {
        // As the page does it: a token of the demo's, then the WebSocket.
        let token = http::post(*page, "/demo/token", &json!({ "lvl": "B1", "g": "x", "band": "18+" })).json();
        let mut caller = Caller::open_at(*page, None).await.unwrap();
        caller.request(json!({ "t": "hello", "v": [1], "token": token["token"] })).await;
        caller.expect("welcome").await;
        caller.request(json!({ "t": "queue" })).await;
        pair.push(caller);
    }
    let calls = [pair[0].matched().await, pair[1].matched().await].map(|matched| matched["call"].clone());
    assert_eq!(calls[0], calls[1]);
    drop(pair);
    example.stop();
    assert!(std::net::TcpStream::connect(nodes[0]).is_err(), "all of it has ended");
}

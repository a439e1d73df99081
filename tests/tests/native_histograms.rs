//! Prometheus as Debian ships it fetches the relay's native histograms and makes quantiles of them.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{Caller, Claims, Daemon, PATIENCE, http};
use serde_json::{Value, json};

struct Prometheus {
    process: Child,
    folder: PathBuf,
    at: SocketAddr,
}

impl Prometheus {
    /// `None`, and a note for whoever ran the tests, where it is not installed.
    fn start(scraped: SocketAddr) -> Option<Prometheus> {
        let folder = std::env::temp_dir().join(format!("e2e-prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: relay\n  static_configs:\n  - targets: ['{scraped}']\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let started = Command::new("prometheus")
            .arg("--enable-feature=native-histograms")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={at}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(process) => Some(Prometheus { process, folder, at }),
            Err(_) => {
                let _ = std::fs::remove_dir_all(folder);
                e2e::report(
                    "not-tested-prometheus.txt",
                    "not tested: prometheus is missing (apt-get install prometheus)",
                );
                None
            }
        }
    }

    /// The first number of the answer; none while there is nothing to make one of.
    fn ask(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = http::request(self.at, "GET", &format!("/api/v1/query?query={escaped}"), None).ok()?;
        let said: Value = serde_json::from_str(&answer.body).ok()?;
        let number = said["data"]["result"][0]["value"][1].as_str()?.parse::<f64>().ok()?;
        number.is_finite().then_some(number)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Two people who are matched and leave.
async fn meet(daemon: &Daemon, number: u32) {
    let mut pair = Vec::new();
    for side in ["a", "b"] {
        let (mut caller, _) = Caller::connect(daemon, &Claims::adult(&format!("n{number}{side}")).token()).await;
        caller.request(json!({ "t": "queue" })).await;
        pair.push(caller);
    }
    for caller in &mut pair {
        caller.matched().await;
    }
    for caller in pair {
        caller.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quantiles_come_from_histograms_whose_buckets_nobody_chose() {
    let daemon = Daemon::local().start();
    let Some(prometheus) = Prometheus::start(daemon.admin()) else { return };
    let begun = Instant::now();
    let quantile = "histogram_quantile(0.99, rate(relay_match_wait_seconds[1m]))";
    let mut number = 0;
    let found = loop {
        assert!(begun.elapsed() < 6 * PATIENCE, "no quantile of a native histogram");
        meet(&daemon, number).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(found) = tokio::task::block_in_place(|| prometheus.ask(quantile)) {
            break found;
        }
    };
    assert!((0.0..60.0).contains(&found), "a wait in seconds: {found}");
    tokio::task::block_in_place(|| {
        let up = prometheus.ask("up{job=\"relay\"}");
        assert_eq!(up, Some(1.0));
        assert!(prometheus.ask("relay_matches_total").unwrap() >= 2.0, "counters come the same way");
        assert!(prometheus.ask("histogram_count(relay_match_wait_seconds)").unwrap() >= 4.0);
        assert_eq!(prometheus.ask("relay_match_wait_seconds_bucket"), None, "no classic buckets beside them");
    });
}

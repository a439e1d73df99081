//! A relay at work for a long time: callers come and go, and memory, descriptors and latency stay where they were. Not run with the
//! others: `tests/soak.sh` says how.

use e2e::daemon::{AUDIENCE, DEV_KEY, ISSUER, build, target_directory};
use e2e::process::Process;
use e2e::raw::{Client, Transport};
use e2e::trend::Trend;
use e2e::vitals::{cpu_seconds, descriptors, memory_kib, metric};
use e2e::{Daemon, report};
use serde_json::Value;
use std::fmt::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Seconds after which the longest memory of all, that of recent partners, is full.
const TABLES_ARE_FULL: f64 = 1_900.0;
/// How long the last calls may take to end.
const ENDING: Duration = Duration::from_secs(60);
/// Points of each series.
const SAMPLES: u32 = 60;
/// Round trips whose median is one point of the latency.
const ROUND_TRIPS: usize = 41;
/// What may be gained in all, beyond any doubt, and still be called flat: of the level, and in units.
const FLAT: [(&str, f64, f64); 3] =
    [("memory, KiB", 0.03, 1_024.0), ("descriptors", 0.03, 16.0), ("round trip, µs", 0.25, 100.0)];

/// A number from the environment.
fn wanted(name: &str, default: f64) -> f64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Calls of three seconds on average, each with media both ways; what became of them is written to `result`.
fn callers(daemon: &Daemon, seconds: f64, rate: f64, result: &Path) -> Process {
    let mut command = Command::new(build("loadgen"));
    command.args(["run", "--json"]).arg(result).args([
        "--target",
        &format!("ws://{}/v1/ws", daemon.signalling()),
        "--token-kid",
        "dev",
    ]);
    command.args(["--token-secret", DEV_KEY, "--issuer", ISSUER, "--audience", AUDIENCE]);
    command.args(["--calls/s", &rate.to_string(), "--hold", "exp:3s"]);
    command.args(["--for", &format!("{}s", seconds.ceil())]);
    Process::start(&mut command, "cargo build -p loadgen")
}

/// Waits for the end of the run, and what it says of its calls.
fn outcome(mut load: Process, result: &Path) -> Value {
    let start = Instant::now();
    while load.is_running() {
        assert!(start.elapsed() < ENDING, "the load does not end:\n{}", load.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let text = std::fs::read(result).unwrap_or_else(|error| panic!("no result ({error}):\n{}", load.log()));
    serde_json::from_slice(&text).unwrap()
}

fn round_trip(client: &mut Client) -> f64 {
    let mut times: Vec<f64> = (0..ROUND_TRIPS)
        .map(|number| {
            let start = Instant::now();
            client.send_on(0x4000, &[number as u8; 160]);
            client.expect_data();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    times[ROUND_TRIPS / 2]
}

#[test]
#[ignore = "takes as long as it is told to: tests/soak.sh"]
fn soak_memory_descriptors_and_latency_stay_flat() {
    let (seconds, rate) = (wanted("SOAK_SECS", 180.0), wanted("SOAK_CALLS_PER_SECOND", 20.0));
    let leaking = std::env::var_os("SOAK_LEAK").is_some();
    let daemon = Daemon::local().start();
    // Tables grow to their size, and every kind of buffer is used once, before anything is measured. Whom somebody met is kept for half an
    // hour; by then as many meetings are forgotten as are made.
    let warm = (seconds / 2.0).clamp(20.0, TABLES_ARE_FULL);
    let result = target_directory().join("soak-run.json");
    let mut load = callers(&daemon, seconds + 5.0, rate, &result);
    let (total, seconds) = (seconds, seconds - warm);
    std::thread::sleep(Duration::from_secs_f64(warm));
    // One that sends to itself: its own relayed address is its peer.
    let (mut client, relayed) = Client::allocated(&daemon, Transport::Udp);
    assert_eq!(client.bind(0x4000, relayed), 0);
    let before = cpu_seconds(&daemon);
    let mut samples = String::from("seconds,memory_kib,descriptors,round_trip_us\n");
    let (start, mut series, mut leaks) = (Instant::now(), [const { Vec::new() }; 3], Vec::new());
    for sample in 1..=SAMPLES {
        let due = start + Duration::from_secs_f64(seconds * f64::from(sample) / f64::from(SAMPLES));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        assert!(load.is_running(), "the load ended early:\n{}", load.log());
        if leaking {
            leaks.extend((0..4).map(|_| TcpStream::connect(daemon.signalling()).unwrap()));
        }
        // A permission lives for 300 s.
        assert_eq!(client.refresh(600), 0);
        assert_eq!(client.bind(0x4000, relayed), 0);
        let values = [memory_kib(&daemon) as f64, descriptors(&daemon) as f64, round_trip(&mut client)];
        let [memory, descriptors, round_trip] = values;
        writeln!(samples, "{:.0},{memory},{descriptors},{round_trip:.0}", start.elapsed().as_secs_f64()).unwrap();
        std::fs::write(target_directory().join("soak.csv"), &samples).unwrap();
        for (series, value) in series.iter_mut().zip(values) {
            series.push((start.elapsed().as_secs_f64(), value));
        }
    }
    let busy = (cpu_seconds(&daemon) - before) / start.elapsed().as_secs_f64();
    let run = outcome(load, &result);
    let how = if leaking { ", leaking on purpose" } else { "" };
    let mut said = format!("soak: {total} s, {rate} calls/s, judged from {warm:.0} s on{how}\n");
    let (calls, packets) = (&run["outcomes"], &run["media"]["whole_run"]);
    writeln!(
        said,
        "calls: {} up, {} failed; packets: {} sent, {} undelivered; the relay was {:.0} % of a processor; loadgen says {}",
        calls["calls_up"],
        calls["calls_failed"],
        packets["sent"],
        packets["undelivered"],
        busy * 100.0,
        run["verdict"]["word"]
    )
    .unwrap();
    let mut growing = Vec::new();
    for ((name, share, least), points) in FLAT.iter().zip(&series) {
        let trend = Trend::of(points).unwrap();
        let hour = |slope: f64| slope * 3_600.0;
        writeln!(
            said,
            "{name}: {:.0} in the middle, {:+.1} an hour (95 %: {:+.1} … {:+.1})",
            trend.level,
            hour(trend.slope),
            hour(trend.low),
            hour(trend.high)
        )
        .unwrap();
        if trend.grows(seconds, *share, *least) {
            growing.push(*name);
        }
    }
    // The harness has one allocation of its own; what the callers had is gone.
    let left = metric(&daemon, "relay_allocations", "");
    writeln!(said, "allocations left: {left}").unwrap();
    report("soak.txt", &said);
    assert_eq!(left, 1, "{said}");
    assert!(calls["success"].as_f64().is_some_and(|share| share >= 0.999), "{said}");
    assert!(growing.is_empty(), "not flat: {growing:?}\n{said}");
}

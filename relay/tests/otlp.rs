//! Metrics pushed as OTLP, from inside the sandbox, to a collector that reads them with OpenTelemetry's own definitions if it has them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

struct Daemon {
    process: Child,
    config: PathBuf,
    admin: String,
}

impl Daemon {
    fn start(name: &str, telemetry: &str) -> Daemon {
        let config = std::env::temp_dir().join(format!("relay-otlp-{name}-{}.toml", std::process::id()));
        std::fs::write(&config, settings(telemetry)).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_relay"))
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut admin = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("listening admin http://") {
                address.trim_end_matches('/').clone_into(&mut admin);
            }
            if line == "ready" {
                break;
            }
        }
        // Whatever else it says goes nowhere, and must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Daemon { process, config, admin }
    }

    fn reload(&self, telemetry: &str) -> String {
        std::fs::write(&self.config, settings(telemetry)).unwrap();
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        let head = format!("POST /v1/reload HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n", self.admin);
        write!(stream, "{head}connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn settings(telemetry: &str) -> String {
    format!(
        "[listen]\nudp = ['127.0.0.1:0']\nsignalling = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\n[signalling]\ndemo_page = true\n\
         [drain]\ndeadline_secs = 0\n[telemetry]\n{telemetry}\n"
    )
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// One request: its head and its body. Answers 200.
fn collect(collector: &TcpListener) -> (String, Value) {
    let begun = Instant::now();
    let (stream, _) = loop {
        match collector.accept() {
            Ok(accepted) => break accepted,
            Err(_) => assert!(begun.elapsed() < PATIENCE, "nothing is pushed"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    stream.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

fn collector() -> (TcpListener, u16) {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    collector.set_nonblocking(true).unwrap();
    let port = collector.local_addr().unwrap().port();
    (collector, port)
}

fn metric<'a>(request: &'a Value, name: &str) -> &'a Value {
    let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    metrics.iter().find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// What OpenTelemetry's own definitions make of it.
const READER: &str = r"
import sys
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
request = json_format.Parse(sys.stdin.read(), ExportMetricsServiceRequest())
metrics = request.resource_metrics[0].scope_metrics[0].metrics
kinds = {metric.name: metric.WhichOneof('data') for metric in metrics}
assert kinds['relay_matches_total'] == 'sum' and kinds['relay_calls'] == 'gauge', kinds
assert kinds['relay_match_wait_seconds'] == 'exponential_histogram', kinds
print(len(metrics))
";

fn interop_python() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_relay")).parent().unwrap().parent().unwrap();
    std::env::var_os("INTEROP_PYTHON").map_or_else(|| target.join("interop/bin/python"), PathBuf::from)
}

#[test]
fn a_collector_gets_what_a_scraper_gets_and_reads_it() {
    let (first, port) = collector();
    let daemon = Daemon::start("push", &format!("otlp_url = 'http://127.0.0.1:{port}/v1/metrics'\ninterval_secs = 1"));
    let (head, request) = collect(&first);
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n") && head.contains("Content-Type: application/json\r\n"));
    let matches = &metric(&request, "relay_matches_total")["sum"];
    assert_eq!((&matches["isMonotonic"], &matches["dataPoints"][0]["asInt"]), (&true.into(), &"0".into()));
    assert!(metric(&request, "relay_match_wait_seconds")["exponentialHistogram"]["dataPoints"][0]["scale"] == 3);
    let (_, again) = collect(&first);
    let at = |request: &Value| -> u64 {
        let point = &metric(request, "relay_matches_total")["sum"]["dataPoints"][0];
        assert!(point["startTimeUnixNano"].as_str().unwrap() <= point["timeUnixNano"].as_str().unwrap());
        point["timeUnixNano"].as_str().unwrap().parse().unwrap()
    };
    assert!(at(&again) > at(&request), "again and again");
    let python = interop_python();
    let started = Command::new(&python).args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    match started {
        Ok(mut reader) => {
            reader.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
            let output = reader.wait_with_output().unwrap();
            assert!(output.status.success(), "OpenTelemetry's definitions do not take it");
            assert!(String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().unwrap() > 30);
        }
        Err(_) => eprintln!("not tested with OpenTelemetry's definitions: tests/run.sh makes {}", python.display()),
    }
    // Another collector beyond the sandbox's ports needs a restart, none at all does not.
    let (_second, other) = collector();
    let answer = daemon.reload(&format!("otlp_url = 'http://127.0.0.1:{other}/v1/metrics'\ninterval_secs = 1"));
    assert!(answer.contains("\"needs_restart\":[\"telemetry.otlp_url\"]"), "{answer}");
    let answer = daemon.reload("");
    assert!(answer.contains("telemetry.otlp_url") && answer.contains("\"needs_restart\":[]"), "{answer}");
}

//! System calls per packet, counted by the kernel's own trace point through `perf stat`: a counter, far cheaper than strace.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::peers::bench::{Bench, PACED};

pub(super) fn system_calls(bench: &mut Bench) -> Result<(), String> {
    let plan = bench.plan.clone();
    let mut servers = bench.ready(&plan, |_| true);
    bench.rounds(&mut servers, |bench, ready, round| {
        bench.warm(ready)?;
        let counter = Counter::start(ready.server.pid.ok_or("its pid is not known")?)?;
        let load = bench.load(PACED, bench.arguments.seconds());
        let sample = bench.measure(ready, load)?;
        let calls = counter.stop()?;
        let received = sample.stretch.received.max(1) as f64;
        let switches = sample.used.map_or(f64::NAN, |used| used.switches as f64);
        let values = [("calls/packet", calls / received), ("switches/packet", switches / received)];
        bench.book.add(bench.column, &ready.name, round, &values);
        Ok(())
    });
    Ok(())
}

struct Counter(Child);

impl Counter {
    fn start(pid: u32) -> Result<Counter, String> {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pid.to_string()]);
        let child = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let counter = child.map(Counter).map_err(|error| format!("perf: {error}; apt-get install linux-perf"))?;
        thread::sleep(Duration::from_millis(400)); // until it counts
        Ok(counter)
    }

    /// What it counted. It ends, and tells, when it is interrupted.
    fn stop(self) -> Result<f64, String> {
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let output = self.0.wait_with_output().map_err(|error| format!("perf: {error}"))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("sys_enter"));
        let count = line.and_then(|line| line.split(',').next()?.parse().ok());
        count.ok_or_else(|| format!("perf counted nothing: {}", text.trim()))
    }
}

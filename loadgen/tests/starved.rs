//! A generator that is denied the processor must say so: one core shared with a spinner at the same priority. The pacing
//! thread may be real-time and punctual there; the rest of the generator is not.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    process::{Child, Command, Stdio},
};

struct Spinner(Child);

impl Spinner {
    /// On processor `cpu`, at the niceness loadgen asks for; where that is not allowed, both stay at 0.
    fn start(cpu: &str) -> Spinner {
        let child = Command::new("taskset")
            .args(["-c", cpu, "nice", "-n", "-10", "sh", "-c", "while :; do :; done"])
            .stderr(Stdio::null())
            .spawn();
        Spinner(child.expect("taskset, of util-linux, is needed"))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The last processor we may use.
fn processor() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().rsplit([',', '-']).next().unwrap().to_owned()
}

#[test]
fn a_core_shared_with_a_spinner_makes_a_run_invalid() {
    let cpu = processor();
    let _spinner = Spinner::start(&cpu);
    let run = "run -q --calls/s 20 --for 3s --warmup 500ms --drain 1s --hold exp:500ms --slo success>=0.1";
    let output = Command::new("taskset")
        .args(["-c", &cpu, env!("CARGO_BIN_EXE_loadgen")])
        .args(run.split_whitespace())
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{table}");
    assert!(table.contains("VERDICT  INVALID (generator)"), "{table}");
    assert!(table.contains("other programs took"), "{table}");
}

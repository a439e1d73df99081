//! Where a measurement was made. Numbers without it mean little.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) time: String,
    pub(crate) commit: String,
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) virtualisation: String,
    pub(crate) rmem_max: String,
    pub(crate) rmem_default: String,
    pub(crate) load_average: String,
    pub(crate) steal_percent: f64,
    pub(crate) versions: String,
}

/// The clock ticks of all cores that another machine had, and of all together.
pub(crate) struct Ticks {
    steal: f64,
    total: f64,
}

impl Ticks {
    pub(crate) fn now() -> Ticks {
        let stat = read("/proc/stat");
        let first = stat.lines().next().unwrap_or_default();
        let fields: Vec<f64> = first.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        Ticks { steal: fields.get(7).copied().unwrap_or(0.0), total: fields.iter().take(8).sum() }
    }

    pub(crate) fn steal_percent_since(&self, before: &Ticks) -> f64 {
        100.0 * (self.steal - before.steal) / (self.total - before.total).max(1.0)
    }
}

impl Environment {
    pub(crate) fn look(turn_rs: &std::path::Path) -> Environment {
        let cpuinfo = read("/proc/cpuinfo");
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Environment {
            time: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            commit: said("git", &["describe", "--always", "--dirty", "--abbrev=10"]),
            kernel: read("/proc/sys/kernel/osrelease"),
            processor: processor.map_or_else(String::new, |(_, name)| name.to_owned()),
            cores: 0, // by then this process is on one of them
            virtualisation: virtualisation(&cpuinfo),
            rmem_max: read("/proc/sys/net/core/rmem_max"),
            rmem_default: read("/proc/sys/net/core/rmem_default"),
            load_average: read("/proc/loadavg"),
            steal_percent: 0.0,
            versions: format!("{}; {}; turn crate 0.17", coturn_version(), turn_rs_version(turn_rs)),
        }
    }
}

fn virtualisation(cpuinfo: &str) -> String {
    let said = said("systemd-detect-virt", &[]);
    let guest = cpuinfo.contains(" hypervisor");
    match said.as_str() {
        "" if guest => "a virtual machine".to_owned(),
        "" => "unknown".to_owned(),
        _ => said,
    }
}

fn coturn_version() -> String {
    let package = said("dpkg-query", &["-W", "-f=${Version}", "coturn"]);
    if package.is_empty() { "coturn not installed as a package".to_owned() } else { format!("coturn {package}") }
}

fn turn_rs_version(binary: &std::path::Path) -> String {
    match Command::new(binary).arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "turn-rs not built".to_owned(),
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

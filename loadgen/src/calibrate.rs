//! `loadgen calibrate`: how much load this machine can make, found by raising it against a server that does nothing until
//! loadgen itself would call the run invalid. Kept in a file beside what makes the machine itself; later runs say how near
//! they came, warn above [`WARN`] and are worth nothing above [`MAX`].

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::Value;

use crate::{
    host::environment,
    null_server::{self, NullServer},
    peer::turn::Credential,
    report::Run,
    runner::{self, Address, Aim},
    scenario::{Depth, Scenario},
    sys,
    token::{Key, Minter},
    verdict::generator_faults,
};

/// Name and version of the file's shape.
pub const SCHEMA: &str = "loadgen.calibration/1";
/// Shares of the ceiling above which a run is warned about, or worth nothing (loadtest.md §6.3).
pub const WARN: f64 = 0.7;
pub const MAX: f64 = 0.9;

/// What a calibrated machine is recognised by.
const FINGERPRINT: [&str; 4] = ["kernel", "cpu", "processors", "rmem_max"];
/// Rates are raised by this factor until one is too much, then halved so often.
const STEP: f64 = 1.6;
const HALVINGS: u32 = 2;
const FIRST_RATE: f64 = 60.0;
/// More calls a second than anybody offers from one process.
const LAST_RATE: f64 = 20_000.0;
const FIRST_TALKERS: f64 = 250.0;
const LAST_TALKERS: f64 = 12_000.0;
/// Descriptors that are not a caller's.
const SPARE_FILES: u64 = 200;

/// Callers whom anybody may meet, since the null server matches anybody.
const SCENARIO: &str = "[arrivals]\nspread = \"poisson\"\nwarmup = \"500ms\"\nfor = \"3s\"\ndrain = \"2s\"\n\
    [hold]\nlength = \"fixed:200ms\"\n[slo]\nrequire = []\n[peer.mix]\nlevels = [0, 0, 1, 0, 0, 0]\nbands = [0, 0, 1]\n\
    picky_share = 0\ntopics_share = 0\nblock_share = 0\n";

/// The most this machine was seen to carry without fault of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub schema: String,
    pub loadgen: String,
    pub environment: BTreeMap<String, String>,
    /// Calls a second, by depth.
    pub calls_per_second: BTreeMap<String, f64>,
    /// Media packets sent a second.
    pub packets_per_second: Option<f64>,
    /// Callers at the same time.
    pub connected: Option<f64>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Calls(Depth),
    Packets,
    Connected,
}

impl Quantity {
    pub const ALL: [Quantity; 6] = [
        Quantity::Calls(Depth::Matching),
        Quantity::Calls(Depth::Signalling),
        Quantity::Calls(Depth::Light),
        Quantity::Calls(Depth::Turn),
        Quantity::Packets,
        Quantity::Connected,
    ];

    pub fn name(self) -> String {
        match self {
            Quantity::Calls(depth) => depth.name().to_owned(),
            Quantity::Packets => "packets".to_owned(),
            Quantity::Connected => "connected".to_owned(),
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Quantity::Calls(_) => "calls/s",
            Quantity::Packets => "packets/s",
            Quantity::Connected => "callers connected",
        }
    }
}

/// Where the file is unless it is named: the state folder of the XDG base directories.
pub fn usual_path() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("loadgen/calibration.json"))
}

fn fingerprint() -> BTreeMap<String, String> {
    let known = environment().into_iter().filter(|(key, _)| FINGERPRINT.contains(key));
    known.map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Calibration {
    /// An empty one of this machine.
    pub fn here() -> Calibration {
        Calibration {
            schema: SCHEMA.to_owned(),
            loadgen: env!("CARGO_PKG_VERSION").to_owned(),
            environment: fingerprint(),
            ..Calibration::default()
        }
    }

    /// The file's, if it is there and of this machine and this version.
    pub fn read(path: &Path) -> Result<Option<Calibration>, String> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let read: Calibration = serde_json::from_str(&text)
            .map_err(|error| format!("{}: {error}: run loadgen calibrate again", path.display()))?;
        let here = Calibration::here();
        let same = (&read.schema, &read.loadgen, &read.environment) == (&here.schema, &here.loadgen, &here.environment);
        Ok(same.then_some(read))
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, format!("{:#}\n", serde_json::to_value(self)?))
    }

    fn note(&mut self, quantity: Quantity, found: f64) {
        match quantity {
            Quantity::Calls(depth) => _ = self.calls_per_second.insert(depth.name().to_owned(), found),
            Quantity::Packets => self.packets_per_second = Some(found),
            Quantity::Connected => self.connected = Some(found),
        }
    }

    /// What the run came nearest to, and the share of it; none where nothing of it was calibrated.
    pub fn share(&self, run: &Run) -> Option<(String, f64)> {
        let per_depth = run.scenario.depths().into_iter().filter_map(|(depth, part)| {
            Some(run.peak_cps() * part / self.calls_per_second.get(depth.name()).filter(|ceiling| **ceiling > 0.0)?)
        });
        let calls: Vec<f64> = per_depth.collect();
        let calls = (!calls.is_empty()).then(|| ("calls/s".to_owned(), calls.iter().sum::<f64>()));
        let of =
            |ceiling: Option<f64>, load: f64| ceiling.filter(|ceiling| *ceiling > 0.0).map(|ceiling| load / ceiling);
        let packets = of(self.packets_per_second, run.peak_packets()).map(|share| ("packets/s".to_owned(), share));
        let connected = of(self.connected, run.peak_callers()).map(|share| ("callers connected".to_owned(), share));
        [calls, packets, connected].into_iter().flatten().max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// One measurement of a probe.
struct Probe {
    good: bool,
    carried: f64,
    why: String,
}

/// Finds the ceilings of `wanted` against `server`, telling `say` what is tried, and lays them over `before`.
pub async fn calibrate(
    server: &NullServer,
    wanted: &[Quantity],
    before: Calibration,
    mut say: impl FnMut(&str),
) -> io::Result<Calibration> {
    let mut calibration = before;
    for quantity in wanted {
        let found = match quantity {
            Quantity::Connected => connected(server, &calibration, &mut say).await?,
            _ => raise(server, *quantity, &calibration, &mut say).await?,
        };
        say(&format!("{}: {found:.0} {}", quantity.name(), quantity.unit()));
        calibration.note(*quantity, found);
    }
    Ok(calibration)
}

/// Geometric up to the first that is too much, then between the two.
async fn raise(
    server: &NullServer,
    quantity: Quantity,
    known: &Calibration,
    say: &mut impl FnMut(&str),
) -> io::Result<f64> {
    let (mut good, mut load, last) = match quantity {
        Quantity::Packets => (0.0, FIRST_TALKERS, LAST_TALKERS),
        _ => (0.0, FIRST_RATE, LAST_RATE),
    };
    let mut best = 0.0f64;
    let mut halvings = None;
    while load <= last {
        let probe = twice(server, quantity, load, known, say).await?;
        if probe.good {
            good = load;
            best = best.max(probe.carried);
        }
        load = match (halvings, probe.good) {
            (None, true) => load * STEP,
            (None, false) => {
                halvings = Some((HALVINGS, load));
                (good + load) / 2.0
            }
            (Some((0 | 1, _)), _) => break,
            (Some((left, bad)), held) => {
                let bad = if held { bad } else { load };
                halvings = Some((left - 1, bad));
                (good + bad) / 2.0
            }
        };
    }
    Ok(best)
}

/// As many as there are descriptors for, or half as many, and so on.
async fn connected(server: &NullServer, known: &Calibration, say: &mut impl FnMut(&str)) -> io::Result<f64> {
    let mut callers = sys::raise_open_files()?.saturating_sub(SPARE_FILES).min(1_000_000) as f64;
    while callers >= 16.0 {
        if twice(server, Quantity::Connected, callers, known, say).await?.good {
            return Ok(callers);
        }
        callers /= 2.0;
    }
    Ok(0.0)
}

/// A probe that fails gets a second chance: somebody else may have used the machine.
async fn twice(
    server: &NullServer,
    quantity: Quantity,
    load: f64,
    known: &Calibration,
    say: &mut impl FnMut(&str),
) -> io::Result<Probe> {
    let first = probe(server, quantity, load, known, say).await?;
    if first.good { Ok(first) } else { probe(server, quantity, load, known, say).await }
}

async fn probe(
    server: &NullServer,
    quantity: Quantity,
    load: f64,
    known: &Calibration,
    say: &mut impl FnMut(&str),
) -> io::Result<Probe> {
    let scenario = scenario(quantity, load, known).map_err(|problems| io::Error::other(problems.to_string()))?;
    let depth = scenario.depth;
    let run = runner::run(scenario, aim(server, depth), false, |_| {}).await?;
    let mut faults = generator_faults(&run);
    // A population comes in before the window.
    let counts = &run.book.counts;
    let (up, failed) = (counts.calls_up + counts.outside_calls_up, counts.failed() + counts.outside_failed);
    let success = up as f64 / (up + failed).max(1) as f64;
    if success < 0.99 {
        faults.push(format!("{:.1} % of the calls came up", success * 100.0));
    }
    let carried = match quantity {
        Quantity::Calls(_) => run.achieved_cps(),
        Quantity::Packets => run.peak_packets(),
        Quantity::Connected => run.peak_callers(),
    };
    let probe = Probe { good: faults.is_empty(), carried, why: faults.join("; ") };
    let word = if probe.good { "carried" } else { "too much" };
    let why = if probe.good { String::new() } else { format!(": {}", probe.why) };
    say(&format!("  {} {load:.0}: {word}, {carried:.0} {}{why}", quantity.name(), quantity.unit()));
    Ok(probe)
}

fn scenario(quantity: Quantity, load: f64, known: &Calibration) -> Result<Scenario, crate::scenario::Problems> {
    let text = |key: &'static str, value: String| (key, Value::from(value));
    // A population comes in at a part of the rate that is known to be carried.
    let population = |depth: Depth| {
        let rate = known.calls_per_second.get(depth.name()).copied().unwrap_or(FIRST_RATE);
        let warmup = (load / (rate * 0.8)).clamp(1.0, 60.0);
        vec![
            ("arrivals.users", Value::from(load as i64)),
            text("arrivals.warmup", format!("{warmup:.1}s")),
            text("hold.length", "fixed:1h".to_owned()),
            text("arrivals.drain", "100ms".to_owned()),
            ("peer.max_callers", Value::from(1_000_000)),
            text("peer.depth", depth.name().to_owned()),
        ]
    };
    let flags = match quantity {
        Quantity::Calls(depth) => vec![
            ("arrivals.calls_per_second", Value::from(load)),
            text("peer.depth", depth.name().to_owned()),
            text("media.kind", "none".to_owned()),
        ],
        Quantity::Packets => population(Depth::Light),
        Quantity::Connected => population(Depth::Signalling),
    };
    Scenario::resolve(SCENARIO, &flags)
}

fn aim(server: &NullServer, depth: Depth) -> Aim {
    let credential = Credential { username: server.user().into(), password: null_server::PASSWORD.into() };
    Aim {
        address: Address::usual(server.signalling),
        others: Vec::new(),
        minter: Minter {
            kid: "null".into(),
            issuer: "null".into(),
            audience: "null".into(),
            key: Key::Hs256(vec![0; 32]),
            run: [0; 16],
        },
        turn: None,
        turn_only: (depth == Depth::Turn).then_some((server.turn, credential)),
        server_pid: Some(server.pid()),
        admin: Vec::new(),
        own: false,
    }
}

/// For people: what is known of this machine.
pub fn table(calibration: &Calibration) -> String {
    let mut lines = vec![format!(
        "this machine ({}, {} processors) carries, of loadgen alone against a server that does nothing:",
        calibration.environment.get("cpu").map_or("unknown", String::as_str),
        calibration.environment.get("processors").map_or("?", String::as_str),
    )];
    let calls = calibration.calls_per_second.iter();
    lines.extend(calls.map(|(depth, rate)| format!("  {rate:>8.0} calls/s of depth {depth}")));
    let rest = [(calibration.packets_per_second, "media packets/s sent"), (calibration.connected, "callers connected")];
    lines.extend(rest.into_iter().filter_map(|(most, what)| Some(format!("  {:>8.0} {what}", most?))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_read_again_only_on_the_machine_that_wrote_it() {
        let path = env::temp_dir().join(format!("loadgen-calibration-{}/c.json", std::process::id()));
        assert_eq!(Calibration::read(&path), Ok(None));
        let mut calibration = Calibration::here();
        calibration.note(Quantity::Calls(Depth::Light), 321.5);
        calibration.note(Quantity::Packets, 9e4);
        calibration.write(&path).unwrap();
        assert_eq!(Calibration::read(&path), Ok(Some(calibration.clone())));
        calibration.environment.insert("cpu".to_owned(), "another".to_owned());
        calibration.write(&path).unwrap();
        assert_eq!(Calibration::read(&path), Ok(None));
        fs::write(&path, "{").unwrap();
        assert!(Calibration::read(&path).unwrap_err().contains("calibrate again"));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn every_probe_is_a_scenario() {
        for quantity in Quantity::ALL {
            let scenario = scenario(quantity, 500.0, &Calibration::here());
            let scenario = scenario.unwrap_or_else(|problems| panic!("{}: {problems}", quantity.name()));
            assert_eq!(scenario.media, quantity == Quantity::Packets, "{}", quantity.name());
        }
    }
}

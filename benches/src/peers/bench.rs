//! What every column needs: the generator's sockets, servers made ready, and one measurement of one of them.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::arguments::Arguments;
use super::callers_on_streams;
use super::crowd::{CHANNEL, Crowd};
use super::process::Scratch;
use super::results::Book;
use super::servers::{Access, Kind, Plan, Server};
use crate::load::links::{self, Link};
use crate::load::usage::Usage;
use crate::load::voice::{self, Flow, Lane, Load, Stretch};
use crate::load::{caller_address, peer_address};

/// Calls of the table, and their packets: 200 × 50/s × 2.
pub(crate) const CALLERS: usize = 400;
pub(crate) const PACED: u64 = 20_000;
/// Requests that wait for an answer at a time.
pub(crate) const WINDOW: usize = 64;
/// Permissions last five minutes (RFC 8656 §9): channels are bound again in time.
const REBIND: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_millis(50);

pub(crate) struct Bench<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) scratch: &'a Scratch,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) plan: Plan,
    pub(crate) callers: Arc<UdpSocket>,
    pub(crate) peers: Arc<UdpSocket>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) book: Book,
    pub(crate) column: &'static str,
}

/// A server whose callers may speak.
pub(crate) struct Ready {
    kind: Kind,
    plan: Plan,
    tls: Option<Arc<ClientConfig>>,
    /// As the table shows it.
    pub(crate) name: String,
    pub(crate) server: Server,
    pub(crate) crowd: Option<Crowd>,
    /// Callers over TCP or TLS take the place of the flows.
    pub(crate) links: Vec<Link>,
    up: Vec<Flow>,
    down: Vec<Flow>,
    bound: Instant,
}

/// What one stretch of load cost.
pub(crate) struct Sample {
    pub(crate) stretch: Stretch,
    pub(crate) used: Option<Usage>,
    pub(crate) length: Duration,
}

impl Bench<'_> {
    /// The selected servers that `fit`, started one after another; those that do not start are noted.
    pub(crate) fn ready(&mut self, plan: &Plan, fit: impl Fn(&Kind) -> bool) -> Vec<Ready> {
        let kinds: Vec<Kind> = self.kinds.iter().filter(|kind| fit(kind)).cloned().collect();
        kinds.iter().filter_map(|kind| self.note(kind.name(), |bench| bench.prepare(kind, plan))).collect()
    }

    /// Does something for a server; why it failed goes into the book.
    pub(crate) fn note<T>(&mut self, name: &str, act: impl FnOnce(&mut Self) -> Result<T, String>) -> Option<T> {
        match act(self) {
            Ok(done) => Some(done),
            Err(why) => {
                eprintln!("{} {name}: {why}", self.column);
                self.book.fail(self.column, name, &why);
                None
            }
        }
    }

    /// Starts a server and lets every caller reach its partner, or an outside peer of its own.
    pub(crate) fn prepare(&self, kind: &Kind, plan: &Plan) -> Result<Ready, String> {
        let mut server = kind.start(plan, self.scratch)?;
        let outside = plan.peer_port;
        let up = |caller| Flow { source: caller_address(caller), to: server.udp, channel: Some(CHANNEL) };
        let up: Vec<Flow> = (0..plan.callers).map(up).collect();
        let (relayed, crowd) = match &server.access {
            Access::Nobody => (Vec::new(), None),
            Access::Ports(ports) => {
                (ports.iter().map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port)).collect(), None)
            }
            Access::User { .. } | Access::Calls => {
                let mut crowd = Crowd::new(&self.callers, &mut server, plan.callers)?;
                crowd.allocate(WINDOW)?;
                if let (Access::Calls, Some(host)) = (&server.access, &mut server.process) {
                    host.tell(&format!("pair {}", plan.callers))?;
                    host.line()?;
                }
                bind(&mut crowd, outside)?;
                (crowd.callers.iter().filter_map(|caller| caller.relayed).collect(), Some(crowd))
            }
        };
        let down = |(caller, to): (usize, &SocketAddrV4)| Flow { source: peer_address(caller), to: *to, channel: None };
        let down = if outside.is_some() { relayed.iter().enumerate().map(down).collect() } else { Vec::new() };
        let (name, links, bound) = (kind.name().to_owned(), Vec::new(), Instant::now());
        let (kind, plan, tls) = (kind.clone(), plan.clone(), None);
        Ok(Ready { kind, plan, tls, name, server, crowd, links, up, down, bound })
    }

    /// As [`Bench::prepare`], with callers over TCP, or over TLS.
    pub(crate) fn prepare_streams(
        &self,
        kind: &Kind,
        plan: &Plan,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Ready, String> {
        let server = kind.start(plan, self.scratch)?;
        let to = if tls.is_some() { server.tls } else { server.tcp };
        let to = to.ok_or("it does not listen for that")?;
        let links = callers_on_streams::connect(&server, to, tls, plan.callers)?;
        let (up, down, bound) = (Vec::new(), Vec::new(), Instant::now());
        let (name, kind, plan, tls) = (kind.name().to_owned(), kind.clone(), plan.clone(), tls.cloned());
        Ok(Ready { kind, plan, tls, name, server, crowd: None, links, up, down, bound })
    }

    /// The same server anew: too much of everything has cost it its sessions.
    pub(crate) fn restart(&self, ready: &mut Ready) -> Result<(), String> {
        let fresh = if ready.links.is_empty() {
            self.prepare(&ready.kind, &ready.plan)?
        } else {
            self.prepare_streams(&ready.kind, &ready.plan, ready.tls.as_ref())?
        };
        let name = std::mem::take(&mut ready.name);
        *ready = Ready { name, ..fresh };
        Ok(())
    }

    /// Loads a server for a while.
    pub(crate) fn measure(&mut self, ready: &mut Ready, load: Load) -> Result<Sample, String> {
        ready.refresh(self.plan_peer(ready))?;
        let lanes = if ready.down.is_empty() { 1 } else { 2 };
        for (lane, flows) in self.lanes.iter_mut().zip([&ready.up, &ready.down]) {
            lane.set_flows(flows);
        }
        let usage = |pid: Option<u32>| pid.map(Usage::of);
        let before = usage(ready.server.pid);
        let stretch = if ready.links.is_empty() {
            voice::run(&mut self.lanes[..lanes], load)
        } else {
            links::run(&mut ready.links, CHANNEL, load).map_err(|error| error.to_string())?
        };
        let used = usage(ready.server.pid).zip(before).map(|(after, before)| after.since(before));
        Ok(Sample { stretch, used, length: load.length })
    }

    fn plan_peer(&self, ready: &Ready) -> Option<u16> {
        if ready.down.is_empty() { None } else { self.peers.local_addr().ok().map(|address| address.port()) }
    }

    /// A short load that is not counted, so that caches and predictors know the way.
    pub(crate) fn warm(&mut self, ready: &mut Ready) -> Result<(), String> {
        self.measure(ready, self.load(PACED, 0.3)).map(drop)
    }

    pub(crate) fn load(&self, rate: u64, seconds: f64) -> Load {
        Load { rate, length: Duration::from_secs_f64(seconds), grace: GRACE, gentle: false }
    }

    /// Every server once a round, the order rotating.
    pub(crate) fn rounds(
        &mut self,
        servers: &mut [Ready],
        mut act: impl FnMut(&mut Self, &mut Ready, usize) -> Result<(), String>,
    ) {
        let count = servers.len();
        for round in 0..self.arguments.rounds() {
            for turn in 0..count {
                let ready = &mut servers[(turn + round) % count];
                let name = ready.name.clone();
                self.note(&name, |bench| act(bench, ready, round));
            }
        }
    }

    /// Notes a sample's values.
    pub(crate) fn record(&mut self, ready: &Ready, round: usize, sample: &mut Sample, more: &[(&str, f64)]) {
        let mut values = sample.values();
        values.extend_from_slice(more);
        self.book.add(self.column, &ready.name, round, &values);
    }

    /// Gives a server that was given a lot a moment to settle.
    pub(crate) fn settle(&self) {
        thread::sleep(Duration::from_millis(400));
    }
}

fn bind(crowd: &mut Crowd, outside: Option<u16>) -> Result<(), String> {
    crowd.bind(|caller| outside.map(|port| SocketAddrV4::new(peer_address(caller), port))).map(drop)
}

impl Ready {
    fn refresh(&mut self, outside: Option<u16>) -> Result<(), String> {
        match &mut self.crowd {
            Some(crowd) if self.bound.elapsed() > REBIND => {
                self.bound = Instant::now();
                bind(crowd, outside)
            }
            _ => Ok(()),
        }
    }
}

impl Sample {
    pub(crate) fn loss(&self) -> f64 {
        1.0 - self.stretch.received as f64 / self.stretch.sent.max(1) as f64
    }

    pub(crate) fn micros(&self) -> f64 {
        self.used.map_or(f64::NAN, |used| used.nanos as f64 / 1000.0 / self.stretch.received.max(1) as f64)
    }

    /// Share of one core.
    pub(crate) fn busy(&self) -> f64 {
        self.used.map_or(f64::NAN, |used| used.nanos as f64 / 1e9 / self.length.as_secs_f64())
    }

    /// What every sample tells, by the names of the table.
    pub(crate) fn values(&mut self) -> Vec<(&'static str, f64)> {
        self.stretch.latencies.sort_unstable();
        let latency = |share: f64| {
            let place = (self.stretch.latencies.len() as f64 * share) as usize;
            self.stretch.latencies.get(place).map_or(f64::NAN, |nanos| f64::from(*nanos) / 1000.0)
        };
        let (received, sent) = (self.stretch.received.max(1) as f64, self.stretch.sent.max(1) as f64);
        vec![
            ("packets/s", received / self.length.as_secs_f64()),
            ("µs/packet", self.micros()),
            ("loss %", self.loss() * 100.0),
            ("server busy %", self.busy() * 100.0),
            ("p50 µs", latency(0.5)),
            ("p99 µs", latency(0.99)),
            ("switches/packet", self.used.map_or(f64::NAN, |used| used.switches as f64 / received)),
            ("generator busy %", self.stretch.busy * 100.0),
            ("late %", self.stretch.late as f64 / sent * 100.0),
        ]
    }
}

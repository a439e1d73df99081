//! The relay's data plane with its real machine in a process of its own, for what the daemon's configuration does not offer:
//! call-bound credentials without a signalling connection for each, and naps switched off.
//!
//! It obeys lines on its input: `open N` makes calls for callers 0..N and prints their credentials, `pair N` joins
//! neighbours, `close N` ends them.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay::calls::Handle;
use relay::clock::Clock;
use relay::dataplane::{self, Running};
use relay::{access, auth, turn};

/// Far above what any measurement sends, so that the meters run and never bind.
const LIMITS: turn::Limits = turn::Limits { packets_per_second: 1_000_000, bits_per_second: 10_000_000_000 };
const REALM: &str = "bench";
/// How long a credential may be used to allocate.
const CREDENTIAL_SECS: u32 = 3600;
/// How long workers may take to end what was closed.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Host {
    #[arg(long)]
    nap: Option<u32>,
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// How well calls go is not heard (`calls.quality = false`).
    #[arg(long)]
    deaf: bool,
}

struct Calls {
    running: Running,
    shared: Arc<turn::Shared>,
    keys: Arc<auth::CallKeys>,
    clock: Clock,
    generation: u32,
}

/// Serves until its input ends.
pub(crate) fn serve(host: &Host) -> io::Result<()> {
    let mut calls = Calls::start(host)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (verb, count) = line.split_once(' ').unwrap_or_default();
        let count = count.parse().unwrap_or(0);
        let answer = match verb {
            "open" => calls.open(count),
            "pair" => calls.pair(count),
            "close" => calls.close(count),
            _ => None,
        };
        say(&answer.ok_or_else(|| io::Error::other(format!("could not {line}")))?)?;
        // Neither the text just written nor those who left are to be counted; the daemon too gives memory back, within a second.
        calls.running.give_memory_back();
    }
    Ok(())
}

fn say(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}").and_then(|()| output.flush())
}

impl Calls {
    fn start(host: &Host) -> io::Result<Calls> {
        let settings = dataplane::Settings {
            listeners: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            workers: host.workers,
            nap_micros: host.nap,
            ..dataplane::Settings::default()
        };
        let bound = dataplane::bind(&settings).map_err(io::Error::other)?;
        let listener = bound.addresses()[0];
        let keys = Arc::new(auth::CallKeys::new([2; 32]));
        let (shared, clock) = (shared(&keys, listener, !host.deaf), Clock::start());
        let running = bound.start(&shared, clock, [7; 32])?;
        say(&listener.to_string())?;
        Ok(Calls { running, shared, keys, clock, generation: 0 })
    }

    fn open(&mut self, count: usize) -> Option<String> {
        self.generation += 1;
        let mut lines = Vec::with_capacity(count);
        for number in 0..count {
            let handle = handle(number);
            self.shared.ledger.open(handle).ok()?;
            let credential = self.keys.mint(self.clock.now(), handle, self.generation, CREDENTIAL_SECS);
            lines.push(format!("{} {}", credential.username, credential.password));
        }
        Some(lines.join("\n"))
    }

    fn pair(&self, count: usize) -> Option<String> {
        let mut pairs = (0..count).step_by(2).map(|first| (handle(first), handle(first + 1)));
        pairs.try_for_each(|(a, b)| self.shared.ledger.pair(a, b)).ok()?;
        Some("paired".to_owned())
    }

    fn close(&self, count: usize) -> Option<String> {
        let (mailboxes, before) = (self.running.mailboxes(), self.allocations());
        let mut posted = 0;
        for (worker, port) in (0..count).flat_map(|number| self.shared.ledger.close(handle(number))) {
            while mailboxes.post(worker, turn::Command::Close(port)).is_err() {
                std::thread::yield_now(); // its mailbox is bounded
            }
            posted += 1;
        }
        let start = Instant::now();
        while self.allocations() > before.saturating_sub(posted) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        Some("closed".to_owned())
    }

    fn allocations(&self) -> u64 {
        self.running.counters().iter().map(|counters| counters.allocations()).sum()
    }
}

fn handle(number: usize) -> Handle {
    let mut handle = Handle([0; 12]);
    handle.0[..8].copy_from_slice(&(number as u64).to_be_bytes());
    handle
}

fn shared(keys: &Arc<auth::CallKeys>, listener: SocketAddr, quality: bool) -> Arc<turn::Shared> {
    let auth = auth::Settings { realm: REALM.to_owned(), ..auth::Settings::default() };
    let access = access::Settings { own_listeners: vec![listener], ..access::Settings::default() };
    let own = "127.0.0.0/8".parse().into_iter().collect();
    let settings = turn::Settings {
        addresses: vec![turn::RelayedAddress::same(listener.ip())],
        ports: 1024..=65535,
        call_limits: LIMITS,
        quality,
        total_limits: LIMITS,
        unauthenticated: access::ReplyLimits { exempt: own, ..access::ReplyLimits::default() },
        ..turn::Settings::default()
    };
    let authenticator = auth::Authenticator::new(auth, Arc::clone(keys), [3; 32]);
    turn::Shared::new(settings, authenticator, access::Policy::new(&access), [4; 32])
}

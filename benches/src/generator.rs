//! What a packet costs loadgen's media thread, beside a bare sendmmsg/recvmmsg loop in the same run.
//!
//! Both send the same number of 176-byte datagrams a second to an echo on another core and take what comes back: the bare
//! loop as it is at its thinnest (no stamps, no addresses, nothing read or written), the media thread with pacing,
//! sources, stamps, checks and statistics. They take turns, so that a slow minute of the machine meets both.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use clap::Parser;
use loadgen::{
    media::{MAILBOX, Media, Window, packet::StreamId, stream::STEP},
    stats::latency::Distribution,
    sys::sharpen_sleeps,
    time::{Clock, Nanos},
};
use tokio::sync::mpsc;

use crate::load::{cpu, mmsg::Mmsg};

const BATCH: usize = 64;
const BYTES: usize = 176;
const CHANNEL: u16 = 0x4000;
const BUFFER: i32 = 64 << 20;
/// Until everybody talks and caches are warm.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Parser)]
#[command(name = "generator", about = "What a packet costs loadgen's media thread, beside a bare loop")]
struct Args {
    /// Callers that talk, 50 packets a second each
    #[arg(long, default_value_t = 1000)]
    callers: u32,
    /// Measured seconds of each turn
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Turns of each
    #[arg(long, default_value_t = 4)]
    rounds: u32,
}

/// One turn: CPU nanoseconds a packet, sent or received, and what was sent and came back.
struct Turn {
    cost: f64,
    sent: u64,
    received: u64,
    /// 99th percentile of how late packets left, milliseconds: what the machine does to the bare loop it does to anybody.
    late: Option<f64>,
}

/// Measures and prints; fails where sockets or threads do.
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(text) => {
            use io::Write;
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = io::Write::write_all(&mut io::stderr(), format!("generator: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<String> {
    let cores = cpu::allowed();
    let (ours, theirs) = (cores.first().copied().unwrap_or(0), cores.last().copied().unwrap_or(0));
    let echo = Echo::start(theirs)?;
    cpu::pin(ours); // threads started from here on stay with us
    let length = Duration::from_secs_f64(args.seconds);
    let (mut bare, mut media) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        // ABBA
        for first in [true, false] {
            if first == (round % 2 == 0) {
                bare.push(bare_turn(args.callers, length, echo.address)?);
            } else {
                media.push(media_turn(args.callers, length, echo.address)?);
            }
        }
    }
    echo.stop()?;
    Ok(report(args, &bare, &media))
}

fn report(args: &Args, bare: &[Turn], media: &[Turn]) -> String {
    let late = |turns: &[Turn]| {
        let late = turns.iter().map(|turn| turn.late.map_or("—".to_owned(), |ms| format!("{ms:.2}")));
        late.collect::<Vec<_>>().join(" ")
    };
    let line = |name: &str, turns: &[Turn]| {
        let (sent, received) = turns.iter().fold((0, 0), |(s, r), turn| (s + turn.sent, r + turn.received));
        let seconds = args.seconds * f64::from(args.rounds);
        format!(
            "{name:<14} {:>6.0} ns a packet (each turn: {})  {:.0} sent/s, {:.0} received/s  send lateness p99 of each turn, ms: {}\n",
            median(turns),
            turns.iter().map(|turn| format!("{:.0}", turn.cost)).collect::<Vec<_>>().join(" "),
            sent as f64 / seconds,
            received as f64 / seconds,
            late(turns),
        )
    };
    format!(
        "{} callers, {} rounds of {} s\n{}{}ratio of medians {:.2}\n",
        args.callers,
        args.rounds,
        args.seconds,
        line("bare loop", bare),
        line("media thread", media),
        median(media) / median(bare),
    )
}

fn median(turns: &[Turn]) -> f64 {
    let mut costs: Vec<f64> = turns.iter().map(|turn| turn.cost).collect();
    costs.sort_by(f64::total_cmp);
    costs.get(costs.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Paced like the media thread: what is due at each step of its wheel goes at once, then what waits is taken.
fn bare_turn(callers: u32, length: Duration, echo: SocketAddrV4) -> io::Result<Turn> {
    let thread = thread::Builder::new().name("bare".to_owned()).spawn(move || -> io::Result<Turn> {
        sharpen_sleeps();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        crate::load::mmsg::grow_receive_buffer(&socket, BUFFER);
        let (mut out, mut back) = (Mmsg::new(BATCH, BYTES), Mmsg::new(BATCH, 2048));
        for i in 0..BATCH {
            out.address(i, echo, BYTES);
        }
        let per_second = f64::from(callers) * 50.0;
        let (mut sent, mut received) = (0u64, 0u64);
        let start = Instant::now();
        let (mut settled, mut due) = (None, start);
        let mut late = Distribution::default();
        while start.elapsed() < SETTLE + length {
            if settled.is_none() && start.elapsed() >= SETTLE {
                settled = Some((cpu::thread_nanos("bare"), sent, received));
            }
            due += STEP;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let wanted = (due.duration_since(start).as_secs_f64() * per_second) as u64;
            for _ in sent..wanted {
                late.record(due.elapsed());
            }
            while sent < wanted {
                sent += out.send(&socket, (wanted - sent).min(BATCH as u64) as usize) as u64;
            }
            while let Ok(count) = back.receive(&socket, false) {
                received += count as u64;
                back.reset(0..count);
                if count < BATCH {
                    break;
                }
            }
        }
        let (cpu_before, sent_before, received_before) = settled.unwrap_or_default();
        let cpu = cpu::thread_nanos("bare") - cpu_before;
        Ok(turn(cpu, sent - sent_before, received - received_before, late.percentile_millis(99.0)))
    })?;
    thread.join().map_err(|_| io::Error::other("the bare loop died"))?
}

fn media_turn(callers: u32, length: Duration, echo: SocketAddrV4) -> io::Result<Turn> {
    let clock = Clock::start();
    let window = Window { from: clock.now().after(SETTLE), until: Nanos(u64::MAX) };
    let media = Media::start(clock, window, false)?;
    let server = SocketAddr::V4(echo);
    let mut letters = Vec::new();
    let per_step = callers.div_ceil(loadgen::media::stream::STEPS as u32).max(1);
    for number in 0..callers {
        let (mailbox, inbox) = mpsc::channel(MAILBOX);
        let source = media.attach(number, server, mailbox)?;
        // Its own voice comes back.
        let stream = StreamId { call: u64::from(number), side: 0 };
        media.hear(source.key(), CHANNEL, stream);
        media.talk(source.key(), server, CHANNEL, stream);
        letters.push((source, inbox));
        if number % per_step == per_step - 1 {
            thread::sleep(STEP);
        }
    }
    thread::sleep(window.from.since(clock.now()));
    let counts = || {
        let counters = media.counters();
        (counters.sent.load(Ordering::Relaxed), counters.received.load(Ordering::Relaxed))
    };
    let (cpu_before, before) = (cpu::thread_nanos("media"), counts());
    thread::sleep(length);
    let (cpu, after) = (cpu::thread_nanos("media") - cpu_before, counts());
    for (source, _) in &letters {
        media.hush(source.key());
    }
    let measured = media.stop().ok_or_else(|| io::Error::other("the media thread died"))?;
    Ok(turn(cpu, after.0 - before.0, after.1 - before.1, measured.lateness.percentile_millis(99.0)))
}

fn turn(cpu: u64, sent: u64, received: u64, late: Option<f64>) -> Turn {
    Turn { cost: cpu as f64 / (sent + received).max(1) as f64, sent, received, late }
}

/// Returns every datagram to where it came from, on a core of its own.
struct Echo {
    address: SocketAddrV4,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Echo {
    fn start(core: usize) -> io::Result<Echo> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let SocketAddr::V4(address) = socket.local_addr()? else { return Err(io::ErrorKind::Unsupported.into()) };
        crate::load::mmsg::grow_receive_buffer(&socket, BUFFER);
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("echo".to_owned()).spawn(move || {
            cpu::pin(core);
            let mut messages = Mmsg::new(BATCH, 2048);
            while !stopped.load(Ordering::Relaxed) {
                let Ok(count) = messages.receive(&socket, true) else { continue };
                for i in 0..count {
                    messages.forward(i, messages.from(i));
                }
                messages.send(&socket, count);
                messages.reset(0..count);
            }
        })?;
        Ok(Echo { address, stop, thread })
    }

    fn stop(self) -> io::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the echo died"))
    }
}

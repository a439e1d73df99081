//! Evenly paced voice: N calls, two callers each, 50 packets a second and caller, all phases spread over the 20 ms.
//!
//! All callers share one socket and differ by source address (127.16.x.y by IP_PKTINFO), so that the generator costs
//! far less than what it measures. It spins: it has a core for itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use super::mmsg::{Mmsg, grow_receive_buffer};

const PACKETS_PER_SEC: u64 = 50;
/// ChannelData header, then as much as an Opus packet in SRTP.
const PAYLOAD: usize = 160;
const HEADER: usize = 4;
/// Between looks at the socket: often enough for latency, seldom enough not to fight over the socket's lock.
const LOOK: Duration = Duration::from_micros(20);
/// A packet that leaves this late counts as late.
const LATE: Duration = Duration::from_millis(1);

pub(crate) struct Generator {
    socket: UdpSocket,
    out: Mmsg,
    inn: Mmsg,
    epoch: Instant,
}

/// What one stretch of load came to.
#[derive(Default)]
pub(crate) struct Stretch {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Sent more than a millisecond after its time: the generator was the limit.
    pub(crate) late: u64,
    /// Nanoseconds from sending to receiving, unsorted.
    pub(crate) latencies: Vec<u64>,
}

/// Number of a caller to its source address. Partners differ in the last bit.
pub(crate) fn source(caller: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x7f10_0000 + caller as u32)
}

impl Generator {
    pub(crate) fn new() -> io::Result<Generator> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        grow_receive_buffer(&socket, 16 << 20);
        Ok(Generator { socket, out: Mmsg::new(64, 2048), inn: Mmsg::new(256, 2048), epoch: Instant::now() })
    }

    /// Sends one message from a caller and waits for an answer that `wanted` likes.
    pub(crate) fn ask<T>(
        &mut self,
        caller: usize,
        to: SocketAddrV4,
        message: &[u8],
        wanted: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<T> {
        self.socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        self.out.write(0, source(caller), to, |bytes| {
            bytes[..message.len()].copy_from_slice(message);
            message.len()
        });
        self.out.send(&self.socket, 1);
        loop {
            let received = self.inn.receive(&self.socket, true)?;
            if let Some(answer) = (0..received).find_map(|i| wanted(self.inn.received(i))) {
                return Ok(answer);
            }
        }
    }

    /// Loads `to` with `callers` callers for a while. `channel` is the channel number every caller uses.
    pub(crate) fn run(&mut self, callers: usize, to: SocketAddrV4, channel: u16, length: Duration) -> Stretch {
        let rate = callers as u64 * PACKETS_PER_SEC;
        let mut stretch =
            Stretch { latencies: Vec::with_capacity((rate * length.as_secs()) as usize), ..Stretch::default() };
        let start = Instant::now();
        let mut looked = start;
        loop {
            let now = Instant::now();
            let elapsed = now - start;
            if elapsed >= length {
                break;
            }
            let due = elapsed.as_nanos() as u64 * rate / 1_000_000_000;
            if due > stretch.sent {
                let behind = (due - stretch.sent) * 1_000_000_000 / rate;
                let before = stretch.sent;
                self.send(&mut stretch, callers, to, channel, due);
                if behind > LATE.as_nanos() as u64 {
                    stretch.late += stretch.sent - before;
                }
            }
            if now - looked >= LOOK {
                looked = now;
                self.look(&mut stretch);
            }
        }
        let last = Instant::now();
        while last.elapsed() < Duration::from_millis(50) {
            self.look(&mut stretch);
        }
        stretch
    }

    fn send(&mut self, stretch: &mut Stretch, callers: usize, to: SocketAddrV4, channel: u16, due: u64) {
        let count = ((due - stretch.sent) as usize).min(self.out.capacity());
        let now = self.epoch.elapsed().as_nanos() as u64;
        for i in 0..count {
            let caller = (stretch.sent as usize + i) % callers;
            self.out.write(i, source(caller), to, |bytes| {
                bytes[..2].copy_from_slice(&channel.to_be_bytes());
                bytes[2..4].copy_from_slice(&(PAYLOAD as u16).to_be_bytes());
                bytes[HEADER..HEADER + 8].copy_from_slice(&now.to_be_bytes());
                HEADER + PAYLOAD
            });
        }
        stretch.sent += self.out.send(&self.socket, count) as u64;
    }

    fn look(&mut self, stretch: &mut Stretch) {
        while let Ok(received) = self.inn.receive(&self.socket, false) {
            let now = self.epoch.elapsed().as_nanos() as u64;
            for i in 0..received {
                if let Some(stamp) = self.inn.received(i).get(HEADER..HEADER + 8) {
                    let sent = u64::from_be_bytes(stamp.try_into().unwrap_or_default());
                    stretch.latencies.push(now.saturating_sub(sent));
                    stretch.received += 1;
                }
            }
            if received < self.inn.capacity() {
                break;
            }
        }
    }
}

//! Evenly paced voice: flows take turns, so that the phases of all of them are spread over the 20 ms between two packets.
//!
//! All callers share one socket and differ by source address (IP_PKTINFO), so that the generator costs far less than what
//! it measures. It spins: it has a core for itself. When it cannot keep up its batches grow, and it says how late it was.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::mmsg::{Mmsg, grow_receive_buffer};
use super::{HEADER, PAYLOAD};

/// Packets a second of one voice.
pub(crate) const PACKETS_PER_SEC: u64 = 50;
/// Between looks at the sockets: often enough for latency, seldom enough not to fight over their locks.
const LOOK: Duration = Duration::from_micros(20);
/// A packet that leaves this late counts as late.
const LATE: Duration = Duration::from_millis(1);
/// The time of sending is the last thing in a packet, so that it is found with and without a header.
const STAMP: usize = 8;

/// One direction of one call.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) source: Ipv4Addr,
    pub(crate) to: SocketAddrV4,
    /// Channel of the ChannelData header; `None`: bare payload.
    pub(crate) channel: Option<u16>,
}

/// A socket of the generator, and what it sends.
pub(crate) struct Lane {
    socket: Arc<UdpSocket>,
    out: Mmsg,
    inn: Mmsg,
    flows: Vec<Flow>,
    sent: u64,
}

/// How much, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Packets a second, all lanes together.
    pub(crate) rate: u64,
    pub(crate) length: Duration,
    /// What arrives later than this after the end is lost: nobody would hear it.
    pub(crate) grace: Duration,
    /// Sleep a little when there is nothing to do, and leave the core to somebody else.
    pub(crate) gentle: bool,
}

/// What one stretch of load came to.
#[derive(Default)]
pub(crate) struct Stretch {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Sent more than a millisecond after its time: the generator was the limit.
    pub(crate) late: u64,
    /// Share of the time that the generator had something to do.
    pub(crate) busy: f64,
    /// Nanoseconds from sending to receiving, unsorted.
    pub(crate) latencies: Vec<u32>,
}

/// A socket for any number of callers.
pub(crate) fn socket() -> io::Result<Arc<UdpSocket>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    grow_receive_buffer(&socket, 16 << 20);
    Ok(Arc::new(socket))
}

impl Lane {
    pub(crate) fn new(socket: &Arc<UdpSocket>) -> Lane {
        let (out, inn) = (Mmsg::new(64, 2048), Mmsg::new(256, 2048));
        Lane { socket: Arc::clone(socket), out, inn, flows: Vec::new(), sent: 0 }
    }

    pub(crate) fn set_flows(&mut self, flows: &[Flow]) {
        self.flows = flows.to_vec();
    }

    /// Sends what is due by now; answers how much that was.
    fn send(&mut self, due: u64, now: u64) -> u64 {
        let count = (due.saturating_sub(self.sent) as usize).min(self.out.capacity());
        for i in 0..count {
            let (number, flows) = (self.sent + i as u64, self.flows.len() as u64);
            let flow = self.flows[(number % flows) as usize];
            self.out.write(i, flow.source, flow.to, |bytes| fill(bytes, flow.channel, number / flows, now));
        }
        let sent = self.out.send(&self.socket, count) as u64;
        self.sent += sent;
        sent
    }

    /// Takes what has arrived; answers whether there was anything.
    fn look(&mut self, stretch: &mut Stretch, epoch: Instant) -> bool {
        let mut any = false;
        while let Ok(received) = self.inn.receive(&self.socket, false) {
            any = true;
            let now = epoch.elapsed().as_nanos() as u64;
            for i in 0..received {
                if let Some(latency) = stamp(self.inn.received(i)).and_then(|sent| now.checked_sub(sent)) {
                    stretch.latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
                    stretch.received += 1;
                }
            }
            if received < self.inn.capacity() {
                break;
            }
        }
        any
    }
}

/// Writes packet `number` of a stream, RTP by its header as everything in a call must be; answers its length.
pub(crate) fn fill(bytes: &mut [u8], channel: Option<u16>, number: u64, now: u64) -> usize {
    let start = channel.map_or(0, |channel| {
        bytes[..2].copy_from_slice(&channel.to_be_bytes());
        bytes[2..HEADER].copy_from_slice(&(PAYLOAD as u16).to_be_bytes());
        HEADER
    });
    let end = start + PAYLOAD;
    // Opus in 20 ms frames (RFC 7587 §4.1).
    bytes[start..start + 2].copy_from_slice(&[0x80, 111]);
    bytes[start + 2..start + 4].copy_from_slice(&(number as u16).to_be_bytes());
    bytes[start + 4..start + 8].copy_from_slice(&(number.wrapping_mul(960) as u32).to_be_bytes());
    bytes[start + 8..start + 12].copy_from_slice(&[1; 4]);
    bytes[end - STAMP..end].copy_from_slice(&now.to_be_bytes());
    end
}

/// When a packet was sent. Answers to requests are no packets.
pub(crate) fn stamp(packet: &[u8]) -> Option<u64> {
    if packet.len() != PAYLOAD && packet.len() != HEADER + PAYLOAD {
        return None;
    }
    packet.last_chunk::<STAMP>().map(|stamp| u64::from_be_bytes(*stamp))
}

/// Loads for a while. Stamps count from its start.
pub(crate) fn run(lanes: &mut [Lane], load: Load) -> Stretch {
    let mut stretch = Stretch::default();
    stretch.latencies.reserve((load.rate as f64 * load.length.as_secs_f64() * 1.1) as usize);
    for lane in lanes.iter_mut() {
        drain(lane);
        lane.sent = 0;
    }
    let (rate, start) = (load.rate / lanes.len() as u64, Instant::now());
    let (mut looked, mut busy) = (start, Duration::ZERO);
    loop {
        let now = Instant::now();
        let elapsed = now - start;
        if elapsed >= load.length {
            break;
        }
        let mut worked = false;
        let due = (elapsed.as_nanos() as u64).saturating_mul(rate) / 1_000_000_000;
        for lane in lanes.iter_mut().filter(|lane| !lane.flows.is_empty()) {
            if due > lane.sent {
                let behind = (due - lane.sent) * 1_000_000_000 / rate.max(1);
                let sent = lane.send(due, elapsed.as_nanos() as u64);
                stretch.sent += sent;
                stretch.late += if behind > LATE.as_nanos() as u64 { sent } else { 0 };
                worked = true;
            }
        }
        if now - looked >= LOOK {
            looked = now;
            for lane in lanes.iter_mut() {
                worked |= lane.look(&mut stretch, start);
            }
        }
        if worked {
            busy += now.elapsed();
        } else if load.gentle {
            thread::sleep(LOOK);
        }
    }
    stretch.busy = busy.as_secs_f64() / load.length.as_secs_f64();
    let end = Instant::now();
    while end.elapsed() < load.grace {
        for lane in lanes.iter_mut() {
            lane.look(&mut stretch, start);
        }
    }
    stretch
}

/// Throws away what an earlier stretch left behind.
fn drain(lane: &mut Lane) {
    while lane.inn.receive(&lane.socket, false).is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_with_and_without_a_header() {
        let mut bytes = [0; 256];
        for channel in [None, Some(0x4001)] {
            let length = fill(&mut bytes, channel, 5, 77);
            assert_eq!(stamp(&bytes[..length]), Some(77));
        }
        assert_eq!(stamp(&bytes[..100]), None);
    }

    #[test]
    fn what_is_sent_comes_back_and_is_counted_once() {
        let socket = socket().unwrap();
        let mut lane = Lane::new(&socket);
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port());
        lane.set_flows(&[Flow { source: Ipv4Addr::LOCALHOST, to, channel: None }]);
        let load =
            Load { rate: 1000, length: Duration::from_millis(100), grace: Duration::from_millis(500), gentle: false };
        let stretch = run(&mut [lane], load);
        assert!(stretch.sent > 0 && stretch.sent <= 100, "{} sent", stretch.sent);
        assert_eq!(stretch.received, stretch.sent);
    }
}

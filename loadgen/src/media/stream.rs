//! One caller's media in both directions, as decisions: when the next packet is due, what an arrived one means. No socket.

use std::{net::SocketAddr, time::Duration};

use super::{
    packet::{self, Content, RATE, StreamId},
    voice::Speaker,
};
use crate::{
    peer::stun,
    stats::reception::{Reception, Summary},
    time::Nanos,
};

/// Time between packets.
pub const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / RATE as u64);
/// Steps of the wheel: how finely starts are told apart, and the bound on lateness by design.
pub const STEPS: usize = 40;
/// One step.
pub const STEP: Duration = Duration::from_nanos(PERIOD.as_nanos() as u64 / STEPS as u64);

/// What a caller sends.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    pub server: SocketAddr,
    pub channel: u16,
    pub stream: StreamId,
    pub speaker: Speaker,
    /// Number of the next packet.
    pub next: u32,
}

/// What a caller hears.
#[derive(Clone, Debug)]
pub struct Hearing {
    pub channel: u16,
    /// The partner's stream.
    pub stream: StreamId,
    pub reception: Reception,
    /// Arrival of the first packet.
    pub first: Option<Nanos>,
}

/// The account of one caller's media.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Account {
    pub sent: u32,
    /// Highest number heard plus one, counted from the partner's first; 0: nothing.
    pub heard_up_to: u64,
    pub summary: Summary,
}

/// What an arrived datagram is to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Media of the partner; one-way delay, and how much of it the fastest packet so far did not need.
    Voice { delay: Duration, variation: Duration, first: bool },
    /// Media of the right call, but nobody listens yet or any more.
    Untimely,
    /// Media of somebody else's call: cross-talk.
    Foreign,
    /// Not as it was sent.
    Corrupt,
    /// Control: for the caller's machine.
    Control,
}

impl Hearing {
    pub fn new(channel: u16, stream: StreamId) -> Hearing {
        Hearing { channel, stream, reception: Reception::default(), first: None }
    }

    pub fn account(&self, sent: u32) -> Account {
        let heard_up_to = if self.first.is_some() { self.reception.highest() + 1 } else { 0 };
        Account { sent, heard_up_to, summary: self.reception.summary() }
    }
}

/// Judges a datagram that arrived for a caller at `at`. `hearing` is what it listens to, `closed` what it listened to
/// before it hung up.
pub fn judge(hearing: Option<&mut Hearing>, closed: Option<StreamId>, at: Nanos, datagram: &[u8]) -> Arrival {
    let Some((channel, data)) = stun::parse_channel_data(datagram) else { return Arrival::Control };
    let packet = match packet::read(data) {
        Content::Media(packet) => packet,
        Content::Corrupt => return Arrival::Corrupt,
        Content::Other => return Arrival::Control,
    };
    let Some(hearing) = hearing else {
        return if closed == Some(packet.stream) { Arrival::Untimely } else { Arrival::Foreign };
    };
    if packet.stream != hearing.stream || channel != hearing.channel {
        return Arrival::Foreign;
    }
    let variation = hearing.reception.handle(packet.sequence, packet.sent, at.0);
    let first = hearing.first.is_none();
    hearing.first.get_or_insert(at);
    Arrival::Voice { delay: at.since(Nanos(packet.sent)), variation, first }
}

/// Which callers are due at which step: every caller sends once a turn of the wheel, always at the same step, so that
/// packets stay evenly spaced and nothing is searched.
#[derive(Debug)]
pub struct Wheel {
    steps: Vec<Vec<u32>>,
    /// Number of the next step to be taken since the clock began.
    next: u64,
    members: usize,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel { steps: vec![Vec::new(); STEPS], next: 0, members: 0 }
    }
}

impl Wheel {
    /// Adds a caller; its first packet is due at the next step. Returns the step to remove it from.
    pub fn add(&mut self, member: u32, now: Nanos) -> usize {
        if self.members == 0 {
            self.next = now.0 / STEP.as_nanos() as u64 + 1;
        }
        let step = (self.next % STEPS as u64) as usize;
        self.steps[step].push(member);
        self.members += 1;
        step
    }

    pub fn remove(&mut self, member: u32, step: usize) {
        let before = self.steps[step].len();
        self.steps[step].retain(|other| *other != member);
        self.members -= before - self.steps[step].len();
    }

    pub fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// When the next step is due.
    pub fn due(&self) -> Nanos {
        Nanos(self.next * STEP.as_nanos() as u64)
    }

    /// The next step's members if it is due, and when it was; steps missed come one by one, none is left out.
    pub fn turn(&mut self, now: Nanos) -> Option<(Nanos, &[u32])> {
        let due = self.due();
        if self.is_empty() || due > now {
            return None;
        }
        let step = (self.next % STEPS as u64) as usize;
        self.next += 1;
        Some((due, &self.steps[step]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: StreamId = StreamId { call: 7, side: 0 };

    fn datagram(stream: StreamId, number: u32) -> [u8; packet::LEN] {
        let mut buffer = [0; packet::LEN];
        packet::write(&mut buffer, 0x4000, stream, number, 1_000);
        buffer
    }

    #[test]
    fn the_partners_voice_is_heard_and_the_first_packet_noticed() {
        let mut hearing = Hearing::new(0x4000, OURS.partner());
        let first = judge(Some(&mut hearing), None, Nanos(5_000), &datagram(OURS.partner(), 0));
        assert_eq!(
            first,
            Arrival::Voice { delay: Duration::from_nanos(4_000), variation: Duration::ZERO, first: true }
        );
        let second = judge(Some(&mut hearing), None, Nanos(5_000), &datagram(OURS.partner(), 1));
        assert!(matches!(second, Arrival::Voice { first: false, .. }));
        assert_eq!(hearing.account(9), Account { sent: 9, heard_up_to: 2, summary: hearing.reception.summary() });
    }

    #[test]
    fn cross_talk_is_another_call_or_ones_own_echo_or_the_wrong_channel() {
        let mut hearing = Hearing::new(0x4000, OURS.partner());
        for stream in [StreamId { call: 8, side: 1 }, OURS] {
            assert_eq!(judge(Some(&mut hearing), None, Nanos(5), &datagram(stream, 0)), Arrival::Foreign);
        }
        let mut other_channel = Hearing::new(0x4001, OURS.partner());
        assert_eq!(judge(Some(&mut other_channel), None, Nanos(5), &datagram(OURS.partner(), 0)), Arrival::Foreign);
        assert_eq!(judge(None, None, Nanos(5), &datagram(OURS.partner(), 0)), Arrival::Foreign);
    }

    #[test]
    fn what_comes_after_hanging_up_is_untimely_not_cross_talk() {
        let voice = datagram(OURS.partner(), 0);
        assert_eq!(judge(None, Some(OURS.partner()), Nanos(5), &voice), Arrival::Untimely);
    }

    #[test]
    fn stun_goes_to_the_caller() {
        assert_eq!(judge(None, None, Nanos(5), &[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]), Arrival::Control);
    }

    #[test]
    fn every_member_is_due_once_a_period() {
        let mut wheel = Wheel::default();
        let start = Nanos(123_456_789);
        wheel.add(1, start);
        let mut due = Vec::new();
        let mut now = start;
        while due.len() < 3 {
            now = now.after(STEP);
            while let Some((at, members)) = wheel.turn(now) {
                due.extend(members.iter().map(|_| at));
            }
        }
        assert!(due[0] > start && due[0].since(start) <= STEP);
        assert!(due.windows(2).all(|pair| pair[1].since(pair[0]) == PERIOD));
    }

    #[test]
    fn a_stall_loses_no_packet() {
        let mut wheel = Wheel::default();
        wheel.add(1, Nanos(0));
        let mut sent = 0;
        while let Some((_, members)) = wheel.turn(Nanos(2_000_000_000)) {
            sent += members.len();
        }
        assert_eq!(sent, 100);
    }

    #[test]
    fn a_wheel_that_was_empty_does_not_catch_up() {
        let mut wheel = Wheel::default();
        let step = wheel.add(1, Nanos(0));
        wheel.remove(1, step);
        assert!(wheel.is_empty());
        wheel.add(2, Nanos(10_000_000_000));
        assert!(wheel.turn(Nanos(10_000_000_000)).is_none());
    }
}

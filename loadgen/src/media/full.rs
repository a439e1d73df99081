//! Full callers once their path is secured: their peers move in with the media thread, which encrypts, paces and sends
//! their packets beside everybody else's, and hears what comes.

use std::net::SocketAddr;

use super::{Counters, Measured, Window, sockets::Sockets, sockets::Source};
use crate::{
    peer::{
        full::FullPeer,
        note::Note,
        stun::{CHANNEL_HEADER, write_channel_header},
    },
    sys::{OUTGOING, Outbox},
    time::Nanos,
};

/// A peer that lives here, and where what it says goes.
pub(super) struct FullParty {
    pub(super) peer: Box<FullPeer>,
    pub(super) server: SocketAddr,
    pub(super) channel: u16,
    /// Of the wheel.
    pub(super) step: usize,
}

/// What a peer's notes count into.
pub(super) struct Tally<'a> {
    pub(super) measured: &'a mut Measured,
    pub(super) counters: &'a Counters,
    pub(super) window: Window,
}

impl FullParty {
    /// Says what is due; a voice packet goes into `outbox` while there is room, anything else at once.
    pub(super) fn speak(
        &mut self,
        due: Nanos,
        now: Nanos,
        source: &Source,
        sockets: &Sockets,
        outbox: &mut Outbox,
        tally: &mut Tally<'_>,
    ) {
        self.peer.tick(due, now);
        tally.note(&mut self.peer);
        let (server, channel) = (self.server, self.channel);
        while let Some(data) = self.peer.poll_transmit() {
            let length = CHANNEL_HEADER + data.len();
            let write = |buffer: &mut [u8]| frame(buffer, channel, &data);
            match source {
                Source::Shared { address, .. } if is_voice(&data) && length <= OUTGOING && !outbox.is_full() => {
                    outbox.push(Some(*address), server, length, write);
                }
                _ => send(source, sockets, server, channel, &data),
            }
        }
    }

    /// What came through the channel at `at`; says when the partner was heard for the first time.
    pub(super) fn hear(
        &mut self,
        at: Nanos,
        data: &[u8],
        source: &Source,
        sockets: &Sockets,
        tally: &mut Tally<'_>,
    ) -> Option<Nanos> {
        self.peer.handle_data(at, data);
        let first = tally.note(&mut self.peer);
        while let Some(data) = self.peer.poll_transmit() {
            send(source, sockets, self.server, self.channel, &data);
        }
        first
    }
}

impl Tally<'_> {
    /// Counts what `peer` noticed; says when it heard its partner for the first time, if it did.
    fn note(&mut self, peer: &mut FullPeer) -> Option<Nanos> {
        let mut heard = None;
        while let Some(note) = peer.poll_note() {
            match note {
                Note::Sent { due, late } if self.window.contains(due) => self.measured.lateness.record(late),
                Note::Heard { at, delay, variation, first } => {
                    Counters::add(&self.counters.received, 1);
                    if self.window.contains(at) {
                        self.measured.heard(delay, variation);
                    }
                    heard = heard.or(first.then_some(at));
                }
                Note::Foreign => Counters::add(&self.counters.foreign, 1),
                Note::Corrupt => Counters::add(&self.counters.corrupt, 1),
                Note::Sent { .. } | Note::Checking | Note::Connected | Note::Secured => {}
            }
        }
        heard
    }
}

/// Lost like any other datagram where the kernel does not take it.
fn send(source: &Source, sockets: &Sockets, server: SocketAddr, channel: u16, data: &[u8]) {
    let mut datagram = vec![0; CHANNEL_HEADER + data.len()];
    frame(&mut datagram, channel, data);
    let _ = sockets.send(source, &datagram, server);
}

fn frame(buffer: &mut [u8], channel: u16, data: &[u8]) {
    let (header, rest) = buffer.split_at_mut(CHANNEL_HEADER);
    if let Ok(header) = header.try_into() {
        write_channel_header(header, channel, data.len() as u16);
    }
    rest.copy_from_slice(data);
}

/// SRTP, neither SRTCP (RFC 5761 §4) nor DTLS nor STUN (RFC 7983 §7).
fn is_voice(data: &[u8]) -> bool {
    matches!(data, [first, second, ..] if first >> 6 == 2 && !(192..=223).contains(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voice_is_told_from_everything_else_in_a_channel() {
        assert!(is_voice(&[0x80, 111, 0]) && is_voice(&[0x90, 0x80 | 111, 0]));
        for other in [&[0x80, 200, 0][..], &[0, 1, 0], &[22, 254, 253], &[]] {
            assert!(!is_voice(other), "{other:?}");
        }
    }

    #[test]
    fn data_is_framed_for_its_channel() {
        let mut buffer = [0; 7];
        frame(&mut buffer, 0x4000, b"abc");
        assert_eq!(buffer, [0x40, 0, 0, 3, b'a', b'b', b'c']);
    }
}

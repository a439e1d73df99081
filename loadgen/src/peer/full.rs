//! The full peer: ICE, DTLS, SRTP and Opus-framed RTP as a browser has them (`str0m`), with our own TURN client beneath.
//! What str0m wants sent goes to the partner's relayed address through our channel; what comes through the channel is its.
//!
//! Driving contract: hand it one input (`handle_*`, or a description or candidate), drain [`FullPeer::poll_transmit`] and
//! [`FullPeer::poll_note`], then wake it at [`FullPeer::poll_timeout`]; once it is secured, [`FullPeer::tick`] it every
//! twenty milliseconds instead. Times are those of the run's clock.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use str0m::{
    Candidate, Event, IceConnectionState, Input, Output, Rtc,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    format::Codec as Format,
    media::{Direction, MediaKind, Mid, Pt},
    net::{Protocol, Receive},
    rtp::RtpWrite,
};

use super::note::Note;
use crate::{
    media::{
        packet::{self, StreamId},
        stream::Account,
        voice::{Speaker, Tick},
    },
    stats::reception::Reception,
    time::{Clock, Nanos},
};

/// Opus' table of contents (RFC 6716 §3.1): CELT, full band, 20 ms, mono, one frame.
const TOC: u8 = 0xF8;
/// Datagrams waiting to be taken at most; an ICE agent and a handshake have a handful.
const MAX_WAITING: usize = 64;

/// See the module's text.
pub struct FullPeer {
    clock: Clock,
    rtc: Rtc,
    pending: Option<SdpPendingOffer>,
    audio: Option<Mid>,
    format: Option<Pt>,
    relayed: Option<SocketAddr>,
    partner: Option<(SocketAddr, Candidate)>,
    described: bool,
    bound: bool,
    wake: Option<Nanos>,
    transmit: VecDeque<Vec<u8>>,
    notes: VecDeque<Note>,
    ours: StreamId,
    speaker: Speaker,
    secured: bool,
    number: u32,
    reception: Reception,
    heard: bool,
    hushed: bool,
}

impl FullPeer {
    /// A peer that sends `ours` once the path is secured.
    pub fn new(clock: Clock, now: Nanos, ours: StreamId, speaker: Speaker) -> FullPeer {
        let rtc = Rtc::builder().clear_codecs().enable_opus(true, false).set_rtp_mode(true).build(clock.instant(now));
        FullPeer {
            clock,
            rtc,
            pending: None,
            audio: None,
            format: None,
            relayed: None,
            partner: None,
            described: false,
            bound: false,
            wake: None,
            transmit: VecDeque::new(),
            notes: VecDeque::new(),
            ours,
            speaker,
            secured: false,
            number: 0,
            reception: Reception::default(),
            heard: false,
            hushed: false,
        }
    }

    /// The offer.
    pub fn offer(&mut self, now: Nanos) -> Option<String> {
        let mut changes = self.rtc.sdp_api();
        self.audio = Some(changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None));
        let (offer, pending) = changes.apply()?;
        self.pending = Some(pending);
        self.drain(now);
        Some(offer.to_sdp_string())
    }

    /// The partner's offer; returns the answer, or none where it cannot be answered.
    pub fn accept_offer(&mut self, now: Nanos, offer: &str) -> Option<String> {
        let offer = SdpOffer::from_sdp_string(offer).ok()?;
        let answer = self.rtc.sdp_api().accept_offer(offer).ok()?;
        self.described(now);
        Some(answer.to_sdp_string())
    }

    /// The partner's answer; false where it does not fit.
    pub fn accept_answer(&mut self, now: Nanos, answer: &str) -> bool {
        let (Some(pending), Ok(answer)) = (self.pending.take(), SdpAnswer::from_sdp_string(answer)) else {
            return false;
        };
        let accepted = self.rtc.sdp_api().accept_answer(pending, answer).is_ok();
        self.described(now);
        accepted
    }

    /// Our relayed address as the one local candidate; returns its line for the partner.
    pub fn local_candidate(&mut self, now: Nanos, relayed: SocketAddr) -> Option<String> {
        // For str0m the relay is its own interface: what happens between us and the relay is the TURN client's.
        let candidate = Candidate::relayed(relayed, relayed, "udp").ok()?;
        self.relayed = Some(relayed);
        let line = self.rtc.add_local_candidate(candidate)?.to_sdp_string();
        self.drain(now);
        Some(line)
    }

    /// The partner's candidate; checks begin when the channel is bound too. False where it cannot be read.
    pub fn remote_candidate(&mut self, now: Nanos, partner: SocketAddr, line: &str) -> bool {
        let Ok(candidate) = Candidate::from_sdp_string(line) else { return false };
        self.partner = Some((partner, candidate));
        self.begin(now);
        true
    }

    /// The channel to the partner is bound.
    pub fn handle_bound(&mut self, now: Nanos) {
        self.bound = true;
        self.begin(now);
    }

    /// What came through the channel at `at`.
    pub fn handle_data(&mut self, at: Nanos, data: &[u8]) {
        let (Some(relayed), Some((partner, _))) = (self.relayed, &self.partner) else { return };
        let Ok(received) = Receive::new(Protocol::Udp, *partner, relayed, data) else { return };
        self.input(at, Input::Receive(self.clock.instant(at), received));
    }

    /// A packet is due, if it may speak yet.
    pub fn tick(&mut self, due: Nanos, now: Nanos) {
        if self.secured && !self.hushed {
            self.speak(due, now);
        }
        self.handle_timeout(now);
    }

    pub fn handle_timeout(&mut self, now: Nanos) {
        if self.wake.is_some_and(|at| at <= now) {
            self.input(now, Input::Timeout(self.clock.instant(now)));
        }
    }

    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.wake
    }

    /// The next datagram for the partner, to be wrapped in ChannelData.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// Sends and counts no more; what was sent and heard.
    pub fn hush(&mut self) -> Option<Account> {
        let first = !std::mem::replace(&mut self.hushed, true);
        let heard_up_to = if self.heard { self.reception.highest() + 1 } else { 0 };
        first.then(|| Account { sent: self.number, heard_up_to, summary: self.reception.summary() })
    }

    fn described(&mut self, now: Nanos) {
        self.described = true;
        self.drain(now);
        self.begin(now);
    }

    /// A check sent before the channel is bound or the partner's password known would be lost, and cost a time-out.
    fn begin(&mut self, now: Nanos) {
        let ready = self.described && self.bound;
        if let Some((_, candidate)) = self.partner.as_ref().filter(|_| ready) {
            self.rtc.add_remote_candidate(candidate.clone());
            self.notes.push_back(Note::Checking);
            self.input(now, Input::Timeout(self.clock.instant(now)));
        }
    }

    fn speak(&mut self, due: Nanos, now: Nanos) {
        let Tick::Packet { bytes, marker, timestamp } = self.speaker.tick() else { return };
        let (Some(audio), Some(format)) = (self.audio, self.format) else { return };
        let mut payload = vec![TOC; 1 + bytes];
        packet::write_payload(&mut payload[1..], self.ours, self.number, now.0);
        let wallclock = self.clock.instant(now);
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(audio, None) else { return };
        let number = u64::from(self.number);
        stream.write_rtp(RtpWrite::new(format, number.into(), timestamp, wallclock, payload).marker(marker));
        self.number += 1;
        self.notes.push_back(Note::Sent { due, late: now.since(due) });
        self.input(now, Input::Timeout(wallclock));
    }

    /// An input that does not fit is one of a broken partner; the call's time-out tells the story.
    fn input(&mut self, now: Nanos, input: Input<'_>) {
        if self.rtc.accepts(&input) {
            let _ = self.rtc.handle_input(input);
        }
        self.drain(now);
    }

    fn drain(&mut self, now: Nanos) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    // What is overdue comes soon, not at once and for ever.
                    self.wake = Some(self.nanos(at).max(Nanos(now.0 + 1)));
                    return;
                }
                Ok(Output::Transmit(transmit)) if self.transmit.len() < MAX_WAITING => {
                    self.transmit.push_back(transmit.contents.to_vec());
                }
                Ok(Output::Transmit(_)) => {}
                Ok(Output::Event(event)) => self.note(event),
                Err(_) => {
                    self.wake = None;
                    return;
                }
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                self.notes.push_back(Note::Connected);
            }
            Event::Connected => {
                self.notes.push_back(Note::Secured);
                let formats = self.rtc.codec_config();
                self.format = formats.iter().find(|format| format.spec().codec == Format::Opus).map(|opus| opus.pt());
                self.secured = true;
            }
            Event::MediaAdded(added) => self.audio = Some(added.mid),
            Event::RtpPacket(packet) if !self.hushed => {
                let at = self.nanos(packet.timestamp);
                self.hear(at, packet.header.sequence_number, &packet.payload);
            }
            _ => {}
        }
    }

    fn hear(&mut self, at: Nanos, sequence: u16, payload: &[u8]) {
        let said = payload.strip_prefix(&[TOC]).and_then(packet::read_payload);
        let Some(said) = said.filter(|said| said.sequence == sequence) else {
            return self.notes.push_back(Note::Corrupt);
        };
        if said.stream != self.ours.partner() {
            return self.notes.push_back(Note::Foreign);
        }
        let variation = self.reception.handle(sequence, said.sent, at.0);
        let first = !std::mem::replace(&mut self.heard, true);
        self.notes.push_back(Note::Heard { at, delay: at.since(Nanos(said.sent)), variation, first });
    }

    fn nanos(&self, at: Instant) -> Nanos {
        let origin = self.clock.instant(Nanos::ZERO);
        Nanos(u64::try_from(at.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Peers are no values; one is only ever itself.
impl PartialEq for FullPeer {
    fn eq(&self, other: &FullPeer) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for FullPeer {}

impl std::fmt::Debug for FullPeer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("FullPeer")
    }
}

#[cfg(test)]
#[path = "full_tests.rs"]
mod tests;

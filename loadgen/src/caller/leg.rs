//! A caller's side of one call: descriptions, candidate, channel, check.

use std::{fmt::Write, net::SocketAddr};

use super::{
    CHANNEL, Caller, Output, State,
    record::Cause,
    signal::{self, Ice, Role},
};
use crate::{
    media::packet::{self, StreamId},
    peer::{
        full::FullPeer,
        ice::Check,
        sdp::{self, Access, Kind},
        stun::{CHANNEL_HEADER, View, write_channel_header},
    },
    scenario::Depth,
    time::Nanos,
};

/// One side of one call.
pub(super) struct Leg {
    pub(super) call: String,
    pub(super) role: Role,
    pub(super) check: Option<Check>,
    /// The media thread listens for the partner.
    pub(super) hearing: bool,
    generation: u32,
    local: Access,
    remote: Option<Access>,
    /// The partner's relayed transport address.
    partner: Option<SocketAddr>,
    /// Does everything between descriptions and media itself, where callers are full.
    pub(super) full: Option<Box<FullPeer>>,
    /// The media thread has it.
    pub(super) handed_over: bool,
    binding: bool,
    bound: bool,
    candidate_sent: bool,
}

impl Caller {
    pub(super) fn begin_leg(&mut self, now: Nanos, call: String, role: Role, generation: u32, ice: Option<Ice>) {
        self.record.times.matched = Some(now);
        self.state = State::Negotiating;
        self.deadline = Some(now.after(self.terms.setup_timeout));
        self.signal(signal::of_call("ack", &call));
        let local = Access { ufrag: hex(&self.draw::<4>()), password: hex(&self.draw::<16>()) };
        self.leg = Some(Leg {
            call,
            role,
            check: None,
            hearing: false,
            generation,
            local,
            remote: None,
            partner: None,
            full: None,
            handed_over: false,
            binding: false,
            bound: false,
            candidate_sent: false,
        });
        if self.terms.depth == Depth::Matching {
            return self.come_through(now);
        }
        if self.terms.depth == Depth::Full {
            self.begin_full(now);
        }
        self.allocate(now, ice);
        if role == Role::Offerer {
            self.describe(now, Kind::Offer, None);
        }
        self.offer_candidate(now);
    }

    pub(super) fn in_call(&self, call: &str) -> bool {
        self.leg.as_ref().is_some_and(|leg| leg.call == call)
    }

    /// Describes this side; an answer is one to `offer`.
    fn describe(&mut self, now: Nanos, kind: Kind, offer: Option<&str>) {
        let fingerprint = self.draw();
        let Some(leg) = &mut self.leg else { return };
        let sdp = match (&mut leg.full, offer) {
            (None, _) => Some(sdp::write(kind, &leg.local, &fingerprint)),
            (Some(full), None) => full.offer(now),
            (Some(full), Some(offer)) => full.accept_offer(now, offer),
        };
        let Some(sdp) = sdp else { return self.fail(now, Cause::Protocol) };
        let word = if kind == Kind::Offer { "offer" } else { "answer" };
        let frame = signal::description(word, &leg.call, leg.generation, &sdp);
        self.signal(frame);
    }

    /// The partner's description; an offer is answered.
    pub(super) fn handle_description(&mut self, now: Nanos, description: &str) {
        let Some(leg) = &mut self.leg else { return };
        let Some(access) = sdp::read_access(description) else {
            return self.fail(now, Cause::Protocol);
        };
        leg.remote = Some(access);
        if leg.role == Role::Answerer {
            self.describe(now, Kind::Answer, Some(description));
        } else if leg.full.as_mut().is_some_and(|full| !full.accept_answer(now, description)) {
            return self.fail(now, Cause::Protocol);
        }
        if self.terms.depth == Depth::Signalling && self.state == State::Negotiating {
            return self.connected(now, now); // nothing to check without a relay: the descriptions are the call
        }
        self.start_check(now);
    }

    pub(super) fn handle_candidate(&mut self, now: Nanos, line: &str) {
        let Some(leg) = &mut self.leg else { return };
        if let Some(partner) = sdp::read_candidate(line).filter(|_| leg.partner.is_none()) {
            leg.partner = Some(partner);
            if leg.full.as_mut().is_some_and(|full| !full.remote_candidate(now, partner, line)) {
                return self.fail(now, Cause::Protocol);
            }
            self.bind(now);
        }
    }

    /// Tells the partner where we are relayed, once we are and there is a partner.
    pub(super) fn offer_candidate(&mut self, now: Nanos) {
        let (Some(relayed), Some(leg)) = (self.relayed, &mut self.leg) else { return };
        if !std::mem::replace(&mut leg.candidate_sent, true) {
            let line = match &mut leg.full {
                None => sdp::write_candidate(relayed),
                Some(full) => full.local_candidate(now, relayed).unwrap_or_default(),
            };
            let candidate = signal::candidate(&leg.call, leg.generation, Some(&line));
            let end = signal::candidate(&leg.call, leg.generation, None);
            self.signal(candidate);
            self.signal(end);
        }
    }

    /// Permits the partner and binds the channel, once both relayed addresses are known.
    pub(super) fn bind(&mut self, now: Nanos) {
        let id = self.draw();
        let (Some(_), Some(turn), Some(leg)) = (self.relayed, &mut self.turn, &mut self.leg) else { return };
        let Some(partner) = leg.partner.filter(|_| !std::mem::replace(&mut leg.binding, leg.partner.is_some())) else {
            return;
        };
        turn.permit(now, partner);
        turn.bind(now, CHANNEL, partner);
        if leg.full.is_some() {
            return;
        }
        leg.check = Some(Check::new(leg.local.clone(), leg.role == Role::Offerer, partner, id));
        if self.terms.media {
            leg.hearing = true;
            let stream = leg.stream().partner();
            self.outputs.push_back(Output::Hear { channel: CHANNEL, stream });
        }
    }

    /// The channel is bound or the partner described itself; with both, the check begins.
    pub(super) fn start_check(&mut self, now: Nanos) {
        let bound = self.record.times.channel.is_some();
        let Some(leg) = &mut self.leg else { return };
        if let Some(full) = leg.full.as_mut().filter(|_| bound && !leg.bound) {
            full.handle_bound(now);
        }
        leg.bound = bound;
        let check = leg.check.as_mut().filter(|check| bound && check.first_sent.is_none());
        if let (Some(remote), Some(check)) = (&leg.remote, check) {
            check.start(now, remote.clone());
        }
    }

    /// What came from the partner through the relay and is not media.
    pub(super) fn handle_peer_data(&mut self, at: Nanos, now: Nanos, data: &[u8]) {
        if let Some(full) = self.leg.as_mut().and_then(|leg| leg.full.as_mut()) {
            return full.handle_data(at, data);
        }
        if self.leg.as_ref().is_some_and(|leg| leg.handed_over) {
            // Came before the media thread had the peer.
            return self.outputs.push_back(Output::Pass { at, data: data.to_vec() });
        }
        let check = self.leg.as_mut().and_then(|leg| leg.check.as_mut());
        if let (Some(check), Some(message)) = (check, View::parse(data)) {
            check.handle_message(at, now, &message);
        }
    }

    pub(super) fn pump_check(&mut self, now: Nanos) {
        let Some(leg) = &mut self.leg else { return };
        let Some(check) = leg.check.as_mut().filter(|_| leg.bound) else { return };
        while let Some(message) = check.poll_transmit() {
            self.outputs.push_back(Output::Datagram(channel_data(&message)));
        }
        self.record.times.check_sent = check.first_sent;
        if let (Some(connected), State::Negotiating) = (check.connected, self.state) {
            self.connected(now, connected);
        }
    }

    pub(super) fn connected(&mut self, now: Nanos, at: Nanos) {
        let Some(leg) = &self.leg else { return };
        let (frame, stream) = (signal::ice_connected(&leg.call), leg.stream());
        let full = leg.full.is_some();
        self.record.times.connected = Some(at);
        self.signal(frame);
        if self.terms.media && !full {
            self.outputs.push_back(Output::Talk { channel: CHANNEL, stream });
        }
        self.come_through(now);
    }

    /// There is nothing more to set up.
    fn come_through(&mut self, now: Nanos) {
        self.state = State::Talking;
        self.come_up(now);
    }

    pub(super) fn forget_leg(&mut self) {
        if let Some(check) = self.leg.take().and_then(|leg| leg.check) {
            self.record.check_retransmissions += check.retransmissions;
            self.record.check_rejections += check.rejected;
        }
    }
}

impl Leg {
    pub(super) fn stream(&self) -> StreamId {
        StreamId { call: packet::hash(&self.call), side: u8::from(self.role == Role::Answerer) }
    }
}

pub(super) fn channel_data(message: &[u8]) -> Vec<u8> {
    let mut header = [0; CHANNEL_HEADER];
    write_channel_header(&mut header, CHANNEL, message.len() as u16);
    [&header[..], message].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! What the relay hears of a call: the third way to notice a lost partner (beside the connection and ICE), and the proof that both can be
//! heard (matching.md §4.4, §4.9). How well is for [`super::quality`].
//!
//! Workers say what they heard when they are asked; each look reads the answers to the one before. A call that may go past the relay is
//! not listened to: silence there says nothing.

use serde::{Deserialize, Serialize};

use super::Desk;
use super::call::Call;
use super::negotiate::Context;
use super::session::Side;
use super::timers::Timer;
use crate::calls::Heard;
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;
use crate::signalling::limits::Meter;
use crate::signalling::message::{MicState, PeerState, Reply, Step};
use crate::time::{Millis, Now};

/// Looks at a call that is not known to be well …
pub(super) const LOOK_MS: u64 = 250;
/// … and at one whose two sides were heard a moment ago.
const CALM_LOOK_MS: u64 = 500;
/// A side whose media flowed and that is not heard for so long is silent: its partner is told within two seconds, a look included.
const SILENT_MS: u64 = 1_500;
/// The same for one that was quiet before: a muted side sends consent checks, one in 4 to 6 s (RFC 7675 §5.1), and answers to the partner's.
const QUIET_SILENT_MS: u64 = 8_000;
/// Media flows when packets have come for so long …
const FLOWING_MS: u64 = 2_000;
/// … without a pause of this length. (Opus speaks every 400 ms even in silence.)
const PAUSE_MS: u64 = 1_000;

/// What the relay hears of one side.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Hearing {
    /// Zero: nothing since the match.
    last: Millis,
    /// Without a pause since then.
    flows_since: Millis,
    /// Nothing is heard any more, and the partner knows.
    pub(super) silent: bool,
    /// The first packet of media.
    media: Option<Millis>,
}

impl Hearing {
    fn hear(&mut self, call: Millis, heard: Heard) {
        if heard.last >= call && heard.last > self.last {
            if self.last == Millis(0) || heard.last.since(self.last) > PAUSE_MS {
                self.flows_since = heard.last;
            }
            self.last = heard.last;
        }
        if self.media.is_none() {
            self.media = heard.media.since.filter(|since| *since >= call);
        }
    }

    /// Another relay listens from now on, or the stream may pause for a reason: patience is that with one who is quiet until it flows anew.
    pub(super) fn begin_anew(&mut self) {
        self.flows_since = self.last;
    }

    fn flows(&self) -> bool {
        self.last.since(self.flows_since) >= FLOWING_MS
    }

    /// Whether silence has lasted too long.
    fn is_lost(&self, now: Millis, muted: bool) -> bool {
        let patience = if self.flows() && !muted { SILENT_MS } else { QUIET_SILENT_MS };
        self.last != Millis(0) && now.since(self.last) >= patience
    }
}

impl Call {
    /// Relayed media of both sides has come.
    fn is_audible(&self) -> bool {
        Side::BOTH.iter().all(|side| self.seat(*side).hearing.media.is_some())
    }

    fn is_calm(&self, now: Millis) -> bool {
        let calm = |hearing: &Hearing| hearing.flows() && now.since(hearing.last) < CALM_LOOK_MS;
        self.connected && Side::BOTH.iter().all(|side| calm(&self.seat(*side).hearing))
    }

    /// Both sides have been heard since then, and neither misses the other.
    pub(super) fn is_heard_since(&self, then: Millis) -> bool {
        let heard = |side: &Side| self.seat(*side).stalled.is_none() && self.seat(*side).hearing.last > then;
        Side::BOTH.iter().all(heard)
    }
}

impl Desk {
    /// Looks at a call and sets the next look.
    pub(super) fn listen(&mut self, now: Now, id: Id) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.direct) else { return };
        let before = heard_first(call);
        let (matched, quality) = (call.matched, self.settings.quality);
        for side in Side::BOTH {
            let seat = call.seat_mut(side);
            let heard = self.relay.listen(&seat.handle, quality || seat.hearing.media.is_none());
            seat.hearing.hear(matched, heard);
            seat.quality.hear(&heard.media);
        }
        let mut news = Vec::new();
        for (first, (known, new)) in before.into_iter().zip(heard_first(call)).enumerate() {
            let Some(at) = new.filter(|_| known.is_none()) else { continue };
            let steps = [(&self.counters.first_packet, Step::FirstVoice), (&self.counters.audible, Step::BothVoices)];
            steps[first].0.observe(at.since(matched));
            news.push((steps[first].1, at));
        }
        let audible = call.negotiated && !call.connected && call.is_audible();
        let pause = if call.is_calm(now.mono) { CALM_LOOK_MS } else { LOOK_MS };
        self.timers.set(now.mono.after(pause), Timer::Listen(id));
        for (step, at) in news {
            Side::BOTH.iter().for_each(|side| self.trace_at(id, *side, step, at));
        }
        if audible {
            self.connected(now, id, matched);
        }
        self.judge_quality(now.mono, id);
        Side::BOTH.iter().for_each(|side| self.mind_silence(now, id, *side));
    }

    /// Silence begins or ends: the partner is told.
    fn mind_silence(&mut self, now: Now, id: Id, side: Side) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.connected) else { return };
        let seat = call.seat_mut(side);
        let muted = seat.mic != MicState::On;
        let lost = seat.hearing.is_lost(now.mono, muted);
        if std::mem::replace(&mut seat.hearing.silent, lost) == lost {
            return;
        }
        if lost {
            self.stalled(now, id, side.other());
        } else {
            self.heard_again(id, side.other());
        }
    }

    /// A microphone that is off is a state of the call, not a fault of it (A4).
    pub(super) fn microphone(&mut self, context: Context, mic: MicState) {
        let Context { now, from, q, call: id, side } = context;
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Mic, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        let Some(call) = self.calls.get_mut(&id) else { return self.refuse(now, from, q, ErrorCode::Call) };
        // With this stream its receiver's feedback falls silent too.
        for side in Side::BOTH {
            call.seat_mut(side).hearing.begin_anew();
        }
        let seat = call.seat_mut(side);
        let was_on = std::mem::replace(&mut seat.mic, mic) == MicState::On;
        let is_on = mic == MicState::On;
        if was_on != is_on {
            let s = if is_on { PeerState::MicOn } else { PeerState::MicOff };
            self.tell_partner(id, side, &Reply::Peer { call: id, s });
        }
    }
}

/// When media was first heard of one side, and of both.
fn heard_first(call: &Call) -> [Option<Millis>; 2] {
    let [a, b] = Side::BOTH.map(|side| call.seat(side).hearing.media);
    [a.into_iter().chain(b).min(), a.zip(b).map(|(a, b)| a.max(b))]
}

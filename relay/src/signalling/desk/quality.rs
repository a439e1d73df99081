//! How well a call goes: each window what the relay heard of both streams, and what each client says of the one it hears. Told to the two
//! callers, and counted when the call is over; to nobody else (matching.md §4.3).

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::negotiate::Context;
use super::session::Side;
use super::{Desk, Id};
use crate::calls::Media;
use crate::emodel;
use crate::signalling::codes::ErrorCode;
use crate::signalling::counters::Qualities;
use crate::signalling::limits::Meter;
use crate::signalling::message::{Downlink, Grade, Reply, SideQuality, Uplink, rating};
use crate::time::Millis;

/// Streams are judged this often, as RTCP would report on them (RFC 3550 §6.2).
pub(super) const WINDOW_MS: u64 = 5_000;
/// Packets that say something of a stream.
const ENOUGH: u32 = 50;
/// What a client has said of the stream it hears holds for so long.
const REPORT_HOLDS_MS: u64 = 3 * WINDOW_MS;

/// What is known of one side's stream.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Quality {
    /// Of the call, at the last look, and when its window began. A relay that takes over hears on where the other has stopped.
    heard: Media,
    begun: Media,
    /// The last one that says something.
    window: Option<Media>,
    grade: Grade,
    /// Jitter at the end of each such window.
    jitter: Mean,
    /// As it was at the end of the last window.
    #[serde(skip)]
    uplink: Option<Uplink>,
    /// What the client says of its partner's, and when it said so.
    #[serde(skip)]
    downlink: Option<(Downlink, Millis)>,
    /// What the client knows of all this. Who takes over says it again with the next window.
    #[serde(skip)]
    told: Option<Told>,
}

/// Grades and figures of its own and its partner's side.
type Told = [(Grade, SideQuality); 2];

#[derive(Default, Serialize, Deserialize)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Quality {
    pub(super) fn hear(&mut self, media: &Media) {
        if media.expected >= self.heard.expected {
            self.heard = *media;
        }
    }

    /// A window is over.
    fn judge(&mut self) {
        let window = self.heard.after(&self.begun);
        // Of a stream that says little a window is longer.
        if window.expected >= ENOUGH {
            self.begun = self.heard;
            self.grade = grade(&window);
            self.window = Some(window);
            self.jitter.sum = self.jitter.sum.saturating_add(window.jitter_micros.into());
            self.jitter.count = self.jitter.count.saturating_add(1);
        }
        self.uplink = self.window.map(|window| Uplink::new(&self.heard, &window));
    }

    fn side(&self, now: Millis) -> (Grade, SideQuality) {
        let down = self.downlink.filter(|(_, said)| now.since(*said) <= REPORT_HOLDS_MS).map(|(downlink, _)| downlink);
        (self.grade, SideQuality { up: self.uplink, down })
    }

    /// Counts the whole call's.
    fn count(&self, qualities: &Qualities) {
        let jitter_micros = self.jitter.sum.checked_div(self.jitter.count).and_then(|mean| u32::try_from(mean).ok());
        let call = Media { jitter_micros: jitter_micros.unwrap_or(self.heard.jitter_micros), ..self.heard };
        if call.expected < ENOUGH {
            return;
        }
        qualities.loss.observe((call.loss_percent() * 10.0).round() as u64);
        qualities.jitter.observe(millis(call.jitter_micros));
        if let Some(micros) = call.round_trip_micros {
            qualities.round_trip.observe(millis(micros));
        }
        if let Some(r) = rating(&call) {
            qualities.mos.observe((emodel::mos(r) * 1_000.0).round() as u64);
        }
    }
}

fn millis(micros: u32) -> u64 {
    u64::from(micros).saturating_add(500) / 1_000
}

fn grade(window: &Media) -> Grade {
    let lost_percent = u64::from(window.lost()) * 100 / u64::from(window.expected.max(1));
    match (lost_percent, window.jitter_micros) {
        (0..=2, 0..=30_999) => Grade::Good,
        (0..=8, 0..=80_999) => Grade::Fair,
        _ => Grade::Poor,
    }
}

impl Call {
    /// Whether a window is over. The first begins when the call stands.
    fn turn_window(&mut self, now: Millis) -> bool {
        let over = self.window.is_some_and(|end| now >= end);
        if self.connected && (over || self.window.is_none()) {
            self.window = Some(now.after(WINDOW_MS));
        }
        over && self.connected
    }
}

impl Desk {
    /// After each look at a call.
    pub(super) fn judge_quality(&mut self, now: Millis, id: Id) {
        let Some(call) = self.calls.get_mut(&id).filter(|_| self.settings.quality) else { return };
        if !call.turn_window(now) {
            return;
        }
        for side in Side::BOTH {
            call.seat_mut(side).quality.judge();
        }
        self.tell_quality(now, id);
    }

    fn tell_quality(&mut self, now: Millis, id: Id) {
        let Some(call) = self.calls.get(&id) else { return };
        let [waiter, arrival] = Side::BOTH.map(|side| call.seat(side).quality.side(now));
        for (side, news) in Side::BOTH.into_iter().zip([[waiter, arrival], [arrival, waiter]]) {
            let Some(seat) = self.calls.get_mut(&id).map(|call| call.seat_mut(side)) else { return };
            let before = seat.quality.told.replace(news).unwrap_or_default();
            let to = seat.connection;
            if before != news {
                let [(up, your), (down, their)] = news;
                self.send(to, &Reply::Quality { call: id, up, down, your, their });
            }
        }
    }

    /// A client says how its partner's stream arrives. Kept for the two of them; nothing is done by it.
    pub(super) fn downlink(&mut self, context: Context, downlink: Downlink) {
        let Context { now, from, q, call: id, side } = context;
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Heard, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        let Some(call) = self.calls.get_mut(&id) else { return self.refuse(now, from, q, ErrorCode::Call) };
        call.seat_mut(side).quality.downlink = Some((downlink, now.mono));
    }

    /// A call is over.
    pub(super) fn count_quality(&self, call: &Call) {
        if self.settings.quality {
            Side::BOTH.iter().for_each(|side| call.seat(*side).quality.count(&self.counters.quality));
        }
    }
}

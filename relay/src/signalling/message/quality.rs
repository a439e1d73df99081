//! How the streams of a call are doing, in words and numbers of the protocol.

use serde::{Deserialize, Serialize, Serializer};

use super::Unreadable;
use crate::calls::Media;
use crate::emodel::{self, Class, G711_PLC, JITTER_BUFFER, PACKETISATION};
use crate::signalling::ids::CallRef;

/// More jitter than this no receiver copes with, so none has anything to report.
const MAX_JITTER_MS: u32 = 10_000;

/// One side of a call, as far as it is known. What is not known is absent, never guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SideQuality {
    /// Its stream on the way to the relay, as the relay hears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<Uplink>,
    /// Its partner's stream as it comes from the relay, as the client itself reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<Downlink>,
}

/// Counts are those of the call so far, jitter and round trip are as they are now, the rest is that of the last window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Uplink {
    /// Sent, as far as their numbers tell, and of those: not heard, and heard behind a later one.
    pub packets: u32,
    pub missing: u32,
    pub reordered: u32,
    /// Percent that did not reach the relay.
    pub lost: Tenths,
    /// RFC 3550 §6.4.1.
    pub jitter_ms: Tenths,
    /// Percent of its time in which the stream had nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<u32>,
    /// From the relay to the client and back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<u32>,
    /// What a listener at the relay would say of it, and by which codec's profile of the E-model that was estimated.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub mos: Option<Mos>,
}

/// MOS-CQE, as a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mos {
    #[serde(rename = "mos")]
    pub class: Class,
    pub profile: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Downlink {
    /// Percent.
    pub lost: Tenths,
    pub jitter_ms: u32,
}

/// A number with one decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tenths(pub u32);

impl Uplink {
    /// Of the whole call, and of its last window that says something.
    pub fn new(call: &Media, window: &Media) -> Uplink {
        let (jitter_micros, round_trip_micros) = (call.jitter_micros, call.round_trip_micros);
        let window = &Media { jitter_micros, round_trip_micros, ..*window };
        Uplink {
            packets: call.expected,
            missing: call.lost(),
            reordered: call.reordered,
            lost: Tenths((window.loss_percent() * 10.0).round() as u32),
            jitter_ms: Tenths(window.jitter_micros.saturating_add(50) / 100),
            silent: window.silent_percent(),
            rtt_ms: window.round_trip_micros.map(|micros| micros.saturating_add(500) / 1_000),
            mos: rating(window).map(|r| Mos { class: Class::of(r), profile: G711_PLC.name }),
        }
    }
}

/// The E-model's R of a stream as it reaches the relay; `None` while its delay is not known. The way from there on is not in it: what is
/// wrong there is the other side's. Losses count as random, and the receiver's buffer as twice the jitter, at least [`JITTER_BUFFER`].
pub fn rating(stream: &Media) -> Option<f64> {
    let one_way = f64::from(stream.round_trip_micros?) / 2_000.0;
    let fixed = |time: std::time::Duration| time.as_secs_f64() * 1_000.0;
    let buffer = fixed(JITTER_BUFFER).max(f64::from(stream.jitter_micros) / 500.0);
    Some(emodel::rating(G711_PLC, one_way + fixed(PACKETISATION) + buffer, stream.loss_percent(), 1.0))
}

/// What a client says of the stream it hears.
#[derive(Deserialize)]
pub(super) struct WireHeard {
    pub(super) call: CallRef,
    lost: f64,
    jitter_ms: u32,
}

impl WireHeard {
    pub(super) fn checked(&self) -> Result<Downlink, Unreadable> {
        if !(0.0..=100.0).contains(&self.lost) || self.jitter_ms > MAX_JITTER_MS {
            return Err(Unreadable::Proto);
        }
        Ok(Downlink { lost: Tenths((self.lost * 10.0).round() as u32), jitter_ms: self.jitter_ms })
    }
}

impl Serialize for Tenths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 10.0)
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(lost: u32, jitter_ms: u32, round_trip_ms: Option<u32>) -> Media {
        let (jitter_micros, round_trip_micros) = (jitter_ms * 1_000, round_trip_ms.map(|ms| ms * 1_000));
        Media { expected: 1_000, received: 1_000 - lost, jitter_micros, round_trip_micros, ..Media::default() }
    }

    fn class(stream: &Media) -> Option<Class> {
        Uplink::new(stream, stream).mos.map(|mos| mos.class)
    }

    #[test]
    fn an_uplink_is_classed_by_loss_delay_and_jitter_buffer() {
        assert_eq!(class(&stream(0, 0, Some(20))), Some(Class::Best));
        assert_eq!(class(&stream(10, 2, Some(40))), Some(Class::High), "89.56 by the golden vector of 1 %");
        assert_eq!(class(&stream(100, 2, Some(40))), Some(Class::Low), "66.13 by that of 10 %");
        assert_eq!(class(&stream(0, 80, Some(300))), Some(Class::Medium), "330 ms of 150, 20 and 160: 75.4");
        assert_eq!(class(&stream(300, 80, Some(600))), Some(Class::Bad));
    }

    #[test]
    fn counts_jitter_and_round_trip_are_of_now_and_loss_is_of_the_window() {
        let uplink = Uplink::new(&stream(100, 3, Some(40)), &stream(0, 90, None));
        assert_eq!((uplink.missing, uplink.lost, uplink.jitter_ms), (100, Tenths(0), Tenths(30)));
        assert_eq!((uplink.rtt_ms, uplink.mos.map(|mos| mos.class)), (Some(40), Some(Class::Best)));
    }

    #[test]
    fn without_a_round_trip_there_is_no_delay_and_so_no_class() {
        assert_eq!(class(&stream(0, 0, None)), None);
        let json = serde_json::to_value(Uplink::new(&stream(12, 3, None), &stream(12, 3, None))).unwrap_or_default();
        assert_eq!(
            json,
            serde_json::json!({"packets": 1_000, "missing": 12, "reordered": 0, "lost": 1.2, "jitter_ms": 3.0})
        );
    }
}

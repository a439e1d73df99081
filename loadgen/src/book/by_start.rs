//! Calls by the second in which their later caller was due, so that a load that changes can be seen to change what callers
//! meet. The warm-up is in it: it is shown, not judged.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as HdrReader, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Finished, Record};
use crate::{
    caller::record::{Cause, Outcome},
    stats::latency::Distribution,
    time::Nanos,
};

/// Seconds kept at most: four hours, some 6 kB each.
const MAX_SECONDS: u64 = 4 * 3600;
/// Longest set-up kept apart, µs; and the digits kept, one less than of the whole run.
const MAX_MICROS: u64 = 600_000_000;
const DIGITS: u8 = 2;

/// See the module's text.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ByStart {
    /// When the schedule begins.
    begin: Nanos,
    seconds: BTreeMap<u64, Due>,
}

/// What became of the calls that were due in one second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Due {
    pub up: u64,
    pub failed: u64,
    setup: Option<Coarse>,
}

impl ByStart {
    pub fn from(begin: Nanos) -> ByStart {
        ByStart { begin, seconds: BTreeMap::new() }
    }

    pub fn begin(&self) -> Nanos {
        self.begin
    }

    /// Every second in which a call was due, counted from the start of the schedule.
    pub fn all(&self) -> impl Iterator<Item = (u64, &Due)> {
        self.seconds.iter().map(|(second, due)| (*second, due))
    }

    pub(super) fn add(&mut self, call: &Finished, neutral: impl Fn(&Record) -> bool) {
        let other = call.b.as_ref().unwrap_or(&call.a);
        let second = call.a.times.intended.max(other.times.intended).since(self.begin).as_secs();
        let failed = !call.up && call.cause().is_some() && !neutral(&call.a);
        if second >= MAX_SECONDS || !(call.up || failed) {
            return;
        }
        let due = self.seconds.entry(second).or_default();
        due.up += u64::from(call.up);
        due.failed += u64::from(failed);
        if let Some(setup) = call.setup().filter(|_| call.up) {
            due.setup.get_or_insert_default().record(setup);
        }
    }

    pub(super) fn merge(&mut self, other: &ByStart) {
        for (second, theirs) in &other.seconds {
            let ours = self.seconds.entry(*second).or_default();
            ours.up += theirs.up;
            ours.failed += theirs.failed;
            match (&mut ours.setup, &theirs.setup) {
                (Some(ours), Some(theirs)) => _ = ours.0.add(&theirs.0),
                (None, Some(theirs)) => ours.setup = Some(theirs.clone()),
                (_, None) => {}
            }
        }
    }
}

impl Due {
    /// Set-up times as a distribution like any other, with a digit less; none where no call came up by a check.
    pub fn setup(&self) -> Option<Distribution> {
        Distribution::decode(&self.setup.as_ref()?.encode())
    }
}

/// Whether a side without a call is neither success nor failure.
pub(super) fn is_neutral(record: &Record, abandonment_fails: bool, lines: u32) -> bool {
    let gave_up = record.outcome == Outcome::Failed(Cause::NoPartner) && !abandonment_fails;
    gave_up || (lines > 0 && record.is_blocked())
}

/// A histogram that is small while it holds little.
#[derive(Clone, Debug)]
struct Coarse(Histogram<u32>);

impl Default for Coarse {
    fn default() -> Coarse {
        let mut histogram =
            Histogram::new(DIGITS).unwrap_or_else(|error| unreachable!("a constant number of digits: {error:?}"));
        histogram.auto(true);
        Coarse(histogram)
    }
}

impl Coarse {
    fn record(&mut self, length: Duration) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(MAX_MICROS);
        // It grows as needed, up to the longest, so this cannot fail.
        let _ = self.0.record(micros.clamp(1, MAX_MICROS));
    }

    fn encode(&self) -> String {
        let mut bytes = Vec::new();
        let _ = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        STANDARD.encode(bytes)
    }
}

impl Serialize for Coarse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encode().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Coarse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Coarse, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)?;
        let read: Result<Histogram<u32>, _> = HdrReader::new().deserialize(&mut bytes.as_slice());
        let mut coarse = Coarse::default();
        let added = read.ok().and_then(|read| coarse.0.add(&read).ok());
        added.map(|()| coarse).ok_or_else(|| de::Error::custom("a damaged histogram"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        caller::signal::Role,
        rules::tests::{criteria, record},
    };

    fn call(due_ms: u64, setup_ms: u64) -> Finished {
        let at = |ms: u64| Nanos(ms * 1_000_000);
        let mut a = record(1, Role::Offerer, criteria());
        let mut b = record(2, Role::Answerer, criteria());
        (a.times.intended, b.times.intended) = (at(due_ms), at(due_ms - 1));
        (a.times.connected, b.times.connected) = (Some(at(due_ms + setup_ms)), Some(at(due_ms)));
        Finished { a, b: Some(b), counts: false, up: true }
    }

    #[test]
    fn calls_are_counted_in_the_second_their_later_caller_was_due() {
        let mut by_start = ByStart::from(Nanos(1_000_000_000));
        for call in [call(3000, 20), call(3999, 40), call(4000, 500)] {
            by_start.add(&call, |_| false);
        }
        let failed = Finished {
            up: false,
            a: Record { outcome: Outcome::Failed(Cause::Connect), ..call(4100, 1).a },
            b: None,
            ..call(4100, 1)
        };
        by_start.add(&failed, |_| false);
        by_start.add(&failed, |_| true);
        let counts: Vec<_> = by_start.all().map(|(second, due)| (second, due.up, due.failed)).collect();
        assert_eq!(counts, [(2, 2, 0), (3, 1, 1)]);
        let setup = by_start.seconds[&3].setup().unwrap();
        assert!((setup.max_millis().unwrap() / 500.0 - 1.0).abs() < 0.01, "{:?}", setup.max_millis());
    }

    #[test]
    fn parts_that_went_through_json_add_up() {
        let mut ours = ByStart::default();
        ours.add(&call(2500, 20), |_| false);
        let text = serde_json::to_string(&ours).unwrap();
        let theirs: ByStart = serde_json::from_str(&text).unwrap();
        ours.merge(&theirs);
        assert_eq!((ours.seconds[&2].up, ours.seconds[&2].setup().unwrap().len()), (2, 2));
    }
}

//! How much one connection, one call and one network may ask (matching.md §4.12).

use serde::{Deserialize, Serialize};

use super::message::{Limits, MAX_FRAME_BYTES, MAX_TEXT_CHARS};
use crate::matchmaking::MAX_TOPICS;
use crate::time::Millis;

/// What `welcome.limits` says and the desk holds everybody to.
pub const LIMITS: Limits = Limits {
    frame_bytes: MAX_FRAME_BYTES,
    text_chars: MAX_TEXT_CHARS,
    topics: MAX_TOPICS,
    frames_per_s: 50,
    queue_per_min: 6,
    next_per_min: 20,
    tune_per_s: 1,
    text_per_s: 5,
    text_burst: 10,
    sdp_per_call: 8,
    cand_per_call: 64,
    restart_per_min: 6,
    report_per_h: 5,
    resume_ms: super::desk::RESUME_MS,
};

/// Frames of any kind above `frames_per_s`: a client that flushes its candidates at once is not an attacker.
const FRAME_BURST: u32 = 150;
/// Refusals for haste a connection may collect, refilled at as many a minute, before it is closed with 4429.
const STRIKES: u32 = 20;

/// A token bucket counted in sixty-thousandths of a token, what a millisecond at one token a minute is worth: exact,
/// and asking often does not slow the refill.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bucket {
    parts: u32,
    at: Millis,
}

const TOKEN: u32 = 60_000;

/// How fast a bucket fills and how much it holds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At most 10 000.
    pub burst: u32,
    /// Tokens per minute, at least 1.
    pub per_minute: u32,
}

impl Bucket {
    pub const fn full(rate: Rate, now: Millis) -> Bucket {
        Bucket { parts: rate.burst * TOKEN, at: now }
    }

    fn moved(self, now: Millis, there: Millis) -> Bucket {
        Bucket { parts: self.parts, at: Millis(there.0.saturating_sub(now.since(self.at))) }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// Milliseconds until there is one.
    pub fn take(&mut self, rate: Rate, now: Millis) -> Result<(), u64> {
        let gained = now.since(self.at).saturating_mul(u64::from(rate.per_minute));
        let parts = gained.saturating_add(u64::from(self.parts)).min(u64::from(rate.burst * TOKEN));
        self.parts = u32::try_from(parts).unwrap_or(u32::MAX);
        self.at = self.at.max(now);
        if self.parts >= TOKEN {
            self.parts -= TOKEN;
            return Ok(());
        }
        Err(u64::from(TOKEN - self.parts).div_ceil(u64::from(rate.per_minute)))
    }
}

/// The buckets of one connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct Meters {
    frames: Bucket,
    queue: Bucket,
    next: Bucket,
    tune: Bucket,
    text: Bucket,
    mic: Bucket,
    heard: Bucket,
    restart: Bucket,
    resume: Bucket,
    report: Bucket,
    strikes: Bucket,
}

/// What is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    Frame,
    Queue,
    Next,
    Tune,
    Text,
    Mic,
    Heard,
    Restart,
    Resume,
    Report,
    Strike,
}

const FRAMES: Rate = Rate { burst: FRAME_BURST, per_minute: LIMITS.frames_per_s * 60 };
const QUEUE: Rate = Rate { burst: LIMITS.queue_per_min, per_minute: LIMITS.queue_per_min };
const NEXT: Rate = Rate { burst: LIMITS.next_per_min, per_minute: LIMITS.next_per_min };
const TUNE: Rate = Rate { burst: 2, per_minute: LIMITS.tune_per_s * 60 };
const TEXT: Rate = Rate { burst: LIMITS.text_burst, per_minute: LIMITS.text_per_s * 60 };
/// Somebody who presses mute twice a second is playing.
const MIC: Rate = Rate { burst: 10, per_minute: 60 };
/// A client says how it hears its partner every five seconds.
const HEARD: Rate = Rate { burst: 5, per_minute: 20 };
const RESTART: Rate = Rate { burst: 3, per_minute: LIMITS.restart_per_min };
/// Resumptions of one session: a phone in a train has a few a minute.
const RESUME: Rate = Rate { burst: 10, per_minute: 10 };
/// On a clock that is [`REPORT_PACE`] times slower, so that a token a minute becomes `report_per_h` an hour.
const REPORT: Rate = Rate { burst: LIMITS.report_per_h, per_minute: 1 };
const REPORT_PACE: u64 = 60 / LIMITS.report_per_h as u64;
const STRIKE: Rate = Rate { burst: STRIKES, per_minute: STRIKES };

impl Meters {
    pub const fn new(now: Millis) -> Meters {
        Meters {
            frames: Bucket::full(FRAMES, now),
            queue: Bucket::full(QUEUE, now),
            next: Bucket::full(NEXT, now),
            tune: Bucket::full(TUNE, now),
            text: Bucket::full(TEXT, now),
            mic: Bucket::full(MIC, now),
            heard: Bucket::full(HEARD, now),
            restart: Bucket::full(RESTART, now),
            resume: Bucket::full(RESUME, now),
            report: Bucket::full(REPORT, Millis(now.0 / REPORT_PACE)),
            strikes: Bucket::full(STRIKE, now),
        }
    }

    /// Counts one.
    ///
    /// # Errors
    /// Milliseconds until another is allowed.
    pub fn take(&mut self, meter: Meter, now: Millis) -> Result<(), u64> {
        match meter {
            Meter::Frame => self.frames.take(FRAMES, now),
            Meter::Queue => self.queue.take(QUEUE, now),
            Meter::Next => self.next.take(NEXT, now),
            Meter::Tune => self.tune.take(TUNE, now),
            Meter::Text => self.text.take(TEXT, now),
            Meter::Mic => self.mic.take(MIC, now),
            Meter::Heard => self.heard.take(HEARD, now),
            Meter::Restart => self.restart.take(RESTART, now),
            Meter::Resume => self.resume.take(RESUME, now),
            Meter::Report => {
                let slow = Millis(now.0 / REPORT_PACE);
                self.report.take(REPORT, slow).map_err(|wait| wait * REPORT_PACE)
            }
            Meter::Strike => self.strikes.take(STRIKE, now),
        }
    }

    /// As they are at `now`, on another clock, which shows `there` at this moment.
    pub fn moved(&self, now: Millis, there: Millis) -> Meters {
        let slow = |at: Millis| Millis(at.0 / REPORT_PACE);
        Meters {
            frames: self.frames.moved(now, there),
            queue: self.queue.moved(now, there),
            next: self.next.moved(now, there),
            tune: self.tune.moved(now, there),
            text: self.text.moved(now, there),
            mic: self.mic.moved(now, there),
            heard: self.heard.moved(now, there),
            restart: self.restart.moved(now, there),
            resume: self.resume.moved(now, there),
            report: self.report.moved(slow(now), slow(there)),
            strikes: self.strikes.moved(now, there),
        }
    }

    /// Takes over what a call somewhere else was asked for; the rest was counted here.
    pub fn come_back(&mut self, call: &Meters) {
        (self.next, self.text, self.mic) = (call.next, call.text, call.mic);
        (self.heard, self.restart) = (call.heard, call.restart);
        self.strikes.parts = self.strikes.parts.min(call.strikes.parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut meters = Meters::new(Millis(0));
        for _ in 0..LIMITS.text_burst {
            assert_eq!(meters.take(Meter::Text, Millis(0)), Ok(()));
        }
        assert_eq!(meters.take(Meter::Text, Millis(0)), Err(200));
        assert_eq!(meters.take(Meter::Text, Millis(199)), Err(1));
        assert_eq!(meters.take(Meter::Text, Millis(200)), Ok(()));
        assert_eq!(meters.take(Meter::Text, Millis(200)), Err(200));
    }

    #[test]
    fn reports_are_five_an_hour() {
        let mut meters = Meters::new(Millis(0));
        let minute = |minute: u64| Millis(minute * 60_000);
        assert_eq!((0..9).filter(|_| meters.take(Meter::Report, minute(0)).is_ok()).count(), 5);
        assert_eq!(meters.take(Meter::Report, minute(0)), Err(12 * 60_000));
        assert_eq!((1..=60).filter(|&at| meters.take(Meter::Report, minute(at)).is_ok()).count(), 5);
    }

    #[test]
    fn asking_often_does_not_slow_the_refill() {
        let rate = Rate { burst: 1, per_minute: 7 };
        let mut bucket = Bucket::full(rate, Millis(0));
        assert_eq!(bucket.take(rate, Millis(0)), Ok(()));
        let granted = (1..=60_000).step_by(4).filter(|&at| bucket.take(rate, Millis(at)).is_ok()).count();
        assert_eq!(granted, 6, "the seventh is due at the very end of the minute, a step later");
    }

    #[test]
    fn a_clock_that_stands_or_leaps_does_no_harm() {
        let rate = Rate { burst: 3, per_minute: 60 };
        let mut bucket = Bucket::full(rate, Millis(5));
        assert_eq!(bucket.take(rate, Millis(0)), Ok(()));
        assert_eq!(bucket.take(rate, Millis(u64::MAX)), Ok(()));
        assert_eq!((0..5).filter(|_| bucket.take(rate, Millis(u64::MAX)).is_ok()).count(), 2);
    }
}

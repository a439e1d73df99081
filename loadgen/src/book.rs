//! Joins the two sides of each call and counts: latencies per phase, outcomes, quality, rule violations.
//!
//! What counts: a caller by its own intended start, a call by the later of its two callers', if that lies in the measured
//! window. A call succeeded if both sides heard each other (without media: both checks came through) and it was not
//! dropped before somebody hung up. Callers still unmatched or setting up when the run ends are neither success nor failure; calls cut by the end of the run succeeded.

mod by_node;
mod by_start;
mod exemplars;
mod parts;
mod timed;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    caller::record::{Cause, Outcome, Record, Times},
    media::Window,
    rules::{self, Violation},
    scenario::{Depth, Mixed},
    slo::Objective,
    stats::{
        bursts::Bursts,
        emodel::{self, G711_PLC},
        latency::{Phase, Scores},
    },
    time::Nanos,
};

pub use by_node::{ByNode, Kind, Row, lost_its_node};
pub use by_start::{ByStart, Due};
pub use exemplars::{Exemplar, Exemplars};
pub use parts::{MAX_HALVES, Parts};
pub use timed::Timed;

/// Sums over all media streams that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Voice {
    pub streams: u64,
    pub sent: u64,
    pub expected: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub late: u64,
    /// Sum of the streams' final jitter, for the mean.
    pub jitter: Duration,
    pub worst_jitter: Duration,
    /// Sum of ratings R, for the mean.
    pub rating: f64,
    pub bursts: Bursts,
}

/// The counts a table begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Callers whose record came in.
    pub callers: u64,
    /// Calls that came up on both sides.
    pub calls_up: u64,
    pub calls_failed: u64,
    /// Callers that failed before they had a partner; each counts as one failed attempt.
    pub callers_failed: u64,
    /// Callers that gave up waiting for a partner: failed attempts, or neither, as the scenario says.
    pub abandoned: u64,
    /// Allocations refused for want of room, where the room is known.
    pub blocked: u64,
    /// Callers unmatched when the run ended.
    pub unmatched: u64,
    /// Calls still setting up when the run ended.
    pub in_flight: u64,
    /// Calls up whose hold the end of the run cut short.
    pub cut: u64,
    pub turn_retransmissions: u64,
    pub check_retransmissions: u64,
    pub requeued: u64,
    /// Sides whose allocation was seen to be gone, and sides that held one.
    pub freed: u64,
    pub allocated: u64,
    /// Allocations by how the server was reached: over UDP, TCP, TLS.
    #[serde(default)]
    pub allocated_over: [u64; 3],
    /// Pairs the server joined before the documented widening, which have no decision latency.
    pub widened_early: u64,
    /// Calls up whose media went from caller to caller, without a relay.
    pub direct: u64,
    /// Callers that stopped listening before the server said whether it had matched them.
    #[serde(default)]
    pub unheard: u64,
    /// Callers and calls outside the window, shown but not judged.
    pub outside_callers: u64,
    pub outside_calls_up: u64,
    pub outside_failed: u64,
}

impl Counts {
    pub fn failed(&self) -> u64 {
        self.calls_failed + self.callers_failed
    }

    /// Successes over attempts that had the time to become one; none without any.
    pub fn success(&self) -> Option<f64> {
        let attempts = self.calls_up + self.failed();
        (attempts > 0).then(|| self.calls_up as f64 / attempts as f64)
    }
}

/// What makes a call a success.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    pub depth: Depth,
    /// Depths by caller, where there are several.
    pub mixed: Option<Mixed>,
    pub media: bool,
    /// Giving up waiting for a partner is a failed attempt, not merely counted.
    pub abandonment_fails: bool,
    /// Allocations granted at a time; above 0 a refusal for want of room is blocking, not failure.
    pub lines: u32,
}

impl Standard {
    fn depth_of(&self, number: u32) -> Depth {
        self.mixed.map_or(self.depth, |mixed| mixed.of(number))
    }
}

/// The collector. Holds one side of a call until the other comes in, so it is bounded by the callers at one time.
pub struct Book {
    window: Window,
    standard: Standard,
    waiting: HashMap<String, Record>,
    /// Calls one side of which was put back into the queue.
    left: HashSet<String>,
    /// After the end of a part: sides whose other side is another generator's.
    halves: Vec<Record>,
    phases: Vec<Phase>,
    pub counts: Counts,
    pub causes: BTreeMap<Cause, u64>,
    pub violations: BTreeMap<Violation, u64>,
    pub voice: Voice,
    pub mos: Scores,
    /// Time callers talked inside the window, for Little's law.
    pub talk: Duration,
    /// Calls in all, inside the window or not.
    pub calls_seen: u64,
    /// The slowest calls and a few that failed, whole.
    pub exemplars: Exemplars,
    /// Calls by the second they were due in.
    pub by_start: ByStart,
    /// Where the target has several nodes.
    pub by_node: Option<ByNode>,
}

/// A call both of whose sides are known, or a caller that never had one.
#[derive(Clone, Debug)]
pub struct Finished {
    pub a: Record,
    pub b: Option<Record>,
    /// Inside the window.
    pub counts: bool,
    pub up: bool,
}

impl Finished {
    /// From the intended start to what makes a call, the worse side.
    pub fn setup(&self) -> Option<Duration> {
        let sides = [Some(&self.a), self.b.as_ref()].into_iter().flatten();
        sides.map(|side| Some(side.times.connected?.since(side.times.intended))).max().flatten()
    }

    pub fn cause(&self) -> Option<&Cause> {
        failed(&self.a, self.b.as_ref().unwrap_or(&self.a))
    }
}

impl Book {
    pub fn new(window: Window, standard: Standard) -> Book {
        Book {
            window,
            standard,
            waiting: HashMap::new(),
            left: HashSet::new(),
            halves: Vec::new(),
            phases: vec![Phase::default(); Timed::ALL.len()],
            counts: Counts::default(),
            causes: BTreeMap::new(),
            violations: BTreeMap::new(),
            voice: Voice::default(),
            mos: Scores::default(),
            talk: Duration::ZERO,
            calls_seen: 0,
            exemplars: Exemplars::default(),
            by_start: ByStart::default(),
            by_node: None,
        }
    }

    /// The same, of a target of so many nodes.
    pub fn over(mut self, urls: Vec<String>) -> Book {
        self.by_node = (urls.len() > 1).then(|| ByNode::of(urls));
        self
    }

    /// The same, with seconds counted from `begin`, where the schedule begins.
    pub fn beginning(mut self, begin: Nanos) -> Book {
        self.by_start = ByStart::from(begin);
        self
    }

    pub fn phase(&self, timed: Timed) -> &Phase {
        &self.phases[timed as usize]
    }

    /// One caller, complete; what it completes is handed back.
    pub fn add(&mut self, mut record: Record) -> Option<Finished> {
        self.left.extend(record.left.drain(..));
        self.talk += talked_inside(&record.times, self.standard.depth_of(record.number), self.window);
        let counts = self.window.contains(record.times.intended);
        self.counts.unheard += u64::from(record.unheard);
        if counts {
            self.add_caller(&record);
        } else {
            self.counts.outside_callers += 1;
        }
        if self.standard.depth == Depth::Turn {
            self.add_solo(&record, counts);
            return Some(self.finish(record, None));
        }
        let Some(call) = record.told.as_ref().map(|told| told.call.clone()) else {
            self.add_single(&record, counts);
            return Some(self.finish(record, None));
        };
        match self.waiting.remove(&call) {
            Some(partner) => {
                self.add_call(&partner, &record);
                Some(self.finish(partner, Some(record)))
            }
            None => {
                self.waiting.insert(call, record);
                None
            }
        }
    }

    /// No more records: whoever still waits for its partner's was in a call alone, unless the partner was put back into the queue or
    /// was one of those who stopped listening too early.
    pub fn close(&mut self) -> Vec<Finished> {
        let mut alone: Vec<Record> = std::mem::take(&mut self.waiting).into_values().collect();
        alone.sort_by_key(|record| record.number);
        let was_left = |record: &&Record| record.told.as_ref().is_some_and(|told| self.left.contains(&told.call));
        let unexplained: Vec<&Record> = alone.iter().filter(|record| !was_left(record)).collect();
        // Who got through to somebody was not alone before a partner that never heard of it could have gone.
        let heard = |record: &&&Record| self.standard.depth_of(record.number) != Depth::Matching && self.is_up(record);
        let certain = unexplained.iter().filter(heard).count() as u64;
        let orphans = certain + (unexplained.len() as u64 - certain).saturating_sub(self.counts.unheard);
        let double = alone.iter().filter(|record| record.double_matched).count() as u64;
        self.note(Violation::Orphan, orphans);
        self.note(Violation::Double, double);
        let finished = alone.into_iter().map(|record| {
            self.add_single(&record, self.window.contains(record.times.intended));
            self.finish(record, None)
        });
        finished.collect()
    }

    /// What an objective speaks of, in its unit; none where there were too few samples.
    pub fn measured(&self, objective: &Objective) -> Option<f64> {
        let phase = |timed: Timed| self.phase(timed).corrected.percentile_millis(objective.percentile?);
        match objective.metric.as_str() {
            "success" => self.counts.success(),
            "mos" => self.mos.percentile(objective.percentile?),
            metric => phase(Timed::ALL.into_iter().find(|timed| timed.key() == metric)?),
        }
    }

    fn finish(&mut self, a: Record, b: Option<Record>) -> Finished {
        let other = b.as_ref().unwrap_or(&a);
        let up = self.is_up(&a) && self.is_up(other) && failed(&a, other).is_none();
        let counts = self.window.contains(a.times.intended.max(other.times.intended));
        let finished = Finished { a, b, counts, up };
        self.exemplars.consider(&finished);
        let Standard { abandonment_fails, lines, .. } = self.standard;
        let neutral = |record: &Record| by_start::is_neutral(record, abandonment_fails, lines);
        self.by_start.add(&finished, neutral);
        if let Some(by_node) = &mut self.by_node {
            let decision = finished.b.as_ref().and_then(|b| Some(decision(&finished.a, b)?.ok()?.0));
            by_node.add(&finished, decision, neutral);
        }
        finished
    }

    /// Counts `times` violations that were found elsewhere.
    pub fn note(&mut self, violation: Violation, times: u64) {
        if times > 0 {
            *self.violations.entry(violation).or_default() += times;
        }
    }

    /// A caller that never had a call, or whose partner is unknown.
    fn add_single(&mut self, record: &Record, counts: bool) {
        match (&record.outcome, counts) {
            (Outcome::Failed(Cause::NoPartner), true) if !self.standard.abandonment_fails => self.counts.abandoned += 1,
            (Outcome::Failed(Cause::NoPartner), false) if !self.standard.abandonment_fails => {}
            (Outcome::Failed(cause), true) => {
                self.counts.abandoned += u64::from(*cause == Cause::NoPartner);
                self.counts.callers_failed += 1;
                *self.causes.entry(cause.clone()).or_default() += 1;
            }
            (Outcome::Failed(_), false) => self.counts.outside_failed += 1,
            (Outcome::Unmatched | Outcome::InFlight, true) => self.counts.unmatched += 1,
            _ => {}
        }
    }

    /// A caller that is a call by itself.
    fn add_solo(&mut self, record: &Record, counts: bool) {
        self.calls_seen += 1;
        let up = self.is_up(record) && !matches!(record.outcome, Outcome::Failed(_));
        match counts {
            true if up => {
                self.counts.calls_up += 1;
                self.counts.cut += u64::from(record.outcome == Outcome::Cut);
                let Times { intended, started, connected, first_voice, hung_up, freed, .. } = record.times;
                self.time(Timed::Setup, Some((intended, started)), connected);
                self.time(Timed::FirstMedia, Some((intended, started)), first_voice);
                self.time(Timed::Release, hung_up.map(|at| (at, at)), freed);
                self.add_voice(record, record);
            }
            true if self.standard.lines > 0 && record.is_blocked() => self.counts.blocked += 1,
            true if record.outcome == Outcome::InFlight => self.counts.in_flight += 1,
            true => self.add_single(record, counts),
            false => {
                let blocked = self.standard.lines > 0 && record.is_blocked();
                self.counts.outside_calls_up += u64::from(up);
                self.counts.outside_failed += u64::from(!up && !blocked && record.outcome != Outcome::InFlight);
            }
        }
    }

    fn add_caller(&mut self, record: &Record) {
        let times = &record.times;
        let Times { intended: t0, started, .. } = *times;
        self.counts.callers += 1;
        self.counts.turn_retransmissions += u64::from(record.turn_retransmissions);
        self.counts.check_retransmissions += u64::from(record.check_retransmissions);
        self.counts.requeued += u64::from(record.requeued);
        if let Some(transport) = record.reached {
            self.counts.allocated_over[transport as usize] += 1;
        }
        self.counts.allocated += u64::from(times.allocated.is_some());
        self.counts.freed += u64::from(times.allocated.is_some() && times.freed.is_some());
        self.time(Timed::Start, Some((t0, started)), Some(started));
        self.time(Timed::Register, Some((t0, started)), times.registered);
        self.time(Timed::MatchWait, Some((t0, started)), times.matched);
        self.time(Timed::Allocate, times.ice.zip(times.allocate_sent), times.allocated);
        for (timed, round_trip) in [(Timed::Permission, times.permit), (Timed::Channel, times.channel)] {
            if let Some((sent, done)) = round_trip {
                self.time(timed, Some((sent, sent)), Some(done));
            }
        }
        self.time(Timed::Check, times.check_sent.map(|sent| (sent, sent)), times.connected);
        self.time(Timed::Secure, times.connected.map(|at| (at, at)), times.secured);
        if let Some(text) = times.text {
            self.phases[Timed::Text as usize].record(text, text);
        }
    }

    /// Both sides of a call.
    fn add_call(&mut self, a: &Record, b: &Record) {
        self.calls_seen += 1;
        for violation in rules::check(a, b) {
            self.note(violation, 1);
        }
        if self.standard.depth_of(a.number) != self.standard.depth_of(b.number) {
            self.note(Violation::Pool, 1);
        }
        let up = self.is_up(a) && self.is_up(b) && failed(a, b).is_none();
        let counts = self.window.contains(a.times.intended.max(b.times.intended));
        if !counts {
            self.counts.outside_calls_up += u64::from(up);
            self.counts.outside_failed += u64::from(!up && failed(a, b).is_some());
            return;
        }
        self.time_decision(a, b);
        if up {
            self.counts.calls_up += 1;
            self.counts.direct += u64::from(a.direct && b.direct);
            self.counts.cut += u64::from(a.outcome == Outcome::Cut || b.outcome == Outcome::Cut);
            self.time_call(a, b);
            self.add_voice(a, b);
            self.add_voice(b, a);
        } else if let Some(cause) = failed(a, b) {
            self.counts.calls_failed += 1;
            *self.causes.entry(cause.clone()).or_default() += 1;
        } else {
            self.counts.in_flight += 1;
        }
    }

    fn is_up(&self, record: &Record) -> bool {
        let depth = self.standard.depth_of(record.number);
        record.times.is_up(depth, self.standard.media && depth.relays())
    }

    fn time_decision(&mut self, a: &Record, b: &Record) {
        match decision(a, b) {
            Some(Ok((corrected, uncorrected))) => {
                self.phases[Timed::MatchDecision as usize].record(corrected, uncorrected);
            }
            Some(Err(Early)) => self.counts.widened_early += 1,
            None => {}
        }
    }

    fn time_call(&mut self, a: &Record, b: &Record) {
        let both = [&a.times, &b.times];
        let worse = |from: &dyn Fn(&Times) -> Nanos, to: &dyn Fn(&Times) -> Option<Nanos>| {
            both.iter().filter_map(|times| Some(to(times)?.since(from(times)))).max()
        };
        let connected = |times: &Times| times.connected;
        let first_voice = |times: &Times| times.first_voice;
        let (intended, started) = (|times: &Times| times.intended, |times: &Times| times.started);
        let matched = |times: &Times| times.matched.unwrap_or_default();
        self.pair(Timed::Setup, worse(&intended, &connected), worse(&started, &connected));
        self.pair(Timed::FirstMedia, worse(&intended, &first_voice), worse(&started, &first_voice));
        let after_match = worse(&matched, &connected);
        self.pair(Timed::SetupAfterMatch, after_match, after_match);
        for (near, far) in [(a, b), (b, a)] {
            let Some(hung_up) = near.times.hung_up.filter(|_| far.times.hung_up.is_none()) else { continue };
            let told = far.times.ended.map(|ended| ended.since(hung_up));
            self.pair(Timed::Disconnect, told, told);
            for side in [near, far] {
                let freed = side.times.freed.map(|freed| freed.since(hung_up));
                self.pair(Timed::Release, freed, freed);
            }
        }
    }

    /// What `hearer` heard of `speaker`.
    fn add_voice(&mut self, hearer: &Record, speaker: &Record) {
        let Some(account) = hearer.account else { return };
        let summary = account.summary;
        let tail = speaker.account.map_or(0, |other| lost_tail(other.sent, account.heard_up_to));
        let voice = &mut self.voice;
        voice.streams += 1;
        voice.sent += u64::from(account.sent);
        voice.expected += summary.expected + tail;
        voice.received += summary.received;
        voice.lost += summary.lost + tail;
        voice.duplicates += summary.duplicates;
        voice.reordered += summary.reordered;
        voice.late += summary.late;
        voice.bursts.add(&summary.bursts);
        voice.jitter += summary.jitter;
        voice.worst_jitter = voice.worst_jitter.max(summary.jitter);
        if let Some(rating) = summary.rating(G711_PLC) {
            voice.rating += rating;
            self.mos.record(emodel::mos(rating));
        }
    }

    fn time(&mut self, timed: Timed, from: Option<(Nanos, Nanos)>, to: Option<Nanos>) {
        if let (Some((corrected, uncorrected)), Some(to)) = (from, to) {
            self.phases[timed as usize].record(to.since(corrected), to.since(uncorrected));
        }
    }

    fn pair(&mut self, timed: Timed, corrected: Option<Duration>, uncorrected: Option<Duration>) {
        if let (Some(corrected), Some(uncorrected)) = (corrected, uncorrected) {
            self.phases[timed as usize].record(corrected, uncorrected);
        }
    }
}

/// A pair was joined before the rules, as documented, allowed it.
struct Early;

/// From the later enqueueing, or from when the rules allowed the pair if that is later still; and from when the requests left.
fn decision(a: &Record, b: &Record) -> Option<Result<(Duration, Duration), Early>> {
    let (sent_a, sent_b) = (a.times.queue_sent?, b.times.queue_sent?);
    let matched = a.times.matched?.max(b.times.matched?);
    let queued = |record: &Record, sent| record.times.queued.unwrap_or(sent);
    let both_queued = queued(a, sent_a).max(queued(b, sent_b));
    let allowed = rules::allowed_from((&a.criteria, sent_a), (&b.criteria, sent_b))?;
    if matched < allowed {
        return Some(Err(Early));
    }
    Some(Ok((matched.since(both_queued.max(allowed)), matched.since(allowed.max(sent_a).max(sent_b)))))
}

/// Packets of the speaker that should have come after the last one heard. Those of the last 200 ms may be under way when
/// the call ends, and its end stops them: hanging up is not loss, voice that stopped before it is.
fn lost_tail(sent: u32, heard_up_to: u64) -> u64 {
    const UNDER_WAY: u64 = 10;
    let missing = u64::from(sent).saturating_sub(heard_up_to);
    if missing > UNDER_WAY { missing } else { 0 }
}

/// Why the call failed, if it did: the offerer's reason, else the answerer's.
fn failed<'a>(a: &'a Record, b: &'a Record) -> Option<&'a Cause> {
    let cause = |record: &'a Record| match &record.outcome {
        Outcome::Failed(cause) => Some(cause),
        _ => None,
    };
    // "Ended by the server" is often the echo of the other side's reason.
    let echo = |cause: &&Cause| matches!(cause, Cause::Ended(_));
    let both = [cause(a), cause(b)];
    both.into_iter().flatten().find(|cause| !echo(cause)).or(both.into_iter().flatten().next())
}

fn talked_inside(times: &Times, depth: Depth, window: Window) -> Duration {
    let from = if depth == Depth::Matching { times.matched } else { times.connected };
    let Some(from) = from else { return Duration::ZERO };
    let ends = [times.hung_up, times.ended];
    let until = ends.into_iter().flatten().min().unwrap_or(window.until);
    until.min(window.until).since(from.max(window.from))
}

//! The brute-force oracle: matching.md §5.1 written down a second time, without looking at the engine, and applied to everybody.

use std::fmt;

use crate::matchmaking::{Band, Gender, Match, Policy, Recent, Ticket, TicketId, TopicMode};

/// A term of the formula that a mutation leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conjunct {
    Allowed,
    WishOfX,
    WishOfY,
    LimitOfX,
    LimitOfY,
    StageOfX,
    StageOfY,
    AnyDistance,
    SharedTopic,
    NoTopicsX,
    NoTopicsY,
    FreeX,
    FreeY,
    RequireX,
    RequireY,
    AnyTopic,
    CountryOfX,
    CountryOfY,
    AvoidOfX,
    AvoidOfY,
    RecentOfX,
    RecentOfY,
    DifferentPeople,
}

impl Conjunct {
    pub(super) const ALL: [Conjunct; 23] = [
        Conjunct::Allowed,
        Conjunct::WishOfX,
        Conjunct::WishOfY,
        Conjunct::LimitOfX,
        Conjunct::LimitOfY,
        Conjunct::StageOfX,
        Conjunct::StageOfY,
        Conjunct::AnyDistance,
        Conjunct::SharedTopic,
        Conjunct::NoTopicsX,
        Conjunct::NoTopicsY,
        Conjunct::FreeX,
        Conjunct::FreeY,
        Conjunct::RequireX,
        Conjunct::RequireY,
        Conjunct::AnyTopic,
        Conjunct::CountryOfX,
        Conjunct::CountryOfY,
        Conjunct::AvoidOfX,
        Conjunct::AvoidOfY,
        Conjunct::RecentOfX,
        Conjunct::RecentOfY,
        Conjunct::DifferentPeople,
    ];
}

/// One who waits, as the oracle sees them.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    pub(super) pool: usize,
    pub(super) stage: u8,
    /// Order of arrival.
    pub(super) order: u64,
}

impl Waiting {
    pub(super) fn t0(&self) -> u64 {
        self.ticket.since.0
    }

    fn tuple(&self) -> (u8, u8, [bool; 3], i32, i32) {
        let wants = Gender::ALL.map(|gender| self.ticket.wants.contains(gender));
        (
            cohort(self.ticket.band),
            self.ticket.gender as u8,
            wants,
            self.ticket.level as i32,
            i32::from(self.ticket.max_distance),
        )
    }
}

/// The classes of §T6: 13–15, 16–17, 18+.
fn cohort(band: Band) -> u8 {
    match band {
        Band::B13_15 => 1,
        Band::B16_17 => 2,
        Band::Adult => 3,
    }
}

pub(super) struct Oracle {
    pub(super) policy: Policy,
    /// The term left out, when the oracle is to be wrong.
    pub(super) without: Option<Conjunct>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) arrivals: u64,
}

/// Price, then t0, then order of arrival: §5.1 and §5.4 "ties by t0".
pub(super) type Price = (u64, u64, u64);

/// What the engine did and the oracle does not accept.
pub(super) struct Violation(pub(super) String);

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Oracle {
    pub(super) fn new(policy: Policy) -> Oracle {
        Oracle { policy, without: None, waiting: Vec::new(), arrivals: 0 }
    }

    /// ok(x, y), term by term as in the specification.
    pub(super) fn ok(&self, x: &Waiting, y: &Waiting) -> bool {
        let left_out = |term: Conjunct| self.without == Some(term);
        let ((c_x, g_x, p_x, l_x, h_x), (c_y, g_y, p_y, l_y, h_y)) = (x.tuple(), y.tuple());
        let allowed = c_x == c_y || self.policy.minor_bands_meet && c_x < 3 && c_y < 3;
        let d = |stage: u8, term| if left_out(term) { 0 } else { [1, 1, 2, 5][usize::from(stage)] };
        let mut reach = d(x.stage, Conjunct::StageOfX).max(d(y.stage, Conjunct::StageOfY));
        if !left_out(Conjunct::LimitOfX) {
            reach = reach.min(h_x);
        }
        if !left_out(Conjunct::LimitOfY) {
            reach = reach.min(h_y);
        }
        let (t_x, t_y) = (x.ticket.topics.0, y.ticket.topics.0);
        let free =
            |who: &Waiting, term| who.stage > 0 && (who.ticket.topic_mode == TopicMode::Prefer || left_out(term));
        let topics = t_x & t_y != 0 && !left_out(Conjunct::SharedTopic)
            || t_x == 0 && !left_out(Conjunct::NoTopicsX)
            || t_y == 0 && !left_out(Conjunct::NoTopicsY)
            || free(x, Conjunct::RequireX) && !left_out(Conjunct::FreeX)
            || free(y, Conjunct::RequireY) && !left_out(Conjunct::FreeY);
        let avoids = |who: &Waiting, whom: &Waiting| who.ticket.avoid.contains(&whom.ticket.person);
        let met = |who: &Waiting, whom: &Waiting| {
            let counts = match self.policy.recent {
                Recent::Avoid => true,
                Recent::AvoidUntilLastStage => who.stage < 3,
                Recent::Allow => false,
            };
            counts && who.ticket.recent.contains(&whom.ticket.person)
        };
        x.pool == y.pool
            && (allowed || left_out(Conjunct::Allowed))
            && (p_x[usize::from(g_y)] || left_out(Conjunct::WishOfX))
            && (p_y[usize::from(g_x)] || left_out(Conjunct::WishOfY))
            && ((l_x - l_y).abs() <= reach || left_out(Conjunct::AnyDistance))
            && (topics || left_out(Conjunct::AnyTopic))
            && (x.ticket.countries.admit(y.ticket.country) || left_out(Conjunct::CountryOfX))
            && (y.ticket.countries.admit(x.ticket.country) || left_out(Conjunct::CountryOfY))
            && (!avoids(y, x) || left_out(Conjunct::AvoidOfY))
            && (!avoids(x, y) || left_out(Conjunct::AvoidOfX))
            && (!met(y, x) || left_out(Conjunct::RecentOfY))
            && (!met(x, y) || left_out(Conjunct::RecentOfX))
            && (x.ticket.person != y.ticket.person || left_out(Conjunct::DifferentPeople))
    }

    /// cost(x, y) = A·|ΔL| + B·[no shared topic] + t0_y, with A = 3 s and B = 4 s.
    pub(super) fn price(&self, x: &Waiting, y: &Waiting) -> Price {
        let levels = (x.ticket.level as i64 - y.ticket.level as i64).unsigned_abs();
        let unshared = u64::from(x.ticket.topics.0 & y.ticket.topics.0 == 0);
        (3_000 * levels + 4_000 * unshared + y.t0(), y.t0(), y.order)
    }

    /// The one `x` must get, among everybody.
    pub(super) fn best(&self, x: &Waiting) -> Option<usize> {
        let fitting = (0..self.waiting.len()).filter(|&y| self.ok(x, &self.waiting[y]));
        fitting.min_by_key(|&y| self.price(x, &self.waiting[y]))
    }

    /// The stage that age alone has earned.
    pub(super) fn stage_by_age(&self, now: u64, t0: u64) -> u8 {
        self.policy.widen_after_ms.iter().filter(|&&after| t0 + after <= now).count() as u8
    }

    pub(super) fn index(&self, id: TicketId) -> Option<usize> {
        self.waiting.iter().position(|waiting| waiting.ticket.id == id)
    }

    /// Two who wait although they are compatible.
    pub(super) fn not_maximal(&self) -> Option<(TicketId, TicketId)> {
        for (place, x) in self.waiting.iter().enumerate() {
            if let Some(y) = self.waiting[..place].iter().find(|y| self.ok(x, y)) {
                return Some((x.ticket.id, y.ticket.id));
            }
        }
        None
    }

    /// Tickets of the same queue, gender, wish and level that are older.
    pub(super) fn ahead(&self, x: &Waiting) -> usize {
        let together = |y: &Waiting| {
            x.ticket.band == y.ticket.band
                || self.policy.minor_bands_meet && cohort(x.ticket.band).max(cohort(y.ticket.band)) < 3
        };
        let alike = |y: &Waiting| {
            let key = |t: &Ticket| (t.gender, t.wants, t.level);
            x.pool == y.pool && together(y) && key(&x.ticket) == key(&y.ticket)
        };
        self.waiting.iter().filter(|y| alike(y) && (y.t0(), y.order) < (x.t0(), x.order)).count()
    }
}

/// The oracle as a machine of its own: without adaptive patience everything that must happen is known in advance.
impl Oracle {
    /// An arrival, or a change of criteria: the pair it makes, if any.
    pub(super) fn arrive(&mut self, now: u64, mut x: Waiting) -> Option<Match> {
        x.stage = self.stage_by_age(now, x.t0());
        self.pair_or_keep(x)
    }

    /// All widening that is due, in order of its time, then of arrival.
    pub(super) fn widen_all(&mut self, now: u64) -> Vec<Match> {
        let mut matches = Vec::new();
        loop {
            let due = |w: &Waiting| self.policy.widen_after_ms.get(usize::from(w.stage)).map(|after| w.t0() + after);
            let ready = (0..self.waiting.len()).filter(|&w| due(&self.waiting[w]).is_some_and(|due| due <= now));
            let Some(next) = ready.min_by_key(|&w| (due(&self.waiting[w]), self.waiting[w].order)) else {
                return matches;
            };
            let x = self.waiting.swap_remove(next);
            matches.extend(self.arrive(now, x));
        }
    }

    fn pair_or_keep(&mut self, x: Waiting) -> Option<Match> {
        let Some(best) = self.best(&x) else {
            self.waiting.push(x);
            return None;
        };
        let y = self.waiting.swap_remove(best);
        let (waiter, arrival) = (y.ticket.id, x.ticket.id);
        Some(Match { waiter, arrival, waiter_stage: y.stage, arrival_stage: x.stage })
    }
}

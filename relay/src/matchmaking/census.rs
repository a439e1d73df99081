//! Who waits, in numbers that an operator may see: how many by cohort, level and preference, for how long, and which one wish keeps them
//! waiting.
//!
//! A census is taken in slices, so that no arrival waits behind it. What it tells names nobody: groups of fewer than [`TOLD_TOGETHER`] are
//! told together with others or not at all, counts are whole tens, and times whole steps.

use std::collections::BTreeMap;

use super::arena::Rank;
use super::bucket::{Bucket, LEVELS, ones};
use super::engine::Engine;
use super::hint::{Hint, Relax};
use super::index::{LIST_ALL, name};
use super::ticket::{Band, GenderSet, Level};
use crate::time::Millis;

/// Smaller groups are told together with others, and counts are multiples of it: as many calls of a pool are counted together
/// (`calls/pools`).
pub const TOLD_TOGETHER: u32 = 10;
/// Times are multiples of it, in milliseconds.
const TOLD_STEP_MS: u64 = 5_000;
/// Who has waited for less is not said to be kept waiting by anything.
const LONG_MS: u64 = 10_000;
/// Work of one slice, in engines or classes looked at.
const SLICE: u32 = 1_024;
/// What a hint costs in that unit: two of them are a slice.
const HINT_WORK: u32 = SLICE / 2;
/// Tickets of a group that a hint is looked for: with three cohorts at most, six levels and seven preferences that is the bound of a census.
const SAMPLES: u32 = 6;
/// … of which so many may be of one class: its oldest, each with other limits.
const SAMPLES_OF_CLASS: usize = 2;

/// People who are alike in what is told of them. `None`: they differ in it, and are too few to be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The bands of the cohort.
    pub bands: Option<&'static [Band]>,
    pub level: Option<Level>,
    /// Whom they are willing to talk with.
    pub wants: Option<GenderSet>,
}

/// What keeps a group waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starved {
    /// Nobody in it has waited for long.
    No,
    /// One wish, that most of those looked at would have to give up; with how many each of them would then fit at least.
    By(Hint),
    /// No single wish: there is nobody for them.
    OfPeople,
}

/// What is told of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub group: Group,
    /// At least so many.
    pub people: u32,
    /// At least so long, in milliseconds.
    pub longest_ms: u64,
    pub starved: Starved,
}

/// A census on its way. Those who come and go meanwhile may be missed or counted twice.
#[derive(Debug, Default)]
pub struct Census {
    /// Where the next slice begins: an engine, and a group of its index.
    engine: usize,
    group: usize,
    groups: BTreeMap<Group, Tally>,
    appointments: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    people: u32,
    longest_ms: u64,
    /// Hints looked for.
    samples: u32,
    votes: [Votes; RELAXES.len()],
}

/// Tickets that one wish keeps waiting.
#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    tickets: u32,
    /// With how many the least lucky of them would fit.
    would_match: u32,
}

const RELAXES: [Relax; 4] = [Relax::Topics, Relax::Level, Relax::Gender, Relax::Country];

impl Census {
    /// One slice; whether it was the last.
    pub(super) fn advance(&mut self, now: Millis, engines: &[Engine], appointments: usize) -> bool {
        self.appointments = appointments;
        let mut budget = SLICE;
        while let Some(engine) = engines.get(self.engine) {
            if budget == 0 {
                return false;
            }
            let occupied = if engine.arena.len() == 0 { 0 } else { engine.field().index.groups() };
            match ones(u64::from(occupied)).find(|&group| group >= self.group) {
                Some(group) => {
                    (0..LEVELS).for_each(|level| self.count(now, engine, group * LEVELS + level, &mut budget));
                    self.group = group + 1;
                }
                None => (self.engine, self.group) = (self.engine + 1, 0),
            }
            budget = budget.saturating_sub(1);
        }
        true
    }

    fn count(&mut self, now: Millis, engine: &Engine, class: usize, budget: &mut u32) {
        let field = engine.field();
        let row = field.index.class(class).and_then(|class| field.index.row(class, LIST_ALL));
        let Some(row) = row.filter(|row| row.occupied != 0) else { return };
        let mut oldest: Vec<(Rank, usize)> = ones(row.occupied).map(|cell| (row.oldest[cell], cell)).collect();
        oldest.sort_unstable();
        let bucket = Bucket::of_cell(class, 0);
        let group = Group { bands: Some(engine.bands), level: Some(bucket.level()), wants: Some(bucket.wants()) };
        let tally = self.groups.entry(group).or_default();
        tally.people += engine.crowd(class);
        tally.longest_ms = oldest
            .iter()
            .map(|(rank, _)| now.since(rank.t0()))
            .fold(tally.longest_ms, |longest, wait| longest.max(wait));
        for (_, cell) in oldest.into_iter().take(SAMPLES_OF_CLASS).filter(|(rank, _)| now.since(rank.t0()) >= LONG_MS) {
            let list = name(Bucket::of_cell(class, cell), LIST_ALL);
            if tally.samples < SAMPLES
                && let Some(at) = field.arena.oldest(&row.lists[cell], list)
            {
                tally.vote(engine.hint(at));
                *budget = budget.saturating_sub(HINT_WORK);
            }
        }
        *budget = budget.saturating_sub(1);
    }

    /// What may be told: the groups that are large enough, the rest of a level together, then the rest of a cohort, then of all.
    /// Whoever is left is not told of.
    pub fn told(self) -> Vec<Waiting> {
        let (mut told, mut groups) = (Vec::new(), self.groups);
        while !groups.is_empty() {
            let (large, small): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|(_, tally)| tally.people >= TOLD_TOGETHER);
            told.extend(large.into_iter().map(|(group, tally)| tally.told(group)));
            groups = BTreeMap::new();
            for (group, tally) in small {
                if let Some(wider) = group.wider() {
                    groups.entry(wider).or_default().add(&tally);
                }
            }
        }
        told
    }

    /// At least so many wait for an appointment.
    pub const fn appointments(&self) -> u32 {
        floor(self.appointments as u32)
    }
}

/// Whole tens.
const fn floor(people: u32) -> u32 {
    people / TOLD_TOGETHER * TOLD_TOGETHER
}

impl Group {
    /// The group with the others of its level, of its cohort, of all.
    const fn wider(self) -> Option<Group> {
        match self {
            Group { wants: Some(_), .. } => Some(Group { wants: None, ..self }),
            Group { level: Some(_), .. } => Some(Group { level: None, ..self }),
            Group { bands: Some(_), .. } => Some(Group { bands: None, ..self }),
            _ => None,
        }
    }
}

impl Tally {
    fn vote(&mut self, hint: Option<Hint>) {
        self.samples += 1;
        let Some(hint) = hint else { return };
        if let Some(place) = RELAXES.iter().position(|relax| *relax == hint.relax) {
            self.votes[place].add(Votes { tickets: 1, would_match: hint.would_match });
        }
    }

    fn add(&mut self, other: &Tally) {
        self.people += other.people;
        self.longest_ms = self.longest_ms.max(other.longest_ms);
        self.samples += other.samples;
        self.votes.iter_mut().zip(other.votes).for_each(|(votes, more)| votes.add(more));
    }

    fn told(&self, group: Group) -> Waiting {
        let longest_ms = self.longest_ms / TOLD_STEP_MS * TOLD_STEP_MS;
        Waiting { group, people: floor(self.people), longest_ms, starved: self.starved() }
    }

    fn starved(&self) -> Starved {
        let voted: u32 = self.votes.iter().map(|votes| votes.tickets).sum();
        // Of as many votes the earlier wish wins: it costs least to give up.
        let most = RELAXES.into_iter().zip(self.votes).rev().max_by_key(|(_, votes)| votes.tickets);
        match most {
            _ if self.samples == 0 => Starved::No,
            Some((relax, votes)) if votes.tickets >= self.samples - voted && votes.tickets > 0 => {
                Starved::By(Hint { relax, would_match: votes.would_match })
            }
            _ => Starved::OfPeople,
        }
    }
}

impl Votes {
    fn add(&mut self, Votes { tickets, would_match }: Votes) {
        self.would_match = match self.tickets {
            0 => would_match,
            _ if tickets == 0 => self.would_match,
            _ => self.would_match.min(would_match),
        };
        self.tickets += tickets;
    }
}

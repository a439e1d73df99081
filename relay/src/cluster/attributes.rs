//! A ticket on its way to the owner of its queue: plain numbers, believed only after they have been checked.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::message::QueueKey;
use crate::matchmaking::{
    Band, Countries, Country, Gender, GenderSet, Level, MAX_AVOID, MAX_RECENT, Matchmaker, Meeting, Person, Ticket,
    TicketId, TopicMode, TopicSet,
};
use crate::time::Millis;

/// Nobody's name, address or token: what the engine looks at, persons as keyed hashes.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attributes {
    pool: Box<str>,
    person: u64,
    band: u8,
    gender: u8,
    wants: u8,
    level: u8,
    max_distance: u8,
    topics: u64,
    requires_topic: bool,
    country: Option<[u8; 2]>,
    countries: Vec<[u8; 2]>,
    meeting: Option<u64>,
    avoid: Vec<u64>,
    recent: Vec<u64>,
    /// How long the person has waited. Clocks of nodes are not compared.
    age_ms: u64,
}

const BANDS: [Band; 3] = [Band::B13_15, Band::B16_17, Band::Adult];

impl Attributes {
    /// `pool` and `ticket` as they are at `now`.
    pub fn of(now: Millis, pool: &str, ticket: &Ticket) -> Attributes {
        let persons = |list: &[Person]| list.iter().map(|person| person.0).collect();
        Attributes {
            pool: pool.into(),
            person: ticket.person.0,
            band: ticket.band as u8,
            gender: ticket.gender as u8,
            wants: Gender::ALL.iter().filter(|gender| ticket.wants.contains(**gender)).map(|g| 1 << *g as u8).sum(),
            level: ticket.level as u8,
            max_distance: ticket.max_distance,
            topics: ticket.topics.0,
            requires_topic: ticket.topic_mode == TopicMode::Require,
            country: ticket.country.letters(),
            countries: ticket.countries.letters().collect(),
            meeting: ticket.meeting.map(|meeting| meeting.0),
            avoid: persons(&ticket.avoid),
            recent: persons(&ticket.recent),
            age_ms: now.since(ticket.since),
        }
    }

    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// About what it takes on the wire.
    pub fn bytes(&self) -> usize {
        64 + self.pool.len() + 9 * (self.avoid.len() + self.recent.len())
    }

    /// The ticket, if there can be such a one. It has waited `age_ms` at `now`.
    pub fn ticket(&self, now: Millis) -> Option<Ticket> {
        let persons = |list: &[u64]| list.iter().map(|&person| Person(person)).collect();
        let bounded = self.pool.len() <= Matchmaker::MAX_POOL_NAME
            && self.recent.len() <= MAX_RECENT
            && self.avoid.len() + self.recent.len() <= MAX_AVOID
            && self.wants < 8;
        let ticket = Ticket {
            id: TicketId(0),
            person: Person(self.person),
            band: *BANDS.get(usize::from(self.band)).filter(|_| bounded)?,
            gender: *Gender::ALL.get(usize::from(self.gender))?,
            wants: Gender::ALL.into_iter().filter(|&gender| self.wants >> gender as u8 & 1 == 1).collect::<GenderSet>(),
            level: *Level::ALL.get(usize::from(self.level))?,
            max_distance: self.max_distance,
            topics: TopicSet(self.topics),
            topic_mode: if self.requires_topic { TopicMode::Require } else { TopicMode::Prefer },
            avoid: persons(&self.avoid),
            recent: persons(&self.recent),
            country: self.country.map_or(Some(Country::UNKNOWN), country)?,
            countries: Countries::new(&self.countries.iter().map(|&code| country(code)).collect::<Option<Vec<_>>>()?)?,
            meeting: self.meeting.map(Meeting),
            since: Millis(now.0.saturating_sub(self.age_ms)),
        };
        ticket.criteria().is_valid().then_some(ticket)
    }
}

fn country(letters: [u8; 2]) -> Option<Country> {
    Country::parse(std::str::from_utf8(&letters).ok()?)
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attributes[redacted]")
    }
}

/// The queue of a pool and a band. Two tickets that may ever meet have the same: criteria overlap within a pool's cohort in every way, so
/// nothing finer would do; pools and cohorts never meet.
pub(super) fn queue_of(pool: &str, band: Band, minor_bands_meet: bool) -> QueueKey {
    let cohort = match (band, minor_bands_meet) {
        (Band::Adult, _) => 0,
        (Band::B13_15, false) => 1,
        (Band::B16_17, false) => 2,
        (Band::B13_15 | Band::B16_17, true) => 3,
    };
    // FNV-1a, which is the same everywhere; pools are named by signed tokens, not by strangers.
    let bytes = pool.bytes().chain([0, cohort]);
    QueueKey(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

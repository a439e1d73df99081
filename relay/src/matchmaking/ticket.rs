//! What a waiting person asks for, in plain values: who, what they accept, since when.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::region::{Countries, Country};

use crate::time::Millis;

/// Topics one ticket may choose (matching.md §5.1).
pub const MAX_TOPICS: u32 = 5;
/// People one ticket may avoid: 512 lasting blocks and 20 recent partners (matching.md §5.5).
pub const MAX_AVOID: usize = 512 + 20;
/// Stages of patience: 0 wants a shared topic, 3 accepts whatever both hard limits allow.
pub const STAGES: u8 = 4;

/// One wait in one queue. The caller never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u64);

/// A person as the engine knows them: a keyed hash of the pseudonym, see [`super::Pepper`]. Never printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Person(pub u64);

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person[redacted]")
    }
}

/// An appointment as the engine knows it: a keyed hash of its pool and name, see [`super::Pepper`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meeting(pub u64);

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meeting[redacted]")
    }
}

/// Age band, from the signed token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Band {
    /// 13 to 15 years.
    B13_15,
    /// 16 or 17 years.
    B16_17,
    /// 18 years and older.
    Adult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Gender {
    F,
    M,
    X,
}

impl Gender {
    pub const ALL: [Gender; 3] = [Gender::F, Gender::M, Gender::X];
}

/// The genders somebody is willing to talk with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8")]
pub struct GenderSet(u8);

impl GenderSet {
    pub const NONE: GenderSet = GenderSet(0);
    pub const ANY: GenderSet = GenderSet(0b111);

    /// This set and `gender`.
    #[must_use]
    pub const fn with(self, gender: Gender) -> GenderSet {
        GenderSet(self.0 | 1 << gender as u8)
    }

    pub const fn contains(self, gender: Gender) -> bool {
        self.0 & 1 << gender as u8 != 0
    }

    /// Whether everything in here is also in `other` (what a token entitles to).
    pub const fn is_subset(self, other: GenderSet) -> bool {
        self.0 & !other.0 == 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// 0 to 7, one per possible set.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl TryFrom<u8> for GenderSet {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<GenderSet, &'static str> {
        if bits <= GenderSet::ANY.0 { Ok(GenderSet(bits)) } else { Err("no such genders") }
    }
}

impl FromIterator<Gender> for GenderSet {
    fn from_iter<I: IntoIterator<Item = Gender>>(genders: I) -> GenderSet {
        genders.into_iter().fold(GenderSet::NONE, GenderSet::with)
    }
}

/// Level of proficiency in the Common European Framework; neighbours are one step apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    A1,
    A2,
    B1,
    B2,
    C1,
    C2,
}

impl Level {
    pub const ALL: [Level; 6] = [Level::A1, Level::A2, Level::B1, Level::B2, Level::C1, Level::C2];

    /// The numbers of all levels, from this one outwards.
    pub(super) const fn outwards(self) -> &'static [usize; 6] {
        match self {
            Level::A1 => &[0, 1, 2, 3, 4, 5],
            Level::A2 => &[1, 0, 2, 3, 4, 5],
            Level::B1 => &[2, 1, 3, 0, 4, 5],
            Level::B2 => &[3, 2, 4, 1, 5, 0],
            Level::C1 => &[4, 3, 5, 2, 1, 0],
            Level::C2 => &[5, 4, 3, 2, 1, 0],
        }
    }

    /// Steps between two levels, 0 to 5.
    pub const fn distance(self, other: Level) -> u8 {
        (self as u8).abs_diff(other as u8)
    }
}

/// Chosen topics, one bit each; empty means "any".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopicSet(pub u64);

impl TopicSet {
    pub const ANY: TopicSet = TopicSet(0);

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub const fn shares(self, other: TopicSet) -> bool {
        self.0 & other.0 != 0
    }

    /// The chosen numbers, 0 to 63, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let topic = rest.trailing_zeros() as u8;
            rest &= rest.wrapping_sub(1);
            (topic < 64).then_some(topic)
        })
    }
}

/// Numbers above 63 do not exist and are left out: check them before.
impl FromIterator<u8> for TopicSet {
    fn from_iter<I: IntoIterator<Item = u8>>(topics: I) -> TopicSet {
        TopicSet(topics.into_iter().filter(|topic| *topic < 64).fold(0, |set, topic| set | 1 << topic))
    }
}

/// Whether a shared topic may be given up with time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TopicMode {
    /// A shared topic is preferred, and given up after the first stage.
    #[default]
    Prefer,
    /// This side insists on a shared topic (or a partner who takes any).
    Require,
}

/// Somebody who waits.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub id: TicketId,
    pub person: Person,
    pub band: Band,
    pub gender: Gender,
    /// Must not be empty.
    pub wants: GenderSet,
    pub level: Level,
    /// Hard limit on the distance of levels, 0 to 5; never exceeded, however long anybody waits.
    pub max_distance: u8,
    /// At most [`MAX_TOPICS`].
    pub topics: TopicSet,
    pub topic_mode: TopicMode,
    /// Blocks; they work in both directions and are never overlooked. With `recent` at most [`MAX_AVOID`].
    pub avoid: Vec<Person>,
    /// Recent partners, at most [`super::MAX_RECENT`]: avoided as [`super::Recent`] says.
    pub recent: Vec<Person>,
    /// Where this person is.
    pub country: Country,
    /// Where a partner may be.
    pub countries: Countries,
    /// An appointment: waits for the other person of it and for nobody else.
    pub meeting: Option<Meeting>,
    /// t0, the seniority: when this person began to wait. Older than now for the innocent who come back.
    pub since: Millis,
}

/// What `tune` may change while the place in the queue stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criteria {
    pub wants: GenderSet,
    pub level: Level,
    pub max_distance: u8,
    pub topics: TopicSet,
    pub topic_mode: TopicMode,
    pub countries: Countries,
}

impl Ticket {
    pub fn criteria(&self) -> Criteria {
        let Ticket { wants, level, max_distance, topics, topic_mode, countries, .. } = *self;
        Criteria { wants, level, max_distance, topics, topic_mode, countries }
    }
}

impl Criteria {
    /// Whether an engine takes them: somebody is wanted, and topics and distance are within their bounds.
    pub fn is_valid(&self) -> bool {
        !self.wants.is_empty() && self.topics.len() <= MAX_TOPICS && self.max_distance <= 5
    }
}

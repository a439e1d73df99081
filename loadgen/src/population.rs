//! Who the callers are: level, gender, wishes, topics, age band, blocks, hold time and patience, drawn from the seed.
//!
//! Caller `i` draws from its own stream of the generator, so nothing but the seed and `i` decides who it is.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{arrival::unit, length::Length};

/// Levels of the Common European Framework, as tokens and messages spell them.
pub const LEVELS: [&str; 6] = ["A1", "A2", "B1", "B2", "C1", "C2"];
/// Age cohorts. No two of them ever meet.
pub const BANDS: [&str; 3] = ["13-15", "16-17", "18+"];
/// Genders, as tokens and messages spell them.
pub const GENDERS: [&str; 3] = ["f", "m", "x"];
/// Levels apart that a caller accepts at most.
pub const DISTANCES: [u8; 4] = [0, 1, 2, 5];
/// The most people a token may block.
pub const MAX_BLOCKS: u16 = 512;
/// The most topics one caller chooses.
pub const MAX_TOPICS: usize = 3;

/// Shares and sizes the population is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// Weights of [`LEVELS`].
    pub levels: [f64; 6],
    /// Weights of [`GENDERS`].
    pub genders: [f64; 3],
    /// Weights of [`BANDS`].
    pub bands: [f64; 3],
    /// Share of callers who want exactly one gender.
    pub picky_share: f64,
    /// Weights of [`GENDERS`] among what those want.
    pub wanted: [f64; 3],
    /// Weights of [`DISTANCES`].
    pub distances: [f64; 4],
    /// Topics to choose from, at most 64.
    pub topics: u8,
    /// How much likelier the first topics are than the last: the exponent of Zipf's law, 0 for all alike.
    pub topic_skew: f64,
    /// Share of callers who choose topics at all.
    pub topics_share: f64,
    /// Among those, the share that insists on a common topic.
    pub require_share: f64,
    /// Share of callers who block a few who arrive around the same time.
    pub block_share: f64,
    /// How many those block, at most [`MAX_BLOCKS`], among so many who come before and after.
    pub blocks_each: u16,
    pub block_reach: u32,
}

/// What one caller is and wants. Compared by [`crate::rules`] with whom it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Criteria {
    /// Index into [`BANDS`].
    pub band: u8,
    /// Index into [`GENDERS`].
    pub gender: u8,
    /// Bit `g`: wants to meet gender `g`.
    pub wants: u8,
    /// Index into [`LEVELS`].
    pub level: u8,
    /// Levels apart it accepts at most, 0..=5.
    pub max_distance: u8,
    /// Bit `t`: chose topic `t`.
    pub topics: u64,
    /// Insists on a common topic.
    pub require_topic: bool,
    /// Schedule numbers of the callers it blocks.
    pub blocks: Vec<u32>,
}

/// One caller of the population.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub criteria: Criteria,
    /// How long it holds the call if it is the one to hang up.
    pub hold: Duration,
    /// How long it waits for a partner before it gives up.
    pub patience: Duration,
}

impl Mix {
    /// Caller `index` of the run with this `seed`.
    pub fn person(&self, seed: u64, index: u32, hold: Length, patience: Length) -> Person {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(u64::from(index) + 1);
        let random = &mut random;
        let gender = weighted(&self.genders, random);
        let topics = self.draw_topics(random);
        let criteria = Criteria {
            band: weighted(&self.bands, random),
            gender,
            wants: if unit(random) < self.picky_share { 1 << weighted(&self.wanted, random) } else { 0b111 },
            level: weighted(&self.levels, random),
            max_distance: DISTANCES[usize::from(weighted(&self.distances, random))],
            topics,
            require_topic: topics != 0 && unit(random) < self.require_share,
            blocks: self.draw_blocks(index, random),
        };
        Person { criteria, hold: hold.draw(random), patience: patience.draw(random) }
    }

    fn draw_topics(&self, random: &mut impl RngCore) -> u64 {
        if self.topics == 0 || unit(random) >= self.topics_share {
            return 0;
        }
        let count = 1 + random.next_u64() as usize % MAX_TOPICS;
        (0..count).fold(0, |set, _| set | 1 << self.draw_topic(random))
    }

    fn draw_topic(&self, random: &mut impl RngCore) -> u64 {
        if self.topic_skew == 0.0 {
            return random.next_u64() % u64::from(self.topics);
        }
        let weights: Vec<f64> = (1..=self.topics).map(|rank| f64::from(rank).powf(-self.topic_skew)).collect();
        u64::from(weighted(&weights, random))
    }

    /// Blocking those who arrive close by is what makes a block matter.
    fn draw_blocks(&self, index: u32, random: &mut impl RngCore) -> Vec<u32> {
        if unit(random) >= self.block_share {
            return Vec::new();
        }
        let reach = i64::from(self.block_reach);
        let near = (0..self.blocks_each).map(|_| {
            let away = (random.next_u64() % (2 * reach as u64 + 1)) as i64 - reach;
            (i64::from(index) + away).max(0) as u32
        });
        near.filter(|other| *other != index).collect()
    }
}

/// The name the target knows caller `index` by: a pseudonym that differs from run to run, so that runs do not replace
/// each other's sessions.
pub fn pseudonym(run: &[u8; 16], index: u32) -> String {
    let digest = Sha256::new().chain_update(b"loadgen").chain_update(run).chain_update(index.to_le_bytes()).finalize();
    URL_SAFE_NO_PAD.encode(&digest[..16])
}

fn weighted(weights: &[f64], random: &mut impl RngCore) -> u8 {
    let mut left = unit(random) * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index as u8;
        }
    }
    (weights.len() - 1) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_caller_depends_on_the_seed_and_its_number_alone() {
        let Scenario { mix, hold, patience, .. } = Scenario::default();
        assert_eq!(mix.person(42, 17, hold, patience), mix.person(42, 17, hold, patience));
        assert_ne!(mix.person(42, 17, hold, patience), mix.person(42, 18, hold, patience));
        assert_ne!(mix.person(42, 17, hold, patience), mix.person(43, 17, hold, patience));
    }

    #[test]
    fn shares_are_those_of_the_mix() {
        let Scenario { mix, hold, patience, .. } = Scenario::default();
        let people: Vec<Person> = (0..20_000).map(|index| mix.person(1, index, hold, patience)).collect();
        let share = |test: &dyn Fn(&Person) -> bool| people.iter().filter(|p| test(p)).count() as f64 / 20_000.0;
        let adults = mix.bands[2] / mix.bands.iter().sum::<f64>();
        assert!((share(&|p| p.criteria.band == 2) - adults).abs() < 0.02);
        assert!((share(&|p| p.criteria.wants != 0b111) - mix.picky_share).abs() < 0.02);
        assert!((share(&|p| !p.criteria.blocks.is_empty()) - mix.block_share).abs() < 0.02);
        let mean = people.iter().map(|p| p.hold.as_secs_f64()).sum::<f64>() / 20_000.0;
        assert!((mean / hold.mean().as_secs_f64() - 1.0).abs() < 0.05, "mean hold {mean}");
    }

    #[test]
    fn wishes_and_topics_follow_their_own_weights() {
        let mix = Mix {
            picky_share: 1.0,
            wanted: [1.0, 0.0, 0.0],
            distances: [0.0, 0.0, 1.0, 0.0],
            topics: 10,
            topic_skew: 1.5,
            topics_share: 1.0,
            ..Scenario::default().mix
        };
        let Scenario { hold, patience, .. } = Scenario::default();
        let people: Vec<Criteria> = (0..5_000).map(|index| mix.person(1, index, hold, patience).criteria).collect();
        assert!(people.iter().all(|person| (person.wants, person.max_distance) == (0b001, 2)));
        let chose = |topic: u32| people.iter().filter(|person| person.topics >> topic & 1 == 1).count() as f64;
        assert!(chose(0) > 3.0 * chose(3) && chose(3) > chose(9), "{} {} {}", chose(0), chose(3), chose(9));
    }

    #[test]
    fn who_blocks_many_blocks_many() {
        let mix = Mix { block_share: 1.0, blocks_each: 100, block_reach: 200, ..Scenario::default().mix };
        let Scenario { hold, patience, .. } = Scenario::default();
        let person = mix.person(1, 1_000, hold, patience);
        assert!(person.criteria.blocks.len() > 95);
        assert!(person.criteria.blocks.iter().all(|other| (800..=1_200).contains(other)));
    }

    #[test]
    fn nobody_blocks_himself() {
        const ZERO: Length = Length::Fixed(Duration::ZERO);
        let mix = Mix { block_share: 1.0, ..Scenario::default().mix };
        for index in 0..2000 {
            let person = mix.person(5, index, ZERO, ZERO);
            assert!(!person.criteria.blocks.contains(&index));
        }
    }

    #[test]
    fn pseudonyms_have_the_length_the_protocol_asks_for_and_differ_between_runs() {
        assert_eq!(pseudonym(&[1; 16], 5).len(), 22);
        assert_ne!(pseudonym(&[1; 16], 5), pseudonym(&[2; 16], 5));
        assert_ne!(pseudonym(&[1; 16], 5), pseudonym(&[1; 16], 6));
    }
}

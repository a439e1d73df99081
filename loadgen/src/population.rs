//! Who the callers are: level, gender, wishes, topics, age band, blocks and hold time, drawn from the seed.
//!
//! Caller `i` draws from its own stream of the generator, so nothing but the seed and `i` decides who it is.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use sha2::{Digest, Sha256};

use crate::arrival::{unit, unit_exponential};

/// Levels of the Common European Framework, as tokens and messages spell them.
pub const LEVELS: [&str; 6] = ["A1", "A2", "B1", "B2", "C1", "C2"];
/// Age cohorts. No two of them ever meet.
pub const BANDS: [&str; 3] = ["13-15", "16-17", "18+"];
/// Genders, as tokens and messages spell them.
pub const GENDERS: [&str; 3] = ["f", "m", "x"];
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
    /// Topics to choose from, at most 64.
    pub topics: u8,
    /// Share of callers who choose topics at all.
    pub topics_share: f64,
    /// Among those, the share that insists on a common topic.
    pub require_share: f64,
    /// Share of callers who block a few who arrive around the same time.
    pub block_share: f64,
}

/// How long a call is held once it is up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hold {
    Fixed(Duration),
    /// Exponential with this mean.
    Exponential(Duration),
}

/// What one caller is and wants. Compared by [`crate::rules`] with whom it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Mix {
    /// Caller `index` of the run with this `seed`.
    pub fn person(&self, seed: u64, index: u32, hold: Hold) -> Person {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(u64::from(index) + 1);
        let random = &mut random;
        let gender = weighted(&self.genders, random);
        let topics = self.draw_topics(random);
        let criteria = Criteria {
            band: weighted(&self.bands, random),
            gender,
            wants: if unit(random) < self.picky_share { 1 << weighted(&self.genders, random) } else { 0b111 },
            level: weighted(&self.levels, random),
            max_distance: [0, 1, 2, 5][usize::from(weighted(&[5.0, 60.0, 25.0, 10.0], random))],
            topics,
            require_topic: topics != 0 && unit(random) < self.require_share,
            blocks: self.draw_blocks(index, random),
        };
        Person { criteria, hold: hold.draw(random) }
    }

    fn draw_topics(&self, random: &mut impl RngCore) -> u64 {
        if self.topics == 0 || unit(random) >= self.topics_share {
            return 0;
        }
        let count = 1 + random.next_u64() as usize % MAX_TOPICS;
        (0..count).fold(0, |set, _| set | 1 << (random.next_u64() % u64::from(self.topics)))
    }

    /// Blocking those who arrive close by is what makes a block matter.
    fn draw_blocks(&self, index: u32, random: &mut impl RngCore) -> Vec<u32> {
        if unit(random) >= self.block_share {
            return Vec::new();
        }
        let near = (0..5).map(|_| (i64::from(index) + (random.next_u64() % 41) as i64 - 20).max(0) as u32);
        near.filter(|other| *other != index).collect()
    }
}

impl Hold {
    fn draw(self, random: &mut impl RngCore) -> Duration {
        match self {
            Hold::Fixed(length) => length,
            Hold::Exponential(mean) => mean.mul_f64(unit_exponential(random)),
        }
    }

    pub fn mean(self) -> Duration {
        match self {
            Hold::Fixed(length) | Hold::Exponential(length) => length,
        }
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
        let Scenario { mix, hold, .. } = Scenario::default();
        assert_eq!(mix.person(42, 17, hold), mix.person(42, 17, hold));
        assert_ne!(mix.person(42, 17, hold), mix.person(42, 18, hold));
        assert_ne!(mix.person(42, 17, hold), mix.person(43, 17, hold));
    }

    #[test]
    fn shares_are_those_of_the_mix() {
        let Scenario { mix, hold, .. } = Scenario::default();
        let people: Vec<Person> = (0..20_000).map(|index| mix.person(1, index, hold)).collect();
        let share = |test: &dyn Fn(&Person) -> bool| people.iter().filter(|p| test(p)).count() as f64 / 20_000.0;
        let adults = mix.bands[2] / mix.bands.iter().sum::<f64>();
        assert!((share(&|p| p.criteria.band == 2) - adults).abs() < 0.02);
        assert!((share(&|p| p.criteria.wants != 0b111) - mix.picky_share).abs() < 0.02);
        assert!((share(&|p| !p.criteria.blocks.is_empty()) - mix.block_share).abs() < 0.02);
        let mean = people.iter().map(|p| p.hold.as_secs_f64()).sum::<f64>() / 20_000.0;
        assert!((mean / hold.mean().as_secs_f64() - 1.0).abs() < 0.05, "mean hold {mean}");
    }

    #[test]
    fn nobody_blocks_himself() {
        let mix = Mix { block_share: 1.0, ..Scenario::default().mix };
        for index in 0..2000 {
            let person = mix.person(5, index, Hold::Fixed(Duration::ZERO));
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

//! How far each caller goes. Callers of different depths would not understand each other, so each depth waits in a pool of
//! its own, which the token names.

use std::collections::BTreeMap;

use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

use super::Depth;
use crate::arrival::unit;

const KINDS: usize = Depth::WORDS.len();
/// Apart from the streams people are drawn from.
const DEPTHS: u64 = 1 << 41;

/// Shares of depths, drawn per caller from the seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixed {
    seed: u64,
    /// In the order of [`Depth::WORDS`], adding up to 1.
    shares: [f64; KINDS],
}

impl Mixed {
    /// None if nothing is mixed: all weights are 0. Refuses unknown names, negative weights, and `turn`, which has no
    /// signalling to share.
    pub(super) fn new(seed: u64, weights: &BTreeMap<String, f64>) -> Result<Option<Mixed>, String> {
        let mut shares = [0.0; KINDS];
        for (name, weight) in weights.iter().filter(|(_, weight)| **weight != 0.0) {
            let known = Depth::WORDS.iter().position(|(word, depth)| word == name && *depth != Depth::Turn);
            let Some(place) = known.filter(|_| weight.is_finite() && *weight >= 0.0) else {
                return Err(format!(
                    "peer.depths.{name} = {weight}: no share of callers of a depth that has signalling"
                ));
            };
            shares[place] = *weight;
        }
        let sum: f64 = shares.iter().sum();
        Ok((sum > 0.0).then(|| Mixed { seed, shares: shares.map(|share| share / sum) }))
    }

    pub fn of(&self, number: u32) -> Depth {
        let mut random = ChaCha12Rng::seed_from_u64(self.seed);
        random.set_stream(DEPTHS | u64::from(number));
        let mut left = unit(&mut random);
        let chosen = self.parts().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        chosen.or(self.parts().last()).map_or(Depth::Light, |(depth, _)| depth)
    }

    /// Depths that occur, each with its share.
    pub fn parts(&self) -> impl Iterator<Item = (Depth, f64)> + '_ {
        Depth::WORDS
            .iter()
            .zip(self.shares)
            .filter(|(_, share)| *share > 0.0)
            .map(|((_, depth), share)| (*depth, share))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn callers_are_as_deep_as_the_shares_say_and_always_the_same() {
        let scenario = Scenario::resolve("[peer.depths]\nsignalling = 4\nlight = 1\n", &[]).unwrap();
        let light = (0..20_000).filter(|number| scenario.depth_of(*number) == Depth::Light).count();
        assert!((light as f64 / 20_000.0 - 0.2).abs() < 0.01, "{light}");
        let again = Scenario::resolve("[peer.depths]\nsignalling = 8\nlight = 2\n", &[]).unwrap();
        assert!((0..1000).all(|number| scenario.depth_of(number) == again.depth_of(number)));
        assert!(scenario.media, "some of them talk");
    }

    #[test]
    fn the_mix_changes_nobody_else_and_none_means_one_depth() {
        let mixed = Scenario::resolve("[peer.depths]\nsignalling = 4\nlight = 1\n", &[]).unwrap();
        let plain = Scenario::default();
        assert_eq!(mixed.person(7), plain.person(7));
        assert_eq!(plain.depths(), [(Depth::Light, 1.0)]);
        assert_eq!(plain.depth_of(3), Depth::Light);
    }

    #[test]
    fn what_cannot_be_mixed_is_refused() {
        for wrong in ["deep = 1", "turn = 1", "light = -1"] {
            assert!(Scenario::resolve(&format!("[peer.depths]\n{wrong}\n"), &[]).is_err(), "{wrong}");
        }
        let alone = "[peer]\ndepth = \"turn\"\n[peer.depths]\nlight = 1\n";
        assert!(Scenario::resolve(alone, &[]).unwrap_err().to_string().contains("peer.depths"));
    }
}

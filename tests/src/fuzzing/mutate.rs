//! A small mutator, so that the targets run on the stable toolchain: reproducible from its seed.

use super::Target;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Longest input made here, in bytes.
const LONGEST: usize = 4096;

/// Runs a target on its seeds and then on `count` mutations of them. A panic names the input.
pub fn run(target: &Target, seed: u64, count: usize) {
    let mut seeds = (target.seeds)();
    seeds.extend(super::read_corpus(target.name));
    assert!(!seeds.is_empty(), "{} has nothing to start from", target.name);
    for input in &seeds {
        once(target, input);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..count {
        let mut input = seeds.choose(&mut random).cloned().unwrap_or_default();
        for _ in 0..random.random_range(1..=6) {
            mutate(&mut input, &seeds, &mut random);
        }
        input.truncate(LONGEST);
        once(target, &input);
    }
}

fn once(target: &Target, input: &[u8]) {
    let outcome = std::panic::catch_unwind(|| (target.run)(input));
    if outcome.is_err() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("the target `{}` failed on this input (hex): {hex}", target.name);
    }
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut ChaCha8Rng) {
    let at = if input.is_empty() { 0 } else { random.random_range(0..input.len()) };
    let end = (at + random.random_range(1..=16)).min(input.len());
    match random.random_range(0..8) {
        0 if !input.is_empty() => input[at] ^= 1 << random.random_range(0..8),
        1 if !input.is_empty() => input[at] = random.random(),
        2 if !input.is_empty() => input[at] = *[0, 1, 0x7F, 0x80, 0xFF].choose(random).unwrap_or(&0),
        3 => input.insert(at, random.random()),
        4 => drop(input.drain(at..end)),
        5 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        6 => input.truncate(at),
        _ => {
            let other = seeds.choose(random).cloned().unwrap_or_default();
            let from = if other.is_empty() { 0 } else { random.random_range(0..other.len()) };
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

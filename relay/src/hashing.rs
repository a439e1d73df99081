//! Hash tables here are keyed by what strangers choose: every table's hash is seeded, so that collisions cannot be
//! prepared.

use std::hash::{BuildHasherDefault, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// State of a seeded hash table.
pub(crate) type Seeded = SeedableRandomState;

/// Seeded by the caller and by a secret of this process.
pub(crate) fn seeded(seed: u64) -> Seeded {
    SeedableRandomState::with_seed(seed, SharedSeed::global_random())
}

/// For tables whose keys are seeded hashes already: the key is its own hash.
pub(crate) type Hashed = BuildHasherDefault<AsItIs>;

/// Takes one `u64` and gives it back.
#[derive(Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

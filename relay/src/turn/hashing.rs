//! Hash tables here are keyed by what strangers choose: every table's hash is seeded, so that collisions cannot be
//! prepared.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// State of a seeded hash table.
pub(crate) type Seeded = SeedableRandomState;

/// Seeded by the caller and by a secret of this process.
pub(crate) fn seeded(seed: u64) -> Seeded {
    SeedableRandomState::with_seed(seed, SharedSeed::global_random())
}

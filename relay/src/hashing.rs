//! Hash tables here are keyed by what strangers choose: every table's hash is seeded, so that collisions cannot be
//! prepared.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

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

/// Tables with less room than this keep it.
const KEPT_ENTRIES: usize = 1024;

/// To be called when something was removed: a table that is three quarters empty gives half of its memory back, so that what a
/// crowd took does not stay taken. Paid for by the removals before, as growing is by insertions.
pub(crate) fn give_back<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > KEPT_ENTRIES && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shrinks_with_its_content_and_not_at_every_removal() {
        let mut table: HashMap<u32, u32, Seeded> = HashMap::with_hasher(seeded(1));
        table.extend((0..100_000).map(|n| (n, n)));
        let (mut sizes, mut before) = (0, table.capacity());
        for n in 0..100_000 {
            table.remove(&n);
            give_back(&mut table);
            sizes += usize::from(table.capacity() < before / 4 * 3); // a little less for each hole it leaves
            before = table.capacity();
        }
        assert!(before <= 2 * KEPT_ENTRIES && sizes < 16, "{before} entries after {sizes} times");
    }
}

//! What the calls of each pool have relayed, so that nobody's own traffic can be read from it: a call counts when it is over, and a pool's
//! sum moves only by those of several calls together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::hashing::{Seeded, give_back};
use crate::routes::RelayedPort;

/// Pools told apart by name; the calls of all others are one.
pub const MOST_POOLS: usize = 16;
/// Sides of calls that are counted together: ten calls.
pub(super) const TOGETHER: u32 = 20;
const OTHER: &str = "other";
/// Longest name told, in bytes: as long as a token's may be.
const MAX_NAME: usize = 32;

/// What a pool's calls have relayed, as far as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTraffic {
    pub name: String,
    pub packets: u64,
    pub bytes: u64,
}

/// What one allocation of a call has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carried {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Carried {
    pub(crate) fn add(&mut self, payload: usize) {
        self.packets += 1;
        self.bytes += payload as u64;
    }
}

/// A pool's place in the table. The first is that of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolId(u8);

pub(super) struct Pools {
    pools: Vec<Pool>,
    /// Ports of calls that are over, until their owners let go of them: as many as there are relayed ports.
    ending: HashMap<RelayedPort, PoolId, Seeded>,
}

struct Pool {
    name: String,
    told: Carried,
    waiting: Carried,
    /// Sides of calls in `waiting`.
    sides: u32,
}

impl Pools {
    pub(super) fn new(hasher: Seeded) -> Pools {
        Pools { pools: vec![Pool::new(OTHER)], ending: HashMap::with_hasher(hasher) }
    }

    /// The place of a pool. Names come from the app, and whatever a label cannot hold is not told by name.
    pub(super) fn find(&mut self, name: &str) -> PoolId {
        if let Some(place) = self.pools.iter().position(|pool| pool.name == name) {
            return PoolId(place as u8);
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let tellable = !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_plain);
        if !tellable || self.pools.len() > MOST_POOLS {
            return PoolId::default();
        }
        self.pools.push(Pool::new(name));
        PoolId(self.pools.len() as u8 - 1)
    }

    /// The name by which [`Pools::find`] finds it again.
    pub(super) fn name(&self, PoolId(place): PoolId) -> &str {
        self.pools.get(usize::from(place)).map_or(OTHER, |pool| &pool.name)
    }

    /// A call of this pool has ended while this port was held.
    pub(super) fn ends(&mut self, port: RelayedPort, pool: PoolId) {
        self.ending.insert(port, pool);
    }

    /// The port's owner has let go of it. `pool`: if its call has not ended.
    pub(super) fn freed(&mut self, port: RelayedPort, pool: Option<PoolId>, carried: Carried) {
        let ended = self.ending.remove(&port);
        if let Some(pool) = pool.or(ended).and_then(|PoolId(place)| self.pools.get_mut(usize::from(place)))
            && carried.packets > 0
        {
            pool.count(carried);
        }
        give_back(&mut self.ending);
    }

    /// Pools of which nothing is told yet are not named either.
    pub(super) fn traffic(&self) -> Vec<PoolTraffic> {
        let told = self.pools.iter().filter(|pool| pool.told.packets > 0);
        told.map(|pool| PoolTraffic { name: pool.name.clone(), packets: pool.told.packets, bytes: pool.told.bytes })
            .collect()
    }
}

impl Pool {
    fn new(name: &str) -> Pool {
        Pool { name: name.to_owned(), told: Carried::default(), waiting: Carried::default(), sides: 0 }
    }

    fn count(&mut self, Carried { packets, bytes }: Carried) {
        self.waiting.packets += packets;
        self.waiting.bytes += bytes;
        self.sides += 1;
        if self.sides >= TOGETHER {
            let Carried { packets, bytes } = std::mem::take(&mut self.waiting);
            self.told.packets += packets;
            self.told.bytes += bytes;
            self.sides = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::seeded;
    use crate::routes::AddressId;

    fn port(port: u16) -> RelayedPort {
        RelayedPort { address: AddressId(0), port }
    }

    fn once(pools: &mut Pools, name: &str) {
        let pool = pools.find(name);
        pools.freed(port(1), Some(pool), Carried { packets: 3, bytes: 500 });
    }

    #[test]
    fn nothing_is_told_of_fewer_than_ten_calls() {
        let mut pools = Pools::new(seeded(1));
        for side in 1..TOGETHER {
            once(&mut pools, "general");
            assert_eq!(pools.traffic(), [], "{side}");
        }
        once(&mut pools, "general");
        let told = PoolTraffic { name: "general".to_owned(), packets: 60, bytes: 10_000 };
        assert_eq!(pools.traffic(), std::slice::from_ref(&told));
        once(&mut pools, "general");
        assert_eq!(pools.traffic(), [told], "the next ones wait for each other");
    }

    #[test]
    fn a_call_that_was_ended_counts_where_its_port_is_let_go() {
        let mut pools = Pools::new(seeded(1));
        let pool = pools.find("general");
        for number in 0..TOGETHER as u16 {
            pools.ends(port(number), pool);
        }
        for number in 0..TOGETHER as u16 {
            pools.freed(port(number), None, Carried { packets: 1, bytes: 10 });
        }
        assert_eq!(pools.traffic()[0].packets, u64::from(TOGETHER));
        assert!(pools.ending.is_empty());
        pools.freed(port(1), None, Carried { packets: 1, bytes: 10 });
        assert_eq!(pools.traffic()[0].packets, u64::from(TOGETHER), "no call at all");
    }

    #[test]
    fn names_are_few_and_plain() {
        let mut pools = Pools::new(seeded(1));
        for number in 0..2 * MOST_POOLS {
            pools.find(&format!("pool-{number}"));
        }
        assert_eq!(pools.pools.len(), MOST_POOLS + 1);
        assert_eq!(pools.find("pool-3"), PoolId(4), "known is known");
        let mut pools = Pools::new(seeded(1));
        for name in ["", "with \"quotes\"", "line\nbreak", &"x".repeat(33)] {
            assert_eq!(pools.find(name), PoolId::default(), "{name:?}");
        }
    }
}

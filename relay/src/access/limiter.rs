//! How many strangers are answered: unauthenticated replies limited by network, so that whoever forges a victim's address
//! gets the victim little, and with nothing kept for any single source.
//!
//! Networks are /24 for IPv4 and /56 for IPv6. Each falls, by a hash nobody outside knows, on one bucket in each of two rows,
//! and is answered while either holds something. So a flood in one network's name leaves the others alone: somebody else
//! would have to share both buckets with it, one chance in 2³⁰. Memory is fixed; untouched pages cost nothing.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use ipnet::IpNet;

use super::bucket::{Bucket, Rate};
use crate::time::Millis;

const ROWS: usize = 2;
const ROW: usize = 1 << 15;

/// How many unauthenticated replies one network gets from one worker.
#[derive(Clone, Debug)]
pub struct ReplyLimits {
    /// On average. Zero: no limit.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
    /// Networks without a limit: load generators, or a gateway behind which everybody is.
    pub exempt: Vec<IpNet>,
}

impl Default for ReplyLimits {
    /// A browser needs two to four such replies for a call and one every ten seconds to keep its NAT open: 50 calls a
    /// second, or 2000 browsers waiting, behind one carrier-grade NAT.
    fn default() -> ReplyLimits {
        ReplyLimits { per_second: 200, burst: 800, exempt: Vec::new() }
    }
}

/// One worker's buckets. No lock: nobody else has them.
pub struct Limiter {
    rate: Option<Rate>,
    exempt: Vec<IpNet>,
    hash: SeedableRandomState,
    /// Both rows, one behind the other.
    buckets: Box<[Bucket]>,
}

impl Limiter {
    /// `seed` must be unknown outside and differ between workers.
    pub fn new(limits: &ReplyLimits, seed: u64) -> Limiter {
        Limiter {
            rate: Rate::new(limits.per_second.into(), limits.burst.into()),
            exempt: limits.exempt.clone(),
            hash: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            buckets: vec![Bucket::default(); ROWS * ROW].into_boxed_slice(),
        }
    }

    /// Other limits from now on, and every bucket is full again.
    pub fn set_limits(&mut self, limits: &ReplyLimits) {
        self.rate = Rate::new(limits.per_second.into(), limits.burst.into());
        self.exempt.clone_from(&limits.exempt);
        self.buckets.fill(Bucket::default());
    }

    /// Whether a packet that may not be from `source` at all is to be answered. Counts the answer.
    pub fn admit(&mut self, now: Millis, source: IpAddr) -> bool {
        let Some(rate) = self.rate else { return true };
        let source = source.to_canonical(); // IPv4 clients of a dual-stack listener
        if self.exempt.iter().any(|network| network.contains(&source)) {
            return true;
        }
        let hash = self.hash.hash_one(network(source));
        let places = [hash as usize % ROW, ROW + (hash >> 32) as usize % ROW];
        // Every row pays, whichever grants it.
        places.into_iter().fold(false, |granted, place| self.buckets[place].take(now, 1, &rate) | granted)
    }
}

/// The /24 or /56 an address is in, as a number of its own.
fn network(source: IpAddr) -> u64 {
    match source {
        IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8) | 1 << 63,
        IpAddr::V6(ip) => (ip.to_bits() >> (128 - 56)) as u64,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const START: Millis = Millis(5_000);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limiter(per_second: u32, burst: u32) -> Limiter {
        Limiter::new(&ReplyLimits { per_second, burst, ..ReplyLimits::default() }, 7)
    }

    fn granted(limiter: &mut Limiter, now: Millis, asked: usize, source: IpAddr) -> usize {
        (0..asked).filter(|_| limiter.admit(now, source)).count()
    }

    #[test]
    fn a_network_gets_its_burst_and_then_its_rate() {
        for source in ["203.0.113.7", "2001:db8:1:2::7"] {
            let mut limiter = limiter(100, 400);
            assert_eq!(granted(&mut limiter, START, 100_000, ip(source)), 400);
            assert_eq!(granted(&mut limiter, START.after(1_000), 100_000, ip(source)), 100);
            assert_eq!(granted(&mut limiter, START.after(3_600_000), 100_000, ip(source)), 400);
        }
    }

    #[test]
    fn addresses_of_one_network_share_and_those_of_the_next_do_not() {
        let same = [
            ("203.0.113.0", "203.0.113.255", "203.0.114.0"),
            ("2001:db8:1:200::", "2001:db8:1:2ff:ffff:ffff:ffff:ffff", "2001:db8:1:300::"),
            ("203.0.113.1", "::ffff:203.0.113.2", "203.0.112.255"),
        ];
        for (first, neighbour, other) in same {
            let mut limiter = limiter(1, 1);
            assert!(limiter.admit(START, ip(first)));
            assert!(!limiter.admit(START, ip(neighbour)), "{neighbour} is in the network of {first}");
            assert!(limiter.admit(START, ip(other)), "{other} is not");
        }
    }

    #[test]
    fn exempt_networks_have_no_limit() {
        let exempt = vec!["198.51.100.0/22".parse().unwrap(), "2001:db8:5::/48".parse().unwrap()];
        let mut limiter = Limiter::new(&ReplyLimits { per_second: 1, burst: 1, exempt }, 7);
        for source in ["198.51.101.9", "::ffff:198.51.101.9", "2001:db8:5:7::1"] {
            assert_eq!(granted(&mut limiter, START, 1_000, ip(source)), 1_000, "{source}");
        }
        assert_eq!(granted(&mut limiter, START, 1_000, ip("198.51.104.1")), 1);
    }

    #[test]
    fn zero_a_second_is_no_limit() {
        assert_eq!(granted(&mut limiter(0, 0), START, 10_000, ip("203.0.113.7")), 10_000);
    }

    #[test]
    fn a_flood_in_one_networks_name_leaves_everybody_else_alone() {
        let mut limiter = limiter(100, 400);
        granted(&mut limiter, START, 100_000, ip("203.0.113.7"));
        for network in 0..60_000u32 {
            let source = IpAddr::V4((0x0B00_0001 + (network << 8)).into());
            assert!(limiter.admit(START, source), "network {network}");
        }
    }

    #[test]
    fn a_flood_from_everywhere_still_leaves_most_networks_an_answer() {
        // 100 000 packets a second in as many networks' names, for a minute: three a second for each bucket.
        let mut limiter = limiter(100, 400);
        for second in 0..60 {
            for packet in 0..100_000u32 {
                let source = packet.wrapping_mul(0x9E37_79B1).wrapping_add(second);
                limiter.admit(START.after(u64::from(second) * 1_000), IpAddr::V4(source.into()));
            }
        }
        assert_eq!(granted(&mut limiter, START.after(60_000), 300, ip("198.51.100.1")), 300);
    }

    #[test]
    fn memory_is_half_a_mebibyte_whatever_comes() {
        let mut limiter = limiter(1, 1);
        for source in 0..100_000u32 {
            limiter.admit(START, IpAddr::V4((source << 8).into()));
        }
        assert_eq!(size_of_val(&*limiter.buckets), 512 * 1024);
    }

    #[test]
    fn which_networks_share_a_bucket_depends_on_the_seed() {
        let shared = |seed| {
            let limiter = Limiter::new(&ReplyLimits::default(), seed);
            let bucket = |n: u32| limiter.hash.hash_one(network(IpAddr::V4((n << 8).into()))) as usize % ROW;
            (1..20_000).filter(|&n| bucket(n) == bucket(0)).collect::<HashSet<_>>()
        };
        assert!(shared(1).is_disjoint(&shared(2)));
    }

    proptest! {
        #[test]
        fn no_network_ever_gets_more_than_its_share(
            packets in proptest::collection::vec((0..50u64, 0..4u8), 1..2_000),
        ) {
            let mut limiter = limiter(10, 20);
            let (mut now, mut granted) = (START, [0u64; 4]);
            for (pause, network) in packets {
                now = now.after(pause);
                granted[usize::from(network)] += u64::from(limiter.admit(now, IpAddr::from([192, 0, network, 1])));
                let allowed = 20 + now.since(START) * 10 / 1_000 + 1;
                prop_assert!(granted.iter().all(|&granted| granted <= allowed));
            }
        }
    }
}

//! A bad network for one caller, in user space and from a seed: what becomes of each datagram that arrives for it. Both
//! directions of a call pass somebody's arrival, so both are impaired. No clock: arrival in, arrivals out.

use std::{str::FromStr, time::Duration};

use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

use crate::{
    arrival::{unit, unit_exponential},
    scenario::parse_span,
    time::Nanos,
};

/// What waits for a slow link longer than this is dropped, as a router's full queue would.
const LONGEST_QUEUE: Duration = Duration::from_millis(400);
/// Streams of people come first, those of networks from here on.
const STREAM: u64 = 2 << 40;

/// What a network does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Profile {
    /// Added to everything.
    pub delay: Duration,
    /// Mean of an exponential that is added as well; order is kept.
    pub jitter: Duration,
    /// Share lost, and how many in a row on average (Gilbert and Elliott's chain; 0: each by itself).
    pub loss: f64,
    pub burst: f64,
    /// Share that overtakes what waits.
    pub reorder: f64,
    pub duplicate: f64,
    /// Bits a second; 0: no limit.
    pub rate: f64,
    /// Nothing over UDP comes through.
    pub blocked: bool,
}

/// Profiles by name: (name, as it would be written).
pub const PROFILES: [(&str, &str); 7] = [
    ("cable", "delay=10ms,jitter=1ms"),
    ("wifi", "delay=5ms,jitter=4ms,loss=0.5%,burst=2"),
    ("wifi-poor", "delay=10ms,jitter=20ms,loss=3%,burst=4,reorder=0.5%"),
    ("lte", "delay=35ms,jitter=8ms,loss=0.3%,burst=2"),
    ("3g-poor", "delay=120ms,jitter=40ms,loss=4%,burst=3,rate=200k"),
    ("satellite", "delay=280ms,jitter=10ms,loss=0.5%"),
    ("udp-blocked", "blocked"),
];

/// One caller's network.
#[derive(Clone, Debug)]
pub struct Impairment {
    profile: Profile,
    random: ChaCha12Rng,
    losing: bool,
    /// The last arrival that keeps the order, and when the link is free again.
    last: Nanos,
    free: Nanos,
}

impl Impairment {
    /// The network of caller `number` in the run with this `seed`.
    pub fn new(profile: Profile, seed: u64, number: u32) -> Impairment {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        random.set_stream(STREAM | u64::from(number));
        Impairment { profile, random, losing: false, last: Nanos::ZERO, free: Nanos::ZERO }
    }

    /// When a datagram of `bytes` that arrived at `at` really arrives: not at all, once or twice.
    pub fn arrivals(&mut self, at: Nanos, bytes: usize) -> [Option<Nanos>; 2] {
        let Profile { delay, jitter, rate, .. } = self.profile;
        if self.profile.blocked || self.is_lost() {
            return [None, None];
        }
        let mut out = at;
        if rate > 0.0 {
            let start = self.free.max(at);
            if start.since(at) > LONGEST_QUEUE {
                return [None, None];
            }
            out = start.after(Duration::from_secs_f64(bytes as f64 * 8.0 / rate));
            self.free = out;
        }
        let overtakes = self.happens(self.profile.reorder);
        let wobble = if overtakes { Duration::ZERO } else { jitter.mul_f64(unit_exponential(&mut self.random)) };
        out = out.after(delay + wobble);
        if !overtakes {
            out = out.max(self.last);
            self.last = out;
        }
        let copy = self.happens(self.profile.duplicate).then_some(out);
        [Some(out), copy]
    }

    /// The chain is left with 1/burst and entered so that `loss` of all packets fall into it.
    fn is_lost(&mut self) -> bool {
        let Profile { loss, burst, .. } = self.profile;
        if loss <= 0.0 || loss >= 1.0 || burst <= 1.0 {
            return self.happens(loss);
        }
        let leave = 1.0 / burst;
        let turn = if self.losing { leave } else { loss * leave / (1.0 - loss) };
        self.losing ^= self.happens(turn);
        self.losing
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && unit(&mut self.random) < share
    }
}

impl FromStr for Profile {
    type Err = String;

    /// A profile's name, or what one is made of.
    fn from_str(text: &str) -> Result<Profile, String> {
        let named = PROFILES.iter().find(|(name, _)| *name == text);
        let mut profile = Profile::default();
        for part in named.map_or(text, |(_, written)| written).split(',').map(str::trim) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                "delay" => profile.delay = parse_span(value)?,
                "jitter" => profile.jitter = parse_span(value)?,
                "loss" => profile.loss = share(value)?,
                "burst" => profile.burst = number(value)?,
                "reorder" => profile.reorder = share(value)?,
                "dup" => profile.duplicate = share(value)?,
                "rate" => profile.rate = rate(value)?,
                "blocked" if value.is_empty() => profile.blocked = true,
                _ => {
                    let names: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
                    return Err(format!(
                        "expected none, {}, or parts such as delay=40ms,jitter=10ms,loss=2%,burst=3,reorder=1%,dup=0.5%,rate=64k",
                        names.join(", ")
                    ));
                }
            }
        }
        Ok(profile)
    }
}

fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| format!("{text:?} is no number"))
}

fn share(text: &str) -> Result<f64, String> {
    let value = match text.strip_suffix('%') {
        Some(percent) => number(percent)? / 100.0,
        None => number(text)?,
    };
    if value <= 1.0 { Ok(value) } else { Err(format!("{text} is more than all")) }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.strip_suffix(['k', 'M']) {
        Some(value) => Ok(number(value)? * if text.ends_with('k') { 1e3 } else { 1e6 }),
        None => number(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TICK: u64 = 20_000_000;

    fn network(text: &str, number: u32) -> Impairment {
        Impairment::new(text.parse().unwrap(), 7, number)
    }

    fn fates(text: &str, number: u32, count: u64) -> Vec<[Option<Nanos>; 2]> {
        let mut network = network(text, number);
        (0..count).map(|packet| network.arrivals(Nanos(packet * TICK), 172)).collect()
    }

    #[test]
    fn the_same_seed_and_caller_meet_the_same_network() {
        assert_eq!(fates("wifi-poor", 3, 500), fates("wifi-poor", 3, 500));
        assert_ne!(fates("wifi-poor", 3, 500), fates("wifi-poor", 4, 500));
    }

    #[test]
    fn losses_have_their_share_and_their_runs() {
        for (text, share, run) in
            [("loss=5%,burst=4", 0.05, 4.0), ("loss=5%", 0.05, 1.0 / 0.95), ("loss=20%,burst=2", 0.2, 2.0)]
        {
            let lost: Vec<bool> = fates(text, 1, 200_000).iter().map(|fate| fate[0].is_none()).collect();
            let count = lost.iter().filter(|lost| **lost).count() as f64;
            let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
            assert!((count / 200_000.0 / share - 1.0).abs() < 0.08, "{text}: {count}");
            assert!((count / runs / run - 1.0).abs() < 0.08, "{text}: runs of {}", count / runs);
        }
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_breaks_it() {
        let times = |text: &str| fates(text, 1, 5_000).into_iter().filter_map(|fate| fate[0]).collect::<Vec<_>>();
        let jittered = times("delay=30ms,jitter=15ms");
        assert!(jittered.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!((0..5_000u64).zip(&jittered).all(|(packet, at)| at.0 >= packet * TICK + 30_000_000));
        assert!(times("delay=30ms,jitter=40ms,reorder=5%").windows(2).any(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn a_slow_link_spreads_a_burst_and_drops_what_waits_too_long() {
        let mut slow = network("rate=64k", 1);
        let at: Vec<Option<Nanos>> = (0..40).map(|_| slow.arrivals(Nanos::ZERO, 160)[0]).collect();
        assert_eq!(at[0], Some(Nanos(20_000_000)));
        assert_eq!(at[1], Some(Nanos(40_000_000)));
        let passed = at.iter().flatten().count();
        assert_eq!(passed, 21, "20 ms each, 400 ms of queue and one on the wire");
    }

    #[test]
    fn duplicates_come_twice_and_a_blocked_network_carries_nothing() {
        assert!(fates("dup=100%", 1, 10).iter().all(|fate| fate[0].is_some() && fate[0] == fate[1]));
        assert!(fates("udp-blocked", 1, 10).iter().all(|fate| *fate == [None, None]));
    }

    #[test]
    fn every_profile_reads_and_nonsense_does_not() {
        for (name, _) in PROFILES {
            assert!(name.parse::<Profile>().is_ok(), "{name}");
        }
        for wrong in ["", "3g", "loss=200%", "delay=5", "rate=fast", "loss=-1%", "blocked=1"] {
            assert!(wrong.parse::<Profile>().is_err(), "{wrong}");
        }
    }
}

//! What an impaired network really does is what was configured, within the sampling error of the run's own length: four
//! standard deviations of the model, so that a wrong constant fails and the draw of a seed does not.

use std::time::Duration;

use loadgen::{
    media::impair::{Impairment, PROFILES, Profile},
    time::Nanos,
};

const PACKETS: u64 = 200_000;
const SIGMAS: f64 = 4.0;
/// So far apart that no packet meets the one before.
const FAR: u64 = 10_000_000_000;

fn profile(text: &str) -> Profile {
    text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

fn fates(profile: Profile, number: u32, apart: u64) -> Vec<(u64, [Option<Nanos>; 2])> {
    let mut network = Impairment::new(profile, 11, number);
    (0..PACKETS).map(|packet| (packet * apart, network.arrivals(Nanos(packet * apart), 176))).collect()
}

fn lossy() -> impl Iterator<Item = (String, Profile)> {
    let named = PROFILES.iter().map(|(name, _)| (*name).to_owned());
    let written = ["loss=1%", "loss=5%,burst=4", "loss=20%,burst=2", "loss=2%,burst=10"].map(str::to_owned);
    named.chain(written).map(|text| (text.clone(), profile(&text))).filter(|(_, profile)| profile.loss > 0.0)
}

#[test]
fn gilbert_and_elliotts_chain_loses_its_share_in_runs_of_its_length() {
    for (name, profile) in lossy() {
        let lost: Vec<bool> = fates(profile, 5, FAR).iter().map(|(_, fate)| fate[0].is_none()).collect();
        let count = lost.iter().filter(|lost| **lost).count() as f64;
        let runs = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        let (p, n) = (profile.loss, PACKETS as f64);
        let burst = if profile.burst > 1.0 { profile.burst } else { 1.0 / (1.0 - p) };
        // Neighbours of a two-state chain correlate with 1 − leave − enter.
        let leave = 1.0 / burst;
        let correlation = 1.0 - leave - p * leave / (1.0 - p);
        let deviation = (n * p * (1.0 - p) * (1.0 + correlation) / (1.0 - correlation)).sqrt();
        assert!((count - n * p).abs() < SIGMAS * deviation, "{name}: lost {count} of {n}, expected {}", n * p);
        // Runs are geometric with this mean.
        let deviation = (burst * (burst - 1.0) / runs).sqrt();
        assert!((count / runs - burst).abs() < SIGMAS * deviation + 1e-3, "{name}: runs of {}", count / runs);
    }
}

#[test]
fn delay_and_jitter_have_their_means() {
    for text in ["delay=40ms,jitter=10ms", "delay=5ms,jitter=4ms", "jitter=30ms", "delay=280ms"] {
        let profile = profile(text);
        let taken: Vec<f64> = fates(profile, 6, FAR)
            .iter()
            .filter_map(|(at, fate)| Some(fate[0]?.since(Nanos(*at)).as_secs_f64()))
            .collect();
        let mean = taken.iter().sum::<f64>() / taken.len() as f64;
        let jitter = profile.jitter.as_secs_f64();
        let deviation = jitter / (taken.len() as f64).sqrt(); // of an exponential
        let expected = profile.delay.as_secs_f64() + jitter;
        assert!((mean - expected).abs() <= SIGMAS * deviation + 1e-8, "{text}: {mean} s");
        assert!(taken.iter().all(|taken| *taken >= profile.delay.as_secs_f64()), "{text}");
    }
}

#[test]
fn duplicates_and_overtaking_have_their_shares() {
    let check = |what: &str, count: usize, share: f64| {
        let n = PACKETS as f64;
        let deviation = (n * share * (1.0 - share)).sqrt();
        assert!((count as f64 - n * share).abs() < SIGMAS * deviation, "{what}: {count} of {n}");
    };
    for share in [0.005, 0.05] {
        let copies = fates(profile(&format!("dup={share}")), 7, FAR);
        check("duplicates", copies.iter().filter(|(_, fate)| fate[1].is_some()).count(), share);
        // A microsecond apart with 40 ms of jitter, whatever may overtake does.
        let mut latest = Nanos::ZERO;
        let text = format!("delay=1ms,jitter=40ms,reorder={share}");
        let fates = fates(profile(&text), 8, 1_000);
        let early = fates.iter().filter_map(|(_, fate)| fate[0]).filter(|at| {
            let early = *at < latest;
            latest = latest.max(*at);
            early
        });
        check("overtaking", early.count(), share);
    }
}

#[test]
fn a_full_link_carries_exactly_its_rate() {
    for rate in [64e3, 200e3, 1e6] {
        let profile = Profile { rate, ..Profile::default() };
        // Twice as much as fits.
        let apart = (176.0 * 8.0 / rate / 2.0 * 1e9) as u64;
        let through: Vec<Nanos> = fates(profile, 9, apart).iter().filter_map(|(_, fate)| fate[0]).collect();
        let length = Duration::from_nanos(PACKETS * apart).as_secs_f64();
        let carried = through.len() as f64 * 176.0 * 8.0 / length;
        assert!((carried / rate - 1.0).abs() < 0.01, "{rate} bit/s: {carried}");
    }
}

#[test]
fn callers_meet_different_networks_of_the_same_kind() {
    let lost = |number| fates(profile("loss=10%"), number, FAR).iter().map(|(_, f)| f[0].is_none()).collect::<Vec<_>>();
    let (one, two) = (lost(1), lost(2));
    assert_eq!(one, lost(1));
    let both = one.iter().zip(&two).filter(|(a, b)| **a && **b).count() as f64;
    let (n, p) = (PACKETS as f64, 0.01);
    assert!((both - n * p).abs() < SIGMAS * (n * p * (1.0 - p)).sqrt(), "losses of two callers correlate: {both}");
}

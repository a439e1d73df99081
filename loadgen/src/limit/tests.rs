//! The search against servers that exist in arithmetic only.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;

use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

use super::*;

const SEARCH: Search = Search { from: 10.0, resolution: 0.05, confirm: 3, at_most: Duration::from_secs(100_000) };

fn point(purpose: &'static str, offered: f64, held: Held, who: Option<Who>) -> Point {
    Point {
        purpose,
        offered,
        carried: offered,
        success: 1.0,
        p50: None,
        p99: None,
        held,
        who,
        reasons: who.map(|who| who.name().to_owned()).into_iter().collect(),
        server_processors: None,
        headroom: 1.0,
        stolen: 0.0,
    }
}

/// A server that carries `limit`, give or take `noise` of it, seen by a generator that carries `generator`.
fn found(limit: f64, noise: f64, generator: f64, search_by: Search, seed: u64) -> Found {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let elapsed = Cell::new(Duration::ZERO);
    search(search_by, &|| elapsed.get(), &mut |purpose, rate| {
        elapsed.set(elapsed.get() + Duration::from_secs(5));
        let wobble = 1.0 + noise * (f64::from(random.next_u32()) / f64::from(u32::MAX) * 2.0 - 1.0);
        Ok(if rate > generator {
            point(purpose, rate, Held::Generator, Some(Who::Generator))
        } else if rate > limit * wobble {
            point(purpose, rate, Held::Missed, Some(Who::ServerCpu))
        } else {
            point(purpose, rate, Held::Carried, None)
        })
    })
    .unwrap()
}

#[test]
fn a_limit_is_enclosed_from_wherever_one_begins() {
    for (limit, from) in [(730.0, 10.0), (730.0, 3000.0), (12.0, 10.0), (3.0, 800.0)] {
        let found = found(limit, 0.0, f64::MAX, Search { from, ..SEARCH }, 1);
        let (low, high) = (found.low.unwrap(), found.high.unwrap());
        assert!(low <= limit && limit < high && high / low <= 1.051 && found.confirmed, "{limit} {from}: {low} {high}");
        assert_eq!(found.who, Some(Who::ServerCpu));
    }
}

#[test]
fn a_generator_that_gives_out_first_is_named() {
    let found = found(5000.0, 0.0, 300.0, SEARCH, 1);
    assert!(found.low.unwrap() <= 300.0 && found.generators_high().unwrap() > 300.0);
    assert_eq!(found.servers_high(), None, "the server may carry more");
    assert_eq!((found.who, found.reasons.as_slice()), (Some(Who::Generator), &["the generator".to_owned()][..]));
}

#[test]
fn a_generator_is_believed_at_once_where_it_was_at_fault_three_times() {
    let found = found(5000.0, 0.0, 300.0, SEARCH, 1);
    let least = found.points.iter().filter(|point| point.held == Held::Generator).map(|point| point.offered);
    let least = least.fold(f64::INFINITY, f64::min);
    let windows = |rate: f64| found.points.iter().filter(|point| point.offered == rate).count();
    assert_eq!(found.points.iter().find(|point| point.offered > 300.0).map(|point| windows(point.offered)), Some(3));
    assert_eq!(windows(least), 3 + SEARCH.confirm as usize, "{:?}", found.points);
    assert!(found.confirmed);
}

/// Bursts of theft half of the time: they lengthen the search and do not move its answer.
#[test]
fn what_was_disturbed_is_measured_again_and_blames_nobody() {
    let elapsed = Cell::new(0);
    let found = search(SEARCH, &|| Duration::from_secs(elapsed.get()), &mut |purpose, rate| {
        elapsed.set(elapsed.get() + 5);
        Ok(match (elapsed.get() / 30 % 2 == 1, rate > 730.0) {
            (true, _) => point(purpose, rate, Held::Disturbed, Some(Who::Generator)),
            (false, true) => point(purpose, rate, Held::Missed, Some(Who::ServerCpu)),
            (false, false) => point(purpose, rate, Held::Carried, None),
        })
    });
    let found = found.unwrap();
    let (low, high) = (found.low.unwrap(), found.high.unwrap());
    assert!(low <= 730.0 && 730.0 < high && high / low <= 1.051 && found.confirmed, "{low} {high}");
    assert_eq!(found.who, Some(Who::ServerCpu));
}

#[test]
fn a_machine_that_is_never_ours_carries_nothing_and_the_search_ends() {
    let always = search(SEARCH, &|| Duration::ZERO, &mut |purpose, rate| {
        Ok(point(purpose, rate, Held::Disturbed, Some(Who::Generator)))
    });
    let found = always.unwrap();
    assert!(found.low.is_none() && !found.confirmed && found.points.len() < 100, "{}", found.points.len());
}

#[test]
fn intervals_of_a_noisy_server_overlap() {
    let found: Vec<(f64, f64)> = (0..10)
        .map(|seed| found(500.0, 0.15, f64::MAX, SEARCH, seed))
        .map(|found| (found.low.unwrap(), found.high.unwrap()))
        .collect();
    let highest_low = found.iter().map(|(low, _)| *low).fold(0.0, f64::max);
    let overlapping = found.iter().filter(|(_, high)| *high >= highest_low).count();
    assert!(overlapping >= 9, "{found:?}");
}

#[test]
fn a_server_without_a_limit_has_no_upper_end_and_one_that_carries_nothing_no_lower() {
    let endless = found(1e9, 0.0, f64::MAX, SEARCH, 1);
    assert_eq!((endless.low, endless.high, endless.who), (Some(MOST), None, None));
    let dead = found(0.0, 0.0, f64::MAX, SEARCH, 1);
    assert_eq!((dead.low, dead.who), (None, Some(Who::ServerCpu)));
    assert!(!dead.confirmed);
}

#[test]
fn the_time_is_kept_and_what_is_known_by_then_is_said() {
    let hurried = found(730.0, 0.0, f64::MAX, Search { at_most: Duration::from_secs(45), ..SEARCH }, 1);
    assert!(hurried.points.len() <= 9 && !hurried.confirmed);
    assert!(hurried.low.unwrap() <= 730.0 && hurried.high.unwrap() > 730.0);
}

//! What is called what, and how often chance is called a regression.
#![allow(clippy::unwrap_used)]

use rand::RngCore;
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

use super::*;

fn asked(key: &str, margin: f64, gated: bool) -> Asked {
    Asked { metric: Metric::find(key).unwrap(), margin, gated }
}

fn pairs(ratios: &[f64]) -> Rounds {
    Rounds::Pairs(ratios.iter().map(|ratio| (10.0, 10.0 * ratio)).collect())
}

fn finding(ratios: &[f64]) -> Finding {
    judge(&[(asked("cpu/packet", 0.03, true), pairs(ratios))], 1)[0].finding
}

#[test]
fn clear_cases_are_called_what_they_are() {
    assert_eq!(finding(&[1.10, 1.11, 1.09, 1.12, 1.10, 1.08]), Finding::Regressed);
    assert_eq!(finding(&[0.90, 0.89, 0.91, 0.92, 0.90, 0.88]), Finding::Improved);
    assert_eq!(finding(&[1.00, 1.01, 0.99, 1.005, 0.995, 1.0]), Finding::Equivalent);
    assert_eq!(finding(&[0.95, 0.96, 1.00, 0.94, 1.01, 0.97]), Finding::NotWorse);
    assert_eq!(finding(&[0.8, 1.3, 1.0, 0.7, 1.2, 1.1]), Finding::Unclear);
    assert_eq!(finding(&[1.5]), Finding::Unclear, "one round shows no noise");
}

#[test]
fn worse_within_the_margin_is_no_regression_and_success_is_worse_when_it_falls() {
    assert_eq!(finding(&[1.02; 8]), Finding::Equivalent);
    let fell = Rounds::Pairs(vec![(1.0, 0.9); 6]);
    let compared = judge(&[(asked("success", 0.005, true), fell)], 1);
    assert_eq!(compared[0].finding, Finding::Regressed);
    assert!((compared[0].ratio - 0.9).abs() < 1e-9);
}

#[test]
fn holm_asks_more_of_each_when_more_are_gated() {
    let five = pairs(&[1.10, 1.11, 1.09, 1.12, 1.10]);
    let alone = judge(&[(asked("cpu/packet", 0.03, true), five.clone())], 1);
    assert_eq!(alone[0].finding, Finding::Regressed);
    let quiet = || pairs(&[1.0; 5]);
    let three = [
        (asked("cpu/packet", 0.03, true), five),
        (asked("setup.p50", 0.1, true), quiet()),
        (asked("cpu/call", 0.1, true), quiet()),
    ];
    let judged = judge(&three, 1);
    assert_eq!(judged[0].finding, Finding::Unclear, "1/32 is not below .05/3");
    assert!((judged[0].p_holm.unwrap() - 3.0 / 32.0).abs() < 1e-9);
    assert_eq!((fewest_pairs(1), fewest_pairs(3), fewest_pairs(6)), (5, 6, 7));
}

#[test]
fn a_round_that_lies_far_out_is_flagged_and_kept() {
    let compared = judge(&[(asked("cpu/packet", 0.03, true), pairs(&[1.0, 1.01, 0.99, 1.0, 1.01, 0.99, 1.9]))], 1);
    assert_eq!((compared[0].far_out.as_slice(), compared[0].rounds), (&[6][..], 7));
}

#[test]
fn sides_that_are_not_paired_are_compared_by_their_medians() {
    let sides = |head: f64| Rounds::Sides {
        base: vec![10.0, 10.1, 9.9, 10.05, 9.95],
        head: [1.0, 1.01, 0.99, 1.005, 0.995].map(|of| 10.0 * of * head).to_vec(),
    };
    let finding = |head: f64| judge(&[(asked("cpu/packet", 0.03, true), sides(head))], 1)[0].finding;
    assert_eq!(
        (finding(1.1), finding(1.0), finding(0.9)),
        (Finding::Regressed, Finding::Equivalent, Finding::Improved)
    );
}

/// A pair of rounds on a machine whose speed drifts: what both share cancels, what each has of its own does not.
fn drifting(random: &mut ChaCha12Rng, pairs: usize, own: f64, change: f64) -> Rounds {
    let mut normal = || {
        let mut unit = || (f64::from(random.next_u32()) + 0.5) / 4_294_967_296.0;
        (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()
    };
    let mut speed = 0.0;
    let rounds = (0..pairs).map(|_| {
        speed = 0.9 * speed + 0.05 * normal();
        (f64::exp(speed + own * normal()) * 10.0, f64::exp(speed + own * normal()) * 10.0 * (1.0 + change))
    });
    Rounds::Pairs(rounds.collect())
}

/// How many of `trials` comparisons with three gated metrics call the first one, or any, a regression.
fn called(trials: u64, pairs: usize, own: f64, change: f64, margin: f64) -> (usize, usize) {
    let mut random = ChaCha12Rng::seed_from_u64(11);
    let verdicts = (0..trials).map(|trial| {
        let judged = judge(
            &[
                (asked("cpu/packet", margin, true), drifting(&mut random, pairs, own, change)),
                (asked("cpu/call", margin, true), drifting(&mut random, pairs, own, 0.0)),
                (asked("setup.p50", margin, true), drifting(&mut random, pairs, own, 0.0)),
            ],
            trial,
        );
        let regressed = |of: &Compared| of.finding == Finding::Regressed;
        (regressed(&judged[0]), judged.iter().any(regressed))
    });
    verdicts.fold((0, 0), |(first, any), (a, b)| (first + usize::from(a), any + usize::from(b)))
}

/// Nominal for the family is one in twenty, without any margin; 300 trials of that stay below 26 but for one in two hundred.
#[test]
fn chance_is_called_a_regression_no_more_often_than_it_may() {
    for pairs in [6, 8, 12] {
        let (_, any) = called(300, pairs, 0.03, 0.0, 0.0);
        assert!(any <= 25, "{any} of 300 with {pairs} pairs");
    }
    let (_, any) = called(300, 8, 0.03, 0.0, 0.03);
    assert_eq!(any, 0, "with a margin there is next to none");
}

#[test]
fn a_real_slowdown_is_found() {
    let (found, _) = called(200, 8, 0.01, 0.10, 0.03);
    assert_eq!(found, 200, "10 % beside 1 % of noise");
    let (found, _) = called(200, 12, 0.03, 0.10, 0.03);
    assert!(found >= 170, "{found} of 200: 10 % beside 3 % of noise");
}

/// The pairs of a recorded experiment (loadgen/docs/RESULTS.md), by comparison, with the verdict of the day.
fn recorded(name: &str) -> Vec<(String, Vec<(f64, f64)>)> {
    let file = format!("{}/../benches/compare/recorded/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let number = |row: &[&str], at: usize| row[at].parse::<f64>().unwrap();
    let of_one = |rows: &[Vec<&str>]| {
        let pairs = rows.iter().map(|row| (number(row, 3), number(row, 4))).collect();
        (rows[0][1].to_owned(), pairs)
    };
    rows.chunk_by(|a, b| a[0] == b[0]).map(of_one).collect()
}

#[test]
fn what_was_recorded_is_judged_as_on_the_day() {
    const PAIRS: usize = 6;
    for (name, comparisons, found) in [("itself", 149, 0), ("slower-by-6", 59, 58), ("slower-by-10", 76, 76)] {
        let recorded = recorded(name);
        assert_eq!(recorded.len(), comparisons, "{name}");
        let mut regressed = 0;
        for (number, (word, pairs)) in recorded.into_iter().enumerate() {
            regressed += usize::from(word == "REGRESSED");
            if pairs.len() > PAIRS {
                continue; // some of these did not count, which the generators of that day knew
            }
            let judged = judge(&[(asked("cpu/packet", 0.03, true), Rounds::Pairs(pairs))], super::super::SEED);
            let today = match judged[0].finding {
                Finding::Regressed => "REGRESSED",
                Finding::Unclear => "INCONCLUSIVE",
                Finding::Improved | Finding::Equivalent | Finding::NotWorse => "PASS",
            };
            assert_eq!(today, word, "{name}, comparison {}: p {}", number + 1, judged[0].p);
        }
        assert_eq!(regressed, found, "{name}");
    }
}

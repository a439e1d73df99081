#![allow(clippy::unwrap_used)]
use super::*;

fn simulate(file: &str) -> Simulation {
    run(&Scenario::resolve(file, &[]).unwrap()).unwrap()
}

#[test]
fn the_same_seed_makes_the_same_decisions_and_another_does_not() {
    for file in ["", "[arrivals]\nusers = 200", "[peer.mix]\nblock_share = 0.5\nblocks_each = 50"] {
        let (one, two) = (simulate(file), simulate(file));
        assert!(one.pairs > 100, "{file}: {}", one.pairs);
        assert_eq!((&one.schedule_hash, &one.digest), (&two.schedule_hash, &two.digest), "{file}");
        let other = simulate(&format!("seed = 43\n{file}"));
        assert_ne!(one.digest, other.digest, "{file}");
    }
}

#[test]
fn every_pair_is_lawful_and_nobody_is_lost() {
    let crowd = "[arrivals]\ncalls_per_second = 200.0\n[peer]\npatience = \"exp:2s\"\n\
                 [peer.mix]\npicky_share = 0.5\nblock_share = 0.3\nrequire_share = 0.3\n";
    let simulation = simulate(crowd);
    assert!(simulation.violations.is_empty(), "{:?}", simulation.violations);
    assert_eq!(simulation.pairs * 2 + simulation.gave_up + simulation.waiting, simulation.callers);
    assert!(simulation.gave_up > 0 && simulation.pairs > 1000);
}

#[test]
fn with_nobody_picky_the_wait_is_that_of_theory() {
    let alike = "[arrivals]\ncalls_per_second = 5.0\nfor = \"2000s\"\n[peer.mix]\nlevels = [0, 0, 1, 0, 0, 0]\n\
                 bands = [0, 0, 1]\npicky_share = 0\ntopics_share = 0\nblock_share = 0\n";
    let simulation = simulate(alike);
    // Every second caller waits Exp(λ) for the next, λ = 10 a second: p99 = ln 50 / λ, mean 1 / 2λ.
    let p99 = simulation.wait.percentile_millis(99.0).unwrap();
    assert!((p99 / (50f64.ln() * 100.0) - 1.0).abs() < 0.1, "{p99}");
    let mean = simulation.wait.mean_millis().unwrap();
    assert!((mean - 50.0).abs() < 3.0, "{mean}");
}

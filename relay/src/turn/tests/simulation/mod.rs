//! Two clients, a server and a network that loses, delays, reorders and repeats, in virtual time from a seed.
//!
//! [`honest`] is the client, [`network`] the weather, [`server`] the server with everything that must hold at every step,
//! and [`shadow`] what the server has granted so far, read off its answers.
//!
//! `SIMULATION_SEED=7 cargo test -p relay --lib simulation` plays one seed again.

mod honest;
mod network;
mod server;
mod shadow;

use server::Simulation;

/// Seeds of the ordinary run, and with `LONG=1`.
const SEEDS: u64 = 300;
const MANY_SEEDS: u64 = 10_000;

#[test]
fn every_seed_ends_well_whatever_the_network_does() {
    let seeds = match (std::env::var("SIMULATION_SEED"), std::env::var_os("LONG")) {
        (Ok(seed), _) => {
            let seed = seed.parse().expect("a number in SIMULATION_SEED");
            seed..seed + 1
        }
        (_, Some(_)) => 0..MANY_SEEDS,
        (_, None) => 0..SEEDS,
    };
    let mut events = 0;
    for seed in seeds {
        match std::panic::catch_unwind(|| Simulation::new(seed).run()) {
            Ok(steps) => events += steps,
            Err(_) => panic!("seed {seed} went wrong; SIMULATION_SEED={seed} plays it again"),
        }
    }
    assert!(events > 0, "something happened");
}

#[test]
fn a_seed_always_plays_the_same() {
    assert_eq!(Simulation::new(7).run(), Simulation::new(7).run());
}

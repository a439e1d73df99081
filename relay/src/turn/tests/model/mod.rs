//! Random lives of a server against a model of it.
//!
//! [`reference`] and [`delivery`] are the model: what RFC 8656 says of allocations, permissions and channels, and what this server adds (calls,
//! quotas), in plain maps and moments, sharing no code with the machine. [`action`] says what may happen; [`drive`] makes it
//! happen to both and compares every answer, every packet, every socket and every port.

mod action;
mod asked;
mod asking;
mod cast;
mod delivery;
mod drive;
mod reference;

use proptest::prelude::*;

use action::{Action, life};
use drive::Driver;

/// Lives of the ordinary run; `LONG=1` makes it a hundred times as many.
const LIVES: u32 = 1_200;

fn lives() -> u32 {
    if std::env::var_os("LONG").is_some() { LIVES * 100 } else { LIVES }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_and_every_delivery_is_what_the_rfc_says(quota in 1_u32..4, life in life()) {
        let mut driver = Driver::new(quota);
        for action in &life {
            driver.act(action);
        }
        driver.finish();
    }
}

/// The generator must reach what it is for: a model that is only ever refused proves nothing.
#[test]
fn random_lives_get_far() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = cast::Seen::default();
    for turn in 0..150 {
        let life: Vec<Action> = life().new_tree(&mut runner).unwrap().current();
        let mut driver = Driver::new(1 + turn % 3);
        life.iter().for_each(|action| driver.act(action));
        driver.finish();
        seen.add(&driver.seen);
    }
    for code in [0, 400, 401, 403, 420, 437, 438, 441, 442, 443, 486, 508] {
        assert!(seen.codes.get(&code).is_some_and(|&times| times > 0), "{code} is never answered: {seen:?}");
    }
    assert!(seen.to_peers > 20 && seen.from_outside > 10 && seen.hairpins > 20 && seen.in_calls > 5, "{seen:?}");
}

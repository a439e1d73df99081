#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ONE: [AddressId; 1] = [AddressId(0)];
const ANN: PersonHash = PersonHash(1);
const NOON: Millis = Millis(0);

fn ports(range: RangeInclusive<u16>) -> Ports {
    Ports::new(1, &range, 100, [3; 32])
}

#[test]
fn each_port_of_the_range_is_handed_out_once() {
    let ports = ports(1024..=1123);
    let taken: BTreeSet<_> = (0..100).map(|_| ports.take(&ONE, Wish::Any, NOON).unwrap().port).collect();
    assert_eq!((taken.len(), taken.first(), taken.last()), (100, Some(&1024), Some(&1123)));
    assert_eq!(ports.take(&ONE, Wish::Any, NOON), None);
}

#[test]
fn the_last_port_of_all_can_be_held_and_has_no_pair() {
    let ports = ports(65_534..=65_535);
    let (first, token) = ports.take_pair(&ONE, ANN, 9, NOON).unwrap();
    assert_eq!(first.port, 65_534);
    assert_eq!(ports.redeem(&token, NOON).unwrap().port, 65_535);
    ports.give_back(first);
    assert_eq!(ports.take_pair(&ONE, ANN, 9, NOON), None, "its neighbour is held");
}

#[test]
fn a_pair_is_found_in_a_nearly_full_range() {
    let ports = ports(50_000..=50_999);
    let all: Vec<_> = (0..1000).map(|_| ports.take(&ONE, Wish::Any, NOON).unwrap()).collect();
    assert_eq!(ports.take_pair(&ONE, ANN, 9, NOON), None);
    for port in all.iter().filter(|p| p.port == 50_401 || p.port == 50_402 || p.port == 50_403) {
        ports.give_back(*port);
    }
    assert_eq!(ports.take_pair(&ONE, ANN, 9, NOON).unwrap().0.port, 50_402, "50 401 and 50 402 are no pair");
}

/// The route table is as large as the chunks that are in use: 750 ports are held in the end, in six chunks of 128.
#[test]
fn virtual_ports_lie_together_and_in_chunks_nobody_can_foretell() {
    let chunks = |seed| {
        let ports = Ports::new(1, &(1024..=65_535), 0, [seed; 32]);
        let mut chunks = BTreeSet::new();
        for turn in 0..1000 {
            let port = ports.take(&ONE, Wish::Virtual, NOON).unwrap();
            chunks.insert(chunk_of(port.port));
            if turn % 4 == 0 {
                ports.give_back(port);
            }
        }
        chunks
    };
    let (one, other) = (chunks(1), chunks(2));
    assert_eq!(one.len(), 6, "{one:?}");
    assert_ne!(one, other);
}

#[test]
fn whoever_comes_after_a_crowd_lies_together_again() {
    let ports = ports(1024..=65_535);
    let take = |count| (0..count).map(|_| ports.take(&ONE, Wish::Virtual, NOON).unwrap()).collect::<Vec<_>>();
    let crowd = take(50_000);
    crowd.iter().for_each(|port| ports.give_back(*port));
    crowd.iter().for_each(|port| ports.give_back(*port)); // giving back a free port changes nothing
    let after: BTreeSet<_> = take(1000).iter().map(|port| chunk_of(port.port)).collect();
    assert_eq!(after.len(), 8, "{after:?}");
    assert_eq!(ports.free(AddressId(0)), 65_536 - 1024 - 1000);
}

#[test]
fn virtual_ports_are_taken_beside_the_real_ones_until_there_is_none() {
    let ports = ports(50_000..=50_299);
    let wish = |turn: u32| if turn.is_multiple_of(2) { Wish::Virtual } else { Wish::Any };
    let taken: BTreeSet<_> = (0..300).map(|turn| ports.take(&ONE, wish(turn), NOON).unwrap().port).collect();
    assert_eq!(taken.len(), 300);
    assert_eq!(ports.take(&ONE, Wish::Virtual, NOON), None);
}

#[test]
fn the_second_address_is_used_when_the_first_is_full() {
    let ports = Ports::new(2, &(50_000..=50_004), 0, [3; 32]);
    let both = [AddressId(0), AddressId(1)];
    let taken: BTreeSet<_> = (0..10).map(|_| ports.take(&both, Wish::Any, NOON).unwrap()).collect();
    assert_eq!(taken.len(), 10);
    assert_eq!(ports.take(&both, Wish::Any, NOON), None);
}

#[test]
fn another_seed_gives_other_ports_and_the_same_seed_the_same() {
    let draw = |seed| {
        let ports = Ports::new(1, &(49_152..=65_535), 0, [seed; 32]);
        (0..20).map(|_| ports.take(&ONE, Wish::Any, NOON).unwrap().port).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take(Wish),
    Pair,
    Redeem(usize),
    Cancel(usize),
    GiveBack(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop_oneof![Just(Wish::Any), Just(Wish::Even), Just(Wish::Virtual)].prop_map(Step::Take),
        Just(Step::Pair),
        (0..8_usize).prop_map(Step::Redeem),
        (0..8_usize).prop_map(Step::Cancel),
        (0..16_usize).prop_map(Step::GiveBack),
        (0..20_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Against the simplest model there is: the set of ports somebody holds.
    #[test]
    fn ports_in_equal_ports_out(steps in prop::collection::vec(step(), 0..80)) {
        let ports = ports(2000..=2019);
        let (mut now, mut held, mut tokens) = (Millis(0), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Take(wish) => {
                    let port = ports.take(&ONE, wish, now);
                    prop_assert!(port.is_some() || wish == Wish::Even || ports.free(AddressId(0)) == 0);
                    if let Some(port) = port {
                        prop_assert!(wish != Wish::Even || port.port % 2 == 0);
                        prop_assert!(!held.contains(&port), "handed out twice");
                        held.push(port);
                    }
                }
                Step::Pair => if let Some((port, token)) = ports.take_pair(&ONE, ANN, 4, now) {
                    prop_assert!(port.port % 2 == 0 && !held.contains(&port));
                    held.push(port);
                    tokens.push((token, RelayedPort { port: port.port + 1, ..port }, now));
                },
                Step::Redeem(n) if n < tokens.len() => {
                    let (token, expected, since) = tokens.remove(n);
                    let redeemed = ports.redeem(&token, now);
                    prop_assert_eq!(redeemed, (now.since(since) < RESERVATION_MILLIS).then_some(expected));
                    held.extend(redeemed);
                }
                Step::Cancel(n) if n < tokens.len() => ports.cancel(&tokens.remove(n).0),
                Step::GiveBack(n) if n < held.len() => ports.give_back(held.swap_remove(n)),
                Step::Wait(millis) => now = now.after(millis),
                _ => {}
            }
            ports.expire(now);
            tokens.retain(|(_, _, since)| now.since(*since) < RESERVATION_MILLIS);
            prop_assert_eq!(ports.free(AddressId(0)), 20 - held.len() - tokens.len());
        }
        ports.expire(now.after(RESERVATION_MILLIS));
        held.into_iter().for_each(|port| ports.give_back(port));
        prop_assert_eq!(ports.free(AddressId(0)), 20);
        let inner = ports.lock();
        prop_assert_eq!(inner.pools[0].together.len(), if inner.pools[0].chunks.is_empty() { 0 } else { 20 });
        prop_assert!(inner.reserved.is_empty() && inner.ending.is_empty() && inner.holders.is_empty());
    }
}

#[test]
fn another_range_is_handed_out_from_then_on_and_no_port_twice() {
    let ports = Ports::new(1, &(50_000..=50_003), 10, [1; 32]);
    let take = || ports.take(&[AddressId(0)], Wish::Any, Millis(1)).map(|port| port.port);
    let held = take().unwrap();
    ports.set_range(&(50_002..=50_005));
    let mut now: Vec<u16> = std::iter::from_fn(take).collect();
    now.sort_unstable();
    let expected: Vec<u16> = (50_002..=50_005).filter(|port| *port != held).collect();
    assert_eq!(now, expected);
    // And back: what is held is still not free, whether it is in the range or not.
    ports.set_range(&(50_000..=50_001));
    assert_eq!(std::iter::from_fn(take).count(), if held < 50_002 { 1 } else { 2 });
    let at = |port| RelayedPort { address: AddressId(0), port };
    ports.give_back(at(50_005));
    ports.set_range(&(50_004..=50_005));
    assert_eq!((take(), take()), (Some(50_005), None));
}

//! A node by itself decides as the local matchmaker does, on any tape.

use std::sync::Arc;

use crate::cluster::{Cluster, Counters, NodeId, Output, Peer, Settings};
use crate::matchmaking::tests::tape::{Event, POOLS, Tape};
use crate::matchmaking::{Match, Matchmaker, Policy};
use crate::time::{Millis, Now};

fn at(now: Millis) -> Now {
    Now { mono: now, ..Now::default() }
}

pub(super) fn policy(seed: u64) -> Policy {
    Policy {
        minor_bands_meet: seed % 2 == 1,
        patience: [0, 3][seed as usize / 2 % 2],
        max_tickets: 300,
        ..Policy::default()
    }
}

fn paired(cluster: &mut Cluster) -> Vec<Match> {
    let outputs = std::iter::from_fn(|| cluster.poll_output());
    let pair = |output| match output {
        Output::Paired(pair) => pair,
        other => panic!("a node by itself says {other:?}"),
    };
    outputs.map(pair).collect()
}

fn play(seed: u64, joins: bool) -> usize {
    let mut local = Matchmaker::new(policy(seed));
    let me = Peer { node: NodeId(7), incarnation: 1 };
    let settings = Settings { joins, ..Settings::alone(policy(seed)) };
    let mut cluster = Cluster::new(settings, at(Millis(0)), me, Arc::new(Counters::default()));
    let mut tape = Tape::new(seed);
    let (mut latest, mut made) = (Millis(0), 0);
    for step in 0..1_500 {
        let (now, event) = tape.next();
        latest = latest.max(now);
        let now = at(latest);
        match event {
            Event::Enqueue { pool, ticket } => {
                let refused = local.enqueue(latest, POOLS[pool], ticket.clone());
                assert_eq!(cluster.enqueue(now, POOLS[pool], ticket), refused, "seed {seed}, step {step}");
            }
            Event::Cancel(id) => assert_eq!(cluster.cancel(now, id), local.cancel(id)),
            Event::Tune(id, criteria) => {
                assert_eq!(
                    cluster.tune(now, id, criteria),
                    local.tune(latest, id, criteria),
                    "seed {seed}, step {step}"
                );
                assert_eq!((cluster.position(now, id), cluster.hint(id)), (local.position(latest, id), local.hint(id)));
            }
            Event::Avoid(id, person) => assert_eq!(cluster.avoid(now, id, person), local.avoid(id, person)),
            Event::Wait => {
                while local.poll_timeout().is_some_and(|due| due <= latest) {
                    local.handle_timeout(latest);
                }
                while cluster.poll_timeout().is_some_and(|due| due <= latest) {
                    cluster.handle_timeout(now);
                }
            }
        }
        let pairs: Vec<Match> = std::iter::from_fn(|| local.poll_match()).collect();
        made += pairs.len();
        let mut outputs: Vec<Output> = std::iter::from_fn(|| cluster.poll_output()).collect();
        outputs.retain(|output| !matches!(output, Output::Send { .. }) || !joins);
        let of_cluster: Vec<Output> = pairs.into_iter().map(Output::Paired).collect();
        assert_eq!(outputs, of_cluster, "seed {seed}, step {step}");
        assert_eq!(cluster.waiting(), local.waiting());
        if !joins {
            assert_eq!(cluster.poll_timeout(), local.poll_timeout(), "seed {seed}, step {step}");
        }
    }
    assert!(paired(&mut cluster).is_empty());
    made
}

#[test]
fn a_node_by_itself_is_the_local_matchmaker() {
    let made: usize = (0..40).map(|seed| play(seed, false)).sum();
    assert!(made > 5_000, "only {made} pairs were compared");
}

#[test]
fn a_node_that_hears_nobody_is_one_by_itself() {
    assert!((0..10).map(|seed| play(seed, true)).sum::<usize>() > 1_000);
}

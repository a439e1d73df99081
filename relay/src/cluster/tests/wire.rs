//! What arrives is judged: by bytes, by sender, by sense.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::behaviour::{Nodes, at, peer};
use crate::cluster::attributes::Attributes;
use crate::cluster::message::{Announcement, MAX_NAMED, MAX_OPS, Op, Pair, QueueKey, Seat};
use crate::cluster::{
    Body, CallId, Denial, Envelope, Load, Luggage, MAX_LUGGAGE_BYTES, NodeId, Peer, Told, Turned, Unreadable, VERSION,
};
use crate::matchmaking::tests::tape::{Event, Tape};
use crate::matchmaking::{Ticket, TicketId};
use crate::time::Millis;

fn tickets(seed: u64) -> Vec<Ticket> {
    let mut tape = Tape::new(seed);
    let events = (0..400).map(|_| tape.next().1);
    events.filter_map(|event| if let Event::Enqueue { ticket, .. } = event { Some(ticket) } else { None }).collect()
}

fn pair(rng: &mut StdRng) -> Pair {
    let mut seat = |node: usize| Seat {
        home: peer(node),
        number: rng.random_range(0..20),
        epoch: rng.random_range(0..4),
        stage: rng.random_range(0..4),
    };
    let (decider, follower) = (seat(0), seat(1));
    let (decider, follower) = if rng.random_bool(0.5) { (decider, follower) } else { (follower, decider) };
    let queue = crate::cluster::attributes::queue_of("general", crate::matchmaking::Band::Adult, false);
    let queue = if rng.random_bool(0.9) { queue } else { QueueKey(rng.random()) };
    Pair { call: call(rng), queue, decider, follower, decider_waited: rng.random() }
}

fn call(rng: &mut StdRng) -> CallId {
    CallId { owner: peer(rng.random_range(0..2)), number: rng.random_range(0..20) }
}

/// Anything a node of this version could say, whether or not it makes sense.
fn body(rng: &mut StdRng, tickets: &[Ticket]) -> Body {
    let numbers = |rng: &mut StdRng| (0..rng.random_range(0..5)).map(|_| rng.random_range(0..20)).collect::<Vec<u64>>();
    let luggage = |rng: &mut StdRng| Luggage(vec![7; rng.random_range(0..50)]);
    let relay = NodeId(rng.random_range(0..3));
    match rng.random_range(0..17) {
        0 => Body::Heartbeat(Load { room: rng.random(), calls: rng.random(), draining: rng.random() }),
        1 => Body::Again { row: rng.random_range(0..4) },
        2 => Body::Release { tickets: numbers(rng) },
        3 => Body::Turned { ticket: rng.random_range(0..20), epoch: rng.random_range(0..4), why: Turned::Full },
        4 => Body::Ask { tickets: numbers(rng), hints: rng.random() },
        5 => {
            let hint = Some((rng.random(), 5));
            let told = |number| Told { number, ahead: 3, stage: 1, eta: Some((1, 2)), hint };
            Body::Standings { standings: numbers(rng).into_iter().map(told).collect() }
        }
        6 => Body::Claim(pair(rng)),
        7 => Body::Denied { call: call(rng), why: Denial::ALL[rng.random_range(0..Denial::ALL.len())] },
        8 | 9 => Body::Grant { pair: pair(rng), luggage: luggage(rng) },
        10 => Body::Commit { call: call(rng), relay, luggage: luggage(rng) },
        11 => Body::Confirmed { call: call(rng) },
        12 => Body::No { call: call(rng) },
        14 => Body::Frame { call: call(rng), luggage: luggage(rng) },
        13 => Body::Audit { calls: (0..rng.random_range(0..4)).map(|_| call(rng)).collect() },
        _ => {
            let op = |rng: &mut StdRng| {
                if rng.random_bool(0.3) {
                    return Op::Gone(rng.random_range(0..20));
                }
                let ticket = &tickets[rng.random_range(0..tickets.len())];
                let attributes = Attributes::of(Millis(1_000), "general", ticket);
                let (number, epoch, fresh) = (rng.random_range(0..20), rng.random_range(0..4), rng.random());
                Op::Waits(Box::new(Announcement { number, epoch, fresh, attributes }))
            };
            let ops = (0..rng.random_range(0..6)).map(|_| op(rng)).collect();
            Body::Tickets { row: rng.random_range(0..4), at: rng.random_range(0..3), ops }
        }
    }
}

#[test]
fn every_message_reads_as_it_was_written() {
    let (mut rng, tickets) = (StdRng::seed_from_u64(1), tickets(1));
    for _ in 0..3_000 {
        let to = rng.random_bool(0.5).then_some(peer(1));
        let envelope = Envelope { from: peer(0), to, body: body(&mut rng, &tickets) };
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }
}

#[test]
fn a_ticket_arrives_as_it_left() {
    for ticket in (0..20).flat_map(tickets) {
        let left = Millis(200_000 + ticket.since.0);
        let attributes = Attributes::of(left, "oet", &ticket);
        let arrived = attributes.ticket(Millis(left.0 + 7)).unwrap();
        let expected = Ticket { id: TicketId(0), since: Millis(ticket.since.0 + 7), ..ticket };
        assert_eq!(format!("{arrived:?}"), format!("{expected:?}"));
        assert_eq!((arrived.person, arrived.avoid, arrived.recent), (expected.person, expected.avoid, expected.recent));
        assert_eq!((arrived.country, arrived.countries), (expected.country, expected.countries));
    }
}

#[test]
fn other_versions_and_torn_messages_are_refused_and_never_panic() {
    let (mut rng, tickets) = (StdRng::seed_from_u64(2), tickets(2));
    let mut nodes = Nodes::new(2);
    for _ in 0..2_000 {
        let mut bytes = Envelope { from: peer(0), to: Some(peer(1)), body: body(&mut rng, &tickets) }.encode();
        let newer = [&[VERSION + 1], &bytes[1..]].concat();
        assert_eq!(Envelope::decode(&newer), Err(Unreadable::Version));
        bytes.push(0);
        assert_eq!(Envelope::decode(&bytes), Err(Unreadable::Malformed));
        bytes.truncate(rng.random_range(0..bytes.len() - 1));
        assert!(Envelope::decode(&bytes).is_err() || bytes.len() > 1);
        for _ in 0..3 {
            if let Some(byte) = bytes.get_mut(1..).filter(|rest| !rest.is_empty()).map(|rest| &mut rest[0]) {
                *byte = rng.random();
            }
            let place = rng.random_range(0..bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << rng.random_range(0..8);
            }
            nodes.node(1).handle_bytes(at(10), &bytes);
        }
    }
    assert!(nodes.counters[1].unreadable() > 1_000);
}

#[test]
fn more_than_may_be_said_at_once_is_not_read() {
    let call = CallId { owner: peer(0), number: 1 };
    for body in [
        Body::Release { tickets: vec![1; MAX_NAMED + 1] },
        Body::Ask { tickets: vec![1; MAX_NAMED + 1], hints: false },
        Body::Audit { calls: vec![call; MAX_NAMED + 1] },
        Body::Tickets { row: 1, at: 0, ops: vec![Op::Gone(1); MAX_OPS + 1] },
        Body::Commit { call, relay: NodeId(1), luggage: Luggage(vec![0; MAX_LUGGAGE_BYTES + 1]) },
    ] {
        let envelope = Envelope { from: peer(0), to: Some(peer(1)), body };
        assert_eq!(Envelope::decode(&envelope.encode()), Err(Unreadable::Malformed));
    }
}

#[test]
fn strangers_the_dead_and_those_who_mean_another_life_are_not_heard() {
    let mut nodes = Nodes::new(2);
    let ask = Body::Again { row: 1 };
    let stranger = Peer { node: NodeId(9), incarnation: 1 };
    let earlier = Peer { incarnation: 0, ..peer(0) };
    for (from, to, body) in [
        (stranger, Some(peer(1)), ask.clone()),
        (earlier, Some(peer(1)), ask.clone()),
        (peer(0), Some(earlier), ask.clone()),
        (peer(0), None, ask),
        (peer(0), Some(peer(1)), Body::Heartbeat(Load::default())),
        (earlier, None, Body::Heartbeat(Load::default())),
        (peer(1), None, Body::Heartbeat(Load::default())),
    ] {
        let before = nodes.counters[1].strays();
        nodes.node(1).handle_message(at(10), Envelope { from, to, body });
        assert_eq!(nodes.counters[1].strays(), before + 1);
    }
    assert_eq!(nodes.counters[1].alive(), 2);
}

/// Two nodes that hear nonsense of each other: nothing panics, and nothing grows beyond what is bounded.
#[test]
fn sense_is_not_taken_for_granted() {
    for seed in 0..6 {
        let (mut rng, tickets) = (StdRng::seed_from_u64(seed), tickets(seed));
        let mut nodes = Nodes::new(2);
        for step in 0..4_000_u64 {
            let node = rng.random_range(0..2);
            let (from, to) = (peer(1 - node), Some(peer(node)));
            let body = body(&mut rng, &tickets);
            let now = at(nodes.now);
            nodes.node(node).handle_message(now, Envelope { from, to, body });
            if rng.random_bool(0.2) {
                let number = rng.random_range(0..20) + step / 1_000 * 20;
                let ticket = Ticket { id: TicketId(number), ..tickets[rng.random_range(0..tickets.len())].clone() };
                _ = nodes.node(node).enqueue(now, "general", ticket);
            }
            if rng.random_bool(0.1) {
                nodes.run(rng.random_range(0..300));
            }
            nodes.said.clear();
        }
        for node in 0..2 {
            let cluster = nodes.node(node);
            assert!(cluster.home.tickets.len() <= 80 && cluster.home.promises.len() <= cluster.home.tickets.len());
            assert!(cluster.owner.len() <= 150, "{} tickets in the engine", cluster.owner.len());
            assert!(cluster.home.calls.len() <= 80);
        }
    }
}

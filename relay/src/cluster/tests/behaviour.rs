//! What nodes do together, verb by verb, over a bus that delivers everything in the same millisecond.

use std::sync::Arc;

use crate::cluster::{
    Body, CallId, Cluster, Counters, DEAD_AFTER_MS, Denial, Envelope, GATHER_MS, HEARTBEAT_MS, Load, Luggage, Matched,
    NodeId, Output, Peer, SILENT_MS, Settings, To, Turned, Why, owner_of,
};
use crate::matchmaking::tests::ticket;
use crate::matchmaking::{Band, Criteria, Gender, GenderSet, Person, Policy, Refused, Ticket, TicketId};
use crate::time::{Millis, Now};

const POOL: &str = "general";

pub(super) fn at(millis: u64) -> Now {
    Now { mono: Millis(millis), ..Now::default() }
}

pub(super) fn peer(node: usize) -> Peer {
    Peer { node: NodeId(node as u64), incarnation: 1 }
}

/// Nodes, and a bus between them.
pub(super) struct Nodes {
    pub(super) nodes: Vec<Option<Cluster>>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) now: u64,
    /// What was not for the bus, and of which node.
    pub(super) said: Vec<(usize, Output)>,
    /// What the bus carried.
    carried: Vec<Envelope>,
    /// What it does not carry.
    lost: fn(&Envelope) -> bool,
}

impl Nodes {
    pub(super) fn new(count: usize) -> Nodes {
        Nodes::with(count, |_| Load { room: 10, ..Load::default() })
    }

    fn with(count: usize, load: impl Fn(usize) -> Load) -> Nodes {
        let counters: Vec<Arc<Counters>> = (0..count).map(|_| Arc::default()).collect();
        let node = |number: usize| {
            let policy = Policy { patience: 0, max_tickets: 100, max_pools: 8, ..Policy::default() };
            let settings =
                Settings { joins: true, load: load(number), max_tickets_of_node: 50, ..Settings::alone(policy) };
            Some(Cluster::new(settings, at(0), peer(number), Arc::clone(&counters[number])))
        };
        let nodes = (0..count).map(node).collect();
        let mut all =
            Nodes { nodes, counters: counters.clone(), now: 0, said: Vec::new(), carried: Vec::new(), lost: |_| false };
        all.run(GATHER_MS + 10);
        all
    }

    pub(super) fn node(&mut self, number: usize) -> &mut Cluster {
        self.nodes[number].as_mut().unwrap()
    }

    /// Everything that is said is heard, until nobody says anything.
    pub(super) fn talk(&mut self) {
        loop {
            let mut carried = Vec::new();
            for (number, node) in self.nodes.iter_mut().enumerate() {
                let Some(node) = node else { continue };
                for output in std::iter::from_fn(|| node.poll_output()) {
                    match output {
                        Output::Send { to, mut envelope } => {
                            if let Body::Grant { luggage, .. } | Body::Commit { luggage, .. } = &mut envelope.body {
                                *luggage = Luggage(vec![number as u8; 3]);
                            }
                            carried.push((number, to, envelope));
                        }
                        output => self.said.push((number, output)),
                    }
                }
            }
            if carried.is_empty() {
                return;
            }
            for (from, to, envelope) in carried {
                if (self.lost)(&envelope) {
                    continue;
                }
                let bytes = envelope.encode();
                for (number, node) in self.nodes.iter_mut().enumerate() {
                    let meant = if let To::Node(id) = to { id.0 == number as u64 } else { number != from };
                    if let Some(node) = node.as_mut().filter(|_| meant) {
                        node.handle_bytes(at(self.now), &bytes);
                    }
                }
                self.carried.push(envelope);
            }
        }
    }

    pub(super) fn run(&mut self, millis: u64) {
        let until = self.now + millis;
        self.talk();
        loop {
            let due = self.nodes.iter().flatten().filter_map(Cluster::poll_timeout).min();
            let Some(next) = due.filter(|due| due.0 <= until) else { break };
            self.now = self.now.max(next.0);
            let now = at(self.now);
            for node in self.nodes.iter_mut().flatten() {
                if node.poll_timeout().is_some_and(|due| due <= now.mono) {
                    node.handle_timeout(now);
                }
            }
            self.talk();
        }
        self.now = until;
    }

    fn enqueue(&mut self, node: usize, ticket: Ticket) {
        let now = at(self.now);
        self.node(node).enqueue(now, POOL, ticket).unwrap();
        self.talk();
    }

    /// Which node owns the queue.
    fn owner(&mut self) -> usize {
        let known = |number: &usize| {
            let cluster = self.nodes[*number].as_ref().unwrap();
            let queue = super::super::attributes::queue_of(POOL, Band::Adult, false);
            cluster.members.owner(queue) == peer(*number)
        };
        (0..self.nodes.len()).find(|number| self.nodes[*number].is_some() && known(number)).unwrap()
    }

    fn matched(&self) -> Vec<(usize, Matched)> {
        let of = |(node, output): &(usize, Output)| match output {
            Output::Matched(matched) => Some((*node, matched.clone())),
            _ => None,
        };
        self.said.iter().filter_map(of).collect()
    }

    fn ended(&self) -> Vec<(usize, u64, Why)> {
        let of = |(node, output): &(usize, Output)| match output {
            Output::Ended { ticket, why, .. } => Some((*node, ticket.0, *why)),
            _ => None,
        };
        self.said.iter().filter_map(of).collect()
    }
}

fn woman(number: u64) -> Ticket {
    Ticket { gender: Gender::F, wants: GenderSet::NONE.with(Gender::M), ..ticket(number, 0) }
}

fn man(number: u64) -> Ticket {
    Ticket { gender: Gender::M, wants: GenderSet::NONE.with(Gender::F), ..ticket(number, 0) }
}

/// Two nodes that do not own the queue, and the one that does.
fn three() -> (Nodes, usize, usize, usize) {
    let mut nodes = Nodes::new(3);
    let owner = nodes.owner();
    (nodes, (owner + 1) % 3, (owner + 2) % 3, owner)
}

/// A call between two nodes, made just now.
fn in_call() -> (Nodes, usize, usize, CallId) {
    let (mut nodes, a, b, _) = three();
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, man(2));
    let call = nodes.matched()[0].1.call;
    nodes.said.clear();
    (nodes, a, b, call)
}

#[test]
fn two_tickets_of_two_nodes_that_a_third_owns_are_a_call() {
    let (mut nodes, a, b, owner) = three();
    nodes.enqueue(a, woman(1));
    nodes.carried.clear();
    nodes.enqueue(b, man(2));
    let matched = nodes.matched();
    let [(first, leads), (second, follows)] = &matched[..] else { panic!("{matched:?}") };
    assert_eq!((*first, leads.ticket, leads.leads, leads.waited, leads.partner), (a, 1, true, true, NodeId(b as u64)));
    assert_eq!((leads.hosts, follows.hosts), (true, false), "the node that relays");
    assert_eq!(
        (*second, follows.ticket, follows.leads, follows.waited, follows.partner),
        (b, 2, false, false, NodeId(a as u64))
    );
    assert_eq!((leads.call, leads.relay), (follows.call, follows.relay));
    assert_eq!(leads.relay, NodeId(a as u64), "where the one waited whose offer is there");
    assert_eq!((&leads.luggage.0, &follows.luggage.0), (&vec![b as u8; 3], &vec![a as u8; 3]));
    assert_eq!(nodes.carried.len(), 5, "one who waits, claim, grant, commit, confirmed: {:?}", nodes.carried);
    assert_eq!((nodes.counters[a].commits(), nodes.counters[b].entered(), nodes.counters[b].grants()), (1, 1, 1));
    assert_eq!(nodes.counters[owner].proposed(), 1);
    nodes.run(3_000);
    assert_eq!((nodes.counters[owner].owned(), nodes.ended().len()), (0, 0));
}

#[test]
fn the_owner_s_own_ticket_saves_a_message() {
    let (mut nodes, a, _, owner) = three();
    nodes.enqueue(a, woman(1));
    nodes.carried.clear();
    nodes.enqueue(owner, man(2));
    assert_eq!(nodes.matched().len(), 2);
    assert_eq!(nodes.carried.len(), 3, "grant, commit, confirmed: {:?}", nodes.carried);
}

#[test]
fn two_of_one_node_are_paired_there_whoever_owns_the_queue() {
    let (mut nodes, a, ..) = three();
    nodes.enqueue(a, woman(1));
    nodes.enqueue(a, man(2));
    let pairs: Vec<_> =
        nodes.said.iter().filter(|(node, said)| *node == a && matches!(said, Output::Paired(_))).collect();
    assert_eq!((pairs.len(), nodes.said.len()), (1, 1));
}

#[test]
fn who_left_a_moment_ago_is_in_no_call_and_the_other_keeps_the_place() {
    let (mut nodes, a, b, _) = three();
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, Ticket { wants: GenderSet::NONE.with(Gender::X), ..man(2) });
    let now = at(nodes.now);
    assert!(nodes.node(b).cancel(now, TicketId(2)));
    // The owner has not heard that yet.
    nodes.enqueue(b, man(3));
    assert_eq!(nodes.matched().len(), 2);
    let (mut nodes, a, b, owner) = (Nodes::new(3), a, b, 0);
    nodes.enqueue(a, woman(1));
    let now = at(nodes.now);
    nodes.node(a).cancel(now, TicketId(1));
    nodes.enqueue(b, man(2));
    assert!(nodes.matched().is_empty());
    nodes.enqueue(a, woman(3));
    assert_eq!(nodes.matched().len() + nodes.said.len(), 4);
    assert!(nodes.counters.iter().any(|c| c.denials().contains(&(Denial::Unknown, 1))), "{owner}");
}

#[test]
fn a_block_holds_before_the_owner_has_heard_of_it() {
    let (mut nodes, a, b, _) = three();
    nodes.enqueue(a, woman(1));
    nodes.lost = |envelope| matches!(envelope.body, Body::Tickets { .. });
    let now = at(nodes.now);
    nodes.node(a).avoid(now, TicketId(1), Person(1_000_002)).unwrap();
    nodes.talk();
    nodes.lost = |envelope| matches!(&envelope.body, Body::Tickets { ops, .. } if ops.is_empty());
    nodes.enqueue(b, man(2));
    assert!(nodes.matched().is_empty(), "matched with somebody just blocked");
    nodes.lost = |_| false;
    nodes.run(5_000);
    assert!(nodes.matched().is_empty());
    nodes.enqueue(b, man(3));
    assert_eq!(nodes.matched().len(), 2);
}

#[test]
fn a_ticket_that_asks_for_something_else_is_matched_by_that() {
    let (mut nodes, a, b, _) = three();
    nodes.enqueue(a, Ticket { wants: GenderSet::NONE.with(Gender::X), ..woman(1) });
    nodes.enqueue(b, man(2));
    assert!(nodes.matched().is_empty());
    let criteria = Criteria { wants: GenderSet::ANY, ..woman(1).criteria() };
    let now = at(nodes.now);
    nodes.node(a).tune(now, TicketId(1), criteria).unwrap();
    nodes.talk();
    assert_eq!(nodes.matched().len(), 2);
}

#[test]
fn a_position_of_another_nodes_engine_is_known_a_moment_later() {
    let (mut nodes, a, b, _) = three();
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, woman(2));
    nodes.run(11_000);
    let now = at(nodes.now);
    assert_eq!((nodes.node(b).position(now, TicketId(2)), nodes.node(b).hint(TicketId(2))), (None, None));
    nodes.run(100);
    let now = at(nodes.now);
    let position = nodes.node(b).position(now, TicketId(2)).unwrap();
    assert_eq!((position.ahead, position.stage), (1, 3));
}

#[test]
fn a_draining_node_owns_nothing_and_relays_nothing_new() {
    let (mut nodes, a, b, owner) = three();
    nodes.enqueue(a, woman(1));
    let now = at(nodes.now);
    nodes.node(owner).set_load(now, Load { room: 10, calls: 0, draining: true });
    nodes.node(a).set_load(now, Load { room: 10, calls: 0, draining: true });
    nodes.run(GATHER_MS);
    assert_eq!((nodes.owner(), nodes.counters[owner].owned(), nodes.counters[b].owned()), (b, 0, 1));
    nodes.enqueue(b, man(2));
    assert!(nodes.matched().iter().all(|(_, matched)| matched.relay == NodeId(b as u64)), "{:?}", nodes.matched());
    assert_eq!(nodes.matched().len(), 2);
}

#[test]
fn a_call_is_relayed_where_there_is_room() {
    for (rooms, relay) in [([0, 5, 5], 1), ([0, 0, 5], 0), ([5, 5, 5], 0), ([0, 0, 0], 0)] {
        let mut nodes = Nodes::with(3, |node| Load { room: rooms[node], ..Load::default() });
        nodes.enqueue(0, woman(1));
        nodes.enqueue(1, man(2));
        let relays: Vec<u64> = nodes.matched().iter().map(|(_, matched)| matched.relay.0).collect();
        assert_eq!(relays, [relay, relay], "room {rooms:?}");
    }
}

#[test]
fn when_the_owner_dies_its_tickets_are_matched_elsewhere_within_three_seconds_by_age() {
    let (mut nodes, a, b, owner) = three();
    nodes.enqueue(a, woman(1));
    nodes.run(300);
    nodes.enqueue(b, Ticket { since: Millis(nodes.now), ..woman(2) });
    nodes.nodes[owner] = None;
    nodes.run(DEAD_AFTER_MS + GATHER_MS);
    nodes.enqueue(b, man(3));
    let matched = nodes.matched();
    assert!(matched.iter().any(|(node, matched)| (*node, matched.ticket) == (a, 1)), "the older: {:?}", nodes.said);
    assert_eq!((nodes.counters[a].alive(), nodes.counters[a].deaths()), (2, 1));
}

#[test]
fn who_is_announced_first_to_a_new_owner_is_not_taken_before_who_has_waited_longer() {
    for heir_notices_late in [false, true] {
        let (mut nodes, a, b, owner) = three();
        let heir = owner_of(POOL, Band::Adult, false, &[a, b].map(|node| NodeId(node as u64))).0 as usize;
        let (senior, junior) = if heir_notices_late { (heir, a + b - heir) } else { (a + b - heir, heir) };
        nodes.enqueue(senior, woman(1));
        nodes.run(300);
        nodes.nodes[owner] = None;
        for ticket in [woman(2), man(3)] {
            nodes.enqueue(junior, Ticket { since: Millis(nodes.now), ..ticket });
        }
        nodes.run(20);
        if heir_notices_late {
            let last = Envelope { from: peer(owner), to: None, body: Body::Heartbeat(Load::default()) };
            let now = at(nodes.now);
            nodes.node(heir).handle_message(now, last);
        }
        nodes.run(DEAD_AFTER_MS + GATHER_MS);
        let mut matched: Vec<u64> = nodes.matched().iter().map(|(_, matched)| matched.ticket).collect();
        matched.sort_unstable();
        assert_eq!(matched, [1, 3], "{:?}", nodes.said);
    }
}

#[test]
fn who_goes_on_hearing_of_queues_of_others_matches_its_own_nearly_all_the_time() {
    const ROUNDS: u64 = 80;
    let (mut nodes, a, b, _) = three();
    let all = [0, 1, 2].map(NodeId);
    let owned_by_a = |pool: &String| owner_of(pool, Band::Adult, false, &all) == NodeId(a as u64);
    let own = (0..).map(|number| format!("pool-{number}")).find(owned_by_a).unwrap();
    let (mut heard, mut at_once) = (nodes.carried.len(), 0);
    for round in 0..ROUNDS {
        // As if that node would not see the owner: all that it announces there comes here, too.
        nodes.enqueue(b, woman(1_000 + round));
        let now = at(nodes.now);
        nodes.node(b).cancel(now, TicketId(1_000 + round));
        nodes.run(10);
        let said: Vec<Envelope> = nodes.carried[heard..].to_vec();
        heard = nodes.carried.len();
        let now = at(nodes.now);
        for envelope in said.into_iter().filter(|it| it.from == peer(b) && matches!(it.body, Body::Tickets { .. })) {
            nodes.node(a).handle_message(now, Envelope { to: Some(peer(a)), ..envelope });
        }
        let before = nodes.said.len();
        for ticket in [woman(2_000 + round), man(3_000 + round)] {
            nodes.node(a).enqueue(now, &own, ticket).unwrap();
        }
        nodes.talk();
        at_once += usize::from(nodes.said[before..].iter().any(|(_, said)| matches!(said, Output::Paired(_))));
        nodes.run(90);
    }
    nodes.run(GATHER_MS);
    let paired = nodes.said.iter().filter(|(_, said)| matches!(said, Output::Paired(_))).count();
    assert_eq!(paired, ROUNDS as usize);
    assert!((ROUNDS as usize * 3 / 4..ROUNDS as usize).contains(&at_once), "{at_once} of {ROUNDS}");
}

#[test]
fn a_ticket_picked_with_one_of_a_dead_node_is_free_again_at_once() {
    let (mut nodes, a, _, owner) = three();
    nodes.lost = |envelope| matches!(envelope.body, Body::Grant { .. });
    nodes.enqueue(a, woman(1));
    nodes.enqueue(owner, man(2));
    nodes.nodes[a] = None;
    nodes.run(DEAD_AFTER_MS + HEARTBEAT_MS);
    nodes.lost = |_| false;
    assert!(nodes.matched().is_empty());
    nodes.enqueue(owner, woman(3));
    assert!(nodes.said.iter().any(|(_, said)| matches!(said, Output::Paired(_))), "{:?}", nodes.said);
}

#[test]
fn without_a_bus_each_node_matches_its_own_and_together_again_after() {
    let (mut nodes, a, b, _) = three();
    nodes.enqueue(a, woman(1));
    for node in 0..3 {
        let now = at(nodes.now);
        nodes.node(node).handle_bus(now, false);
    }
    nodes.lost = |_| true;
    assert!(nodes.counters.iter().all(|counters| counters.is_degraded()));
    nodes.enqueue(b, man(2));
    assert!(nodes.said.is_empty());
    nodes.enqueue(a, man(3));
    assert!(matches!(nodes.said[..], [(_, Output::Paired(_))]), "{:?}", nodes.said);
    nodes.enqueue(a, woman(4));
    nodes.run(5_000);
    nodes.lost = |_| false;
    for node in 0..3 {
        let now = at(nodes.now);
        nodes.node(node).handle_bus(now, true);
    }
    nodes.run(1_000);
    assert_eq!(nodes.matched().len(), 2);
    assert!(!nodes.counters.iter().any(|counters| counters.is_degraded()));
}

#[test]
fn a_silent_bus_is_one_that_is_down() {
    let (mut nodes, a, b, _) = three();
    nodes.lost = |_| true;
    nodes.run(DEAD_AFTER_MS + 2 * HEARTBEAT_MS);
    assert!(nodes.counters.iter().all(|counters| counters.is_degraded() && counters.alive() == 1));
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, man(2));
    assert!(nodes.said.is_empty());
    nodes.lost = |_| false;
    nodes.run(1_000);
    assert_eq!(nodes.matched().len(), 2);
}

#[test]
fn what_was_lost_on_the_way_is_noticed_and_said_again() {
    let (mut nodes, a, b, _) = three();
    nodes.lost = |envelope| matches!(envelope.body, Body::Tickets { .. });
    nodes.enqueue(a, woman(1));
    nodes.lost = |_| false;
    nodes.enqueue(b, man(2));
    assert!(nodes.matched().is_empty());
    nodes.run(2_500);
    assert_eq!((nodes.matched().len(), nodes.counters[a].restarts()), (2, 1));
}

#[test]
fn a_promise_that_nobody_answers_comes_back_after_a_second() {
    let (mut nodes, a, b, _) = three();
    nodes.lost = |envelope| matches!(envelope.body, Body::Grant { .. });
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, man(2));
    nodes.run(900);
    assert_eq!(nodes.counters[b].leases_expired(), 0);
    nodes.lost = |_| false;
    nodes.run(150);
    assert_eq!((nodes.counters[b].leases_expired(), nodes.matched().len()), (1, 0));
    // The other is asked for a little later, and has lost nothing.
    nodes.run(300);
    assert_eq!(nodes.matched().len(), 2);
}

#[test]
fn a_commit_that_is_lost_is_said_again() {
    let (mut nodes, a, b, _) = three();
    nodes.lost = |envelope| matches!(envelope.body, Body::Commit { .. });
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, man(2));
    assert_eq!(nodes.matched().len(), 1);
    nodes.lost = |_| false;
    nodes.run(300);
    assert_eq!((nodes.matched().len(), nodes.ended().len()), (2, 0));
}

#[test]
fn a_call_nobody_confirms_ends_and_both_are_free() {
    let (mut nodes, a, b, _) = three();
    nodes.lost = |envelope| matches!(envelope.body, Body::Commit { .. });
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, man(2));
    nodes.run(2_500);
    assert_eq!(nodes.ended(), [(a, 1, Why::Partner)]);
    assert_eq!(nodes.node(b).waiting(), 1);
}

#[test]
fn a_call_that_is_not_connected_in_time_ends_on_both_sides() {
    let (mut nodes, a, b, _) = in_call();
    nodes.run(10_500);
    let mut ended: Vec<usize> = nodes.ended().into_iter().map(|(node, ..)| node).collect();
    ended.sort_unstable();
    let mut both = vec![a, b];
    both.sort_unstable();
    assert_eq!(ended, both);
}

#[test]
fn what_one_desk_ends_ends_for_the_other() {
    let (mut nodes, a, b, call) = in_call();
    for node in [a, b] {
        nodes.node(node).connected(call);
    }
    nodes.run(60_000);
    assert!(nodes.said.is_empty());
    // Even if that is not heard at first.
    nodes.lost = |envelope| matches!(envelope.body, Body::No { .. });
    let now = at(nodes.now);
    nodes.node(a).end(now, call);
    nodes.talk();
    nodes.lost = |_| false;
    nodes.run(6_000);
    assert_eq!(nodes.ended(), [(b, 2, Why::Partner)]);
}

#[test]
fn what_one_desk_says_of_a_call_the_other_hears_and_nobody_else_says_it() {
    let (mut nodes, a, b, call) = in_call();
    let now = at(nodes.now);
    let words = Luggage(b"offer".to_vec());
    assert!(nodes.node(a).pass(now, call, words.clone()));
    nodes.talk();
    assert_eq!(nodes.said, [(b, Output::Passed { call, ticket: TicketId(2), luggage: words.clone() })]);
    let stranger = 3 - a - b;
    assert!(!nodes.node(stranger).pass(now, call, words.clone()));
    let body = Body::Frame { call, luggage: words };
    nodes.node(b).handle_message(now, Envelope { from: peer(stranger), to: Some(peer(b)), body });
    nodes.talk();
    assert_eq!((nodes.said.len(), nodes.ended().len()), (1, 0));
}

#[test]
fn a_call_that_stands_outlives_a_short_silence_and_no_long_one() {
    let (mut nodes, a, b, call) = in_call();
    for node in [a, b] {
        nodes.node(node).connected(call);
    }
    nodes.lost = |_| true;
    nodes.run(DEAD_AFTER_MS + 1_000);
    let heard = |nodes: &Nodes, heard| {
        nodes.said.iter().filter(|(_, said)| matches!(said, Output::Partner { heard: h, .. } if *h == heard)).count()
    };
    assert_eq!((heard(&nodes, false), heard(&nodes, true)), (2, 0));
    nodes.lost = |_| false;
    nodes.run(1_000);
    assert_eq!((heard(&nodes, true), nodes.ended().len()), (2, 0));
    nodes.nodes[b] = None;
    nodes.run(DEAD_AFTER_MS + SILENT_MS + 1_000);
    assert_eq!(nodes.ended(), [(a, 1, Why::Node)]);
}

#[test]
fn the_calls_of_a_node_that_lives_again_are_over_at_once() {
    let (mut nodes, a, b, call) = in_call();
    nodes.node(a).connected(call);
    let me = Peer { incarnation: 2, ..peer(b) };
    let settings = Settings { joins: true, ..Settings::alone(Policy { max_tickets: 100, ..Policy::default() }) };
    nodes.nodes[b] = Some(Cluster::new(settings, at(nodes.now), me, Arc::default()));
    nodes.run(100);
    assert_eq!(nodes.ended(), [(a, 1, Why::Node)]);
}

#[test]
fn of_two_tickets_of_one_person_the_newer_stays() {
    let (mut nodes, a, b, _) = three();
    nodes.enqueue(a, woman(1));
    nodes.enqueue(b, Ticket { person: woman(1).person, ..woman(2) });
    assert_eq!(nodes.said, [(a, Output::Turned { ticket: TicketId(1), why: Turned::Replaced })]);
    assert_eq!((nodes.node(a).waiting(), nodes.node(b).waiting()), (0, 1));
}

#[test]
fn one_node_cannot_fill_another() {
    let (mut nodes, a, _, owner) = three();
    for number in 0..60 {
        nodes.enqueue(a, woman(number));
    }
    assert_eq!((nodes.counters[owner].owned(), nodes.said.len(), nodes.node(a).waiting()), (50, 10, 50));
    assert!(nodes.said.iter().all(|(_, said)| matches!(said, Output::Turned { why: Turned::Full, .. })));
}

#[test]
fn a_ticket_older_than_the_owner_is_not_younger_for_it() {
    let mut nodes = Nodes::new(3);
    let owner = nodes.owner();
    let (a, b) = ((owner + 1) % 3, (owner + 2) % 3);
    // Their clocks run for a day already, as it were: both began long before the owner did.
    nodes.enqueue(a, Ticket { since: Millis(0), ..woman(1) });
    nodes.run(20);
    nodes.enqueue(b, Ticket { since: Millis(15), ..woman(2) });
    nodes.enqueue(owner, man(3));
    assert!(nodes.matched().iter().any(|(_, matched)| matched.ticket == 1));
}

#[test]
fn a_refusal_is_the_local_ones() {
    let (mut nodes, a, ..) = three();
    let now = at(nodes.now);
    let bad = Ticket { wants: GenderSet::NONE, ..woman(1) };
    assert_eq!(nodes.node(a).enqueue(now, POOL, bad), Err(Refused::BadCriteria));
    nodes.enqueue(a, woman(1));
    assert_eq!(nodes.node(a).enqueue(now, POOL, woman(1)), Err(Refused::DuplicateTicket));
    assert_eq!(nodes.node(a).tune(now, TicketId(9), woman(1).criteria()), Err(Refused::Unknown));
    assert_eq!(nodes.node(a).avoid(now, TicketId(9), Person(1)), Err(Refused::Unknown));
    assert!(!nodes.node(a).cancel(now, TicketId(9)));
}

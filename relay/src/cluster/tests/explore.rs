//! Every interleaving of the claim protocol, small worlds, the real [`Home`].
//!
//! Messages are never taken from the network: any that was ever sent may arrive at any time, once, often, or never. So loss, duplication,
//! delay, reordering and partition are all in it, and so are owners who disagree: a claim is there from the moment on at which both its
//! tickets have been announced as it says, and stays. Timers fire when they like. Nodes crash and come back in another life, are thought dead though they live, people leave, desks end calls.
//!
//! Safety is judged at every step by a history of its own. For liveness each state is continued with everything that is on its way lost and
//! a network that is kind from then on: it must settle with both participants in every call, or none, and no promise left.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::is_long;
use crate::cluster::home::{Effect, Home, Patience};
use crate::cluster::message::{Body, CallId, Luggage, NodeId, Pair, Peer, QueueKey, Seat};

const PATIENCE: Patience = Patience { promise: 1, commit: 1 };
const QUEUE: QueueKey = QueueKey(1);
const OTHER_QUEUE: QueueKey = QueueKey(2);

/// What a mutated world does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    IgnoresEpochs,
    KeepsEpochs,
    NoLease,
    GrantsUnasked,
    CommitsWithoutBothGrants,
    StaysWhenToldNo,
    DeniesAPromiseInAnAudit,
    IgnoresQueues,
    NeverAudits,
    PairsWhatIsPromised,
}

/// What may still happen, so that worlds end.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    timers: u8,
    crashes: u8,
    suspicions: u8,
    leaves: u8,
    ends: u8,
    revokes: u8,
    audits: u8,
}

const CALM: Budget = Budget { timers: 0, crashes: 0, suspicions: 0, leaves: 0, ends: 0, revokes: 0, audits: 0 };

struct Setting {
    nodes: usize,
    /// Home and number.
    tickets: Vec<(usize, u64)>,
    /// Call, decider, follower (by place in `tickets`), their epochs, the queue that is claimed.
    claims: Vec<(u64, usize, usize, [u32; 2], QueueKey)>,
    budget: Budget,
    fault: Fault,
}

fn peer(node: usize, incarnation: u64) -> Peer {
    Peer { node: NodeId(node as u64), incarnation }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Message {
    from: Peer,
    to: Peer,
    body: Body,
}

/// Who was in which call, ever.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct History {
    /// An epoch of a ticket, and the call that took it.
    taken: BTreeMap<(Peer, u64, u32), CallId>,
    decided: BTreeSet<CallId>,
    /// Who was ever in it, and who ever said that it is not.
    entered: BTreeSet<(CallId, Peer)>,
    denied: BTreeSet<(CallId, Peer)>,
    /// In a call with somebody of their own node.
    paired: BTreeSet<(Peer, u64)>,
    /// What owners may have heard of.
    announced: BTreeSet<(Peer, u64, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    homes: [u32; 3],
    sent: [u64; 4],
    history: u32,
    budget: Budget,
}

/// What happens, what is then, and whether a call ended by it.
type Step = (String, World, bool);

/// States are numbers; what they are is kept once.
struct Interned<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn new() -> Interned<T> {
        Interned { numbers: HashMap::new(), values: Vec::new() }
    }

    fn number(&mut self, value: T) -> u32 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = self.values.len() as u32;
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }
}

/// A home by what it holds.
type HomeKey =
    (Peer, Vec<(u64, super::super::home::Held)>, Vec<(CallId, super::super::home::Shared)>, Vec<(CallId, u64)>);

fn key(home: &Home) -> HomeKey {
    fn sorted<K: Ord + Copy, V: Clone, S>(map: &HashMap<K, V, S>) -> Vec<(K, V)> {
        let mut all: Vec<(K, V)> = map.iter().map(|(key, value)| (*key, value.clone())).collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }
    (home.me, sorted(&home.tickets), sorted(&home.calls), sorted(&home.promises))
}

struct Explorer {
    setting: Setting,
    messages: Interned<Message>,
    homes: Vec<Home>,
    home_numbers: HashMap<HomeKey, u32>,
    histories: Interned<History>,
    /// Homes from which a kind network settles.
    settles: HashSet<[u32; 3]>,
}

#[derive(Debug)]
struct Report {
    states: usize,
    violation: Option<(String, Vec<String>)>,
    ended: bool,
}

impl Explorer {
    fn new(setting: Setting) -> Explorer {
        Explorer {
            setting,
            messages: Interned::new(),
            homes: Vec::new(),
            home_numbers: HashMap::new(),
            histories: Interned::new(),
            settles: HashSet::new(),
        }
    }

    fn intern_home(&mut self, home: Home) -> u32 {
        let next = self.homes.len() as u32;
        let number = *self.home_numbers.entry(key(&home)).or_insert(next);
        if number == next {
            self.homes.push(home);
        }
        number
    }

    fn send(&mut self, sent: &mut [u64; 4], message: Message) {
        let number = self.messages.number(message) as usize;
        sent[number / 64] |= 1 << (number % 64);
    }

    fn seat(&self, ticket: usize, epoch: u32) -> Seat {
        let (node, number) = self.setting.tickets[ticket];
        Seat { home: peer(node, 1), number, epoch, stage: 0 }
    }

    fn pair(&self, claim: usize) -> Pair {
        let (call, decider, follower, epochs, queue) = self.setting.claims[claim];
        let call = CallId { owner: peer(9, 1), number: call };
        let (decider, follower) = (self.seat(decider, epochs[0]), self.seat(follower, epochs[1]));
        Pair { call, queue, decider, follower, decider_waited: true }
    }

    fn start(&mut self) -> World {
        let mut sent = [0; 4];
        let mut homes = [0; 3];
        for (node, number) in homes.iter_mut().enumerate().take(self.setting.nodes) {
            let mut home = Home::new(peer(node, 1), PATIENCE);
            for &(at, ticket) in &self.setting.tickets {
                if at == node {
                    home.enter(ticket, QUEUE);
                }
            }
            *number = self.intern_home(home);
        }
        let mut history = History::default();
        for number in homes {
            if let Some(home) = self.homes.get(number as usize).cloned() {
                announce(&mut history, &home);
            }
        }
        self.claim(&mut sent, &history);
        let history = self.histories.number(history);
        World { homes, sent, history, budget: self.setting.budget }
    }

    /// Owners claim what has been announced.
    fn claim(&mut self, sent: &mut [u64; 4], history: &History) {
        for claim in 0..self.setting.claims.len() {
            let pair = self.pair(claim);
            let known = |seat: &Seat| history.announced.contains(&(seat.home, seat.number, seat.epoch));
            if !known(&pair.decider) || !known(&pair.follower) {
                continue;
            }
            let (owner, call) = (pair.call.owner, pair.call);
            let to = pair.follower.home;
            self.send(sent, Message { from: owner, to, body: Body::Claim(pair) });
            match self.setting.fault {
                Fault::GrantsUnasked => {
                    let body = Body::Grant { pair, luggage: Luggage::default() };
                    self.send(sent, Message { from: to, to: pair.decider.home, body });
                }
                Fault::CommitsWithoutBothGrants => {
                    let body = Body::Commit { call, relay: host(&pair), luggage: Luggage::default() };
                    self.send(sent, Message { from: pair.decider.home, to, body });
                }
                _ => {}
            }
        }
    }

    /// What the faulty node makes of a message; `None`: nothing.
    fn twist(&self, home: &mut Home, mut message: Message) -> Option<Message> {
        let current = |home: &Home, seat: &mut Seat| {
            if let Some(held) = home.tickets.get(&seat.number).filter(|_| seat.home == home.me) {
                seat.epoch = held.epoch;
            }
        };
        match (self.setting.fault, &mut message.body) {
            (Fault::IgnoresEpochs, Body::Claim(pair) | Body::Grant { pair, .. }) => {
                current(home, &mut pair.decider);
                current(home, &mut pair.follower);
            }
            (Fault::IgnoresQueues, Body::Claim(pair) | Body::Grant { pair, .. }) => pair.queue = QUEUE,
            (Fault::StaysWhenToldNo, Body::No { call }) if home.calls.contains_key(call) => return None,
            (Fault::PairsWhatIsPromised, Body::Grant { pair, .. }) => {
                // It decides by the epoch alone: the promise it has given is forgotten, and kept all the same.
                if let Some(mut held) =
                    home.tickets.get(&pair.decider.number).cloned().filter(|held| held.is_promised())
                {
                    held.forget_promise();
                    home.tickets.insert(pair.decider.number, held);
                }
            }
            _ => {}
        }
        Some(message)
    }

    /// One home does something: its effects go into the network and the history. Whether the rules of history are kept.
    fn act(&mut self, world: &World, node: usize, what: impl FnOnce(&mut Home)) -> Result<(World, bool), String> {
        let mut home = self.homes[world.homes[node] as usize].clone();
        what(&mut home);
        let mut next = *world;
        let mut history = self.histories.values[world.history as usize].clone();
        let mut ended = false;
        while let Some(effect) = home.poll() {
            match effect {
                Effect::Send(to, body) => {
                    if let Body::No { call } = body {
                        history.denied.insert((call, home.me));
                    }
                    if let Body::Commit { call, .. } = body {
                        history.decided.insert(call);
                    }
                    if to.node.0 < self.setting.nodes as u64 {
                        self.send(&mut next.sent, Message { from: home.me, to, body });
                    }
                }
                Effect::Matched(matched) => {
                    let shared = home.calls.get(&matched.call).cloned().ok_or("matched, and in no call")?;
                    if matched.leads {
                        history.decided.insert(matched.call);
                    } else if !history.decided.contains(&matched.call) {
                        return Err("a follower is in a call nobody decided".into());
                    }
                    self.judge_entry(&mut history, &home, matched.call, shared.ticket, shared.epoch)?;
                }
                Effect::Returned(number) if self.setting.fault == Fault::KeepsEpochs => {
                    if let Some(held) = home.tickets.get_mut(&number) {
                        held.epoch -= 1;
                    }
                }
                Effect::Paired { waiter, arrival, .. } => {
                    for ticket in [waiter, arrival] {
                        let taken = history.taken.keys().any(|(peer, number, _)| (*peer, *number) == (home.me, ticket));
                        if taken || !history.paired.insert((home.me, ticket)) {
                            return Err("a ticket is in two calls, one of them of its own node".into());
                        }
                    }
                }
                Effect::Ended { .. } => ended = true,
                _ => {}
            }
        }
        self.judge_now(&home)?;
        announce(&mut history, &home);
        self.claim(&mut next.sent, &history);
        next.homes[node] = self.intern_home(home);
        next.history = self.histories.number(history);
        Ok((next, ended))
    }

    fn judge_entry(
        &self,
        history: &mut History,
        home: &Home,
        call: CallId,
        ticket: u64,
        epoch: u32,
    ) -> Result<(), String> {
        if let Some(before) = history.taken.insert((home.me, ticket, epoch), call)
            && before != call
        {
            return Err("one epoch of a ticket is in two calls".into());
        }
        if history.paired.contains(&(home.me, ticket)) {
            return Err("a ticket is in two calls, one of them of its own node".into());
        }
        if history.denied.contains(&(call, home.me)) {
            return Err("a home enters a call it has said No to".into());
        }
        if !history.entered.insert((call, home.me)) {
            return Err("a home enters a call twice".into());
        }
        let claim = self.setting.claims.iter().position(|claim| claim.0 == call.number).ok_or("a call of no claim")?;
        let pair = self.pair(claim);
        if pair.queue != QUEUE {
            return Err("two queues meet".into());
        }
        let seats = [pair.decider, pair.follower];
        if !seats.iter().any(|seat| seat.home == home.me && seat.number == ticket && seat.epoch == epoch) {
            return Err("somebody is in a call that was claimed with somebody else, or before".into());
        }
        Ok(())
    }

    /// A ticket is in one place.
    fn judge_now(&self, home: &Home) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for shared in home.calls.values() {
            if !seen.insert(shared.ticket) {
                return Err("a ticket is in two calls".into());
            }
            if home.tickets.contains_key(&shared.ticket) {
                return Err("a ticket waits and is in a call".into());
            }
        }
        for (call, number) in &home.promises {
            if !home.tickets.get(number).is_some_and(|held| held.is_promised()) || home.calls.contains_key(call) {
                return Err("a promise of a ticket that is not promised".into());
            }
        }
        Ok(())
    }

    fn deliver(&mut self, world: &World, number: u32) -> Option<Result<(World, bool), String>> {
        let message = self.messages.values[number as usize].clone();
        let node = message.to.node.0 as usize;
        let mut home = self.homes[world.homes[node] as usize].clone();
        if home.me != message.to {
            return None;
        }
        let before = key(&home);
        let message = self.twist(&mut home, message)?;
        let twisted = (key(&home) != before).then(|| home.clone());
        let fault = self.setting.fault;
        Some(self.act(world, node, |home| {
            if let Some(twisted) = twisted {
                *home = twisted;
            }
            hear(home, message, fault);
        }))
    }

    /// Everything that can happen next.
    fn successors(&mut self, world: &World) -> Result<Vec<Step>, (String, String)> {
        let mut all = Vec::new();
        let note = |name: String, result: Result<(World, bool), String>, all: &mut Vec<Step>| match result {
            Ok((next, ended)) => {
                all.push((name, next, ended));
                Ok(())
            }
            Err(wrong) => Err((wrong, name)),
        };
        for number in 0..self.messages.values.len() as u32 {
            if world.sent[number as usize / 64] >> (number % 64) & 1 == 1
                && let Some(result) = self.deliver(world, number)
            {
                let name = format!("{:?}", self.messages.values[number as usize].body);
                note(name, result, &mut all)?;
            }
        }
        for node in 0..self.setting.nodes {
            let home = self.homes[world.homes[node] as usize].clone();
            let budget = world.budget;
            if budget.timers > 0 {
                for call in self.timers(&home) {
                    let result = self.act(world, node, |home| home.due(call));
                    let result = result.map(|(next, ended)| {
                        (World { budget: Budget { timers: budget.timers - 1, ..budget }, ..next }, ended)
                    });
                    note(format!("timer {} at {node}", call.number), result, &mut all)?;
                }
            }
            if budget.crashes > 0 && home.me.incarnation == 1 {
                let mut next = *world;
                next.homes[node] = self.intern_home(Home::new(peer(node, 2), PATIENCE));
                next.budget.crashes -= 1;
                note(format!("{node} crashes"), Ok((next, false)), &mut all)?;
            }
            for other in 0..self.setting.nodes {
                let crashed = self.homes[world.homes[other] as usize].me.incarnation == 2;
                if other != node && crashed {
                    let result = self.act(world, node, |home| home.lost(peer(other, 1), true));
                    note(format!("{node} hears that {other} crashed"), result, &mut all)?;
                } else if other != node && budget.suspicions > 0 {
                    let result = self.act(world, node, |home| home.lost(peer(other, 1), false));
                    let less = Budget { suspicions: budget.suspicions - 1, ..budget };
                    let result = result.map(|(next, ended)| (World { budget: less, ..next }, ended));
                    note(format!("{node} thinks {other} dead"), result, &mut all)?;
                }
            }
            let mut numbers: Vec<u64> = home.tickets.keys().copied().collect();
            numbers.sort_unstable();
            for number in numbers {
                if budget.leaves > 0 {
                    let result = self.act(world, node, |home| _ = home.leave(number));
                    let less = Budget { leaves: budget.leaves - 1, ..budget };
                    let result = result.map(|(next, ended)| (World { budget: less, ..next }, ended));
                    note(format!("{number} leaves"), result, &mut all)?;
                }
                if budget.revokes > 0 {
                    let result = self.act(world, node, |home| home.revoke(number));
                    let less = Budget { revokes: budget.revokes - 1, ..budget };
                    let result = result.map(|(next, ended)| (World { budget: less, ..next }, ended));
                    note(format!("{number} blocks somebody"), result, &mut all)?;
                }
            }
            if budget.audits > 0 && !home.calls.is_empty() {
                let result = self.act(world, node, Home::audit);
                let less = Budget { audits: budget.audits - 1, ..budget };
                let result = result.map(|(next, ended)| (World { budget: less, ..next }, ended));
                note(format!("{node} audits"), result, &mut all)?;
            }
            if budget.ends > 0 {
                let mut calls: Vec<CallId> = home.calls.keys().copied().collect();
                calls.sort_unstable();
                for call in calls {
                    let (from, to) = (home.me, home.calls[&call].partner);
                    let result = self.act(world, node, |home| home.end(call));
                    let less = Budget { ends: budget.ends - 1, ..budget };
                    let mut result = result.map(|(next, ended)| (World { budget: less, ..next }, ended));
                    if let Ok((next, _)) = &mut result
                        && to.node.0 < self.setting.nodes as u64
                    {
                        let body = Body::Frame { call, luggage: Luggage::default() };
                        self.send(&mut next.sent, Message { from, to, body });
                    }
                    note(format!("{node} ends {}", call.number), result, &mut all)?;
                }
            }
        }
        Ok(all)
    }

    /// Timers that may fire: of promises and of calls nobody confirmed.
    fn timers(&self, home: &Home) -> Vec<CallId> {
        let lease = self.setting.fault != Fault::NoLease;
        let promises = home.promises.keys().filter(|_| lease);
        let mut calls: Vec<CallId> = promises.chain(home.calls.keys()).copied().collect();
        calls.sort_unstable();
        calls
    }

    /// From here with all that was under way lost, and a kind network from now on.
    fn settles(&mut self, world: &World) -> Result<(), String> {
        if self.settles.contains(&world.homes) {
            return Ok(());
        }
        let mut homes: Vec<Home> =
            world.homes[..self.setting.nodes].iter().map(|&number| self.homes[number as usize].clone()).collect();
        for _ in 0..6 {
            let mut network = VecDeque::new();
            for node in 0..homes.len() {
                for other in 0..homes.len() {
                    if homes[other].me.incarnation == 2 {
                        homes[node].lost(peer(other, 1), true);
                    }
                }
                for call in self.timers(&homes[node]) {
                    homes[node].due(call);
                }
                if self.setting.fault != Fault::NeverAudits {
                    homes[node].audit();
                }
                self.drain(&mut homes[node], &mut network);
            }
            while let Some(message) = network.pop_front() {
                let node = message.to.node.0 as usize;
                let Some(home) = homes.get_mut(node).filter(|home| home.me == message.to) else { continue };
                if let Some(message) = self.twist(home, message) {
                    hear(home, message, self.setting.fault);
                }
                self.drain(&mut homes[node], &mut network);
            }
        }
        if homes.iter().any(|home| !home.promises.is_empty()) {
            return Err("a promise stays for ever".into());
        }
        for home in &homes {
            self.judge_now(home)?;
            for (call, shared) in &home.calls {
                let partner = homes.get(shared.partner.node.0 as usize).filter(|home| home.me == shared.partner);
                if !partner.is_some_and(|partner| partner.calls.contains_key(call)) {
                    return Err("a call has one participant for ever".into());
                }
            }
        }
        self.settles.insert(world.homes);
        Ok(())
    }

    fn drain(&self, home: &mut Home, network: &mut VecDeque<Message>) {
        while let Some(effect) = home.poll() {
            match effect {
                Effect::Send(to, body) => network.push_back(Message { from: home.me, to, body }),
                Effect::Returned(number) if self.setting.fault == Fault::KeepsEpochs => {
                    if let Some(held) = home.tickets.get_mut(&number) {
                        held.epoch -= 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn run(mut self) -> Report {
        let start = self.start();
        let mut parents: HashMap<World, Option<(World, String)>> = HashMap::from([(start, None)]);
        let mut queue = VecDeque::from([start]);
        let mut any_ended = false;
        while let Some(world) = queue.pop_front() {
            let way = |parents: &HashMap<World, Option<(World, String)>>, last: Option<String>| {
                let (mut steps, mut at) = (Vec::from_iter(last), world);
                while let Some(Some((before, step))) = parents.get(&at) {
                    steps.push(step.clone());
                    at = *before;
                }
                steps.reverse();
                steps
            };
            if let Err(wrong) = self.settles(&world) {
                let violation = Some((wrong, way(&parents, None)));
                return Report { states: parents.len(), violation, ended: any_ended };
            }
            match self.successors(&world) {
                Err((wrong, step)) => {
                    let violation = Some((wrong, way(&parents, Some(step))));
                    return Report { states: parents.len(), violation, ended: any_ended };
                }
                Ok(all) => {
                    for (step, next, ended) in all {
                        any_ended |= ended;
                        if let Entry::Vacant(unseen) = parents.entry(next) {
                            unseen.insert(Some((world, step)));
                            queue.push_back(next);
                        }
                    }
                }
            }
        }
        Report { states: parents.len(), violation: None, ended: any_ended }
    }
}

fn announce(history: &mut History, home: &Home) {
    for &number in home.tickets.keys() {
        if let Some(epoch) = home.waiting(number) {
            history.announced.insert((home.me, number, epoch));
        }
    }
}

/// Of some calls the one home, of others the other one.
fn host(pair: &Pair) -> NodeId {
    if pair.call.number.is_multiple_of(2) { pair.decider.home.node } else { pair.follower.home.node }
}

fn hear(home: &mut Home, Message { from, body, .. }: Message, fault: Fault) {
    match body {
        Body::Claim(pair) => home.claim(from, pair),
        Body::Grant { pair, luggage } => _ = home.grant(from, &pair, host(&pair), luggage),
        Body::Commit { call, relay, luggage } => home.commit(from, call, relay, luggage),
        Body::Confirmed { call } => home.confirmed(from, call),
        Body::No { call } => home.no(from, call),
        // The one thing that a desk says here: it is over.
        Body::Frame { call, .. } => {
            let shared = home.framed(from, call);
            shared.into_iter().for_each(|_| home.part(call));
        }
        Body::Audit { calls } if fault == Fault::DeniesAPromiseInAnAudit => {
            let promises = std::mem::take(&mut home.promises);
            home.audited(from, &calls);
            home.promises = promises;
        }
        Body::Audit { calls } => home.audited(from, &calls),
        _ => {}
    }
}

fn explore(setting: Setting) -> Report {
    Explorer::new(setting).run()
}

/// Two nodes with two tickets each; two owners claim crosswise, one of them again after a ticket came back, and one two of one node.
fn two_nodes(budget: Budget, fault: Fault) -> Setting {
    Setting {
        nodes: 2,
        tickets: vec![(0, 10), (0, 11), (1, 20), (1, 21)],
        claims: vec![
            (1, 0, 2, [1, 1], QUEUE),
            (2, 2, 0, [1, 1], QUEUE),
            (3, 0, 3, [1, 1], QUEUE),
            (4, 0, 2, [2, 2], QUEUE),
            (5, 0, 1, [1, 1], QUEUE),
        ],
        budget,
        fault,
    }
}

/// A ring of three nodes, each decider of one and follower of another.
fn three_nodes(budget: Budget, fault: Fault) -> Setting {
    Setting {
        nodes: 3,
        tickets: vec![(0, 10), (1, 20), (2, 30)],
        claims: vec![(1, 0, 1, [1, 1], QUEUE), (2, 1, 2, [1, 1], QUEUE), (3, 2, 0, [1, 1], QUEUE)],
        budget,
        fault,
    }
}

fn holds(name: &str, setting: Setting) -> Report {
    let report = explore(setting);
    assert!(report.violation.is_none(), "{name}: {:#?}", report.violation);
    println!("{name}: {} states", report.states);
    report
}

#[test]
fn without_loss_of_time_no_call_ends_however_messages_are_doubled_and_reordered() {
    for (name, setting) in
        [("two nodes", two_nodes(CALM, Fault::None)), ("three nodes", three_nodes(CALM, Fault::None))]
    {
        assert!(!holds(name, setting).ended, "{name}: a call has ended although nobody ended it");
    }
}

#[test]
fn a_ticket_is_in_one_call_at_most_and_every_call_has_two_or_ends() {
    let timers = Budget { timers: 2, ..CALM };
    for (name, budget) in [
        ("timers", timers),
        ("a crash", Budget { timers: 1, crashes: 1, ..CALM }),
        ("a false suspicion", Budget { timers: 1, suspicions: 1, ..CALM }),
        ("somebody leaves", Budget { timers: 1, leaves: 1, ..CALM }),
        ("a desk ends a call", Budget { timers: 1, ends: 1, ..CALM }),
        ("somebody blocks", Budget { timers: 1, revokes: 1, ..CALM }),
        ("an audit", Budget { timers: 1, audits: 1, ends: 1, ..CALM }),
        ("much at once", Budget { timers: 1, crashes: 1, leaves: 1, ends: 1, audits: 1, ..CALM }),
    ] {
        holds(&format!("two nodes, {name}"), two_nodes(budget, Fault::None));
        holds(&format!("three nodes, {name}"), three_nodes(budget, Fault::None));
    }
}

#[test]
fn no_owner_brings_two_queues_together() {
    let setting = |fault| Setting {
        tickets: vec![(0, 10), (1, 20)],
        claims: vec![(1, 0, 1, [1, 1], OTHER_QUEUE)],
        ..two_nodes(Budget { timers: 1, ..CALM }, fault)
    };
    holds("another queue", setting(Fault::None));
    assert!(explore(setting(Fault::IgnoresQueues)).violation.is_some());
}

#[test]
fn every_fault_is_found() {
    let budget = Budget { timers: 2, leaves: 1, ends: 1, audits: 1, ..CALM };
    for fault in [
        Fault::IgnoresEpochs,
        Fault::KeepsEpochs,
        Fault::NoLease,
        Fault::GrantsUnasked,
        Fault::CommitsWithoutBothGrants,
        Fault::StaysWhenToldNo,
        Fault::DeniesAPromiseInAnAudit,
        Fault::NeverAudits,
        Fault::PairsWhatIsPromised,
    ] {
        let report = explore(two_nodes(budget, fault));
        let (wrong, way) =
            report.violation.unwrap_or_else(|| panic!("{fault:?} is not found in {} states", report.states));
        println!("{fault:?}: {wrong}, after {} steps, {} states", way.len(), report.states);
    }
}

/// Everything at once: a million states, so only in the long run.
#[test]
fn whatever_happens_together_it_holds() {
    let everything = Budget { timers: 3, crashes: 1, suspicions: 1, leaves: 1, ends: 1, revokes: 1, audits: 1 };
    let most = Budget { timers: 2, suspicions: 1, ends: 1, ..CALM };
    let budget = if is_long() { everything } else { most };
    holds("two nodes, together", two_nodes(budget, Fault::None));
    holds("three nodes, together", three_nodes(budget, Fault::None));
}

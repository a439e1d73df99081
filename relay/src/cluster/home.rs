//! The home of a ticket: the one place that decides what becomes of it, and the only source of "exactly once".
//!
//! There is no time in here. Whoever drives it wakes a promise or a call when [`Effect::Wake`] says so, or earlier, or twice: that changes
//! nothing but how often something is asked. So every interleaving of messages and timers can be tried (`tests/explore.rs`).
//!
//! A ticket is `Waiting` under an *epoch*, and an epoch is good for one thing: a promise, or a call. Whatever ends a promise raises it, so
//! no message about an earlier pairing finds the ticket as it was. Of the two homes of a pairing one is the *decider*:
//!
//! 1. `Claim`: the follower's home promises its ticket, and from then on keeps it for that one call. Then it asks (`Grant`).
//! 2. The decider's home compares and sets: still waiting, under that epoch, in that queue? Then the call exists, at this moment and by this
//!    step alone, and `Commit` says so. Otherwise `No`, which is for ever, because that epoch is spent or was.
//! 3. The follower's home enters the call (`Confirmed`), or, if it has given the promise up meanwhile, says `No`, and the decider's ends.
//!
//! What may be lost is asked again by who waits for it: `Grant` until the promise's lease is over, `Commit` until confirmed or given up,
//! and [`Home::audit`] for calls whose end the other side did not hear of. An owner only proposes: however many there are, however old what
//! they know, they cannot put a ticket into two calls, and nothing waits for an owner that died.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use super::message::{Body, CallId, Denial, Luggage, MAX_NAMED, NodeId, Pair, Peer, QueueKey, Seat};

/// A promise asks again after so long …
pub const ASK_AGAIN_MS: u64 = 250;
/// … and after so many times is given up: a lease of one second.
pub const PROMISE_ASKS: u8 = 4;
/// A call nobody confirms is said again as often as this, and given up after two seconds.
pub const COMMIT_ASKS: u8 = 8;

/// How often something is asked again before it is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) promise: u8,
    pub(super) commit: u8,
}

impl Patience {
    pub(super) const DEFAULT: Patience = Patience { promise: PROMISE_ASKS, commit: COMMIT_ASKS };
}

/// A call has ended although the desk did not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The partner's home is not in it, or no longer.
    Partner,
    /// The partner's home never confirmed it.
    Unconfirmed,
    /// The partner's node is gone.
    Node,
    /// It was not connected in time.
    Deadline,
}

impl Why {
    pub const ALL: [Why; 4] = [Why::Partner, Why::Unconfirmed, Why::Node, Why::Deadline];
}

/// A ticket of ours and one of another node's are a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    pub call: CallId,
    /// Ours. It does not wait any more.
    pub ticket: u64,
    /// Where the partner's connection is.
    pub partner: NodeId,
    /// Ours was found waiting.
    pub waited: bool,
    /// Our home decided that it is one, and says so until that is confirmed.
    pub leads: bool,
    /// This node relays, so our desk keeps the call; the partner's only passes on.
    pub hosts: bool,
    /// The node on which both sides allocate.
    pub relay: NodeId,
    /// What the partner's desk sent along.
    pub luggage: Luggage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Send(Peer, Body),
    /// Two tickets that both wait here are a call.
    Paired {
        waiter: u64,
        arrival: u64,
        stages: [u8; 2],
    },
    Matched(Matched),
    Ended {
        call: CallId,
        ticket: u64,
        why: Why,
    },
    /// A ticket waits no more: promised, or in a call, as that owner proposed.
    Left(u64, Peer),
    /// A ticket waits again, under another epoch.
    Returned(u64),
    /// Call [`Home::due`] in a while.
    Wake(CallId),
    /// A promise was given up unanswered.
    LeaseExpired,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) epoch: u32,
    queue: QueueKey,
    promise: Option<Promise>,
}

#[cfg(test)]
impl Held {
    pub(super) fn is_promised(&self) -> bool {
        self.promise.is_some()
    }

    pub(super) fn forget_promise(&mut self) {
        self.promise = None;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Promise {
    pair: Pair,
    asked: u8,
}

/// A call with somebody of another node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shared {
    pub(super) ticket: u64,
    pub(super) epoch: u32,
    pub(super) partner: Peer,
    leads: bool,
    relay: NodeId,
    confirmed: bool,
    pub(super) connected: bool,
    said: u8,
}

#[derive(Clone)]
pub(super) struct Home {
    pub(super) me: Peer,
    patience: Patience,
    // Numbers of ours, and ids of nodes that hold the cluster's key.
    pub(super) tickets: HashMap<u64, Held, FixedState>,
    pub(super) promises: HashMap<CallId, u64, FixedState>,
    pub(super) calls: HashMap<CallId, Shared, FixedState>,
    effects: VecDeque<Effect>,
}

impl Home {
    pub(super) fn new(me: Peer, patience: Patience) -> Home {
        Home {
            me,
            patience,
            tickets: HashMap::default(),
            promises: HashMap::default(),
            calls: HashMap::default(),
            effects: VecDeque::new(),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// A new ticket; false if the number is taken.
    pub(super) fn enter(&mut self, number: u64, queue: QueueKey) -> bool {
        let free = !self.tickets.contains_key(&number);
        if free {
            self.tickets.insert(number, Held { epoch: 1, queue, promise: None });
        }
        free
    }

    /// The epoch of a ticket that waits and is promised to nobody.
    pub(super) fn waiting(&self, number: u64) -> Option<u32> {
        self.tickets.get(&number).filter(|held| held.promise.is_none()).map(|held| held.epoch)
    }

    pub(super) fn is_promised(&self, number: u64) -> bool {
        self.tickets.get(&number).is_some_and(|held| held.promise.is_some())
    }

    /// The ticket's person left, or its socket is gone. Whoever it is promised to is told.
    pub(super) fn leave(&mut self, number: u64) -> bool {
        let Some(held) = self.tickets.remove(&number) else { return false };
        if let Some(promise) = held.promise {
            self.take_back(&promise.pair);
        }
        true
    }

    /// What the ticket asks for has changed: what was proposed before is void. A promise stands, as a match made a moment earlier would.
    pub(super) fn renew(&mut self, number: u64) {
        if let Some(held) = self.tickets.get_mut(&number).filter(|held| held.promise.is_none()) {
            held.epoch += 1;
        }
    }

    /// As [`Home::renew`], and a promise does not stand either.
    pub(super) fn revoke(&mut self, number: u64) {
        let Some(held) = self.tickets.get_mut(&number) else { return };
        held.epoch += 1;
        if let Some(promise) = held.promise.take() {
            self.take_back(&promise.pair);
            self.effects.push_back(Effect::Returned(number));
        }
    }

    /// An owner proposes. Both tickets here: they are a call at once, or not. Otherwise ours is promised.
    pub(super) fn claim(&mut self, owner: Peer, pair: Pair) {
        if pair.follower.home != self.me {
            return;
        }
        let here = pair.decider.home == self.me;
        if self.promises.contains_key(&pair.call) {
            return self.ask(pair.call);
        }
        let seats = [Some(&pair.follower), here.then_some(&pair.decider)];
        if let Some(why) = seats.into_iter().flatten().find_map(|seat| self.denial(seat, pair.queue)) {
            return self.send(owner, Body::Denied { call: pair.call, why });
        }
        if here {
            return self.pair_here(&pair);
        }
        let number = pair.follower.number;
        if let Some(held) = self.tickets.get_mut(&number) {
            held.promise = Some(Promise { pair, asked: 0 });
        }
        self.promises.insert(pair.call, number);
        self.effects.push_back(Effect::Left(number, owner));
        self.effects.push_back(Effect::Wake(pair.call));
        self.ask(pair.call);
    }

    /// The follower's home has promised. The call exists from here on, or never.
    pub(super) fn grant(&mut self, from: Peer, pair: &Pair, relay: NodeId, luggage: Luggage) -> Result<(), Denial> {
        let call = pair.call;
        if self.calls.contains_key(&call) {
            self.say_commit(call);
            return Ok(());
        }
        if pair.decider.home != self.me || pair.follower.home != from {
            return Ok(());
        }
        if let Some(why) = self.denial(&pair.decider, pair.queue) {
            self.send(from, Body::No { call });
            return Err(why);
        }
        let Seat { number, epoch, .. } = pair.decider;
        self.tickets.remove(&number);
        let (leads, waited) = (true, pair.decider_waited);
        let shared =
            Shared { ticket: number, epoch, partner: from, leads, relay, confirmed: false, connected: false, said: 0 };
        self.calls.insert(call, shared);
        self.effects.push_back(Effect::Left(number, call.owner));
        let hosts = relay == self.me.node;
        let matched = Matched { call, ticket: number, partner: from.node, waited, leads, hosts, relay, luggage };
        self.effects.push_back(Effect::Matched(matched));
        self.effects.push_back(Effect::Wake(call));
        self.say_commit(call);
        Ok(())
    }

    /// It is a call, says the decider's home.
    pub(super) fn commit(&mut self, from: Peer, call: CallId, relay: NodeId, luggage: Luggage) {
        if self.calls.contains_key(&call) {
            return self.send(from, Body::Confirmed { call });
        }
        let promised = self.promises.get(&call).and_then(|number| self.tickets.get(number));
        let meant = |promise: &Promise| promise.pair.decider.home == from;
        let has_host = [self.me.node, from.node].contains(&relay);
        if has_host && promised.and_then(|held| held.promise.as_ref()).is_some_and(meant) {
            self.enter_call(call, from, relay, luggage);
            self.send(from, Body::Confirmed { call });
        } else {
            self.send(from, Body::No { call });
        }
    }

    pub(super) fn confirmed(&mut self, from: Peer, call: CallId) {
        if let Some(shared) = self.calls.get_mut(&call).filter(|shared| shared.partner == from) {
            shared.confirmed = true;
        }
    }

    /// The other home is not in that call and never will be again.
    pub(super) fn no(&mut self, from: Peer, call: CallId) {
        if let Some(&number) = self.promises.get(&call)
            && let Some(promise) = self.tickets.get(&number).and_then(|held| held.promise.as_ref())
            && promise.pair.decider.home == from
        {
            self.give_back(number);
        }
        if self.calls.get(&call).is_some_and(|shared| shared.partner == from) {
            self.finish(call, Why::Partner);
        }
    }

    /// The partner's desk says something: the ticket it is about. Who is not in that call with us is told so.
    pub(super) fn framed(&mut self, from: Peer, call: CallId) -> Option<u64> {
        let ticket = self.calls.get(&call).filter(|shared| shared.partner == from).map(|shared| shared.ticket);
        if ticket.is_none() && !self.promises.contains_key(&call) {
            self.send(from, Body::No { call });
        }
        ticket
    }

    /// The other home believes to share these calls with us.
    pub(super) fn audited(&mut self, from: Peer, calls: &[CallId]) {
        for &call in calls {
            // A promise may be a call over there already; its `Commit` is on its way, or said again.
            if !self.calls.contains_key(&call) && !self.promises.contains_key(&call) {
                self.send(from, Body::No { call });
            }
        }
    }

    /// Asks every other home after the calls we believe to share with it.
    pub(super) fn audit(&mut self) {
        let mut shared: HashMap<Peer, Vec<CallId>, FixedState> = HashMap::default();
        for (call, with) in &self.calls {
            shared.entry(with.partner).or_default().push(*call);
        }
        let mut shared: Vec<_> = shared.into_iter().collect();
        shared.sort_unstable();
        for (partner, mut calls) in shared {
            calls.sort_unstable();
            for some in calls.chunks(MAX_NAMED) {
                self.send(partner, Body::Audit { calls: some.to_vec() });
            }
        }
    }

    /// Something has been waited for: ask again, or give up.
    pub(super) fn due(&mut self, call: CallId) {
        if let Some(&number) = self.promises.get(&call) {
            let Some(promise) = self.tickets.get_mut(&number).and_then(|held| held.promise.as_mut()) else { return };
            promise.asked = promise.asked.saturating_add(1);
            if promise.asked < self.patience.promise {
                self.effects.push_back(Effect::Wake(call));
                return self.ask(call);
            }
            let decider = promise.pair.decider.home;
            self.effects.push_back(Effect::LeaseExpired);
            self.give_back(number);
            self.send(decider, Body::No { call });
        } else if let Some(shared) = self.calls.get_mut(&call).filter(|shared| shared.leads && !shared.confirmed) {
            shared.said = shared.said.saturating_add(1);
            if shared.said < self.patience.commit {
                self.effects.push_back(Effect::Wake(call));
                return self.say_commit(call);
            }
            self.abandon(call, Why::Unconfirmed);
        }
    }

    /// Both sides are connected, says the desk: the partner's home confirmed it by that, and the deadline of setting up is off.
    pub(super) fn connected(&mut self, call: CallId) {
        if let Some(shared) = self.calls.get_mut(&call) {
            (shared.connected, shared.confirmed) = (true, true);
        }
    }

    /// This node relays that call.
    pub(super) fn hosts(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|shared| shared.relay == self.me.node)
    }

    /// It is not known to be connected.
    pub(super) fn is_set_up(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|shared| !shared.connected)
    }

    /// The call had to be connected by now.
    pub(super) fn set_up_due(&mut self, call: CallId) {
        if self.calls.get(&call).is_some_and(|shared| !shared.connected) {
            self.abandon(call, Why::Deadline);
        }
    }

    /// The partner's desk has said that it is over; its home says so too, and needs no answer.
    pub(super) fn part(&mut self, call: CallId) {
        self.calls.remove(&call);
    }

    /// The desk has ended the call.
    pub(super) fn end(&mut self, call: CallId) {
        if let Some(shared) = self.calls.remove(&call) {
            self.send(shared.partner, Body::No { call });
        }
    }

    /// Nothing will be heard of that life of a node: its promises return, calls that are being set up with it end. Those that stand end if
    /// it is `certain`, because their media may go on.
    pub(super) fn lost(&mut self, peer: Peer, certain: bool) {
        let promised = |number: &u64| {
            let promise = self.tickets.get(number)?.promise.as_ref()?;
            (promise.pair.decider.home == peer).then_some(*number)
        };
        let mut promised: Vec<u64> = self.promises.values().filter_map(promised).collect();
        promised.sort_unstable();
        for number in promised {
            self.give_back(number);
        }
        let ends = |shared: &Shared| shared.partner == peer && (certain || !shared.connected);
        let mut ended: Vec<CallId> =
            self.calls.iter().filter(|(_, shared)| ends(shared)).map(|(call, _)| *call).collect();
        ended.sort_unstable();
        for call in ended {
            self.abandon(call, Why::Node);
        }
    }

    /// Ends a call that cannot go on; the other home is told, should it hear.
    pub(super) fn abandon(&mut self, call: CallId, why: Why) {
        if let Some(partner) = self.finish(call, why) {
            self.send(partner, Body::No { call });
        }
    }

    fn pair_here(&mut self, pair: &Pair) {
        let (waiter, arrival) =
            if pair.decider_waited { (&pair.decider, &pair.follower) } else { (&pair.follower, &pair.decider) };
        for seat in [waiter, arrival] {
            self.tickets.remove(&seat.number);
            self.effects.push_back(Effect::Left(seat.number, pair.call.owner));
        }
        let stages = [waiter.stage, arrival.stage];
        self.effects.push_back(Effect::Paired { waiter: waiter.number, arrival: arrival.number, stages });
    }

    /// Why the ticket cannot be had as it was announced; `None` if it can.
    fn denial(&self, seat: &Seat, queue: QueueKey) -> Option<Denial> {
        let Some(held) = self.tickets.get(&seat.number) else { return Some(Denial::Unknown) };
        if held.queue != queue {
            Some(Denial::Queue)
        } else if held.promise.is_some() {
            Some(Denial::Promised)
        } else if held.epoch != seat.epoch {
            Some(Denial::Stale)
        } else {
            None
        }
    }

    /// The promised ticket is in the call.
    fn enter_call(&mut self, call: CallId, partner: Peer, relay: NodeId, luggage: Luggage) {
        let Some(ticket) = self.promises.remove(&call) else { return };
        let Some(held) = self.tickets.remove(&ticket) else { return };
        let Some(promise) = held.promise else { return };
        let waited = !promise.pair.decider_waited;
        let (leads, confirmed, connected, said) = (false, true, false, 0);
        let shared = Shared { ticket, epoch: held.epoch, partner, leads, relay, confirmed, connected, said };
        self.calls.insert(call, shared);
        let hosts = relay == self.me.node;
        let matched = Matched { call, ticket, partner: partner.node, waited, leads, hosts, relay, luggage };
        self.effects.push_back(Effect::Matched(matched));
    }

    fn ask(&mut self, call: CallId) {
        let promised = self.promises.get(&call).and_then(|number| self.tickets.get(number));
        if let Some(&Promise { pair, .. }) = promised.and_then(|held| held.promise.as_ref()) {
            self.send(pair.decider.home, Body::Grant { pair, luggage: Luggage::default() });
        }
    }

    fn say_commit(&mut self, call: CallId) {
        if let Some(&Shared { partner, relay, .. }) = self.calls.get(&call).filter(|shared| shared.leads) {
            self.send(partner, Body::Commit { call, relay, luggage: Luggage::default() });
        }
    }

    /// A promise came to nothing: the ticket waits again, where it stood.
    fn give_back(&mut self, number: u64) {
        let Some(held) = self.tickets.get_mut(&number) else { return };
        let Some(promise) = held.promise.take() else { return };
        held.epoch += 1;
        self.promises.remove(&promise.pair.call);
        self.effects.push_back(Effect::Returned(number));
    }

    /// The promise's ticket is not to be had after all.
    fn take_back(&mut self, pair: &Pair) {
        self.promises.remove(&pair.call);
        self.send(pair.decider.home, Body::No { call: pair.call });
    }

    fn finish(&mut self, call: CallId, why: Why) -> Option<Peer> {
        let shared = self.calls.remove(&call)?;
        self.effects.push_back(Effect::Ended { call, ticket: shared.ticket, why });
        Some(shared.partner)
    }

    fn send(&mut self, to: Peer, body: Body) {
        self.effects.push_back(Effect::Send(to, body));
    }
}

//! Connect (RFC 6062 §5.2), peers that come by themselves (§5.3), and the time both have.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::table::Overdue;
use super::{BIND_MILLIS, CONNECT_MILLIS, ConnectionId, TcpAction, TcpEvent};
use crate::hashing::{Seeded, seeded};
use crate::routes::{FiveTuple, RelayedPort};
use crate::time::{Millis, Now};
use crate::turn::Turn;
use crate::turn::allocation::{Allocation, Key as Place};
use crate::turn::io::Action;
use crate::turn::peer::{Peer, relayed_towards};
use crate::turn::reject::Reject;
use crate::turn::request::Answer;
use crate::turn::shared::Shared;
use crate::wire::{Key, Message, Method, Reply, TransactionId, connection_attempt};

/// What one worker keeps for its TCP allocations; the rest is shared.
pub(crate) struct Desk {
    /// Connects that wait for their peer. Bounded by [`super::WAITING_OF_ONE_ALLOCATION`].
    /// Boxed, so that no address stays in the table.
    connecting: HashMap<ConnectionId, Box<Waiting>, Seeded>,
    /// No connection of this worker is overdue before this. A lock less for each wait of the worker.
    next_end: Option<Millis>,
}

/// A Connect that will be answered.
struct Waiting {
    port: RelayedPort,
    client: FiveTuple,
    transaction: TransactionId,
    key: Key,
}

impl Desk {
    pub(crate) fn new(hash_seed: u64) -> Desk {
        Desk { connecting: HashMap::with_hasher(seeded(hash_seed)), next_end: None }
    }

    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.next_end
    }

    fn wake_at(&mut self, end: Millis) {
        self.next_end = Some(self.next_end.map_or(end, |next| next.min(end)));
    }
}

impl Turn {
    /// The listener is there: the allocation `place` is one for TCP from here on.
    pub(in crate::turn) fn begin_tcp(&mut self, place: Place) {
        if let Some(allocation) = self.allocations.get_mut(place) {
            allocation.tcp = true;
            let (client, owner) = (allocation.client, allocation.owner.identity());
            for port in allocation.relayed.ports() {
                self.shared.tcp.listen(port, self.worker, client, owner);
            }
        }
    }

    /// The allocation is over (RFC 6062 §5.5: "the data connection MUST be closed").
    pub(in crate::turn) fn end_tcp(&mut self, port: RelayedPort) {
        self.shared.tcp.close(port);
        self.tcp.connecting.retain(|_, waiting| waiting.port != port);
        self.actions.push_back(Action::Tcp(TcpAction::Close { port }));
    }

    pub(in crate::turn) fn connect(
        &mut self,
        now: Millis,
        place: Place,
        request: &Message<'_>,
    ) -> Result<Answer, Reject> {
        let allocation = self.allocations.get(place).ok_or(Reject::Mismatch)?;
        if !allocation.tcp {
            return Err(Reject::BadRequest);
        }
        let written = request.xor_peer_address()?.ok_or(Reject::BadRequest)?;
        let (port, peer, to) = reachable(&self.shared, allocation, written, now)?;
        let waiting = Waiting {
            port,
            client: allocation.client,
            transaction: request.transaction(),
            key: *allocation.owner.key(),
        };
        let id = self.shared.tcp.begin(now, port, peer)?;
        self.tcp.connecting.insert(id, Box::new(waiting));
        self.tcp.wake_at(now.after(CONNECT_MILLIS));
        self.actions.push_back(Action::Tcp(TcpAction::Connect { port, id, to }));
        Ok(Answer::Later)
    }

    pub(in crate::turn) fn tcp_event(&mut self, now: Now, event: TcpEvent) {
        match event {
            TcpEvent::Connected { id, success: true } => self.peer_connected(now.mono, id),
            TcpEvent::Connected { id, success: false } => {
                self.shared.tcp.failed(id);
                self.refuse_connect(id);
            }
            TcpEvent::Accepted { id } => self.peer_accepted(now.mono, id),
        }
    }

    fn peer_connected(&mut self, now: Millis, id: ConnectionId) {
        let Some(waiting) = self.tcp.connecting.remove(&id) else { return };
        if self.shared.tcp.connected(now, id).is_some() {
            self.tcp.wake_at(now.after(BIND_MILLIS));
            let reply = Reply::success_to(Method::Connect, waiting.transaction).connection_id(id.0);
            self.succeed(&waiting.client, reply.finish(Some(&waiting.key)));
        }
    }

    /// "the server sends a ConnectionAttempt indication to the client over the control connection" (§5.3).
    fn peer_accepted(&mut self, now: Millis, id: ConnectionId) {
        let Some((client, peer)) = self.shared.tcp.attempt(id) else { return };
        self.tcp.wake_at(now.after(BIND_MILLIS));
        let bytes = connection_attempt(self.next_indication(), peer, id.0);
        self.actions.push_back(Action::Reply { to: client, bytes });
    }

    /// Connects nobody answered (447), and connections nobody bound: "MUST be closed" (§5.3).
    pub(in crate::turn) fn end_overdue_tcp(&mut self, now: Millis) {
        if self.tcp.next_end.is_none_or(|end| end > now) {
            return;
        }
        while let Some(Overdue { id, port }) = self.shared.tcp.pop_overdue(self.worker, now) {
            self.actions.push_back(Action::Tcp(TcpAction::Abandon { port, id }));
            self.refuse_connect(id);
        }
        self.tcp.next_end = self.shared.tcp.next_end(self.worker);
    }

    fn refuse_connect(&mut self, id: ConnectionId) {
        let Some(waiting) = self.tcp.connecting.remove(&id) else { return };
        let code = Reject::ConnectionFailed.code();
        let bytes = Reply::error_to(Method::Connect, waiting.transaction, code).finish(Some(&waiting.key));
        self.send_reply(&waiting.client, code.code(), bytes);
    }
}

/// A peer the policy lets a client connect to: the relayed port to connect from, its name, and where to connect to. It decides as for every other method, save
/// that what is live here over UDP says nothing about who listens on that port over TCP.
fn reachable(
    shared: &Shared,
    allocation: &Allocation,
    written: SocketAddr,
    now: Millis,
) -> Result<(RelayedPort, SocketAddr, SocketAddr), Reject> {
    let allowed = shared.policy.check(written, |address| shared.is_tcp_relayed(address));
    let allowed = allowed.map_err(|_| Reject::Forbidden)?.addr();
    let peer = Peer::unchecked(&shared.routes, allowed);
    let from = relayed_towards(allocation, written, &peer, now).ok_or(Reject::PeerFamilyMismatch)?;
    if peer.own == Some(from) {
        return Err(Reject::Forbidden); // itself
    }
    // An address of ours behind a one-to-one NAT is reached by the name it is bound to.
    let to = peer.own.and_then(|own| shared.routes.bind(own)).unwrap_or(allowed);
    Ok((from, peer.name, to))
}

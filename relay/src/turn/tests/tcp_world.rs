//! The edge of TCP allocations, as far as the machine can tell.

use super::world::{Client, Response, World, settings};
use crate::turn::*;
use crate::wire::{Message, MessageClass, Method, Request};

pub(super) const TCP: u8 = 6;

/// Two workers, TCP allocations on.
pub(super) fn tcp_world() -> World {
    World::new(Settings { tcp_allocations: true, ..settings() }, 2)
}

/// A ConnectionAttempt as a client reads it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) peer: std::net::SocketAddr,
    pub(super) id: u32,
}

impl World {
    pub(super) fn tcp_action(&mut self, worker: usize, action: TcpAction) {
        match action {
            TcpAction::Listen { port } => {
                let result = if self.failing_opens > 0 {
                    self.failing_opens -= 1;
                    Err(OpenError::InUse)
                } else {
                    assert!(self.listeners.insert(port), "listened twice");
                    Ok(())
                };
                self.workers[worker].handle_opened(self.now, port, result);
            }
            TcpAction::Close { port } => assert!(self.listeners.remove(&port), "closed what is not open"),
            other => self.tcp.push(other),
        }
    }

    /// A connection of its own for this user, over TCP.
    pub(super) fn stream_user(&mut self, name: &str, number: u8, worker: usize) -> Client {
        let from = self.user(name, number).from;
        let connection = Connection { worker: worker as u16, number: u32::from(number) };
        let from = FiveTuple { transport: Transport::Tcp(connection), ..from };
        self.client_at(from, worker, name, &format!("{name}'s secret"))
    }

    pub(super) fn allocate_tcp(&mut self, client: &Client) -> std::net::SocketAddr {
        let response = self.ask(client, Method::Allocate, |request| request.requested_transport(TCP));
        assert_eq!(response.code, 0, "{response:?}");
        response.relayed.unwrap()
    }

    /// A Connect; the answer, if it comes at once.
    pub(super) fn connect(&mut self, client: &Client, peer: std::net::SocketAddr) -> Option<Response> {
        let bytes = self.signed(client, Method::Connect, |request| request.xor_peer_address(peer));
        self.deliver(client, &bytes)
    }

    /// The last connection the edge was asked to open.
    pub(super) fn asked_to_connect(&self) -> (RelayedPort, ConnectionId, std::net::SocketAddr) {
        match self.tcp.last() {
            Some(TcpAction::Connect { port, id, to }) => (*port, *id, *to),
            other => panic!("no Connect but {other:?}"),
        }
    }

    /// The edge reports; what the client is told because of it.
    pub(super) fn report(&mut self, client: &Client, event: TcpEvent) -> Option<Vec<u8>> {
        let before = self.replies.len();
        self.workers[client.worker].handle_command(self.now, Command::Tcp(event));
        self.drain(client.worker);
        let (to, bytes) = self.replies.get(before)?;
        assert_eq!(*to, client.from);
        Some(bytes.clone())
    }

    /// A Connect that the peer answers; the CONNECTION-ID.
    pub(super) fn connected(&mut self, client: &Client, peer: std::net::SocketAddr) -> u32 {
        assert!(self.connect(client, peer).is_none(), "answered before the peer");
        let id = self.asked_to_connect().1;
        let reply = self.report(client, TcpEvent::Connected { id, success: true }).expect("an answer");
        let told = Message::parse(&reply).unwrap().connection_id().unwrap();
        assert_eq!((Response::read(&reply, &client.key()).code, told), (0, Some(id.0)));
        id.0
    }

    /// A peer that connects to the relayed address; what the client hears of it.
    pub(super) fn peer_connects(
        &mut self,
        client: &Client,
        relayed: std::net::SocketAddr,
        peer: std::net::SocketAddr,
    ) -> Option<Attempt> {
        let port = self.shared.routes.locate(relayed).unwrap();
        let (worker, id) = self.shared.tcp.admit_peer(self.now.mono, port, peer)?;
        assert_eq!(usize::from(worker), client.worker);
        let bytes = self.report(client, TcpEvent::Accepted { id }).expect("an indication");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class(), message.method()), (MessageClass::Indication, Method::ConnectionAttempt));
        let (peer, told) = (message.xor_peer_address().unwrap().unwrap(), message.connection_id().unwrap().unwrap());
        assert_eq!(told, id.0);
        Some(Attempt { peer, id: told })
    }

    /// A ConnectionBind: the error code, or zero and the edge has been told.
    pub(super) fn bind_connection(&mut self, client: &Client, id: u32) -> u16 {
        let before = self.tcp.len();
        let bytes = self.signed(client, Method::ConnectionBind, |request| request.connection_id(id));
        if let Some(refused) = self.deliver(client, &bytes) {
            assert_eq!(self.tcp.len(), before, "refused, and nothing done");
            return refused.code;
        }
        let Some(TcpAction::Bind { client: stream, id: bound, reply, .. }) = self.tcp.last() else { panic!("no Bind") };
        assert_eq!((Some(*stream), bound.0), (client.from.transport.connection(), id));
        let reply = Response::read(reply, &client.key());
        assert!(reply.signed && reply.code == 0, "{reply:?}");
        0
    }
}

pub(super) fn wants_tcp(request: Request) -> Request {
    request.requested_transport(TCP)
}

//! What a worker hands over for TCP allocations (RFC 6062), off the packet path: listeners, wishes, and clients' connections
//! that carry no TURN any more. Whoever holds [`Tasks`] does the work (`splice`).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustls::ServerConnection;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use crate::turn::{ConnectionId, OpenError, RelayedPort};

/// Peers the kernel holds for one relayed address before they are accepted.
const BACKLOG: i32 = 64;

/// One thing to do. Each is followed by its answer, or follows one, so that no more of them can wait than there are
/// allocations and connections; both have their bounds in `turn`.
pub enum Task {
    Listen { port: RelayedPort, listener: TcpListener },
    Close { port: RelayedPort },
    Connect { worker: u16, port: RelayedPort, id: ConnectionId, from: SocketAddr, to: SocketAddr },
    Abandon { port: RelayedPort, id: ConnectionId },
    Bind { port: RelayedPort, id: ConnectionId, client: Box<DataClient> },
}

/// A client's connection that was bound to a peer connection.
pub struct DataClient {
    /// Non-blocking.
    pub socket: TcpStream,
    pub tls: Option<Box<ServerConnection>>,
    /// To be written as it is, first: over TLS it is encrypted already.
    pub leaving: Vec<u8>,
    /// To be written then: the answer to the ConnectionBind is the last of it.
    pub plain: Vec<u8>,
    /// Plain bytes that came behind the ConnectionBind: data for the peer.
    pub received: Vec<u8>,
    /// Kept until the connection is closed.
    pub place: Box<dyn Send>,
}

/// The worker's end.
#[derive(Clone)]
pub struct TasksSender(mpsc::UnboundedSender<Task>);

/// The other end.
pub struct Tasks(mpsc::UnboundedReceiver<Task>);

/// Both ends.
pub fn tasks() -> (TasksSender, Tasks) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (TasksSender(sender), Tasks(receiver))
}

impl TasksSender {
    /// Without a receiver the daemon is stopping, and everything is closed anyway.
    pub(super) fn send(&self, task: Task) {
        let _ = self.0.send(task);
    }
}

impl Tasks {
    /// `None` once every worker is gone.
    pub async fn next(&mut self) -> Option<Task> {
        self.0.recv().await
    }
}

/// Listens at a relayed transport address. Nobody may hold the port when it is bound; afterwards connections that leave from
/// it share it: "The local endpoint is the relayed transport address" (RFC 6062 §5.2).
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, OpenError> {
    let open = || {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Connections of the port's former holder may linger in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(true)?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => OpenError::InUse,
        _ => OpenError::Unavailable,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_somebody_listens_on_is_in_use_whoever_it_is() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listen(other.local_addr().unwrap()).err(), Some(OpenError::InUse));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let own = listen(address).unwrap();
        assert_eq!(listen(own.local_addr().unwrap()).err(), Some(OpenError::InUse));
    }

    #[test]
    fn an_address_we_do_not_have_is_unavailable() {
        assert_eq!(listen("192.0.2.77:0".parse().unwrap()).err(), Some(OpenError::Unavailable));
    }
}

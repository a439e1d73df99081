//! What a worker does for TCP allocations: little, and never for a packet. It opens listeners, because their Allocate waits for
//! that, and hands everything else over.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::tcp::{Task, TasksSender, listen};
use super::worker::Worker;
use crate::time::Now;
use crate::turn::{ConnectionId, OpenError, RelayedPort, TcpAction};

/// A connection that leaves the worker at the end of the turn, and for what.
pub(super) struct Departure {
    pub(super) port: RelayedPort,
    pub(super) id: ConnectionId,
    pub(super) reply: Vec<u8>,
}

impl Worker {
    pub(super) fn act_tcp(&mut self, now: Now, action: TcpAction) {
        let Some(tasks) = self.tcp.clone() else {
            if let TcpAction::Listen { port } = action {
                self.turn.handle_opened(now, port, Err(OpenError::Unavailable));
            }
            return;
        };
        match action {
            TcpAction::Listen { port } => self.listen(now, &tasks, port),
            TcpAction::Close { port } => tasks.send(Task::Close { port }),
            TcpAction::Connect { port, id, to } => match self.relayed_address(port) {
                Some(from) => tasks.send(Task::Connect { worker: self.number, port, id, from, to }),
                None => tasks.send(Task::Abandon { port, id }),
            },
            TcpAction::Abandon { port, id } => tasks.send(Task::Abandon { port, id }),
            TcpAction::Bind { client, port, id, reply } => {
                if !self.streams.depart(client.number, Departure { port, id, reply }) {
                    tasks.send(Task::Abandon { port, id });
                }
            }
        }
    }

    fn listen(&mut self, now: Now, tasks: &TasksSender, port: RelayedPort) {
        let address = self.relayed_address(port).ok_or(OpenError::Unavailable);
        let opened = address.and_then(listen).map(|listener| tasks.send(Task::Listen { port, listener }));
        if opened.is_err() {
            self.counters.open_failures.add(1);
        }
        self.turn.handle_opened(now, port, opened);
    }

    fn relayed_address(&self, port: RelayedPort) -> Option<SocketAddr> {
        self.sockets.relayed_address(port)
    }

    /// Stage 8 for streams that carry no TURN any more.
    pub(super) fn hand_over_streams(&mut self) {
        while let Some((number, departure)) = self.streams.next_departing() {
            let Departure { port, id, reply } = departure;
            let Some(tasks) = &self.tcp else { continue };
            let Some(stream) = self.streams.remove(number) else {
                tasks.send(Task::Abandon { port, id }); // closed in the same turn
                continue;
            };
            self.counters.streams.sub(1);
            // Only an error of ours could keep it: then it is closed, and so is the peer connection.
            match self.epoll.remove(stream.socket.as_fd()) {
                Ok(()) => tasks.send(Task::Bind { port, id, client: Box::new(stream.into_data_client(&reply)) }),
                Err(_) => tasks.send(Task::Abandon { port, id }),
            }
        }
    }
}

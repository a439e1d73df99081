//! What the server has granted so far, read off its answers as they leave: the only reason for any packet to pass.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::wire::{Message, MessageClass, Method};

#[derive(Default)]
pub(super) struct Shadow {
    held: BTreeMap<usize, Held>,
}

/// What one client holds.
pub(super) struct Held {
    pub(super) relayed: SocketAddr,
    expires: u64,
    permissions: BTreeMap<IpAddr, u64>,
}

impl Shadow {
    /// The server answers `request` of this client so.
    pub(super) fn answered(&mut self, now: u64, client: usize, request: &[u8], reply: &[u8]) {
        let reply = Message::parse(reply).unwrap();
        let request = Message::parse(request).unwrap();
        assert_eq!((reply.transaction(), reply.method()), (request.transaction(), request.method()));
        if reply.class() != MessageClass::Success {
            return;
        }
        let until = reply.lifetime().unwrap().map(|secs| now + u64::from(secs) * 1000);
        match request.method() {
            Method::Allocate => {
                self.allocated(now, client, reply.xor_relayed_address().unwrap().unwrap(), until.unwrap())
            }
            Method::Refresh if reply.lifetime().unwrap() == Some(0) => drop(self.held.remove(&client)),
            Method::Refresh => self.of(client).expires = until.unwrap(),
            Method::CreatePermission | Method::ChannelBind => {
                for peer in request.xor_peer_addresses() {
                    self.of(client).permissions.insert(peer.unwrap().ip(), now + 300_000);
                }
            }
            other => panic!("{other:?} is granted"),
        }
    }

    /// One allocation of a five-tuple, however often it is asked for.
    fn allocated(&mut self, now: u64, client: usize, relayed: SocketAddr, expires: u64) {
        if let Some(held) = self.held.get(&client).filter(|held| now < held.expires) {
            assert_eq!(held.relayed, relayed, "a second allocation for one five-tuple");
            return; // a repeated answer prolongs nothing
        }
        let taken =
            self.held.iter().any(|(other, held)| *other != client && held.relayed == relayed && now < held.expires);
        assert!(!taken, "a port for two");
        self.held.insert(client, Held { relayed, expires, permissions: BTreeMap::new() });
    }

    fn of(&mut self, client: usize) -> &mut Held {
        self.held.get_mut(&client).expect("granted to somebody without an allocation")
    }

    pub(super) fn living(&self, now: u64, client: usize) -> Option<&Held> {
        self.held.get(&client).filter(|held| now < held.expires)
    }

    pub(super) fn count(&self, now: u64) -> usize {
        self.held.values().filter(|held| now < held.expires).count()
    }

    /// A call is over.
    pub(super) fn forget_all(&mut self) {
        self.held.clear();
    }
}

impl Held {
    pub(super) fn permits(&self, now: u64, peer: IpAddr) -> bool {
        self.permissions.get(&peer).is_some_and(|until| now < *until)
    }
}

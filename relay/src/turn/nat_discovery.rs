//! NAT behaviour discovery (RFC 5780): two IP addresses and two ports, and answers from whichever of the four is asked for.

use std::fmt;
use std::net::SocketAddr;

use super::reject::Reject;
use crate::routes::{ClientPath, FiveTuple, Transport};
use crate::wire::{Message, Reply, attribute};

/// Four UDP listeners: by IP address, then by port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NatDiscovery {
    pub sites: [[Site; 2]; 2],
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Index of the listening socket in the settings' order.
    pub listener: u16,
    /// As bound.
    pub local: SocketAddr,
    /// As clients know it.
    pub public: SocketAddr,
}

impl NatDiscovery {
    /// The place of the listener a request came to, if it is one of the four.
    pub(super) fn place(&self, at: &FiveTuple) -> Option<(usize, usize)> {
        let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
        let is_here = |&(ip, port): &(usize, usize)| self.sites[ip][port].listener == at.listener;
        places.into_iter().find(is_here).filter(|_| at.transport == Transport::Udp)
    }

    /// The answer to a Binding request that came to this place, and the way it goes (§6.1). It goes to the address the request
    /// came from, and is no longer than the request where that asks for PADDING.
    pub(super) fn answer(
        &self,
        (ip, port): (usize, usize),
        from: &FiveTuple,
        request: &Message<'_>,
        length: usize,
    ) -> Result<(ClientPath, Reply), Reject> {
        let unknown = request.unknown_besides(attribute::discovery);
        if !unknown.is_empty() {
            return Err(Reject::UnknownAttribute(unknown));
        }
        let (change_ip, change_port) = request.change_request()?;
        let (response_port, padding) = (request.response_port()?, request.value(attribute::PADDING).is_some());
        if response_port.is_some() && padding {
            return Err(Reject::BadRequest); // fragments to a port that need not want them
        }
        let origin = self.sites[ip ^ usize::from(change_ip)][port ^ usize::from(change_port)];
        let other = self.sites[1 - ip][1 - port];
        let reply = Reply::success(request)
            .xor_mapped_address(from.remote)
            .mapped_address(from.remote)
            .response_origin(origin.public)
            .other_address(other.public);
        let reply = if padding { reply.padded_to(length) } else { reply };
        let remote = SocketAddr::new(from.remote.ip(), response_port.unwrap_or(from.remote.port()));
        Ok((ClientPath { listener: origin.listener, local: origin.local, remote, ..*from }, reply))
    }
}

impl fmt::Debug for NatDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NatDiscovery")
    }
}

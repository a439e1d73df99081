//! What a refused client is told besides the error code.

use super::Turn;
use super::reject::Reject;
use crate::routes::FiveTuple;
use crate::wire::{Message, Reply};

impl Turn {
    /// Where a client goes that wants an allocation while this server drains: "The IP address family MUST be identical to that
    /// of the source IP address of the request" (RFC 8489 §14.15). Clients of a dual-stack listener are what they look like.
    pub(super) fn elsewhere(&self, from: &FiveTuple) -> Reject {
        let mut alternates = self.shared.settings.alternate_servers.iter().copied();
        match alternates.find(|alternate| alternate.is_ipv4() == from.remote.is_ipv4()) {
            Some(alternate) => Reject::TryAlternate(alternate),
            None => Reject::NoCapacity,
        }
    }

    pub(super) fn refusal(&self, request: &Message<'_>, reject: Reject) -> Reply {
        let reply = Reply::error(request, reject.code());
        match reject {
            Reject::UnknownAttribute(unknown) => reply.unknown_attributes(&unknown),
            Reject::TryAlternate(server) => {
                let reply = reply.alternate_server(server);
                match &self.shared.settings.alternate_domain {
                    Some(domain) => reply.alternate_domain(domain),
                    None => reply,
                }
            }
            _ => reply,
        }
    }
}

//! CreatePermission (RFC 8656 §10.2). The section has no numbers; in its order:
//!
//! 1. at least one XOR-PEER-ADDRESS, all of them valid, or 400;
//! 2. each of the family of a relayed address, or 443;
//! 3. each allowed, or 403: all or none is installed;
//! 4. capacity for all, or 508;
//! 5. permissions are installed or refreshed, for addresses whatever the port (§9).

use std::net::IpAddr;

use super::Turn;
use super::allocation::{Allocation, Key};
use super::peer::{Peer, relayed_towards};
use super::reject::Reject;
use super::shared::Shared;
use crate::routes::RelayedPort;
use crate::time::Millis;
use crate::wire::{Message, Reply};

impl Turn {
    pub(super) fn create_permission(&mut self, now: Millis, key: Key, request: &Message<'_>) -> Result<Reply, Reject> {
        let allocation = self.allocations.get_mut(key).ok_or(Reject::Mismatch)?;
        let shared = &self.shared;
        let mut peers = Vec::new();
        for written in request.xor_peer_addresses() {
            let written = written?; // 1
            let peer = if allocation.is_call_bound() {
                Peer::partner(shared, &allocation.relayed, written)?
            } else {
                Peer::permitted(shared, written)? // 3; before 2, so that a denied address always looks the same
            };
            let relayed = relayed_towards(allocation, written, &peer, now).ok_or(Reject::PeerFamilyMismatch)?; // 2
            peers.push((relayed, peer));
        }
        if peers.is_empty() {
            return Err(Reject::BadRequest); // 1
        }
        if !allocation.is_call_bound() {
            let mut addresses: Vec<IpAddr> = peers.iter().map(|(_, peer)| peer.name.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            if !allocation.permissions.have_room(&addresses, shared.settings.max_permissions, now) {
                return Err(Reject::NoCapacity); // 4
            }
        }
        for (relayed, peer) in &peers {
            // 5
            permit(shared, allocation, *relayed, peer, now);
        }
        Ok(Reply::success(request))
    }
}

/// Installs or refreshes the permission for a peer that was allowed. Call-bound allocations need none: their pairing is
/// the permission, and it ends with the call.
pub(super) fn permit(shared: &Shared, allocation: &mut Allocation, relayed: RelayedPort, peer: &Peer, now: Millis) {
    if allocation.is_call_bound() {
        return;
    }
    let until = allocation.permissions.install(peer.name.ip(), now);
    if allocation.tcp {
        let most = shared.settings.max_permissions;
        return shared.tcp.permit(relayed, peer.name.ip(), until, most, now);
    }
    if let Some(own) = peer.own {
        shared.routes.permit(relayed, own.address, until);
    }
}

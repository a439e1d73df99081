//! ChannelBind (RFC 8656 §12.2): a number for a peer, and a permission with it. The section's checks, in its order:
//!
//! 1. both CHANNEL-NUMBER and XOR-PEER-ADDRESS are there, or 400;
//! 2. the number is from 0x4000 to 0x4FFF (to 0x7FFF with `legacy_channels`, as RFC 5766 had it), or 400;
//! 3. the number is not bound to another transport address, or 400;
//! 4. the transport address is not bound to another number, or 400;
//! 5. the peer is of the family of a relayed address, or 443;
//! 6. the peer is allowed, or 403;
//! 7. there is capacity, or 508;
//! 8. the channel is bound or refreshed for ten minutes, and the permission for five.

use super::Turn;
use super::allocation::Key;
use super::channel::{CannotBind, is_channel_number};
use super::create_permission::permit;
use super::peer::{Peer, relayed_towards};
use super::reject::Reject;
use crate::routes::ChannelEntry;
use crate::time::Millis;
use crate::wire::{Message, Reply};

impl Turn {
    pub(super) fn channel_bind(&mut self, now: Millis, key: Key, request: &Message<'_>) -> Result<Reply, Reject> {
        let allocation = self.allocations.get_mut(key).ok_or(Reject::Mismatch)?;
        if allocation.tcp {
            return Err(Reject::BadRequest); // RFC 6062 §3: no channels
        }
        let (shared, settings) = (&self.shared, &self.shared.settings);
        let number = request.channel_number()?.ok_or(Reject::BadRequest)?; // 1
        let written = request.xor_peer_address()?.ok_or(Reject::BadRequest)?;
        if !is_channel_number(number, settings.legacy_channels) {
            return Err(Reject::BadRequest); // 2
        }
        let peer = if allocation.is_call_bound() {
            Peer::partner(shared, &allocation.relayed, written)?
        } else {
            Peer::allowed(shared, written)? // 6; first, so that a denied address always looks the same
        };
        let relayed = relayed_towards(allocation, written, &peer, now).ok_or(Reject::PeerFamilyMismatch)?; // 5
        allocation.channels.check(number, &peer, settings.max_channels, now)?; // 3, 4, 7
        if !allocation.is_call_bound()
            && !allocation.permissions.have_room(&[peer.name.ip()], settings.max_permissions, now)
        {
            return Err(Reject::NoCapacity); // 7
        }
        let until = allocation.channels.bind(number, peer, now); // 8
        permit(shared, allocation, relayed, &peer, now);
        if let Some(own) = peer.own {
            shared.routes.bind_channel(relayed, ChannelEntry { number, peer: own, until }, now);
        }
        Ok(Reply::success(request))
    }
}

impl From<CannotBind> for Reject {
    fn from(why: CannotBind) -> Reject {
        match why {
            CannotBind::Conflict => Reject::BadRequest,
            CannotBind::Full => Reject::NoCapacity,
        }
    }
}

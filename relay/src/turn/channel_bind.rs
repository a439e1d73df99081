//! ChannelBind (RFC 8656 §12.2): a number for a peer, and a permission with it.

use super::Turn;
use super::allocation::Key;
use super::channel::{CannotBind, is_channel_number};
use super::create_permission::permit;
use super::peer::{Peer, relayed_towards};
use super::reject::Reject;
use super::routes::ChannelEntry;
use crate::time::Millis;
use crate::wire::{Message, Reply};

impl Turn {
    pub(super) fn channel_bind(&mut self, now: Millis, key: Key, request: &Message<'_>) -> Result<Reply, Reject> {
        let allocation = self.allocations.get_mut(key).ok_or(Reject::Mismatch)?;
        if allocation.tcp {
            return Err(Reject::BadRequest); // RFC 6062 §3: no channels
        }
        let (shared, settings) = (&self.shared, &self.shared.settings);
        let number = request.channel_number()?.ok_or(Reject::BadRequest)?;
        let written = request.xor_peer_address()?.ok_or(Reject::BadRequest)?;
        if !is_channel_number(number, settings.legacy_channels) {
            return Err(Reject::BadRequest);
        }
        let peer = if allocation.is_call_bound() {
            Peer::partner(shared, &allocation.relayed, written)?
        } else {
            Peer::allowed(shared, written)?
        };
        let relayed = relayed_towards(allocation, written, &peer, now).ok_or(Reject::PeerFamilyMismatch)?;
        allocation.channels.check(number, &peer, settings.max_channels, now)?;
        if !allocation.is_call_bound()
            && !allocation.permissions.have_room(&[peer.name.ip()], settings.max_permissions, now)
        {
            return Err(Reject::NoCapacity);
        }
        let until = allocation.channels.bind(number, peer, now);
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

//! Refresh (RFC 8656 §8.2): a new time-to-expiry, or the end.

use super::Turn;
use super::allocate::lifetime_secs;
use super::allocation::Key;
use super::reject::Reject;
use crate::time::Millis;
use crate::wire::{Message, Reply};

impl Turn {
    /// A retransmitted Refresh with lifetime zero finds no allocation and gets 437, which its sender takes for success
    /// (§8.3).
    pub(super) fn refresh(&mut self, now: Millis, key: Key, request: &Message<'_>) -> Result<Reply, Reject> {
        let relayed = self.allocations.get(key).ok_or(Reject::Mismatch)?.relayed;
        let own_family = if self.shared.is_ipv6(relayed) { 2 } else { 1 };
        if request.requested_address_family()?.is_some_and(|family| family != own_family) {
            return Err(Reject::PeerFamilyMismatch);
        }
        let asked = request.lifetime()?;
        if asked == Some(0) {
            self.free(key);
            return Ok(Reply::success(request).lifetime(0));
        }
        let secs = lifetime_secs(&self.shared.settings, asked);
        let expires = now.after(u64::from(secs) * 1000);
        self.allocations.extend(key, expires);
        self.shared.routes.refresh(relayed, expires);
        Ok(Reply::success(request).lifetime(secs))
    }
}

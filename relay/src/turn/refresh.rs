//! Refresh (RFC 8656 §8.2): a new time-to-expiry, or the end.

use super::Turn;
use super::allocate::lifetime_secs;
use super::allocation::Key;
use super::reject::Reject;
use crate::time::Millis;
use crate::wire::{Message, Reply};

impl Turn {
    /// A retransmitted Refresh with lifetime zero finds no allocation and gets 437, which its sender takes for success
    /// (§8.3); that of one family of a dual allocation gets 443.
    pub(super) fn refresh(&mut self, now: Millis, key: Key, request: &Message<'_>) -> Result<Reply, Reject> {
        let relayed = self.allocations.get(key).ok_or(Reject::Mismatch)?.relayed;
        // Without REQUESTED-ADDRESS-FAMILY it is about all there is, with it about that address alone (§8.1, §8.2).
        let named = request.requested_address_family()?;
        let families: Vec<bool> =
            relayed.families().filter(|ipv6| named.is_none_or(|named| named == family_number(*ipv6))).collect();
        if families.is_empty() {
            return Err(Reject::PeerFamilyMismatch); // §8.2: not the allocation's family
        }
        let asked = request.lifetime()?;
        if asked == Some(0) {
            // §8.2: deleted. The other address of a dual allocation keeps its permissions and channels (§8.1).
            for ipv6 in families {
                self.free_family(key, ipv6);
            }
            return Ok(Reply::success(request).lifetime(0));
        }
        let secs = lifetime_secs(&self.shared.settings, asked); // §8.2: the desired lifetime
        let expires = now.after(u64::from(secs) * 1000);
        for ipv6 in families {
            if let Some(port) = self.allocations.extend(key, ipv6, expires) {
                self.shared.routes.refresh(port, expires);
            }
        }
        Ok(Reply::success(request).lifetime(secs))
    }
}

/// As REQUESTED-ADDRESS-FAMILY and its like say it (RFC 8489 §14.1).
pub(super) fn family_number(ipv6: bool) -> u8 {
    if ipv6 { 2 } else { 1 }
}

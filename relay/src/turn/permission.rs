//! Permissions: which IP addresses may send to an allocation's client, and be sent to (RFC 8656 §9). Ports do not
//! matter. Expired ones are forgotten when room is needed; nothing but time takes a permission away.

use std::net::IpAddr;

use super::small_map::SmallMap;
use crate::time::Millis;

/// RFC 8656 §9: a permission lasts 300 s after it was last refreshed.
pub(crate) const PERMISSION_MILLIS: u64 = 300_000;

/// The permissions of one allocation.
pub(crate) struct Permissions {
    until: SmallMap<IpAddr, Millis, 2>,
    /// No permission ends before this: until then sweeping is in vain.
    none_ends_before: Millis,
    seed: u64,
}

impl Permissions {
    /// `seed`: of the table that many permissions need.
    pub(crate) fn new(seed: u64) -> Permissions {
        Permissions { until: SmallMap::new(), none_ends_before: Millis(u64::MAX), seed }
    }

    pub(crate) fn allow(&self, peer: IpAddr, now: Millis) -> bool {
        self.until.get(&peer).is_some_and(|&until| until > now)
    }

    /// Is there room for all of these? `peers` without duplicates.
    pub(crate) fn have_room(&mut self, peers: &[IpAddr], max: u16, now: Millis) -> bool {
        let new = peers.iter().filter(|peer| !self.until.contains_key(*peer)).count();
        if self.until.len() + new > usize::from(max) && self.none_ends_before <= now {
            self.sweep(now);
            return self.have_room(peers, max, now);
        }
        self.until.len() + new <= usize::from(max)
    }

    /// Installs or refreshes; returns until when.
    pub(crate) fn install(&mut self, peer: IpAddr, now: Millis) -> Millis {
        let until = now.after(PERMISSION_MILLIS);
        self.insert(peer, until);
        until
    }

    /// One that was installed in another process.
    pub(crate) fn insert(&mut self, peer: IpAddr, until: Millis) {
        self.until.insert(peer, until, self.seed);
        self.none_ends_before = self.none_ends_before.min(until);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, Millis)> {
        self.until.iter().map(|(peer, until)| (*peer, *until))
    }

    /// Those for peers of one family are gone.
    pub(crate) fn forget_family(&mut self, ipv6: bool) {
        self.until.retain(|peer, _| peer.is_ipv6() != ipv6);
    }

    fn sweep(&mut self, now: Millis) {
        self.until.retain(|_, until| *until > now);
        self.none_ends_before = self.until.values().min().copied().unwrap_or(Millis(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_permission_ends_300_seconds_after_its_last_refresh() {
        let mut permissions = Permissions::new(1);
        permissions.install(ip(1), Millis(0));
        permissions.install(ip(1), Millis(100_000));
        assert!(permissions.allow(ip(1), Millis(399_999)));
        assert!(!permissions.allow(ip(1), Millis(400_000)));
        assert!(!permissions.allow(ip(2), Millis(1)));
    }

    #[test]
    fn expired_permissions_make_room_and_living_ones_do_not() {
        let mut permissions = Permissions::new(1);
        permissions.install(ip(1), Millis(0));
        permissions.install(ip(2), Millis(1000));
        assert!(permissions.have_room(&[ip(1), ip(2)], 2, Millis(2000)));
        assert!(!permissions.have_room(&[ip(3)], 2, Millis(299_999)));
        assert!(permissions.have_room(&[ip(3)], 2, Millis(300_000)));
        assert!(!permissions.have_room(&[ip(3), ip(4)], 2, Millis(300_000)));
        assert!(permissions.allow(ip(2), Millis(300_000)));
    }
}

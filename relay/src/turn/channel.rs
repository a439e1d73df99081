//! Channels: a number for a peer, so that its packets need four bytes of header instead of thirty-six (RFC 8656 §12).

use std::net::SocketAddr;

use super::peer::Peer;
use super::small_map::SmallMap;
use crate::time::Millis;

/// RFC 8656 §12: a binding lasts 600 s after it was last refreshed.
pub(crate) const CHANNEL_MILLIS: u64 = 600_000;

/// One binding.
#[derive(Clone, Copy)]
pub(crate) struct Channel {
    pub(crate) peer: Peer,
    pub(crate) until: Millis,
}

/// The channels of one allocation. A number has one peer and a peer one number.
pub(crate) struct Channels {
    by_number: SmallMap<u16, Channel, 1>,
    /// No binding ends before this: until then sweeping is in vain.
    none_ends_before: Millis,
    by_peer: SmallMap<SocketAddr, u16, 1>,
    seed: u64,
}

/// Why a channel could not be bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CannotBind {
    /// The number has another peer, or the peer another number (RFC 8656 §12.2).
    Conflict,
    Full,
}

/// Numbers a channel may have: RFC 8656 §12, and §5 on those RFC 5766 allowed besides.
pub(crate) fn is_channel_number(number: u16, legacy: bool) -> bool {
    match number {
        0x4000..=0x4FFF => true,
        0x5000..=0x7FFF => legacy,
        _ => false,
    }
}

impl Channels {
    /// `seed`: of the tables that many channels need.
    pub(crate) fn new(seed: u64) -> Channels {
        let (by_number, by_peer) = (SmallMap::new(), SmallMap::new());
        Channels { by_number, none_ends_before: Millis(u64::MAX), by_peer, seed }
    }

    #[inline]
    pub(crate) fn get(&self, number: u16, now: Millis) -> Option<&Channel> {
        self.by_number.get(&number).filter(|channel| channel.until > now)
    }

    /// The number bound to the peer of that name (see [`Peer::name`]).
    pub(crate) fn number_of(&self, name: SocketAddr, now: Millis) -> Option<u16> {
        let number = *self.by_peer.get(&name)?;
        self.get(number, now).map(|_| number)
    }

    /// Could [`Channels::bind`] bind these now?
    pub(crate) fn check(&mut self, number: u16, peer: &Peer, max: u16, now: Millis) -> Result<(), CannotBind> {
        self.forget_if_ended(number, now);
        if let Some(&other) = self.by_peer.get(&peer.name) {
            self.forget_if_ended(other, now);
        }
        let number_is_taken = self.by_number.get(&number).is_some_and(|channel| channel.peer.name != peer.name);
        match self.by_peer.get(&peer.name).copied() {
            _ if number_is_taken => Err(CannotBind::Conflict),
            Some(bound) if bound != number => Err(CannotBind::Conflict),
            Some(_) => Ok(()),
            None if self.has_room(max, now) => Ok(()),
            None => Err(CannotBind::Full),
        }
    }

    /// Binds or refreshes what [`Channels::check`] allowed; returns until when.
    pub(crate) fn bind(&mut self, number: u16, peer: Peer, now: Millis) -> Millis {
        let until = now.after(CHANNEL_MILLIS);
        self.insert(number, Channel { peer, until });
        until
    }

    /// One that was bound in another process.
    pub(crate) fn insert(&mut self, number: u16, channel: Channel) {
        self.by_number.insert(number, channel, self.seed);
        self.by_peer.insert(channel.peer.name, number, self.seed);
        self.none_ends_before = self.none_ends_before.min(channel.until);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Channel)> {
        self.by_number.iter().map(|(number, channel)| (*number, channel))
    }

    /// Those of peers of one family are unbound.
    pub(crate) fn forget_family(&mut self, ipv6: bool) {
        self.by_number.retain(|_, channel| channel.peer.name.is_ipv6() != ipv6);
        self.by_peer.retain(|peer, _| peer.is_ipv6() != ipv6);
    }

    fn forget_if_ended(&mut self, number: u16, now: Millis) {
        if self.by_number.get(&number).is_some_and(|channel| channel.until <= now)
            && let Some(ended) = self.by_number.remove(&number)
        {
            self.by_peer.remove(&ended.peer.name);
        }
    }

    fn has_room(&mut self, max: u16, now: Millis) -> bool {
        if self.by_number.len() >= usize::from(max) && self.none_ends_before <= now {
            self.by_number.retain(|_, channel| channel.until > now);
            self.by_peer.retain(|_, number| self.by_number.contains_key(number));
            let ends = self.by_number.values().map(|channel| channel.until);
            self.none_ends_before = ends.min().unwrap_or(Millis(u64::MAX));
        }
        self.by_number.len() < usize::from(max)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn peer(port: u16) -> Peer {
        let name = SocketAddr::from(([192, 0, 2, 1], port));
        Peer { name, outside: Some(name), own: None }
    }

    fn bound(channels: &mut Channels, number: u16, port: u16, now: u64) -> Result<(), CannotBind> {
        channels.check(number, &peer(port), 2, Millis(now))?;
        channels.bind(number, peer(port), Millis(now));
        Ok(())
    }

    #[test]
    fn a_number_keeps_its_peer_and_a_peer_its_number_while_bound() {
        let mut channels = Channels::new(1);
        assert_eq!(bound(&mut channels, 0x4000, 1, 0), Ok(()));
        assert_eq!(bound(&mut channels, 0x4000, 2, 1), Err(CannotBind::Conflict));
        assert_eq!(bound(&mut channels, 0x4001, 1, 1), Err(CannotBind::Conflict));
        assert_eq!(bound(&mut channels, 0x4000, 1, 500_000), Ok(()));
        assert!(channels.get(0x4000, Millis(1_099_999)).is_some());
        assert_eq!(channels.number_of(peer(1).name, Millis(1_099_999)), Some(0x4000));
        assert!(channels.get(0x4000, Millis(1_100_000)).is_none());
        assert_eq!(channels.number_of(peer(1).name, Millis(1_100_000)), None);
    }

    #[test]
    fn an_ended_binding_frees_both_its_number_and_its_peer() {
        let mut channels = Channels::new(1);
        bound(&mut channels, 0x4000, 1, 0).unwrap();
        bound(&mut channels, 0x4001, 2, 0).unwrap();
        assert_eq!(bound(&mut channels, 0x4000, 2, 600_000), Ok(()), "number of one, peer of the other");
        assert_eq!(channels.number_of(peer(2).name, Millis(600_001)), Some(0x4000));
        assert!(channels.get(0x4001, Millis(600_001)).is_none());
        assert_eq!(bound(&mut channels, 0x4001, 1, 600_001), Ok(()));
    }

    #[test]
    fn channels_are_bounded_and_ended_ones_make_room() {
        let mut channels = Channels::new(1);
        bound(&mut channels, 0x4000, 1, 0).unwrap();
        bound(&mut channels, 0x4001, 2, 1).unwrap();
        assert_eq!(bound(&mut channels, 0x4002, 3, 599_999), Err(CannotBind::Full));
        assert_eq!(bound(&mut channels, 0x4002, 3, 600_000), Ok(()));
    }

    #[test]
    fn the_legacy_range_is_only_for_those_who_ask() {
        for number in [0, 0x3FFF, 0x8000, 0xFFFF] {
            assert!(!is_channel_number(number, true), "{number:#x}");
        }
        for number in [0x5000, 0x7FFF] {
            assert!(!is_channel_number(number, false) && is_channel_number(number, true), "{number:#x}");
        }
        assert!(is_channel_number(0x4000, false) && is_channel_number(0x4FFF, false));
    }
}

//! Relayed transport addresses, as the small numbers the machine works with.

use std::net::{IpAddr, SocketAddr};

/// An address on which relayed transport addresses live, as configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RelayedAddress {
    /// Where real relayed sockets are bound.
    pub bind: IpAddr,
    /// What clients and peers see; differs from `bind` behind a 1:1 NAT. Always of the same family as `bind`.
    pub public: IpAddr,
}

/// Place of a [`RelayedAddress`] in [`super::Settings::addresses`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AddressId(pub u8);

/// A relayed transport address of this server. Its socket, if it has one, belongs to the worker that owns the allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RelayedPort {
    pub address: AddressId,
    pub port: u16,
}

impl RelayedAddress {
    /// An address that is seen as it is bound.
    pub const fn same(address: IpAddr) -> RelayedAddress {
        RelayedAddress { bind: address, public: address }
    }
}

/// The two names of a relayed port. Both are names of ours when a client uses them for a peer.
pub(crate) fn bind_form(addresses: &[RelayedAddress], port: RelayedPort) -> Option<SocketAddr> {
    let address = addresses.get(usize::from(port.address.0))?;
    Some(SocketAddr::new(address.bind, port.port))
}

/// The form clients and peers see: XOR-RELAYED-ADDRESS, and XOR-PEER-ADDRESS of what it sends.
pub(crate) fn public_form(addresses: &[RelayedAddress], port: RelayedPort) -> Option<SocketAddr> {
    let address = addresses.get(usize::from(port.address.0))?;
    Some(SocketAddr::new(address.public, port.port))
}

//! Relayed transport addresses, as the small numbers the machine works with.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address on which relayed transport addresses live, as configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RelayedAddress {
    /// Where real relayed sockets are bound.
    pub bind: IpAddr,
    /// What clients and peers see; differs from `bind` behind a 1:1 NAT. Always of the same family as `bind`.
    pub public: IpAddr,
}

/// Place of a [`RelayedAddress`] in [`crate::turn::Settings::addresses`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct AddressId(pub u8);

/// A relayed transport address of this server. Its socket, if it has one, belongs to the worker that owns the allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
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

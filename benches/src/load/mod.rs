//! What every measurement of a data path shares: many callers on one socket, paced load, and who used how much CPU.

pub(crate) mod cpu;
pub(crate) mod epoll;
pub(crate) mod links;
pub(crate) mod mmsg;
pub(crate) mod usage;
pub(crate) mod voice;

use std::net::Ipv4Addr;

/// ChannelData header (RFC 8656 §12.4).
pub(crate) const HEADER: usize = 4;
/// As much as an Opus packet in SRTP.
pub(crate) const PAYLOAD: usize = 160;

/// Number of a caller to its source address, and back. Partners differ in the last bit.
pub(crate) fn caller_address(caller: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x7f10_0000 + caller as u32)
}

pub(crate) fn caller_number(address: Ipv4Addr) -> usize {
    u32::from(address).wrapping_sub(0x7f10_0000) as usize
}

/// Where the outside peer of a caller lives.
pub(crate) fn peer_address(caller: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x7f40_0000 + caller as u32)
}

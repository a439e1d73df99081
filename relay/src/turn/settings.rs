//! What the machine needs to know, filled in by `server` from the configuration.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::meter::{Limits, Payload};
use super::nat_discovery::NatDiscovery;
use crate::access::ReplyLimits;
use crate::routes::RelayedAddress;

/// Limits and ranges of the TURN machine. Every table below has its bound here.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where relayed transport addresses live; a port's `AddressId` is its place here. At most 256.
    pub addresses: Vec<RelayedAddress>,
    /// Real and virtual relayed ports come from this range.
    pub ports: RangeInclusive<u16>,
    /// Also accept channel numbers 0x5000-0x7FFF (RFC 5766 §11).
    pub legacy_channels: bool,
    /// Grant TCP allocations (RFC 6062) to clients that come over TCP or TLS.
    pub tcp_allocations: bool,
    /// Lifetime when none or a shorter one is asked for (RFC 8656 §3.2: 600 s).
    pub default_lifetime_secs: u32,
    /// Longest lifetime granted (RFC 8656 §7.2 recommends 3600 s).
    pub max_lifetime_secs: u32,
    /// Relayed addresses of one user with ordinary credentials, all workers together; beyond: 486. A dual allocation has two.
    pub user_allocations: u32,
    /// Relayed addresses of everybody together; beyond: 508.
    pub max_allocations: u32,
    /// Permissions of one allocation; beyond: 508.
    pub max_permissions: u16,
    /// Channels of one allocation; beyond: 508.
    pub max_channels: u16,
    /// Ports held by EVEN-PORT reservations, everybody together; beyond: 508.
    pub max_reservations: u32,
    /// Handles the [`crate::calls::Ledger`] holds open at once.
    pub max_handles: u32,
    /// Answers to those who have not proved who they are, for each network and worker.
    pub unauthenticated: ReplyLimits,
    /// What one allocation of a call may send. Before the call there is nobody to send to.
    pub call_limits: Limits,
    /// What it may look like.
    pub call_payload: Payload,
    /// What one allocation of a user may send, and as much again may reach it from outside.
    pub user_limits: Limits,
    /// Listen to how the streams of calls are doing, not only to when they begin.
    pub quality: bool,
    /// What everybody together may relay, all workers together.
    pub total_limits: Limits,
    /// The UDP listeners that answer requests for NAT behaviour discovery, if that is offered.
    pub nat_discovery: Option<NatDiscovery>,
    /// Where a client that wants an allocation is sent while this server drains: the one of its family, else it hears 508.
    pub alternate_servers: Vec<SocketAddr>,
    /// The name those servers prove by their certificate.
    pub alternate_domain: Option<String>,
}

impl Default for Settings {
    /// The RFC's recommendations and a server for everyday use, without an address to relay on.
    fn default() -> Settings {
        Settings {
            addresses: Vec::new(),
            ports: 49152..=65535,
            legacy_channels: false,
            tcp_allocations: false,
            default_lifetime_secs: 600,
            max_lifetime_secs: 3600,
            user_allocations: 30,
            max_allocations: 100_000,
            max_permissions: 1024,
            max_channels: 1024,
            max_reservations: 1024,
            max_handles: 100_000,
            unauthenticated: ReplyLimits::default(),
            call_limits: Limits::VOICE,
            call_payload: Payload::WebRtc,
            user_limits: Limits::NONE,
            quality: true,
            total_limits: Limits::NONE,
            nat_discovery: None,
            alternate_servers: Vec::new(),
            alternate_domain: None,
        }
    }
}

//! How a route is laid out in a slot of 64-bit words. Reading never fails: any words mean something, so a torn read is
//! harmless and thrown away by its reader.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::{AddressId, ChannelEntry, ClientPath, Connection, Kind, RelayedPort, Route, Transport};
use crate::time::Millis;

pub(super) const COUNT: usize = 24;
pub(super) type Words = [AtomicU64; COUNT];

pub(super) const SEQUENCE: usize = 0;
pub(super) const FLAGS: usize = 1;
pub(super) const EXPIRES: usize = 2;
pub(super) const CALL: usize = 3;
/// Ports, listener, transport and families of the client path in one word.
const PATH: usize = 4;
const REMOTE: usize = 5; // two words
const LOCAL: usize = 7; // two words
const SCOPES: usize = 9;
const PERMISSIONS: usize = 10;
const CHANNELS: usize = 10 + PERMITTED_ADDRESSES; // pairs: what, until when

/// Flags. Above them in the same word: the worker (from bit 16) and the number (from bit 32) of a stream client's connection.
pub(super) const LIVE: u64 = 1;
pub(super) const REAL: u64 = 2;
pub(super) const CHANNELS_OVERFLOWED: u64 = 4;

/// Relayed addresses whose permission fits into the slot; further ones are asked of the owner.
const PERMITTED_ADDRESSES: usize = 4;
/// Channels to relayed ports of ours that fit into the slot.
const CHANNEL_ENTRIES: usize = 5;
const _: () = assert!(CHANNELS + 2 * CHANNEL_ENTRIES == COUNT);

const REMOTE_IS_V6: u64 = 1;
const LOCAL_IS_V6: u64 = 2;

/// The client's address does not stay behind a route that has ended.
pub(super) fn forget_path(slot: &Words) {
    for word in &slot[PATH..=SCOPES] {
        word.store(0, Relaxed);
    }
}

pub(super) fn store_route(slot: &Words, route: &Route) {
    let (real, call) = match route.kind {
        Kind::Real => (REAL, 0),
        Kind::Virtual { call } => (0, call.word()),
    };
    let (transport, connection) = store_transport(route.client.transport);
    slot[FLAGS].store(LIVE | real | connection, Relaxed);
    slot[EXPIRES].store(route.expires.0, Relaxed);
    slot[CALL].store(call, Relaxed);
    for word in &slot[PERMISSIONS..] {
        word.store(0, Relaxed);
    }
    let ClientPath { listener, local, remote, transport: _ } = route.client;
    let remote_family = if remote.is_ipv6() { REMOTE_IS_V6 } else { 0 };
    let local_family = if local.is_ipv6() { LOCAL_IS_V6 } else { 0 };
    let families = remote_family | local_family;
    let ports = u64::from(remote.port()) | u64::from(local.port()) << 16;
    slot[PATH].store(ports | u64::from(listener) << 32 | transport << 48 | families << 56, Relaxed);
    store_address(slot, REMOTE, remote);
    store_address(slot, LOCAL, local);
    slot[SCOPES].store(scope(remote) | scope(local) << 32, Relaxed);
}

pub(super) fn client(slot: &Words) -> ClientPath {
    let path = slot[PATH].load(Relaxed);
    let scopes = slot[SCOPES].load(Relaxed);
    let families = path >> 56;
    ClientPath {
        listener: (path >> 32) as u16,
        transport: load_transport(path >> 48 & 0xFF, slot[FLAGS].load(Relaxed)),
        local: load_address(slot, LOCAL, families & LOCAL_IS_V6 != 0, (path >> 16) as u16, (scopes >> 32) as u32),
        remote: load_address(slot, REMOTE, families & REMOTE_IS_V6 != 0, path as u16, scopes as u32),
    }
}

/// Its code, and the connection as [`FLAGS`] hold it.
fn store_transport(transport: Transport) -> (u64, u64) {
    let word = |connection: Connection| u64::from(connection.worker) << 16 | u64::from(connection.number) << 32;
    match transport {
        Transport::Udp => (0, 0),
        Transport::Tcp(connection) => (1, word(connection)),
        Transport::Tls(connection) => (2, word(connection)),
    }
}

fn load_transport(code: u64, flags: u64) -> Transport {
    let connection = Connection { worker: (flags >> 16) as u16, number: (flags >> 32) as u32 };
    match code {
        0 => Transport::Udp,
        1 => Transport::Tcp(connection),
        _ => Transport::Tls(connection),
    }
}

pub(super) fn store_permission(slot: &Words, from: AddressId, until: Millis) {
    if usize::from(from.0) < PERMITTED_ADDRESSES {
        slot[PERMISSIONS + usize::from(from.0)].store(until.0, Relaxed);
    }
}

/// Until when packets from that relayed address may pass; `None` if the slot cannot tell.
pub(super) fn permission(slot: &Words, from: AddressId) -> Option<Millis> {
    let place = usize::from(from.0);
    (place < PERMITTED_ADDRESSES).then(|| Millis(slot[PERMISSIONS + place].load(Relaxed)))
}

/// Takes the entry of the same channel or peer, else a free or expired one. With none left a real route notes that it
/// overflowed; a virtual one, which has no socket to ask, gives up the entry that would end first.
pub(super) fn store_channel(slot: &Words, entry: ChannelEntry, now: Millis) {
    let mut entries = (0..CHANNEL_ENTRIES).map(|i| CHANNELS + 2 * i);
    let same = |at: &usize| {
        let what = slot[*at].load(Relaxed);
        what != 0 && (what as u16 == entry.number || what >> 16 == peer_bits(entry.peer))
    };
    let ends = |at: &usize| slot[*at + 1].load(Relaxed);
    let place = entries.clone().find(same).or_else(|| entries.clone().find(|at| ends(at) <= now.0));
    let place = match place {
        Some(place) => place,
        None if slot[FLAGS].load(Relaxed) & REAL != 0 => {
            slot[FLAGS].store(slot[FLAGS].load(Relaxed) | CHANNELS_OVERFLOWED, Relaxed);
            return;
        }
        None => entries.by_ref().min_by_key(ends).unwrap_or(CHANNELS),
    };
    slot[place].store(u64::from(entry.number) | peer_bits(entry.peer) << 16, Relaxed);
    slot[place + 1].store(entry.until.0, Relaxed);
}

/// The channel the owner of this slot bound to `peer`.
pub(super) fn channel(slot: &Words, peer: RelayedPort, now: Millis) -> Option<u16> {
    let wanted = peer_bits(peer);
    (0..CHANNEL_ENTRIES).map(|i| CHANNELS + 2 * i).find_map(|at| {
        let what = slot[at].load(Relaxed);
        (what != 0 && what >> 16 == wanted && slot[at + 1].load(Relaxed) > now.0).then_some(what as u16)
    })
}

fn peer_bits(peer: RelayedPort) -> u64 {
    u64::from(peer.port) | u64::from(peer.address.0) << 16
}

fn scope(address: SocketAddr) -> u64 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => u64::from(v6.scope_id()),
    }
}

fn store_address(slot: &Words, at: usize, address: SocketAddr) {
    let bits = match address.ip() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    slot[at].store(bits as u64, Relaxed);
    slot[at + 1].store((bits >> 64) as u64, Relaxed);
}

fn load_address(slot: &Words, at: usize, is_v6: bool, port: u16, scope: u32) -> SocketAddr {
    let low = slot[at].load(Relaxed);
    if !is_v6 {
        return SocketAddrV4::new((low as u32).into(), port).into();
    }
    let bits = u128::from(low) | u128::from(slot[at + 1].load(Relaxed)) << 64;
    SocketAddrV6::new(Ipv6Addr::from_bits(bits), port, 0, scope).into()
}

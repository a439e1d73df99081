//! Who takes part, and what their addresses are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::asked::{Identity, Peer};
use crate::auth::Credential;
use crate::calls::Handle;
use crate::turn::tests::world::*;
use crate::turn::*;
use crate::wire;

/// What came about, to know that the generator gets far.
#[derive(Clone, Default, Debug)]
pub(super) struct Seen {
    pub(super) codes: BTreeMap<u16, u32>,
    pub(super) to_peers: u32,
    pub(super) from_outside: u32,
    pub(super) hairpins: u32,
    pub(super) in_calls: u32,
}

/// Somebody's good credential.
#[derive(Clone)]
pub(super) struct Proven {
    pub(super) credential: Credential,
    pub(super) identity: Identity,
    pub(super) minted: Option<(u64, u64)>,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Seen) {
        other.codes.iter().for_each(|(code, times)| *self.codes.entry(*code).or_default() += times);
        self.to_peers += other.to_peers;
        self.from_outside += other.from_outside;
        self.hairpins += other.hairpins;
        self.in_calls += other.in_calls;
    }
}

/// On a relayed address of this server, under its public name.
pub(super) fn is_ours(ip: IpAddr) -> bool {
    ip == addr("203.0.113.7:0").ip() || ip == addr("[2001:db8:7::1]:0").ip()
}

/// What an address is, by a table of the few that occur here.
pub(super) fn look_at(written: SocketAddr) -> Peer {
    let real = SocketAddr::new(written.ip().to_canonical(), written.port());
    let is_bound = real.ip() == IpAddr::from([10, 0, 0, 4]);
    let name = if is_bound { SocketAddr::new(IpAddr::from([203, 0, 113, 7]), real.port()) } else { real };
    let ours = is_ours(name.ip());
    let forbidden = ["127.0.0.1", "169.254.169.254", "::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    Peer {
        written_ipv6: written.is_ipv6(),
        name,
        denied: ours || forbidden.contains(&name.ip()),
        listener: ours && name.port() == 3478,
    }
}

pub(super) fn client(who: usize, connection: u32) -> Client {
    let worker = [0, 1, 1, 0, 0, 1, 1, 0][who];
    let remote = match who {
        3 => addr("[2001:db8:9::3]:4003"),
        _ => SocketAddr::from(([198, 51, 100, who as u8 + 1], 4000 + who as u16)),
    };
    let connection = Connection { worker: worker as u16, number: connection };
    let transport = match who {
        1 => Transport::Tcp(connection),
        5 => Transport::Tls(connection),
        _ => Transport::Udp,
    };
    let from = FiveTuple { transport, ..five_tuple(remote) };
    let (username, password, nonce) = (String::new(), String::new(), String::new());
    Client { from, worker, username, password, nonce }
}

/// The good credential of a client, made now.
pub(super) fn proven(world: &World, who: usize) -> Proven {
    if let Some(name) = ["alice", "alice", "bob", "carol"].get(who) {
        let credential = Credential { username: (*name).to_owned(), password: format!("{name}'s secret") };
        return Proven { credential, identity: Identity::User((*name).to_owned()), minted: None };
    }
    let handle = [0, 1, 0, 2][who - 4];
    let credential = world.call_keys.mint(world.now, name_of(handle), who as u32, 60);
    let minted = Some((world.now.mono.0, world.now.unix.0 + 60));
    Proven { credential, identity: Identity::Handle(handle), minted }
}

pub(super) fn name_of(handle: usize) -> Handle {
    Handle([handle as u8 + 1; 12])
}

pub(super) fn transaction(number: u64) -> wire::TransactionId {
    let mut id = [0x33; 12];
    id[..8].copy_from_slice(&number.to_be_bytes());
    wire::TransactionId(id)
}

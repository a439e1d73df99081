//! The `[listen]` section: where, and that no two listeners are in each other's way.

use std::net::SocketAddr;

use super::file;
use super::problems::Collector;
use super::settings::Listen;
use super::table::At;
use super::values::{prefixes, socket_address};

/// More listeners than a server has use for.
const MOST_LISTENERS: usize = 64;

pub(super) fn listen(written: &file::Listen, found: &mut Collector) -> Listen {
    let default = Listen::default();
    let mut taken = Taken::default();
    let mut many = |key: &'static str, items: &Option<Vec<At<String>>>, found: &mut Collector| {
        items.as_ref().map(|items| addresses(key, items, &mut taken, found))
    };
    let udp = many("listen.udp", &written.udp, found);
    let tcp = many("listen.tcp", &written.tcp, found);
    let tls = many("listen.tls", &written.tls, found);
    if let Some(at) = written.no_udp
        && [&tcp, &tls].into_iter().flatten().all(Vec::is_empty)
    {
        found.value(at, "listen.udp is empty, and so are listen.tcp and listen.tls: nobody could reach this server");
    }
    let nat_discovery = written.nat_discovery.as_deref().and_then(|items| nat_discovery(items, &taken, found));
    Listen {
        nat_discovery,
        proxy_protocol_from: prefixes("listen.proxy_protocol_from", written.proxy_protocol_from.as_deref(), found),
        udp: udp.unwrap_or(default.udp),
        tcp: tcp.unwrap_or_default(),
        tls: tls.unwrap_or_default(),
        signalling: one("listen.signalling", written.signalling.as_ref(), &mut taken, found),
        admin: one("listen.admin", written.admin.as_ref(), &mut taken, found),
    }
}

fn addresses(key: &'static str, items: &[At<String>], taken: &mut Taken, found: &mut Collector) -> Vec<SocketAddr> {
    if let Some(extra) = items.get(MOST_LISTENERS) {
        found.value(extra.at, format!("{key} has more than {MOST_LISTENERS} addresses"));
    }
    items.iter().take(MOST_LISTENERS).filter_map(|item| one(key, Some(item), taken, found)).collect()
}

fn one(key: &'static str, item: Option<&At<String>>, taken: &mut Taken, found: &mut Collector) -> Option<SocketAddr> {
    let item = item?;
    let address = socket_address(key, item, found)?;
    if address.ip().is_multicast() {
        found.value(item.at, format!("{key}: {address} is a multicast address"));
        return None;
    }
    if key == "listen.admin" && !address.ip().is_loopback() {
        found.value(
            item.at,
            format!("{key}: {address} is not on loopback; the admin listener asks nobody who they are"),
        );
        return None;
    }
    taken.take(key, address, item.at, found);
    Some(address)
}

/// Two addresses that differ in IP and in port; the sockets they make four of may be listeners already.
fn nat_discovery(items: &[At<String>], taken: &Taken, found: &mut Collector) -> Option<[SocketAddr; 2]> {
    const KEY: &str = "listen.nat_discovery";
    let first = items.first()?;
    let read: Vec<SocketAddr> = items.iter().filter_map(|item| socket_address(KEY, item, found)).collect();
    if read.len() < items.len() {
        return None;
    }
    let &[a, b] = read.as_slice() else {
        found.value(
            first.at,
            format!("{KEY} is two addresses with two ports: [\"192.0.2.1:3478\", \"192.0.2.2:3479\"]"),
        );
        return None;
    };
    let unusable = |it: &SocketAddr| it.port() == 0 || it.ip().is_unspecified() || it.ip().is_multicast();
    if a.is_ipv4() != b.is_ipv4() || a.ip() == b.ip() || a.port() == b.port() || read.iter().any(unusable) {
        found.value(
            first.at,
            format!("{KEY}: the two must be of one family and differ in address and in port; neither can be a wildcard or port 0"),
        );
        return None;
    }
    for socket in [a, b, SocketAddr::new(a.ip(), b.port()), SocketAddr::new(b.ip(), a.port())] {
        taken.must_be_free_or_same(KEY, socket, first.at, found);
    }
    Some([a, b])
}

/// Addresses given out so far. UDP stands apart from the others, which all listen on TCP.
#[derive(Default)]
struct Taken(Vec<(&'static str, SocketAddr)>);

impl Taken {
    fn take(&mut self, key: &'static str, address: SocketAddr, at: usize, found: &mut Collector) {
        let is_udp = |key: &str| key == "listen.udp";
        let clash = self.0.iter().find(|(other, taken)| is_udp(other) == is_udp(key) && collide(*taken, address));
        if let Some((other, taken)) = clash {
            let message = if *taken == address {
                format!("{key}: {address} is already used by {other}")
            } else {
                format!("{key}: {address} overlaps with {taken} of {other}")
            };
            found.value(at, message);
        }
        self.0.push((key, address));
    }

    /// A UDP socket that may be one of `listen.udp`, but not in the way of another.
    fn must_be_free_or_same(&self, key: &str, socket: SocketAddr, at: usize, found: &mut Collector) {
        let clash =
            self.0.iter().find(|(other, taken)| *other == "listen.udp" && *taken != socket && collide(*taken, socket));
        if let Some((other, taken)) = clash {
            found.value(
                at,
                format!("{key}: {socket} overlaps with {taken} of {other}; name the addresses there one by one"),
            );
        }
    }
}

/// Whether both cannot be bound: the same port, and the same address or a wildcard over it. Port 0 is a new port each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || (wildcard && a.is_ipv4() == b.is_ipv4()))
}

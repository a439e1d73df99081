//! Addresses and ports: whether this machine has them, who holds them, and what clients are told of them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use relay::config::Settings;

use super::Findings;

/// Who has the ports of this configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Places {
    /// Nobody: a relay could be started.
    Free,
    /// A relay at work.
    Ours,
    /// Somebody else has one, or it cannot be had.
    Taken,
}

pub(super) fn check(settings: &Settings, found: &mut Findings) -> Places {
    addresses(settings, found);
    urls(settings, found);
    ports(settings, found)
}

fn own_addresses() -> Vec<IpAddr> {
    let interfaces = webrtc_util::ifaces::ifaces().unwrap_or_default();
    interfaces.iter().filter_map(|interface| interface.addr).map(|address| address.ip()).collect()
}

/// Relayed addresses: bound here, and known outside by a name that leads here.
fn addresses(settings: &Settings, found: &mut Findings) {
    const CHECK: &str = "relay addresses";
    let (own, relayed) = (own_addresses(), settings.relay_addresses());
    let mut fine = true;
    for address in &relayed {
        let (bind, public) = (address.bind, address.public);
        let here = bind.is_unspecified() || bind.is_loopback() || own.contains(&bind);
        if !here {
            fine = false;
            found.bad(
                CHECK,
                format!("relay.addresses: this machine has no address {bind}, so nothing can be relayed through it"),
                "`ip -br address` lists what it has",
            );
        } else if is_private(public) && !public.is_loopback() {
            fine = false;
            found.bad(
                CHECK,
                format!("relay.addresses: clients are told {public}, which only machines of the same network can reach: this server is behind NAT"),
                format!("write the address it has outside: {{ bind = \"{bind}\", public = \"203.0.113.7\" }}, and let the NAT forward the ports of [listen] and relay.ports"),
            );
        }
    }
    if relayed.iter().all(|address| address.public.is_loopback()) {
        fine = false;
        found.warn(
            CHECK,
            "everything is relayed on loopback: only clients on this machine can call",
            "name this machine's address in listen.udp and relay.addresses",
        );
    }
    if fine {
        found.good(
            CHECK,
            "are this machine's, and can be reached from outside by their names as far as can be told from here",
        );
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_private() || ip.is_link_local() || (ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The host in a `turn:` URL.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once(':').map_or(url, |(_, rest)| rest);
    let rest = rest.split('?').next().unwrap_or(rest);
    match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or(bracketed),
        None => rest.split(':').next().unwrap_or(rest),
    }
}

/// The port in a `turn:` URL, or the usual one.
pub(super) fn port(url: &str) -> u16 {
    let rest = url.split_once(':').map_or(url, |(_, rest)| rest);
    let rest = rest.split('?').next().unwrap_or(rest);
    let after = rest.rsplit_once(']').map_or(rest, |(_, after)| after);
    let usual = if url.starts_with("turns:") || url.starts_with("stuns:") { 5349 } else { 3478 };
    after.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(usual)
}

/// What clients are told must be where we listen, unless something in front forwards it.
fn urls(settings: &Settings, found: &mut Findings) {
    let listen = &settings.listen;
    for url in &settings.signalling.turn_urls {
        let lists: &[&Vec<SocketAddr>] = match (url.starts_with("turns:"), url.ends_with("transport=tcp")) {
            (true, _) => &[&listen.tls, &listen.tcp],
            (false, true) => &[&listen.tcp],
            (false, false) => &[&listen.udp],
        };
        let port = port(url);
        if !lists.iter().any(|list| list.iter().any(|address| address.port() == port || address.port() == 0)) {
            found.bad(
                "turn urls",
                format!("clients are told {url}, and nothing listens on that port for it"),
                "correct signalling.turn_urls or [listen]; if a balancer in front forwards the port, all is well",
            );
        }
    }
}

fn ports(settings: &Settings, found: &mut Findings) -> Places {
    const CHECK: &str = "ports";
    let listen = &settings.listen;
    let udp = listen.udp_sockets().into_iter().map(|at| ("udp", at, UdpSocket::bind(at).err()));
    let streams = [("tcp", listen.tcp.clone()), ("tls", listen.tls.clone())];
    let http = [("signalling", listen.signalling), ("admin", listen.admin)];
    let streams = streams.into_iter().flat_map(|(key, list)| list.into_iter().map(move |at| (key, at)));
    let streams = streams.chain(http.into_iter().filter_map(|(key, at)| Some((key, at?))));
    let tried: Vec<_> = udp.chain(streams.map(|(key, at)| (key, at, TcpListener::bind(at).err()))).collect();
    let in_use =
        tried.iter().any(|(_, _, error)| error.as_ref().is_some_and(|it| it.kind() == io::ErrorKind::AddrInUse));
    let ours = in_use
        && listen.admin.is_some_and(|admin| super::client::get(admin, "/livez").is_some_and(|it| it.contains("alive")));
    let mut places = if ours { Places::Ours } else { Places::Free };
    for (key, at, error) in tried {
        let Some(error) = error else { continue };
        let port = at.port();
        let (says, fix) = match error.kind() {
            io::ErrorKind::AddrInUse if ours => continue,
            io::ErrorKind::AddrInUse => (
                format!("listen.{key}: port {port} of {} is held by another program", at.ip()),
                format!("`ss -{}lpn 'sport = :{port}'` says which; stop it or choose another port", if key == "udp" { 'u' } else { 't' }),
            ),
            io::ErrorKind::AddrNotAvailable => {
                (format!("listen.{key}: this machine has no address {}", at.ip()), "`ip -br address` lists what it has".to_owned())
            }
            io::ErrorKind::PermissionDenied => (
                format!("listen.{key}: no right to use port {port}"),
                "run this as the service's user with CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or choose a port from 1024 up".to_owned(),
            ),
            _ => (format!("listen.{key}: {at} cannot be used: {error}"), String::new()),
        };
        places = Places::Taken;
        found.bad(CHECK, says, fix);
    }
    match places {
        Places::Free => found.good(CHECK, "all of [listen] are free: no relay is running with this configuration"),
        Places::Ours => found.good(CHECK, "a relay at work has them"),
        Places::Taken => {}
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!((host("turn:a.example:1?transport=udp"), port("turn:a.example:1?transport=udp")), ("a.example", 1));
        assert_eq!((host("turns:a.example"), port("turns:a.example?transport=tcp")), ("a.example", 5349));
        assert_eq!((host("turn:[::1]:9"), port("turn:[::1]:9"), port("turn:[::1]")), ("::1", 9, 3478));
    }
}

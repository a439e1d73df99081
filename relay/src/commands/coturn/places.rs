//! Where coturn listens and relays, as `[listen]` and `relay.addresses`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::draft::{Draft, list, quoted};
use super::lines::Line;
use super::mapping::Lines;

const TURN_PORT: u16 = 3478;
const TURNS_PORT: u16 = 5349;

pub(super) fn places(lines: &Lines<'_>, draft: &mut Draft) {
    let relayed = relayed(lines, draft);
    let from: Vec<&Line> = lines.all("listening-ip");
    let mut ips: Vec<IpAddr> = parsed(&from, draft);
    if ips.is_empty() {
        ips.push(Ipv4Addr::UNSPECIFIED.into());
        ips.extend(relayed.iter().any(|(bind, _)| bind.is_ipv6()).then_some(IpAddr::from(Ipv6Addr::UNSPECIFIED)));
    }
    listeners(lines, &ips, &from, draft);
    discovery(lines, &ips, draft);
    addresses(lines, &ips, relayed, draft);
}

fn parsed(from: &[&Line], draft: &mut Draft) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for line in from {
        match line.value.parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => draft.miss(&line.shown(), "is no IP address"),
        }
    }
    ips
}

fn listeners(lines: &Lines<'_>, ips: &[IpAddr], from: &[&Line], draft: &mut Draft) {
    let port_of = |option: &str, usual: u16| match lines.number(option) {
        Some((port, line)) => (u16::try_from(port).unwrap_or(usual), Some(line)),
        None => (usual, None),
    };
    let (port, port_line) = port_of("listening-port", TURN_PORT);
    let (tls_port, tls_line) = port_of("tls-listening-port", TURNS_PORT);
    let at = |port: u16| ips.iter().map(move |ip| SocketAddr::new(*ip, port));
    let aux_lines = lines.all("aux-server");
    let aux: Vec<SocketAddr> = aux_lines.iter().filter_map(|line| line.value.parse().ok()).collect();
    for line in aux_lines.iter().filter(|line| line.value.parse::<SocketAddr>().is_err()) {
        draft.miss(&line.shown(), "is no address with a port");
    }
    let plain: Vec<&Line> = from.iter().copied().chain(port_line).chain(aux_lines.iter().copied()).collect();
    let proxy = lines.number("tcp-proxy-port");
    let has_tls = lines.last("cert").is_some() && lines.last("pkey").is_some() && !lines.on("no-tls");

    let udp: Vec<SocketAddr> =
        if lines.on("no-udp") { Vec::new() } else { at(port).chain(aux.iter().copied()).collect() };
    let tcp_wanted = !lines.on("no-tcp");
    let mut tcp: Vec<SocketAddr> = if tcp_wanted { at(port).chain(aux).collect() } else { Vec::new() };
    let both_on_one = tls_port == port && tcp_wanted;
    let tls: Vec<SocketAddr> = if has_tls && !both_on_one { at(tls_port).collect() } else { Vec::new() };
    if let Some((port, _)) = proxy {
        tcp.extend(at(u16::try_from(port).unwrap_or_default()));
    }

    let with = |more: Option<&'static str>| -> Vec<&Line> {
        plain.iter().copied().chain(more.and_then(|name| lines.last(name))).collect()
    };
    draft.set("listen", "udp", list(udp), &with(Some("no-udp")));
    let mut tcp_from = with(Some("no-tcp"));
    tcp_from.extend(proxy.map(|(_, line)| line));
    tcp_from.extend(tls_line.filter(|_| both_on_one));
    draft.set("listen", "tcp", list(tcp), &tcp_from);
    let mut tls_from: Vec<&Line> = tls_line.filter(|_| !both_on_one).into_iter().collect();
    tls_from.extend(lines.last("no-tls"));
    if !tls.is_empty() || !tls_from.is_empty() {
        draft.set("listen", "tls", list(&tls), &tls_from);
    }
    if !tls.is_empty() {
        draft.worth_knowing.push(
            "on the TLS port coturn also takes TURN without TLS; listen.tls does not. If clients use it, move the address to listen.tcp, which takes both".to_owned(),
        );
    }
    if let Some((_, line)) = proxy {
        draft.miss(&line.shown(), "the port is in listen.tcp, but a PROXY header is believed only from balancers you name: listen.proxy_protocol_from = [\"10.0.7.0/24\"]");
    }
    if let Some(line) = lines.last("prometheus").filter(|line| line.is_on()) {
        draft.set("listen", "admin", quoted("127.0.0.1:9641"), &[line]);
    }
}

/// Two addresses and two ports, if it was asked for.
fn discovery(lines: &Lines<'_>, ips: &[IpAddr], draft: &mut Draft) {
    let wanted = lines.last("alt-listening-port").or_else(|| lines.last("rfc5780").filter(|line| line.is_on()));
    let Some(line) = wanted.filter(|_| !lines.on("no-rfc5780") && !lines.on("no-udp")) else { return };
    let port = lines.number("listening-port").map_or(u64::from(TURN_PORT), |(port, _)| port);
    let other = lines.number("alt-listening-port").map_or(port + 1, |(port, _)| port);
    let concrete: Vec<&IpAddr> = ips.iter().filter(|ip| ip.is_ipv4() && !ip.is_unspecified()).collect();
    let (Some(first), Some(second)) = (concrete.first(), concrete.get(1)) else {
        return draft.miss(
            &line.shown(),
            "NAT behaviour discovery needs two addresses of this machine in listening-ip; see listen.nat_discovery",
        );
    };
    draft.set("listen", "nat_discovery", list([format!("{first}:{port}"), format!("{second}:{other}")]), &[line]);
}

/// What is bound and what clients are told.
type Relayed = Vec<(IpAddr, IpAddr)>;

fn relayed(lines: &Lines<'_>, draft: &mut Draft) -> Relayed {
    let binds = parsed(&lines.all("relay-ip"), draft);
    let listening: Vec<IpAddr> = lines.all("listening-ip").iter().filter_map(|line| line.value.parse().ok()).collect();
    let mut relayed = Relayed::new();
    for line in lines.all("external-ip") {
        let (public, private) = match line.value.split_once('/') {
            Some((public, private)) => (public.parse::<IpAddr>(), Some(private.parse::<IpAddr>())),
            None => (line.value.parse::<IpAddr>(), None),
        };
        let (Ok(public), None | Some(Ok(_))) = (public, &private) else {
            draft.miss(&line.shown(), "is not PUBLIC or PUBLIC/PRIVATE, as IP addresses");
            continue;
        };
        let private = private.and_then(Result::ok).or_else(|| {
            let same = |ip: &&IpAddr| ip.is_ipv4() == public.is_ipv4() && !ip.is_unspecified();
            binds.iter().chain(&listening).find(same).copied()
        });
        let any = if public.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        relayed.push((private.unwrap_or(any), public));
    }
    for bind in binds.into_iter().filter(|ip| !ip.is_unspecified()) {
        if !relayed.iter().any(|(known, _)| *known == bind) {
            relayed.push((bind, bind));
        }
    }
    relayed
}

fn addresses(lines: &Lines<'_>, ips: &[IpAddr], mut relayed: Relayed, draft: &mut Draft) {
    let from: Vec<&Line> = lines.all("external-ip").into_iter().chain(lines.all("relay-ip")).collect();
    if relayed.is_empty() && !ips.iter().any(IpAddr::is_unspecified) {
        return; // the listeners' addresses, here as there
    }
    let own = relayed.is_empty();
    if own {
        relayed = of_this_machine(ips.iter().any(IpAddr::is_ipv6));
        draft.worth_knowing.push(
            "relay.addresses are those of the machine this ran on: correct them if the server is another, or behind NAT ({ bind = \"…\", public = \"…\" })".to_owned(),
        );
    }
    let entry = |(bind, public): &(IpAddr, IpAddr)| match bind == public {
        true => quoted(&public.to_string()),
        false => format!("{{ bind = \"{bind}\", public = \"{public}\" }}"),
    };
    let value = format!("[{}]", relayed.iter().map(entry).collect::<Vec<_>>().join(", "));
    match own {
        true => draft.add(
            "relay",
            "addresses",
            value,
            "the addresses of this machine; coturn takes the one a client came in by",
        ),
        false => draft.set("relay", "addresses", value, &from),
    }
}

/// The machine's addresses that can be reached from elsewhere, or loopback if there are none.
fn of_this_machine(with_ipv6: bool) -> Relayed {
    let interfaces = webrtc_util::ifaces::ifaces().unwrap_or_default();
    let mut ips: Vec<IpAddr> =
        interfaces.iter().filter_map(|interface| interface.addr).map(|address| address.ip()).collect();
    ips.retain(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => with_ipv6 && !ip.is_loopback() && !ip.is_unicast_link_local(),
    });
    ips.sort_unstable();
    ips.dedup();
    ips.truncate(16);
    if ips.is_empty() {
        ips.push(Ipv4Addr::LOCALHOST.into());
    }
    ips.into_iter().map(|ip| (ip, ip)).collect()
}

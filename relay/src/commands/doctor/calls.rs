//! A call through the server, over each transport it listens on: with a throw-away credential through a server started for the occasion, or
//! with one of the configuration's own through the one at work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::TryRngCore as _;
use relay::config::{Secret, Settings, User};
use relay::server;

use super::places::Places;
use super::transport::Transport;
use super::{Findings, client};

const CHECK: &str = "a call";
const USER: &str = "relay-doctor";

/// `browser`: in a real one too.
pub(super) fn check(settings: &Settings, places: Places, browser: bool, found: &mut Findings) {
    match places {
        Places::Taken => found.unknown(CHECK, "not tried: see ports"),
        Places::Ours => through_ours(settings, browser, found),
        Places::Free => through_a_new_one(settings, browser, found),
    }
}

/// The configuration's server with one more user, for as long as it takes. No report leaves it, nobody is fetched from.
fn through_a_new_one(settings: &Settings, browser: bool, found: &mut Findings) {
    let Some(password) = password() else { return found.unknown(CHECK, "the system gives no random bytes") };
    let mut ours = settings.clone();
    ours.auth.users = vec![User { name: USER.to_owned(), password: Secret::new(password.as_str()) }];
    (ours.auth.sha1, ours.auth.username_anonymity) = (true, false);
    (ours.reports, ours.revocations, ours.cluster) = (None, None, None);
    ours.listen.proxy_protocol_from.clear();
    ours.access.user_allocations = ours.access.user_allocations.max(4);
    let running = match server::start(&ours) {
        Ok(running) => running,
        Err(error) => return found.bad(CHECK, error.to_string(), "see above; the daemon would say the same"),
    };
    let at = running.addresses().clone();
    try_all([&at.udp, &at.tcp, &at.tls], (USER, &password), found);
    if browser {
        super::browser::check(&urls(&at.udp, &at.tcp), (USER, &password), found);
    }
    running.stop();
}

fn through_ours(settings: &Settings, browser: bool, found: &mut Findings) {
    let ready = settings.listen.admin.and_then(|admin| client::get(admin, "/readyz")).unwrap_or_default();
    if ready.starts_with("HTTP/1.1 200") {
        found.good("ready", "the relay at work takes newcomers");
    } else {
        let why = ready.lines().find_map(|line| line.strip_prefix("not ready: ")).unwrap_or("it does not say why");
        found.bad("ready", format!("the relay at work takes no newcomers: {why}"), "its log says more");
    }
    let auth = &settings.auth;
    let lasting = auth.users.first().map(|user| (user.name.clone(), user.password.expose().to_owned()));
    let limited = || {
        let username = super::super::limited_name(USER, 300);
        let password = super::super::rest_password(auth.rest_secrets.first()?, &username);
        Some((username, password))
    };
    let Some((name, password)) = limited().or(lasting) else {
        return found
            .unknown(CHECK, "not tried: a relay is at work, and there is no credential in [auth] to try it with");
    };
    let listen = &settings.listen;
    try_all([&listen.udp, &listen.tcp, &listen.tls], (&name, &password), found);
    if browser {
        super::browser::check(&urls(&listen.udp, &listen.tcp), (&name, &password), found);
    }
}

fn try_all(lists: [&Vec<SocketAddr>; 3], who: (&str, &str), found: &mut Findings) {
    for (transport, list) in [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().zip(lists) {
        for listener in list {
            let to = reachable(*listener);
            let name = transport.name();
            match client::call(transport, to, "relay.invalid", who) {
                Ok(()) => found.good(CHECK, format!("{name} at {listener}: an allocation, and a packet relayed both ways")),
                Err(why) => found.bad(
                    CHECK,
                    format!("{name} at {listener}: {why}"),
                    "if nothing answers: a firewall on this machine (`nft list ruleset`); if it is refused: the key named",
                ),
            }
        }
    }
}

/// A wildcard is reached by loopback.
fn reachable(listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listener.port()),
        _ => listener,
    }
}

/// For a browser on this machine, which trusts no certificate of ours: without TLS.
fn urls(udp: &[SocketAddr], tcp: &[SocketAddr]) -> Vec<String> {
    let url = |name: &'static str| move |at: &SocketAddr| format!("turn:{}?transport={name}", reachable(*at));
    udp.iter().map(url("udp")).chain(tcp.iter().map(url("tcp"))).collect()
}

fn password() -> Option<String> {
    let mut bytes = [0; 16];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_le_bytes(bytes)))
}

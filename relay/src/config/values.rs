//! Single values: text of the file → typed meaning, or a problem that says what would be right.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::problems::{Collector, quoted, suggestion};
use super::settings::AgeBand;
use super::table::At;

/// Below lie the well-known services of the machine.
const LOWEST_RELAYED_PORT: u16 = 1024;

/// `127.0.0.1:3478`, `[::1]:3478`.
pub(super) fn socket_address(label: &str, written: &At<String>, found: &mut Collector) -> Option<SocketAddr> {
    let read = written.value.parse::<SocketAddr>();
    if read.is_err() {
        let hint = match written.value.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => format!("; the port is missing: \"{ip}:3478\""),
            Ok(IpAddr::V6(ip)) => format!("; the port is missing: \"[{ip}]:3478\""),
            Err(_) => "; write \"127.0.0.1:3478\" or \"[::1]:3478\", a number and not a name".to_owned(),
        };
        found.value(written.at, format!("{label}: {} is not an address with a port{hint}", quoted(&written.value)));
    }
    read.ok()
}

pub(super) fn ip(label: &str, written: &At<String>, found: &mut Collector) -> Option<IpAddr> {
    let read = written.value.parse::<IpAddr>();
    if read.is_err() {
        let hint = if written.value.parse::<SocketAddr>().is_ok() { "; leave the port out" } else { "" };
        found.value(written.at, format!("{label}: {} is not an IP address{hint}", quoted(&written.value)));
    }
    read.ok()
}

/// `10.0.0.0/8`, `fc00::/7`, or a single address.
pub(super) fn prefix(label: &str, written: &At<String>, found: &mut Collector) -> Option<IpNet> {
    let text = written.value.as_str();
    let read = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    if read.is_none() {
        found.value(
            written.at,
            format!("{label}: {} is not a prefix such as \"10.0.0.0/8\" or \"2001:db8::/32\"", quoted(text)),
        );
    }
    read.map(|net| net.trunc())
}

pub(super) fn prefixes(label: &str, written: Option<&[At<String>]>, found: &mut Collector) -> Vec<IpNet> {
    written.unwrap_or_default().iter().filter_map(|item| prefix(label, item, found)).collect()
}

/// `49152-65535`: lower end first, none below 1024.
pub(super) fn ports(written: &At<String>, found: &mut Collector) -> Option<RangeInclusive<u16>> {
    let ends = written.value.split_once('-').map(|(low, high)| (low.trim().parse::<u16>(), high.trim().parse::<u16>()));
    let Some((Ok(low), Ok(high))) = ends else {
        let text = quoted(&written.value);
        found.value(written.at, format!("relay.ports: {text} is not a range such as \"49152-65535\""));
        return None;
    };
    if low > high {
        found.value(
            written.at,
            format!("relay.ports: {low} lies above {high}; the lower port comes first: \"{high}-{low}\""),
        );
        return None;
    }
    if low < LOWEST_RELAYED_PORT {
        found.value(
            written.at,
            format!("relay.ports: {low} is below {LOWEST_RELAYED_PORT}, where the machine's own services live"),
        );
        return None;
    }
    Some(low..=high)
}

/// Fewer than 128 characters (RFC 8489 §14.9) that may stand inside a quoted string.
pub(super) fn realm(written: &At<String>, found: &mut Collector) -> Option<String> {
    const CHARACTERS_BELOW: usize = 128;
    let text = &written.value;
    let length = text.chars().count();
    if length == 0 || length >= CHARACTERS_BELOW {
        let message = format!("relay.realm has {length} characters; it needs 1 to {}", CHARACTERS_BELOW - 1);
        found.value(written.at, message);
        return None;
    }
    if text.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        found.value(written.at, "relay.realm must not contain quotation marks, backslashes or control characters");
        return None;
    }
    Some(text.clone())
}

pub(super) fn band(label: &str, written: &At<String>, found: &mut Collector) -> Option<AgeBand> {
    let read = AgeBand::ALL.into_iter().find(|band| band.name() == written.value);
    if read.is_none() {
        let text = quoted(&written.value);
        found.value(
            written.at,
            format!("{label}: {text} is not an age band; there are \"13-15\", \"16-17\" and \"18+\""),
        );
    }
    read
}

/// One of `choices`, by name.
pub(super) fn choice<T: Copy>(
    label: &str,
    written: &At<String>,
    choices: &[(&str, T)],
    found: &mut Collector,
) -> Option<T> {
    let read = choices.iter().find(|(name, _)| *name == written.value).map(|(_, value)| *value);
    if read.is_none() {
        let names = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
        let hint = suggestion(&written.value, choices.iter().map(|(name, _)| *name));
        found.value(written.at, format!("{label}: {} is not known; it is {names}{hint}", quoted(&written.value)));
    }
    read
}

/// `https://app.example`: scheme, host, perhaps a port, and nothing after it (RFC 6454 §6.2).
pub(super) fn origin(written: &At<String>, found: &mut Collector) -> Option<String> {
    let text = written.value.as_str();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(host) = rest else {
        found
            .value(written.at, format!("signalling.origins: {} does not begin with https:// or http://", quoted(text)));
        return None;
    };
    if host.contains('/') {
        found.value(
            written.at,
            format!("signalling.origins: {} must end after the host; an origin has no path", quoted(text)),
        );
        return None;
    }
    if host_and_port(host).is_none() || text.chars().any(|c| c.is_ascii_uppercase()) {
        found.value(
            written.at,
            format!(
                "signalling.origins: {} is not an origin such as \"https://app.example\", in small letters",
                quoted(text)
            ),
        );
        return None;
    }
    Some(text.to_owned())
}

/// `turn:host[:port][?transport=udp|tcp]`, `turns:…` (RFC 7065), `stun:host[:port]`, `stuns:…` (RFC 7064).
pub(super) fn turn_url(written: &At<String>, found: &mut Collector) -> Option<String> {
    match turn_url_fault(&written.value) {
        None => Some(written.value.clone()),
        Some(fault) => {
            found.value(written.at, format!("signalling.turn_urls: {}: {fault}", quoted(&written.value)));
            None
        }
    }
}

fn turn_url_fault(text: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Some("it begins with turn:, turns:, stun: or stuns:");
    };
    if !["turn", "turns", "stun", "stuns"].contains(&scheme) {
        return Some("it begins with turn:, turns:, stun: or stuns:");
    }
    if rest.starts_with("//") {
        return Some("there are no slashes after the scheme: \"turn:relay.example:3478\"");
    }
    let (host, query) = rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    if host_and_port(host).is_none() {
        return Some("after the scheme comes a host, then perhaps a colon and a port from 1 to 65535");
    }
    match (scheme, query) {
        (_, None) | ("turn", Some("transport=udp" | "transport=tcp")) | ("turns", Some("transport=tcp")) => None,
        ("turns", Some("transport=udp")) => {
            Some("turns: over UDP would be DTLS, which this server does not speak; use transport=tcp")
        }
        ("stun" | "stuns", Some(_)) => Some("a stun: address takes no parameters"),
        _ => Some("the only parameter is ?transport=udp or ?transport=tcp"),
    }
}

/// A host name, IPv4 address or bracketed IPv6 address, with its port if there is one.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        let (host, port) = text.split_at(end + 1);
        host.get(1..end)?.parse::<std::net::Ipv6Addr>().ok()?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, Some(port_number(port)?))),
            None => port.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port_number(port)?)),
        None => (text, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    (!host.is_empty() && host.len() <= 253 && host.chars().all(plain)).then_some((host, port))
}

/// A domain name, at most 253 characters, and no address.
pub(super) fn is_host_name(text: &str) -> bool {
    let address = text.starts_with('[') || text.parse::<IpAddr>().is_ok();
    !address && matches!(host_and_port(text), Some((_, None)))
}

fn port_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse::<u16>().ok()).flatten().filter(|port| *port != 0)
}

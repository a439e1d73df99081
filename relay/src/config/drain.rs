//! The `[drain]` section: what SIGTERM does before the end.

use std::net::SocketAddr;

use super::file::Strings;
use super::problems::{Collector, quoted};
use super::table::{At, Table};
use super::values::{is_host_name, socket_address};

/// What SIGTERM does before the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Longest wait for the allocations and calls that exist.
    pub deadline_secs: u32,
    /// Where clients that ask for an allocation meanwhile are sent: at most one address for each family.
    pub alternate_servers: Vec<SocketAddr>,
    /// The name in the certificate of those servers.
    pub alternate_domain: Option<String>,
}

impl Default for Drain {
    /// Most conversations between strangers are over by then.
    fn default() -> Drain {
        Drain { deadline_secs: 600, alternate_servers: Vec::new(), alternate_domain: None }
    }
}

#[derive(Debug, Default)]
pub(super) struct Written {
    deadline_secs: Option<At<u64>>,
    alternate_servers: Strings,
    alternate_domain: Option<At<String>>,
}

pub(super) fn read(table: &Table<'_>, found: &mut Collector) -> Written {
    Written {
        deadline_secs: table.number("deadline_secs", found),
        alternate_servers: table.strings("alternate_servers", found),
        alternate_domain: table.string("alternate_domain", found),
    }
}

pub(super) fn drain(written: &Written, found: &mut Collector) -> Drain {
    let default = Drain::default();
    let deadline = written.deadline_secs.as_ref().and_then(|it| u32::try_from(it.value).ok());
    Drain {
        deadline_secs: deadline.unwrap_or(default.deadline_secs),
        alternate_servers: alternates(written.alternate_servers.as_deref().unwrap_or_default(), found),
        alternate_domain: written.alternate_domain.as_ref().and_then(|it| domain(it, found)),
    }
}

/// A client is told of the one server of its own address family (RFC 8489 §14.15).
fn alternates(written: &[At<String>], found: &mut Collector) -> Vec<SocketAddr> {
    const LABEL: &str = "drain.alternate_servers";
    let mut servers: Vec<SocketAddr> = Vec::new();
    for item in written {
        let Some(address) = socket_address(LABEL, item, found) else { continue };
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            found.value(item.at, format!("{LABEL}: nobody can be sent to {address}"));
        } else if servers.iter().any(|known| known.is_ipv4() == address.is_ipv4()) {
            found.value(item.at, format!("{LABEL}: there is room for one IPv4 and one IPv6 address"));
        } else {
            servers.push(address);
        }
    }
    servers
}

fn domain(written: &At<String>, found: &mut Collector) -> Option<String> {
    if is_host_name(&written.value) {
        return Some(written.value.clone());
    }
    let text = quoted(&written.value);
    found.value(written.at, format!("drain.alternate_domain: {text} is not a domain name such as \"relay.example\""));
    None
}

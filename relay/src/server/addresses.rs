//! Where the daemon listens, what it calls itself, and which addresses are its own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::config::RelayAddress;

/// Where the daemon really listens: port 0 is resolved. Displays as the lines that programs starting it may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub udp: Vec<SocketAddr>,
    pub tcp: Vec<SocketAddr>,
    pub tls: Vec<SocketAddr>,
    pub signalling: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
}

impl Addresses {
    /// Every socket, UDP and TCP: what nobody may reach as a peer.
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        let turn = [&self.udp, &self.tcp, &self.tls].into_iter().flatten().copied();
        turn.chain(self.signalling).chain(self.admin).collect()
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (transport, addresses) in [("udp", &self.udp), ("tcp", &self.tcp), ("tls", &self.tls)] {
            for address in addresses {
                writeln!(f, "listening turn {transport} {address}")?;
            }
        }
        for (what, address) in [("signalling", self.signalling), ("admin", self.admin)] {
            if let Some(address) = address {
                writeln!(f, "listening {what} http://{address}")?;
            }
        }
        Ok(())
    }
}

/// What clients are told when `signalling.turn_urls` is empty: one address per listener, by its public name; a wildcard listener is
/// reachable at every relay address of its family.
pub(super) fn turn_urls(listening: &Addresses, relay: &[RelayAddress]) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    let kinds = [("turn", "udp", &listening.udp), ("turn", "tcp", &listening.tcp), ("turns", "tcp", &listening.tls)];
    for (scheme, transport, listeners) in kinds {
        for listener in listeners {
            for ip in public_names(*listener, relay) {
                let url = format!("{scheme}:{}?transport={transport}", SocketAddr::new(ip, listener.port()));
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
    }
    urls
}

fn public_names(listener: SocketAddr, relay: &[RelayAddress]) -> Vec<IpAddr> {
    let ip = listener.ip();
    let known = relay.iter().filter(|address| {
        if ip.is_unspecified() { address.public.is_ipv4() == ip.is_ipv4() } else { address.bind == ip }
    });
    let names: Vec<IpAddr> = known.map(|address| address.public).collect();
    if names.is_empty() && !ip.is_unspecified() { vec![ip] } else { names }
}

/// `listeners` as they are reached from this machine and from outside: the public form of a bound address is the same place.
pub(super) fn own_listeners(listeners: &[SocketAddr], relay: &[RelayAddress]) -> Vec<SocketAddr> {
    let mut own = listeners.to_vec();
    for listener in listeners {
        for ip in public_names(*listener, relay) {
            let public = SocketAddr::new(ip, listener.port());
            if !own.contains(&public) {
                own.push(public);
            }
        }
    }
    own
}

/// Every address of this machine's interfaces and every public form of one.
///
/// # Errors
/// What the system says if it does not list its interfaces.
pub(super) fn own_addresses(relay: &[RelayAddress]) -> Result<Vec<IpAddr>, std::io::Error> {
    let interfaces = webrtc_util::ifaces::ifaces().map_err(std::io::Error::other)?;
    let mut own: Vec<IpAddr> =
        interfaces.iter().filter_map(|interface| interface.addr).map(|address| address.ip()).collect();
    own.extend(relay.iter().flat_map(|address| [address.bind, address.public]));
    own.retain(|ip| !ip.is_unspecified());
    own.sort_unstable();
    own.dedup();
    Ok(own)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn address(bind: &str, public: &str) -> RelayAddress {
        RelayAddress { bind: bind.parse().unwrap(), public: public.parse().unwrap() }
    }

    #[test]
    fn the_lines_can_be_read_by_a_program() {
        let addresses = Addresses {
            udp: vec![socket("127.0.0.1:3478"), socket("[::1]:3478")],
            tcp: vec![socket("127.0.0.1:3478")],
            tls: vec![socket("[::1]:5349")],
            signalling: Some(socket("127.0.0.1:8080")),
            admin: Some(socket("127.0.0.1:9641")),
        };
        assert_eq!(
            addresses.to_string(),
            "listening turn udp 127.0.0.1:3478\nlistening turn udp [::1]:3478\n\
             listening turn tcp 127.0.0.1:3478\nlistening turn tls [::1]:5349\n\
             listening signalling http://127.0.0.1:8080\nlistening admin http://127.0.0.1:9641\n"
        );
    }

    fn udp_urls(udp: &[SocketAddr], relay: &[RelayAddress]) -> Vec<String> {
        turn_urls(&Addresses { udp: udp.to_vec(), ..Addresses::default() }, relay)
    }

    #[test]
    fn clients_are_told_of_every_transport_there_is() {
        let one = vec![socket("127.0.0.1:3478")];
        let all = Addresses { udp: one.clone(), tcp: one, tls: vec![socket("[::1]:5349")], ..Addresses::default() };
        let urls = [
            "turn:127.0.0.1:3478?transport=udp",
            "turn:127.0.0.1:3478?transport=tcp",
            "turns:[::1]:5349?transport=tcp",
        ];
        assert_eq!(turn_urls(&all, &[]), urls);
    }

    #[test]
    fn clients_are_told_the_public_address_and_the_real_port() {
        let cloud = [address("10.0.0.4", "203.0.113.7"), address("2001:db8::1", "2001:db8::1")];
        assert_eq!(udp_urls(&[socket("127.0.0.1:3478")], &[]), ["turn:127.0.0.1:3478?transport=udp"]);
        assert_eq!(udp_urls(&[socket("10.0.0.4:3478")], &cloud), ["turn:203.0.113.7:3478?transport=udp"]);
        assert_eq!(udp_urls(&[socket("0.0.0.0:3479")], &cloud), ["turn:203.0.113.7:3479?transport=udp"]);
        assert_eq!(udp_urls(&[socket("[::]:3478")], &cloud), ["turn:[2001:db8::1]:3478?transport=udp"]);
    }

    #[test]
    fn a_listener_behind_one_to_one_nat_is_our_own_under_both_addresses() {
        let own = own_listeners(&[socket("10.0.0.4:3478")], &[address("10.0.0.4", "203.0.113.7")]);
        assert_eq!(own, [socket("10.0.0.4:3478"), socket("203.0.113.7:3478")]);
    }

    #[test]
    fn this_machines_loopback_address_is_its_own() {
        let own = own_addresses(&[address("0.0.0.0", "203.0.113.7")]).unwrap();
        assert!(own.contains(&"127.0.0.1".parse().unwrap()));
        assert!(own.contains(&"203.0.113.7".parse().unwrap()));
        assert!(!own.contains(&"0.0.0.0".parse().unwrap()));
    }
}

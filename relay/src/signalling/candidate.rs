//! Candidate lines (RFC 8839 §5.1): which may pass, written anew so that they say nothing but where to send.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::sdp::is_ice_chars;

/// Longest candidate line read, in bytes; browsers stay below 250.
pub const MAX_CANDIDATE_BYTES: usize = 512;

/// What becomes of a candidate.
#[derive(Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Relay this line.
    Pass(String),
    /// Harmless and useless: browsers write them before they know that RTCP is multiplexed.
    Drop,
    /// Not for this call, or not a candidate.
    Refuse,
}

/// For relayed calls: only a relay candidate over UDP whose address this server issued to this side passes. Of the line
/// itself nothing remains but its rank among the types of relay.
pub fn relay_only(line: &str, issued: &[SocketAddr]) -> Verdict {
    match parse(line) {
        None => Verdict::Refuse,
        Some(candidate) if candidate.component != 1 => Verdict::Drop,
        Some(candidate) => candidate.relayed(issued).map_or(Verdict::Refuse, Verdict::Pass),
    }
}

/// For calls that may go direct: candidates of every type pass, relay candidates if this server issued them.
pub fn direct(line: &str, issued: &[SocketAddr]) -> Verdict {
    match parse(line) {
        None => Verdict::Refuse,
        Some(candidate) if candidate.component != 1 => Verdict::Drop,
        Some(candidate) if candidate.typ == Typ::Relay => {
            candidate.relayed(issued).map_or(Verdict::Refuse, Verdict::Pass)
        }
        Some(candidate) => candidate.ordinary().map_or(Verdict::Refuse, Verdict::Pass),
    }
}

/// The lines for addresses this server issued to one side, as far as it can write them itself (matching.md §4.8).
pub fn of_issued(issued: &[SocketAddr]) -> impl Iterator<Item = String> + '_ {
    (0..).zip(issued).map(|(place, address)| relay_line(RELAY_OVER_UDP, place, *address))
}

/// The type preference that browsers give a relay they reach over UDP.
const RELAY_OVER_UDP: u32 = 2;

/// RFC 8445 §5.1.2.1 with the type preference, by which browsers rank relaying over UDP before TCP and TLS, and this server's own
/// order in place of a local preference, which would tell of the client's networks.
fn relay_line(type_preference: u32, place: u32, address: SocketAddr) -> String {
    let (priority, ip, port) = (type_preference << 24 | (0xFFFF - place) << 8 | 0xFF, address.ip(), address.port());
    format!("candidate:{} 1 udp {priority} {ip} {port} typ relay raddr 0.0.0.0 rport 9", place + 1)
}

struct Candidate<'a> {
    foundation: &'a str,
    component: u16,
    tcp: bool,
    priority: u32,
    address: Address<'a>,
    port: u16,
    typ: Typ,
    tcp_type: Option<&'static str>,
    ufrag: Option<&'a str>,
}

enum Address<'a> {
    Ip(IpAddr),
    /// `<uuid>.local`, a name only the same network resolves.
    Mdns(&'a str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Typ {
    Host,
    ServerReflexive,
    PeerReflexive,
    Relay,
}

impl Typ {
    const ALL: [Typ; 4] = [Typ::Host, Typ::ServerReflexive, Typ::PeerReflexive, Typ::Relay];

    const fn name(self) -> &'static str {
        match self {
            Typ::Host => "host",
            Typ::ServerReflexive => "srflx",
            Typ::PeerReflexive => "prflx",
            Typ::Relay => "relay",
        }
    }
}

/// `candidate:<foundation> <component> <transport> <priority> <address> <port> typ <type> [<name> <value>]…`
fn parse(line: &str) -> Option<Candidate<'_>> {
    if line.len() > MAX_CANDIDATE_BYTES || !line.bytes().all(|b| (0x20..0x7F).contains(&b)) {
        return None;
    }
    let line = line.strip_prefix("a=").unwrap_or(line).strip_prefix("candidate:")?;
    let mut fields = line.split(' ');
    let foundation = fields.next().filter(|text| text.len() <= 32 && is_ice_chars(text, 1))?;
    let component = fields.next()?.parse().ok()?;
    let tcp = match fields.next()? {
        udp if udp.eq_ignore_ascii_case("udp") => false,
        tcp if tcp.eq_ignore_ascii_case("tcp") => true,
        _ => return None,
    };
    let priority = fields.next()?.parse().ok().filter(|priority| (1..1 << 31).contains(priority))?;
    let address = address(fields.next()?)?;
    let port = fields.next()?.parse().ok()?;
    let typ = (fields.next() == Some("typ")).then(|| fields.next())??;
    let typ = Typ::ALL.into_iter().find(|known| known.name() == typ)?;
    let (mut tcp_type, mut ufrag) = (None, None);
    while let Some(name) = fields.next() {
        let value = fields.next()?;
        match name {
            "tcptype" => tcp_type = Some(["active", "passive", "so"].into_iter().find(|known| *known == value)?),
            "ufrag" => ufrag = Some(value).filter(|value| is_ice_chars(value, 4)),
            _ => {}
        }
    }
    Some(Candidate { foundation, component, tcp, priority, address, port, typ, tcp_type, ufrag })
}

fn address(text: &str) -> Option<Address<'_>> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Address::Ip(ip));
    }
    let uuid = text.strip_suffix(".local")?;
    let shaped = uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    shaped.then_some(Address::Mdns(text))
}

impl Candidate<'_> {
    fn relayed(&self, issued: &[SocketAddr]) -> Option<String> {
        let Address::Ip(ip) = self.address else { return None };
        if self.tcp || self.typ != Typ::Relay {
            return None;
        }
        let address = SocketAddr::new(ip, self.port);
        let place = issued.iter().position(|known| *known == address)?;
        let mut line = relay_line((self.priority >> 24).min(30), u32::try_from(place).ok()?.min(0xFFFF), address);
        self.write_ufrag(&mut line);
        Some(line)
    }

    fn ordinary(&self) -> Option<String> {
        let place = match self.address {
            Address::Ip(ip) if ip.is_unspecified() || ip.is_multicast() => return None,
            Address::Ip(ip) => ip.to_string(),
            Address::Mdns(name) => name.to_ascii_lowercase(),
        };
        if self.port == 0 || self.tcp != self.tcp_type.is_some() {
            return None;
        }
        let transport = if self.tcp { "tcp" } else { "udp" };
        let (foundation, priority, port, typ) = (self.foundation, self.priority, self.port, self.typ.name());
        let mut line = format!("candidate:{foundation} 1 {transport} {priority} {place} {port} typ {typ}");
        if self.typ != Typ::Host {
            line.push_str(" raddr 0.0.0.0 rport 9");
        }
        if let Some(tcp_type) = self.tcp_type {
            line.push_str(" tcptype ");
            line.push_str(tcp_type);
        }
        self.write_ufrag(&mut line);
        Some(line)
    }

    /// Tells a browser which generation the candidate belongs to; the partner knows it from the description.
    fn write_ufrag(&self, line: &mut String) {
        if let Some(ufrag) = self.ufrag {
            line.push_str(" ufrag ");
            line.push_str(ufrag);
        }
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass(_) => "Pass[redacted]",
            Verdict::Drop => "Drop",
            Verdict::Refuse => "Refuse",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const MDNS: &str = "2881ed68-a972-427f-b521-49b57ff216c4.local";

    fn issued() -> Vec<SocketAddr> {
        vec!["203.0.113.7:50000".parse().unwrap(), "[2001:db8::7]:50001".parse().unwrap()]
    }

    fn passes(verdict: Verdict) -> String {
        match verdict {
            Verdict::Pass(line) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_this_server_writes_itself_would_pass() {
        for line in of_issued(&issued()) {
            assert_eq!(passes(relay_only(&line, &issued())), line);
        }
        assert_eq!(of_issued(&issued()).count(), 2);
    }

    #[test]
    fn an_issued_relay_candidate_passes_without_its_past() {
        let line = "candidate:3498147984 1 udp 41885439 203.0.113.7 50000 typ relay raddr 198.51.100.9 rport 61234 \
                    generation 0 ufrag CiTY network-id 3 network-cost 50";
        assert_eq!(
            passes(relay_only(line, &issued())),
            "candidate:1 1 udp 50331647 203.0.113.7 50000 typ relay raddr 0.0.0.0 rport 9 ufrag CiTY"
        );
        let firefox = "candidate:4 1 UDP 92217343 2001:db8:0::7 50001 typ relay raddr 2001:db8::9 rport 61234";
        assert_eq!(
            passes(relay_only(firefox, &issued())),
            "candidate:2 1 udp 100663039 2001:db8::7 50001 typ relay raddr 0.0.0.0 rport 9"
        );
    }

    #[test]
    fn relaying_over_udp_still_ranks_before_tcp() {
        let rank = |priority: u32| {
            let line = format!("candidate:1 1 udp {priority} 203.0.113.7 50000 typ relay");
            passes(relay_only(&line, &issued())).split(' ').nth(3).unwrap().parse::<u32>().unwrap()
        };
        assert!(rank(41_885_439) > rank(25_108_223));
        assert_eq!(rank(41_885_439), rank(41_819_903), "what tells networks apart is gone");
        assert!(rank(u32::MAX >> 1) < 31 << 24, "nobody passes for a host candidate");
    }

    #[test]
    fn addresses_of_others_and_other_types_are_refused_on_relayed_calls() {
        for line in [
            "candidate:1 1 udp 1 203.0.113.7 50002 typ relay raddr 0.0.0.0 rport 9",
            "candidate:1 1 udp 1 203.0.113.8 50000 typ relay raddr 0.0.0.0 rport 9",
            "candidate:1 1 udp 1 203.0.113.7 50000 typ host",
            "candidate:1 1 udp 1 203.0.113.7 50000 typ srflx raddr 0.0.0.0 rport 9",
            "candidate:1 1 udp 1 203.0.113.7 50000 typ prflx",
            "candidate:1 1 tcp 1 203.0.113.7 50000 typ relay tcptype passive",
            "candidate:1 1 udp 1 192.0.2.2 50998 typ host generation 0 network-id 1",
            "candidate:1 1 udp 1 relay.example 50000 typ relay",
            "candidate:1 1 udp 1 ::ffff:203.0.113.7 50000 typ relay",
        ] {
            assert_eq!(relay_only(line, &issued()), Verdict::Refuse, "{line}");
        }
        assert_eq!(relay_only("candidate:1 1 udp 1 203.0.113.7 50000 typ relay", &[]), Verdict::Refuse);
    }

    #[test]
    fn candidates_for_rtcp_are_dropped_quietly() {
        let line = "candidate:0 2 UDP 2122187006 2881ed68-a972-427f-b521-49b57ff216c4.local 53437 typ host";
        assert_eq!(relay_only(line, &issued()), Verdict::Drop);
        assert_eq!(direct(line, &issued()), Verdict::Drop);
    }

    #[test]
    fn ordinary_candidates_pass_only_where_calls_may_go_direct() {
        let host = format!("candidate:0 1 UDP 2122187007 {MDNS} 36358 typ host");
        assert_eq!(relay_only(&host, &issued()), Verdict::Refuse);
        assert_eq!(passes(direct(&host, &issued())), format!("candidate:0 1 udp 2122187007 {MDNS} 36358 typ host"));
        let reflexive =
            "candidate:7 1 udp 1677729535 198.51.100.9 61234 typ srflx raddr 10.1.2.3 rport 50998 network-id 1";
        assert_eq!(
            passes(direct(reflexive, &issued())),
            "candidate:7 1 udp 1677729535 198.51.100.9 61234 typ srflx raddr 0.0.0.0 rport 9"
        );
        let tcp = "candidate:16 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active generation 0";
        assert_eq!(passes(direct(tcp, &issued())), "candidate:16 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active");
        assert_eq!(direct("candidate:1 1 udp 1 203.0.113.8 50000 typ relay", &issued()), Verdict::Refuse);
    }

    #[test]
    fn names_and_places_nobody_should_be_sent_to_are_refused() {
        for place in [
            "example.local",
            "2881ed68-a972-427f-b521-49b57ff216c4.local.",
            "2881ed68-a972-427f-b521-49b57ff216c4.example",
            "x2881ed68-a972-427f-b521-49b57ff216c4.local",
            "0.0.0.0",
            "::",
            "224.0.0.251",
            "ff02::1",
            "fe80::1%eth0",
        ] {
            let line = format!("candidate:1 1 udp 1 {place} 4000 typ host");
            assert_eq!(direct(&line, &issued()), Verdict::Refuse, "{line}");
        }
        assert_eq!(direct("candidate:1 1 udp 1 192.0.2.2 0 typ host", &issued()), Verdict::Refuse);
        assert_eq!(direct("candidate:1 1 tcp 1 192.0.2.2 9 typ host", &issued()), Verdict::Refuse);
    }

    #[test]
    fn lines_that_are_no_candidates_are_refused() {
        let good = "candidate:1 1 udp 1 203.0.113.7 50000 typ relay";
        let long = format!("{good}{}", " x y".repeat(200));
        for line in [
            "",
            "candidate:",
            "candidate:1 1 udp 1 203.0.113.7 50000",
            "candidate:1 1 udp 1 203.0.113.7 50000 typ",
            "candidate:1 1 udp 1 203.0.113.7 50000 typ relay raddr",
            "candidate:1 1 udp 0 203.0.113.7 50000 typ relay",
            "candidate:1 1 udp 4294967296 203.0.113.7 50000 typ relay",
            "candidate:1 1 sctp 1 203.0.113.7 50000 typ relay",
            "candidate:é 1 udp 1 203.0.113.7 50000 typ relay",
            "candidate:1 1 udp 1 203.0.113.7 50000 typ relay\r\na=x:y",
            &long,
        ] {
            assert_eq!(relay_only(line, &issued()), Verdict::Refuse, "{line:?}");
        }
        assert!(matches!(relay_only(&format!("a={good}"), &issued()), Verdict::Pass(_)));
    }

    proptest! {
        #[test]
        fn noise_never_panics_and_never_passes_as_relayed(line in "(a=)?candidate:(\\PC| |[0-9]| typ relay){0,80}") {
            prop_assert!(!matches!(relay_only(&line, &[]), Verdict::Pass(_)));
            let _ = direct(&line, &[]);
        }
    }
}

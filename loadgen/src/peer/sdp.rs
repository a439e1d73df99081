//! The smallest session description a WebRTC peer would accept, and what a light caller reads of its partner's.

use std::net::SocketAddr;

/// ICE user fragment and password of one side (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    pub ufrag: String,
    pub password: String,
}

/// Which description is written; an answer takes the active DTLS role (RFC 8842 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Offer,
    Answer,
}

/// One audio section with Opus and G.711, a fingerprint, trickle ICE. `fingerprint`: 32 bytes, any will do for a caller that encrypts nothing.
pub fn write(kind: Kind, access: &Access, fingerprint: &[u8; 32]) -> String {
    let setup = if kind == Kind::Offer { "actpass" } else { "active" };
    let fingerprint: Vec<String> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    let Access { ufrag, password } = access;
    [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        &format!("a=ice-ufrag:{ufrag}"),
        &format!("a=ice-pwd:{password}"),
        "a=ice-options:trickle",
        &format!("a=fingerprint:sha-256 {}", fingerprint.join(":")),
        &format!("a=setup:{setup}"),
        "a=mid:0",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:0 PCMU/8000",
        "",
    ]
    .join("\r\n")
}

/// The partner's ICE access from its description.
pub fn read_access(sdp: &str) -> Option<Access> {
    let value = |name: &str| sdp.lines().find_map(|line| line.trim_end().strip_prefix(name)).map(str::to_owned);
    Some(Access { ufrag: value("a=ice-ufrag:")?, password: value("a=ice-pwd:")? })
}

/// A relay candidate as `cand` carries it (RFC 8839 §5.1), own address hidden.
pub fn write_candidate(relayed: SocketAddr) -> String {
    let (ip, port) = (relayed.ip(), relayed.port());
    let hidden = if relayed.is_ipv4() { "0.0.0.0" } else { "::" };
    format!("candidate:1 1 udp 16777215 {ip} {port} typ relay raddr {hidden} rport 9")
}

/// The transport address of a relay candidate; none for any other type.
pub fn read_candidate(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words[..] {
        [_, "1", transport, _, ip, port, "typ", "relay", ..] if transport.eq_ignore_ascii_case("udp") => {
            Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_description_carries_its_access() {
        let access = Access { ufrag: "abcd".into(), password: "0123456789012345678901".into() };
        let sdp = write(Kind::Offer, &access, &[0xAB; 32]);
        assert!(read_access(&sdp) == Some(access));
        assert!(sdp.contains("a=fingerprint:sha-256 AB:AB:"));
        assert!(sdp.ends_with("\r\n"));
    }

    #[test]
    fn a_candidate_is_read_as_it_was_written() {
        for address in ["127.0.0.1:50000", "[2001:db8::1]:50000"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(read_candidate(&write_candidate(address)), Some(address));
        }
    }

    #[test]
    fn only_relay_candidates_count() {
        assert_eq!(read_candidate("candidate:1 1 udp 1 10.0.0.1 5000 typ host"), None);
        assert_eq!(read_candidate("candidate:1 2 udp 1 10.0.0.1 5000 typ relay"), None);
        assert_eq!(read_candidate(""), None);
    }
}

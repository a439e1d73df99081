//! What two WebRTC peers say to each other through one port (RFC 7983, RFC 5764 §5.1.2): told apart by the first byte, and believed
//! only if the header that follows it fits.

use super::header;

/// Header of RTP without contributing sources (RFC 3550 §5.1); SRTCP's with its index and shortest tag (RFC 3711 §3.4) is as long.
const RTP_HEADER: usize = 12;
/// Header of a DTLS record up to 1.2, and of one in the clear of 1.3 (RFC 6347 §4.1, RFC 9147 §4).
const DTLS_HEADER: usize = 13;
/// Unified header without a connection id or length, and what it encrypts: at least 16 bytes are needed to hide the number (RFC 9147 §4.2.3).
const SHORTEST_UNIFIED: usize = 17;
/// The first byte of every version of DTLS: 1.0 is 0xFEFF, 1.2 and the records in the clear of 1.3 are 0xFEFD.
const DTLS_MAJOR: u8 = 0xFE;

/// A kind of packet of a WebRTC call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Multiplexed {
    Stun,
    Dtls,
    /// RTP or RTCP, in a call always encrypted.
    Srtp,
}

/// `None` for whatever no WebRTC peer sends: IP, TURN, QUIC, VPNs and noise.
#[inline]
pub fn demultiplex(payload: &[u8]) -> Option<Multiplexed> {
    let first = *payload.first()?;
    // 128 to 191, and nearly every packet of a call.
    if first >> 6 == 2 {
        return (payload.len() >= RTP_HEADER).then_some(Multiplexed::Srtp);
    }
    handshake(first, payload)
}

/// What comes before media, and keeps it alive.
#[inline(never)]
fn handshake(first: u8, payload: &[u8]) -> Option<Multiplexed> {
    match first {
        0..=3 => header::check(payload).is_ok().then_some(Multiplexed::Stun),
        20..=63 => is_dtls(first, payload).then_some(Multiplexed::Dtls),
        _ => None,
    }
}

fn is_dtls(first: u8, payload: &[u8]) -> bool {
    // The unified header of DTLS 1.3 (RFC 9147 §4: 001CSLEE); the two bits of the epoch are 0 only for records in the clear, which have none.
    if first >> 5 == 1 {
        return first & 3 != 0 && payload.len() >= SHORTEST_UNIFIED;
    }
    let Some(&[_, major, _, .., l0, l1]) = payload.first_chunk::<DTLS_HEADER>() else { return false };
    major == DTLS_MAJOR && DTLS_HEADER + usize::from(u16::from_be_bytes([l0, l1])) <= payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(head: &[u8], length: usize) -> Vec<u8> {
        let mut packet = head.to_vec();
        packet.resize(length, 0x5A);
        packet
    }

    const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    const CLIENT_HELLO: [u8; 13] = [22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 150];

    #[test]
    fn what_webrtc_peers_send_is_known_by_its_kind() {
        assert_eq!(demultiplex(&BINDING), Some(Multiplexed::Stun));
        assert_eq!(demultiplex(&padded(&CLIENT_HELLO, 163)), Some(Multiplexed::Dtls));
        assert_eq!(
            demultiplex(&padded(&CLIENT_HELLO, 1_200)),
            Some(Multiplexed::Dtls),
            "several records in a datagram"
        );
        assert_eq!(demultiplex(&padded(&[23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 80], 93)), Some(Multiplexed::Dtls));
        assert_eq!(demultiplex(&padded(&[0x2F, 0, 1, 0, 40], 45)), Some(Multiplexed::Dtls), "1.3, epoch 3");
        assert_eq!(demultiplex(&padded(&[0x80, 111], 172)), Some(Multiplexed::Srtp));
        assert_eq!(demultiplex(&padded(&[0xB0, 0x80 | 111], 172)), Some(Multiplexed::Srtp), "padding and extension");
        assert_eq!(demultiplex(&padded(&[0x81, 201, 0, 7], 46)), Some(Multiplexed::Srtp), "a receiver report");
        assert_eq!(demultiplex(&padded(&[0x80, 205], 16)), Some(Multiplexed::Srtp), "the shortest SRTCP");
    }

    /// How tunnels begin: the first bytes of their first packets.
    #[test]
    fn what_tunnels_send_is_of_no_kind() {
        let tunnels: [(&str, &[u8], usize); 14] = [
            ("IPv4", &[0x45, 0, 0, 84], 84),
            ("IPv6", &[0x60, 0, 0, 0], 104),
            ("Ethernet, broadcast", &[0xFF; 6], 64),
            ("Ethernet, a local address", &[0x02, 0x42, 0xAC, 0x11, 0, 2], 64),
            ("GRE", &[0, 0, 8, 0, 0x45], 100),
            ("WireGuard, initiation", &[1, 0, 0, 0], 148),
            ("WireGuard, response", &[2, 0, 0, 0], 92),
            ("WireGuard, data", &[4, 0, 0, 0], 1_200),
            ("OpenVPN, reset", &[0x38], 54),
            ("OpenVPN, data", &[0x48], 1_200),
            ("QUIC, long header", &[0xC0, 0, 0, 0, 1], 1_200),
            ("QUIC, short header", &[0x40], 60),
            ("SSH", b"SSH-2.0-", 40),
            ("TLS", &[22, 3, 1, 2, 0], 517),
        ];
        for (name, head, length) in tunnels {
            assert_eq!(demultiplex(&padded(head, length)), None, "{name}");
        }
    }

    #[test]
    fn a_first_byte_alone_does_not_make_a_packet() {
        assert_eq!(demultiplex(&[]), None);
        for first in 0..=255 {
            for length in 1..RTP_HEADER {
                assert_eq!(demultiplex(&padded(&[first], length)), None, "{first} in {length} bytes");
            }
        }
        let cut = |bytes: &[u8]| demultiplex(&bytes[..bytes.len() - 1]);
        assert_eq!(cut(&BINDING), None);
        assert_eq!(cut(&padded(&CLIENT_HELLO, 163)), None);
        let mut lying = BINDING;
        lying[3] = 4;
        assert_eq!(demultiplex(&lying), None, "shorter than it says");
        lying[3] = 2;
        assert_eq!(demultiplex(&padded(&lying, 22)), None, "no multiple of four");
    }
}

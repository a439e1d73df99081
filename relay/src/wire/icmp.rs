//! The ICMP attribute (RFC 8656 §18.13), and the Data indication that carries it to a client.

use std::net::SocketAddr;

use super::attribute as attr;
use super::encoder::Encoder;
use super::header::{MessageClass, Method, TransactionId};
use super::malformed::BadAttribute;
use super::message::Message;

/// Width of the code: the figure in §18.13 gives the type seven bits and the code nine.
const CODE_BITS: u32 = 9;

/// What an ICMP or ICMPv6 error says; which of the two it is follows from the peer's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmp {
    /// Below 128.
    pub kind: u8,
    pub code: u8,
    /// The MTU of the next hop if the packet was too big for it, else zero.
    pub data: u32,
}

/// A Data indication that says what became of a datagram to `peer`: XOR-PEER-ADDRESS and ICMP, no DATA (RFC 8656 §11.5).
pub fn data_indication(peer: SocketAddr, icmp: Icmp, transaction: TransactionId) -> Vec<u8> {
    Encoder::new(Method::Data, MessageClass::Indication, transaction)
        .xor_address(attr::XOR_PEER_ADDRESS, peer)
        .raw(attr::ICMP, &encode(icmp))
        .finish(None)
}

fn encode(icmp: Icmp) -> [u8; 8] {
    let mut value = [0; 8];
    let kind_and_code = u16::from(icmp.kind & 0x7F) << CODE_BITS | u16::from(icmp.code);
    value[2..4].copy_from_slice(&kind_and_code.to_be_bytes());
    value[4..].copy_from_slice(&icmp.data.to_be_bytes());
    value
}

impl Message<'_> {
    /// ICMP of a Data indication (RFC 8656 §18.13).
    pub fn icmp(&self) -> Result<Option<Icmp>, BadAttribute> {
        let Some(value) = self.value(attr::ICMP) else { return Ok(None) };
        let &[_, _, high, low, d0, d1, d2, d3] = value else { return Err(BadAttribute(attr::ICMP)) };
        let data = u32::from_be_bytes([d0, d1, d2, d3]);
        Ok(Some(Icmp { kind: high >> (CODE_BITS - 8), code: low, data }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_error_reads_back_as_written_and_carries_no_data() {
        let too_big = Icmp { kind: 3, code: 4, data: 1280 };
        for peer in ["192.0.2.1:4000", "[2001:db8::5]:4000"] {
            let peer = peer.parse().unwrap();
            let bytes = data_indication(peer, too_big, TransactionId([7; 12]));
            let message = Message::parse(&bytes).unwrap();
            assert_eq!((message.method(), message.class()), (Method::Data, MessageClass::Indication));
            assert_eq!(message.xor_peer_address(), Ok(Some(peer)));
            assert_eq!(message.icmp(), Ok(Some(too_big)));
            assert_eq!(message.data_range(), None);
        }
    }

    #[test]
    fn type_and_code_lie_where_the_figure_shows_them() {
        assert_eq!(encode(Icmp { kind: 3, code: 4, data: 0x0102_0304 }), [0, 0, 6, 4, 1, 2, 3, 4]);
        assert_eq!(encode(Icmp { kind: 127, code: 255, data: 0 }), [0, 0, 0xFE, 0xFF, 0, 0, 0, 0]);
    }

    #[test]
    fn another_length_is_bad() {
        for length in (0..16).filter(|length| *length != 8) {
            let bytes = Encoder::new(Method::Data, MessageClass::Indication, TransactionId([7; 12]))
                .raw(attr::ICMP, &vec![0; length])
                .finish(None);
            assert_eq!(Message::parse(&bytes).unwrap().icmp(), Err(BadAttribute(attr::ICMP)), "{length} bytes");
        }
    }
}

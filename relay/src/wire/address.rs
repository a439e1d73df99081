//! XOR'd transport addresses (RFC 8489 §14.2), read and written without allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::MAGIC_COOKIE;
use super::header::TransactionId;

/// Bytes of a value: family, port, address.
pub(super) const V4_LEN: usize = 8;
pub(super) const V6_LEN: usize = 20;

const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

/// Reads a value. `None` unless the length is exactly that of its family; the first byte is ignored (RFC 8489 §14.1).
#[inline]
pub(super) fn decode_xor(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let &[_, family, p0, p1, ref ip @ ..] = value else { return None };
    let port = u16::from_be_bytes([p0 ^ MAGIC_COOKIE[0], p1 ^ MAGIC_COOKIE[1]]);
    let ip = match family {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::from(xor4(ip.try_into().ok()?))),
        FAMILY_V6 => IpAddr::V6(Ipv6Addr::from(xor6(ip.try_into().ok()?, transaction))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Writes a value to the front of `out` and returns its length; `None` if it does not fit.
#[inline]
pub(super) fn encode_xor(out: &mut [u8], addr: SocketAddr, transaction: &TransactionId) -> Option<usize> {
    let [p0, p1] = addr.port().to_be_bytes();
    let port = [p0 ^ MAGIC_COOKIE[0], p1 ^ MAGIC_COOKIE[1]];
    match addr.ip() {
        IpAddr::V4(ip) => {
            let out = out.first_chunk_mut::<V4_LEN>()?;
            out[..4].copy_from_slice(&[0, FAMILY_V4, port[0], port[1]]);
            out[4..].copy_from_slice(&xor4(ip.octets()));
            Some(V4_LEN)
        }
        IpAddr::V6(ip) => {
            let out = out.first_chunk_mut::<V6_LEN>()?;
            out[..4].copy_from_slice(&[0, FAMILY_V6, port[0], port[1]]);
            out[4..].copy_from_slice(&xor6(ip.octets(), transaction));
            Some(V6_LEN)
        }
    }
}

fn xor4(ip: [u8; 4]) -> [u8; 4] {
    (u32::from_be_bytes(ip) ^ u32::from_be_bytes(MAGIC_COOKIE)).to_be_bytes()
}

/// The mask is the cookie followed by the transaction (RFC 8489 §14.2).
fn xor6(ip: [u8; 16], transaction: &TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE);
    mask[4..].copy_from_slice(&transaction.0);
    (u128::from_be_bytes(ip) ^ u128::from_be_bytes(mask)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const ID: TransactionId = TransactionId([7; 12]);

    #[test]
    fn a_value_of_another_length_than_its_family_is_refused() {
        for length in 0..=65 {
            let mut value = vec![0; length];
            for family in [1, 2] {
                if let Some(byte) = value.get_mut(1) {
                    *byte = family;
                }
                let right = length == if family == 1 { V4_LEN } else { V6_LEN };
                assert_eq!(decode_xor(&value, &ID).is_some(), right, "family {family}, {length} bytes");
            }
        }
    }

    #[test]
    fn a_family_nobody_registered_is_refused() {
        assert_eq!(decode_xor(&[0, 3, 0, 0, 1, 2, 3, 4], &ID), None);
        assert_eq!(decode_xor(&[0, 0, 0, 0, 1, 2, 3, 4], &ID), None);
    }

    proptest! {
        #[test]
        fn addresses_survive_the_wire_and_agree_with_the_stun_crate(addr: SocketAddr, id: [u8; 12]) {
            let addr = SocketAddr::new(addr.ip(), addr.port());
            let mut value = [0; V6_LEN];
            let len = encode_xor(&mut value, addr, &TransactionId(id)).unwrap();
            prop_assert_eq!(decode_xor(&value[..len], &TransactionId(id)), Some(addr));

            let mut message = stun::message::Message::new();
            message.transaction_id = stun::agent::TransactionId(id);
            let theirs = stun::xoraddr::XorMappedAddress { ip: addr.ip(), port: addr.port() };
            theirs.add_to_as(&mut message, stun::attributes::ATTR_XOR_PEER_ADDRESS).unwrap();
            prop_assert_eq!(&message.attributes.0[0].value[..], &value[..len]);
        }
    }
}

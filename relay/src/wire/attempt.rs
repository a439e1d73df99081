//! ConnectionAttempt (RFC 6062 §5.3): the one control indication this server sends.

use std::net::SocketAddr;

use super::attribute as attr;
use super::encoder::Encoder;
use super::header::{MessageClass, Method, TransactionId};

/// Tells a client that `peer` has connected to its relayed transport address. Indications are not signed.
pub fn connection_attempt(transaction: TransactionId, peer: SocketAddr, connection: u32) -> Vec<u8> {
    Encoder::new(Method::ConnectionAttempt, MessageClass::Indication, transaction)
        .xor_address(attr::XOR_PEER_ADDRESS, peer)
        .raw(attr::CONNECTION_ID, &connection.to_be_bytes())
        .finish(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Message;
    use super::*;

    #[test]
    fn an_attempt_names_the_peer_and_its_connection() {
        let peer: SocketAddr = "192.0.2.9:4711".parse().unwrap();
        let bytes = connection_attempt(TransactionId([5; 12]), peer, 0xDEAD_BEEF);
        assert_eq!(bytes[..2], [0x00, 0x1C]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.method(), message.class()), (Method::ConnectionAttempt, MessageClass::Indication));
        assert_eq!(message.xor_peer_address(), Ok(Some(peer)));
        assert_eq!(message.connection_id(), Ok(Some(0xDEAD_BEEF)));
    }
}

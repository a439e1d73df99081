//! Every reader of bytes from the network.

use relay::wire::{Class, Message, Method, Reply, Request, TransactionId, channel_data, classify, indication};
use std::net::SocketAddr;

/// Reads the datagram in every way there is, answers it if it is a message, and checks what must hold of anything read.
pub(super) fn run(datagram: &[u8]) {
    if let Some(view) = channel_data::parse(datagram) {
        assert!(view.len + channel_data::HEADER <= datagram.len());
    }
    let message = Message::parse(datagram);
    if message.is_ok() {
        assert!(matches!(classify(datagram), Class::Stun), "a message is recognised as one");
    }
    if indication::is_send(datagram)
        && let Ok(send) = indication::parse_send(datagram)
    {
        assert!(datagram.get(send.data.clone()).is_some(), "data lies inside the datagram");
        let message = message.as_ref().expect("the fast reader accepts nothing that the strict one refuses");
        assert_eq!(message.data_range(), Some(send.data), "both readers see the same data");
    }
    if let Ok(message) = message {
        let _ = (message.username(), message.realm(), message.nonce(), message.error_code());
        let _ = (message.requested_transport(), message.lifetime(), message.even_port(), message.reservation_token());
        let _ = (message.requested_address_family(), message.dont_fragment(), message.channel_number());
        let _ = (message.xor_mapped_address(), message.xor_relayed_address(), message.xor_peer_address());
        assert!(message.xor_peer_addresses().count() <= datagram.len() / 4);
        let reply = Reply::error(&message, relay::wire::ErrorCode::UnknownAttribute)
            .unknown_attributes(&message.unknown_required())
            .finish(None);
        assert!(Message::parse(&reply).is_ok(), "our own answers are well formed");
    }
}

/// One of each kind a client sends.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let id = TransactionId(*b"fuzzing-seed");
    let peers: [SocketAddr; 2] =
        [([192, 0, 2, 1], 4000).into(), ("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap(), 4000).into()];
    let request = |method| Request::new(method, id);
    let send = |peer| Request::indication(Method::Send, id).xor_peer_address(peer).data(b"a voice packet").finish(None);
    let allocate = request(Method::Allocate).requested_transport(17).lifetime(600).even_port(true).dont_fragment();
    vec![
        request(Method::Binding).finish(None),
        request(Method::Binding).finish_with_fingerprint(None),
        allocate.credentials("alice", "voice.example", "obMatJos2AAAAnonce").finish_with_fingerprint(None),
        request(Method::Refresh).lifetime(0).requested_address_family(2).finish(None),
        request(Method::CreatePermission).xor_peer_address(peers[0]).xor_peer_address(peers[1]).finish(None),
        request(Method::ChannelBind).channel_number(0x4001).xor_peer_address(peers[0]).finish(None),
        request(Method::Allocate).requested_transport(17).reservation_token([7; 8]).finish(None),
        send(peers[0]),
        send(peers[1]),
        vec![0x40, 0x01, 0, 4, 1, 2, 3, 4],
    ]
}

//! A foreign client in Rust: webrtc-rs' `turn::client`. Send indications first, a channel once it has bound one.

use e2e::{Daemon, PATIENCE};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

const MESSAGES: u32 = 200;
const OPENER: &[u8] = b"permission";

async fn client(turn: SocketAddr) -> Client {
    let socket = UdpSocket::bind((turn.ip(), 0)).await.unwrap();
    let client = Client::new(ClientConfig {
        stun_serv_addr: turn.to_string(),
        turn_serv_addr: turn.to_string(),
        username: "alice".to_owned(),
        password: "alice's long secret".to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    });
    let client = client.await.unwrap();
    client.listen().await.unwrap();
    client
}

/// The next packet but the opener, which arrives only if the receiver's permission was there before it.
async fn receive(from: &impl Conn) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    loop {
        let packet = tokio::time::timeout(PATIENCE, from.recv_from(&mut buffer)).await;
        let (length, sender) = packet.expect("a packet").unwrap();
        if &buffer[..length] != OPENER {
            return (buffer[..length].to_vec(), sender);
        }
    }
}

#[tokio::test]
async fn two_webrtc_rs_clients_talk_through_their_relayed_addresses() {
    let daemon = Daemon::local().start();
    let (left, right) = (client(daemon.turn()).await, client(daemon.turn()).await);
    assert_eq!(left.send_binding_request().await.unwrap().ip(), daemon.turn().ip());

    let (a, b) = (left.allocate().await.unwrap(), right.allocate().await.unwrap());
    let (at, bt) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    // The first packet installs the sender's permission; it may be lost on a receiver that has none yet.
    b.send_to(OPENER, at).await.unwrap();
    for number in 0..MESSAGES {
        a.send_to(format!("to b {number}").as_bytes(), bt).await.unwrap();
        let (heard, from) = receive(&b).await;
        assert_eq!((heard, from), (format!("to b {number}").into_bytes(), at));
        b.send_to(format!("to a {number}").as_bytes(), at).await.unwrap();
        let (heard, from) = receive(&a).await;
        assert_eq!((heard, from), (format!("to a {number}").into_bytes(), bt));
    }
    left.close().await.unwrap();
    right.close().await.unwrap();
}

#[tokio::test]
async fn a_webrtc_rs_client_talks_to_a_peer_outside() {
    let daemon = Daemon::local().set("access.allow_peers = ['127.0.0.0/8']").start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let inside = client(daemon.turn()).await;
    let relayed = inside.allocate().await.unwrap();
    let at = relayed.local_addr().unwrap();
    for number in 0..MESSAGES {
        relayed.send_to(format!("out {number}").as_bytes(), peer.local_addr().unwrap()).await.unwrap();
        let mut buffer = [0; 2048];
        let (length, from) =
            tokio::time::timeout(PATIENCE, peer.recv_from(&mut buffer)).await.expect("a packet").unwrap();
        assert_eq!((&buffer[..length], from), (format!("out {number}").as_bytes(), at));
        peer.send_to(format!("back {number}").as_bytes(), at).await.unwrap();
        let (heard, from) = receive(&relayed).await;
        assert_eq!((heard, from), (format!("back {number}").into_bytes(), peer.local_addr().unwrap()));
    }
    inside.close().await.unwrap();
}

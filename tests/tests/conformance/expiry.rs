//! Rows 58–60 in real time. The same with a clock that is told the time: `relay/src/turn/tests/{permissions,channels,
//! refreshing}.rs`.

use super::{heard, peer, settings};
use e2e::raw::{Client, Transport};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// One client that refreshes nothing but its allocation, one that refreshes nothing at all.
#[test]
#[ignore = "ten minutes; tests/run.sh --long"]
fn permissions_end_after_301_s_channels_after_601_s_and_allocations_with_their_lifetime() {
    let daemon = settings().set("access.user_allocations = 3").start();
    let start = Instant::now();
    let sleep_until = |secs: u64| std::thread::sleep(Duration::from_secs(secs).saturating_sub(start.elapsed()));
    let mut all: Vec<_> = [Transport::Udp, Transport::Tcp, Transport::Tls]
        .map(|on| {
            let ((outside, outside_at), (mut client, relayed)) = (peer(), Client::allocated(&daemon, on));
            assert_eq!((client.bind(0x4000, outside_at), client.refresh(3600)), (0, 0));
            client.send_on(0x4000, b"at first");
            assert_eq!(heard(&outside).0, b"at first");
            outside.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            (client, relayed, outside, outside_at)
        })
        .into();

    // Row 58: inbound and outbound stop, although the channel is still bound.
    sleep_until(305);
    for (client, relayed, outside, outside_at) in &mut all {
        client.send_on(0x4000, b"too late");
        client.send_to(*outside_at, b"too late");
        outside.send_to(b"too late", *relayed).unwrap();
        assert!(outside.recv(&mut [0; 16]).is_err(), "outbound after the permission");
        assert_eq!(client.data(Duration::from_millis(300)), None, "inbound after the permission");
        assert_eq!(client.permit(*outside_at), 0);
        client.send_on(0x4000, b"again");
        outside.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
        assert_eq!(heard(outside).0, b"again", "the channel outlived it");
        outside.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    }

    // Row 59: the channel is over, and its number free for another peer.
    sleep_until(590);
    for (client, _, _, outside_at) in &mut all {
        assert_eq!(client.permit(*outside_at), 0);
    }
    sleep_until(606);
    for (client, _, outside, _) in &mut all {
        client.send_on(0x4000, b"too late");
        assert!(outside.recv(&mut [0; 16]).is_err(), "data over a channel that ended");
        let (_other, other_at) = peer();
        assert_eq!(client.bind(0x4000, other_at), 0);
        assert_eq!(client.refresh(0), 0);
    }

    // Row 60: what nobody refreshes is gone with its port, and the place in the quota is back.
    let start = Instant::now();
    let mut idle: Vec<_> = (0..3).map(|_| Client::allocated(&daemon, Transport::Udp)).collect();
    let mut waiting = Client::challenged(&daemon, Transport::Udp);
    let allocate = || e2e::raw::Ask::request(e2e::raw::message::method::ALLOCATE).transport(17);
    assert_eq!(waiting.code(allocate()), 486);
    std::thread::sleep(Duration::from_secs(603).saturating_sub(start.elapsed()));
    for (client, relayed) in &mut idle {
        assert!(UdpSocket::bind(*relayed).is_ok(), "the port is closed");
        assert_eq!(client.refresh(600), 437);
    }
    assert_eq!(waiting.code(allocate()), 0);
}

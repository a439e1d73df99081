//! What relayed datagrams look like outside: DF, DSCP and ECN (RFC 8656 §14). A raw socket sees the IP headers, which takes
//! root; without it these tests say so and end.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::client::{Client, Relay, eventually};

const CHANNEL: u16 = 0x4000;

/// Sees every UDP datagram over IPv4 that arrives on this machine.
struct Headers(UdpSocket);

#[derive(Debug, PartialEq, Eq)]
struct Header {
    tos: u8,
    dont_fragment: bool,
}

impl Headers {
    fn open() -> Option<Headers> {
        match Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) {
            Ok(socket) => {
                socket.set_recv_buffer_size(1 << 20).unwrap();
                Some(Headers(UdpSocket::from(socket)))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                eprintln!("skipped: a raw socket needs root");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The header of the next datagram to that port.
    fn of_next(&self, to: SocketAddr) -> Header {
        self.of_next_within(to, Duration::from_secs(20)).expect("something for that port")
    }

    fn of_next_within(&self, to: SocketAddr, patience: Duration) -> Option<Header> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let (mut bytes, start) = ([0; 65536], Instant::now());
        while start.elapsed() < patience {
            let len = self.0.recv(&mut bytes).ok()?;
            let header = usize::from(bytes[0] & 0xF) * 4;
            if len >= header + 8 && bytes[header + 2..header + 4] == to.port().to_be_bytes() {
                return Some(Header { tos: bytes[1], dont_fragment: bytes[6] & 0x40 != 0 });
            }
        }
        None
    }
}

/// A relay, a client with a channel to a peer, and the peer.
fn scene(tos: u8) -> (Relay, Client, SocketAddr, UdpSocket) {
    let relay = Relay::start(&["127.0.0.1:0"], 1);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    SockRef::from(&socket).set_tos_v4(u32::from(tos)).unwrap();
    socket.connect(relay.addresses[0]).unwrap();
    let mut client = Client::over(Box::new(socket), 0);
    let relayed = client.allocate().unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.bind_channel(CHANNEL, peer.local_addr().unwrap());
    (relay, client, relayed, peer)
}

#[test]
fn df_is_set_for_a_send_that_asks_for_it_and_for_nothing_else() {
    let Some(headers) = Headers::open() else { return };
    let (_relay, client, relayed, peer) = scene(0);
    let to = peer.local_addr().unwrap();
    for _ in 0..3 {
        client.send_indication(to, b"may be cut");
        assert!(!headers.of_next(to).dont_fragment);
        client.send_whole(to, b"in one piece");
        assert!(headers.of_next(to).dont_fragment);
        client.send_on_channel(CHANNEL, b"may be cut");
        assert!(!headers.of_next(to).dont_fragment, "and the socket is as it was");
    }
    peer.send_to(b"back", relayed).unwrap();
    assert!(!headers.of_next(client.address()).dont_fragment, "the incoming DF bit counts as 0 (§14, alternate)");
}

#[test]
fn dscp_and_ecn_go_on_as_they_came_in_both_directions() {
    let Some(headers) = Headers::open() else { return };
    const EXPEDITED_ECT0: u8 = 46 << 2 | 0b10;
    for (sent, carried) in [(EXPEDITED_ECT0, EXPEDITED_ECT0), (0b11, 0b11), (0, 0), (48 << 2 | 0b01, 0b01), (0xFC, 0)] {
        let (_relay, client, relayed, peer) = scene(sent);
        let to = peer.local_addr().unwrap();
        client.send_on_channel(CHANNEL, b"x");
        assert_eq!(headers.of_next(to).tos, carried, "{sent:#x} towards the peer");
        SockRef::from(&peer).set_tos_v4(u32::from(sent)).unwrap();
        peer.send_to(b"y", relayed).unwrap();
        assert_eq!(headers.of_next(client.address()).tos, carried, "{sent:#x} towards the client");
    }
}

/// Sends what is nobody's business, ten thousand datagrams a second, until it is dropped.
struct Noise(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Noise {
    fn towards(relay: SocketAddr) -> Noise {
        let (goes_on, socket) = (Arc::new(AtomicBool::new(true)), UdpSocket::bind("127.0.0.1:0").unwrap());
        let seen = Arc::clone(&goes_on);
        let thread = thread::spawn(move || {
            while seen.load(Relaxed) {
                (0..50).for_each(|_| drop(socket.send_to(b"\xFF noise", relay)));
                thread::sleep(Duration::from_millis(5));
            }
        });
        Noise(goes_on, Some(thread))
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_busy_worker_finds_out_who_marks_and_carries_the_marks_on() {
    let Some(headers) = Headers::open() else { return };
    const EXPEDITED: u8 = 46 << 2;
    let (relay, client, _, peer) = scene(EXPEDITED);
    let _noise = Noise::towards(relay.addresses[0]);
    thread::sleep(Duration::from_millis(200));
    // What is lost in the noise says nothing.
    let one = |_| {
        thread::sleep(Duration::from_millis(20));
        client.send_on_channel(CHANNEL, b"x");
        headers.of_next_within(peer.local_addr().unwrap(), Duration::from_millis(100))
    };
    let next = || (0..100).find_map(one).unwrap().tos;
    eventually("its marks are heard", || next() == EXPEDITED);
    assert!((0..50).all(|_| next() == EXPEDITED), "and go on being heard");
}

/// Loopback carries nearly everything whole, so this test runs itself again where it does not.
#[test]
fn what_must_not_be_fragmented_and_is_too_long_is_counted_and_dropped() {
    const ALONE: &str = "RELAY_TEST_NARROW_LOOPBACK";
    if std::env::var_os(ALONE).is_none() {
        let name = "dataplane::tests::ip_fields::what_must_not_be_fragmented_and_is_too_long_is_counted_and_dropped";
        let narrow = "ip link set lo mtu 1400 up || exit 77; exec \"$0\" --exact \"$1\"";
        let again = Process::new("unshare")
            .args(["-n", "sh", "-c", narrow])
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(ALONE, "1")
            .output();
        let said = again.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        match said.contains("running 1 test") {
            true => assert!(said.contains("1 passed"), "{said}"),
            false => eprintln!("skipped: a network namespace of its own needs root, unshare and ip"),
        }
        return;
    }
    let (relay, client, relayed, peer) = scene(0);
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (to, mut bytes) = (peer.local_addr().unwrap(), [0; 4096]);
    client.send_whole(to, &[1; 2000]);
    eventually("it is counted", || relay.dropped("send_too_large") == 1);
    client.send_indication(to, &[2; 2000]);
    assert_eq!(peer.recv_from(&mut bytes).unwrap(), (2000, relayed), "this one may be cut");
    assert_eq!(bytes[..2000], [2; 2000]);
    client.send_whole(to, &[3; 1000]);
    assert_eq!(peer.recv_from(&mut bytes).unwrap(), (1000, relayed), "and this one need not be");
    assert!(client.hears_nothing());
}

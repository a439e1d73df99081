//! TCP allocations (RFC 6062) on real sockets: clients over TCP and TLS, peers on loopback.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use super::links::*;
use crate::dataplane::tests::client::{Client, Link, eventually};
use crate::wire::{Message, Method};

const TCP: u8 = 6;
const LONG: Duration = Duration::from_secs(20);

/// A connection that speaks TURN first and is a plain pipe afterwards.
struct Once<P> {
    pipe: Rc<RefCell<P>>,
    /// Said right behind the request that is signed.
    haste: &'static [u8],
    /// Writes are cut into pieces of so many bytes.
    piece: usize,
}

impl<P: Pipe> Link for Once<P> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let signed = Message::parse(message).unwrap().has_integrity();
        let all = if signed { [message, self.haste].concat() } else { message.to_vec() };
        let mut pipe = self.pipe.borrow_mut();
        all.chunks(self.piece).try_for_each(|piece| pipe.write_all(piece).and_then(|()| pipe.flush()))
    }

    /// Not a byte more than the message.
    fn receive(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        let mut pipe = self.pipe.borrow_mut();
        pipe.socket().set_read_timeout(Some(patience))?;
        let mut message = vec![0; 20];
        pipe.read_exact(&mut message)?;
        message.resize(20 + usize::from(u16::from_be_bytes([message[2], message[3]])), 0);
        pipe.read_exact(&mut message[20..])?;
        Ok(message)
    }

    fn address(&self) -> SocketAddr {
        self.pipe.borrow().socket().local_addr().unwrap()
    }
}

/// Binds a peer connection to `pipe`: the pipe, or the error code.
fn bind<P: Pipe + 'static>(pipe: P, user: usize, id: u32) -> Result<P, u16> {
    bind_in_haste(pipe, user, id, b"", usize::MAX)
}

fn bind_in_haste<P: Pipe + 'static>(
    pipe: P,
    user: usize,
    id: u32,
    haste: &'static [u8],
    piece: usize,
) -> Result<P, u16> {
    pipe.socket().set_nodelay(true).unwrap();
    let pipe = Rc::new(RefCell::new(pipe));
    let mut client = Client::over(Box::new(Once { pipe: Rc::clone(&pipe), haste, piece }), user);
    let answer = client.request(Method::ConnectionBind, |request| request.connection_id(id));
    drop(client);
    let pipe = Rc::into_inner(pipe).unwrap().into_inner();
    pipe.socket().set_read_timeout(Some(LONG)).unwrap();
    pipe.socket().set_write_timeout(Some(LONG)).unwrap();
    match Message::parse(&answer).unwrap().error_code().unwrap() {
        None => Ok(pipe),
        Some(code) => Err(code),
    }
}

fn connect(client: &mut Client, peer: SocketAddr) -> Result<u32, u16> {
    let answer = client.request(Method::Connect, |request| request.xor_peer_address(peer));
    let message = Message::parse(&answer).unwrap();
    match message.error_code().unwrap() {
        None => Ok(message.connection_id().unwrap().unwrap()),
        Some(code) => Err(code),
    }
}

/// The next ConnectionAttempt: the peer and the id.
fn attempt(client: &Client) -> (SocketAddr, u32) {
    let bytes = client.receive().unwrap();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.method(), Method::ConnectionAttempt);
    (message.xor_peer_address().unwrap().unwrap(), message.connection_id().unwrap().unwrap())
}

fn peer() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, from) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    (stream, from)
}

/// A client with a TCP allocation, a bound connection over plain TCP, and the peer's end of it.
fn joined(server: &Server) -> (Client, TcpStream, TcpStream) {
    let (listener, address) = peer();
    let mut alice = server.tcp_client(0);
    alice.allocate_for(TCP).unwrap();
    let id = connect(&mut alice, address).unwrap();
    let (far, _) = accept(&listener);
    (alice, bind(server.connect_tcp(), 0, id).unwrap(), far)
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 31 % 251) as u8).collect()
}

fn exchange(near: &mut (impl Read + Write), far: &mut TcpStream) {
    let (up, down) = (bytes(3000), bytes(5000));
    near.write_all(&up).unwrap();
    near.flush().unwrap();
    let mut got = vec![0; up.len()];
    far.read_exact(&mut got).unwrap();
    assert!(got == up);
    far.write_all(&down).unwrap();
    let mut got = vec![0; down.len()];
    near.read_exact(&mut got).unwrap();
    assert!(got == down);
}

#[test]
fn a_client_connects_to_a_peer_from_its_relayed_address_over_tcp_and_tls() {
    let server = server();
    let (listener, address) = peer();
    for mut alice in [server.tcp_client(0), server.tls_client(0)] {
        let relayed = alice.allocate_for(TCP).unwrap();
        let id = connect(&mut alice, address).unwrap();
        let (mut far, from) = accept(&listener);
        assert_eq!(from, relayed);
        assert_eq!(connect(&mut alice, address), Err(446));
        // What the peer says before anybody listens is kept.
        far.write_all(b"early").unwrap();
        let mut near = bind(server.connect_tcp(), 0, id).unwrap();
        let mut early = [0; 5];
        near.read_exact(&mut early).unwrap();
        assert_eq!(&early, b"early");
        exchange(&mut near, &mut far);
        drop(near);
        assert!(is_closed(&mut far));
        drop(far);
        eventually("it is forgotten", || server.shared.tcp.is_empty());
        let id = connect(&mut alice, address).unwrap();
        let (mut far, _) = accept(&listener);
        let mut near = bind(server.connect_tls(server.tls, &[]).unwrap(), 0, id).unwrap();
        exchange(&mut near, &mut far);
    }
}

#[test]
fn permitted_peers_come_in_and_others_are_closed_at_once() {
    let server = server();
    let mut alice = server.tcp_client(0);
    let relayed = alice.allocate_for(TCP).unwrap();
    let mut stranger = TcpStream::connect(relayed).unwrap();
    assert!(is_closed(&mut stranger));
    alice.permit("127.0.0.1:9".parse().unwrap());
    let mut far = TcpStream::connect(relayed).unwrap();
    let (from, id) = attempt(&alice);
    assert_eq!(from, far.local_addr().unwrap());
    let mut near = bind(server.connect_tls(server.tls, &[b"stun.turn"]).unwrap(), 0, id).unwrap();
    far.set_read_timeout(Some(LONG)).unwrap();
    exchange(&mut near, &mut far);
}

#[test]
fn two_clients_of_this_server_reach_each_other_by_their_relayed_addresses() {
    let server = server();
    let (mut alice, mut bob) = (server.tcp_client(0), server.tls_client(1));
    let (a, b) = (alice.allocate_for(TCP).unwrap(), bob.allocate_for(TCP).unwrap());
    bob.permit(a);
    let id = connect(&mut alice, b).unwrap();
    let (from, other) = attempt(&bob);
    assert_eq!(from, a);
    let mut far = bind(server.connect_tcp(), 1, other).unwrap();
    let mut near = bind(server.connect_tls(server.tls, &[]).unwrap(), 0, id).unwrap();
    exchange(&mut near, &mut far);
}

#[test]
fn what_follows_a_connection_bind_at_once_is_data() {
    let server = server();
    let (listener, address) = peer();
    let mut alice = server.tcp_client(0);
    alice.allocate_for(TCP).unwrap();
    for piece in [usize::MAX, 7] {
        let id = connect(&mut alice, address).unwrap();
        let (mut far, _) = accept(&listener);
        let haste = b"\x80 no message begins like this";
        let mut near = bind_in_haste(server.connect_tcp(), 0, id, haste, piece).unwrap();
        let mut got = vec![0; haste.len()];
        far.read_exact(&mut got).unwrap();
        assert_eq!(got, haste);
        exchange(&mut near, &mut far);
        drop(near);
        assert!(is_closed(&mut far));
        drop(far);
        eventually("it is forgotten", || server.shared.tcp.is_empty());
    }
}

#[test]
fn megabytes_pass_unharmed_both_ways_at_once() {
    let server = server();
    let (_alice, near, far) = joined(&server);
    let sent = bytes(8 << 20);
    std::thread::scope(|scope| {
        for (mut from, mut to) in [
            (near.try_clone().unwrap(), far.try_clone().unwrap()),
            (far.try_clone().unwrap(), near.try_clone().unwrap()),
        ] {
            let sent = &sent;
            scope.spawn(move || {
                from.write_all(sent).unwrap();
                from.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut got = Vec::new();
                to.read_to_end(&mut got).unwrap();
                assert!(got == *sent, "{} bytes of {}", got.len(), sent.len());
            });
        }
    });
    eventually("both sides have said all", || server.shared.tcp.is_empty());
    let relayed: u64 = server.shared.tcp.counters().relayed().iter().map(|(_, count)| count).sum();
    assert_eq!(relayed, 2 * sent.len() as u64);
}

#[test]
fn a_reader_that_does_not_read_stops_the_writer_and_costs_no_memory() {
    let server = server();
    let (_alice, near, mut far) = joined(&server);
    far.set_nonblocking(true).unwrap();
    let block = vec![7; 64 * 1024];
    let (mut written, mut refused) = (0, 0);
    while refused < 20 {
        match far.write(&block) {
            Ok(count) => {
                written += count;
                refused = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{error}"),
        }
        // What kernels hold at both ends, and two pipe buffers: not a fraction of this.
        assert!(written < 64 << 20, "nobody stops it");
    }
    let counted: u64 = server.shared.tcp.counters().relayed().iter().map(|(_, count)| count).sum();
    assert!(counted <= written as u64);
    // It goes on where it stopped, complete.
    far.shutdown(Shutdown::Write).unwrap();
    let (mut near, mut got) = (near, 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match near.read(&mut buffer).unwrap() {
            0 => break,
            count => {
                assert!(buffer[..count].iter().all(|byte| *byte == 7));
                got += count;
            }
        }
    }
    assert_eq!(got, written);
}

#[test]
fn one_side_may_finish_before_the_other() {
    let server = server();
    let (_alice, mut near, mut far) = joined(&server);
    near.write_all(b"a question").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let mut question = String::new();
    far.read_to_string(&mut question).unwrap();
    assert_eq!(question, "a question");
    far.write_all(b"an answer").unwrap();
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "an answer");
    eventually("it is forgotten", || server.shared.tcp.is_empty());
}

#[test]
fn the_end_of_the_allocation_closes_listener_peers_and_data_connections() {
    let server = server();
    for by_refresh in [true, false] {
        let (listener, address) = peer();
        let mut alice = server.tcp_client(0);
        let relayed = alice.allocate_for(TCP).unwrap();
        let bound = connect(&mut alice, address).unwrap();
        let (mut far, _) = accept(&listener);
        let mut near = bind(server.connect_tcp(), 0, bound).unwrap();
        alice.permit(address);
        let mut waiting = TcpStream::connect(relayed).unwrap();
        attempt(&alice);
        if by_refresh {
            alice.free();
        } else {
            drop(alice);
        }
        assert!(is_closed(&mut near) && is_closed(&mut far) && is_closed(&mut waiting));
        eventually("nobody listens", || TcpStream::connect(relayed).is_err());
        assert!(server.shared.tcp.is_empty());
    }
}

#[test]
fn nobody_binds_what_is_not_theirs_and_nothing_is_bound_twice() {
    let server = server();
    let (listener, address) = peer();
    let mut alice = server.tcp_client(0);
    alice.allocate_for(TCP).unwrap();
    let id = connect(&mut alice, address).unwrap();
    let (mut far, _) = accept(&listener);
    assert_eq!(bind(server.connect_tcp(), 1, id).err(), Some(400), "bob's");
    assert_eq!(bind(server.connect_tcp(), 0, id ^ 1).err(), Some(400), "made up");
    let mut near = bind(server.connect_tcp(), 0, id).unwrap();
    assert_eq!(bind(server.connect_tcp(), 0, id).err(), Some(400), "twice");
    exchange(&mut near, &mut far);
}

#[test]
fn a_peer_that_refuses_is_447_and_denied_ones_are_403() {
    let server = server();
    let (listener, closed) = peer();
    drop(listener);
    let mut alice = server.tcp_client(0);
    alice.allocate_for(TCP).unwrap();
    assert_eq!(connect(&mut alice, closed), Err(447));
    for denied in ["169.254.169.254:80", "10.0.0.1:80"] {
        assert_eq!(connect(&mut alice, denied.parse().unwrap()), Err(403));
    }
    for own in [server.udp, server.tcp, server.tls] {
        assert_eq!(connect(&mut alice, own), Err(403));
    }
    assert!(server.shared.tcp.is_empty());
}

#[test]
fn datagram_clients_get_no_tcp_allocation() {
    let server = server();
    assert_eq!(server.udp_client(0).allocate_for(TCP), Err(400));
}

//! The conformance suite: every hostile case a TURN server meets, against the real daemon, over every transport where it
//! makes sense. A row is one function of a daemon and a transport; [`rows!`] makes a test of it for each transport.

/// The transport of that name.
macro_rules! transport {
    (udp) => {
        e2e::raw::Transport::Udp
    };
    (tcp) => {
        e2e::raw::Transport::Tcp
    };
    (tls) => {
        e2e::raw::Transport::Tls
    };
    (udp6) => {
        e2e::raw::Transport::Udp6
    };
    (tcp6) => {
        e2e::raw::Transport::Tcp6
    };
    (tls6) => {
        e2e::raw::Transport::Tls6
    };
}

/// `rows! { name on udp tcp; … }` makes the tests `name::udp` and `name::tcp` of `fn name(&Daemon, Transport)`, and the list
/// `ROWS` that `aftermath` runs on one daemon.
macro_rules! rows {
    ($($name:ident on $($transport:ident)+;)+) => {
        $(
            mod $name {
                $(
                    #[test]
                    fn $transport() {
                        super::$name(&super::super::daemon(), transport!($transport));
                    }
                )+
            }
        )+
        pub(super) const ROWS: &[super::Row] =
            &[$(super::Row { name: stringify!($name), run: $name, on: &[$(transport!($transport)),+] }),+];
    };
}

mod aftermath;
mod allocation;
mod authentication;
mod channels;
mod expiry;
mod faults;
mod floods;
mod parsing;
mod permissions;
mod policy;
mod reflection;
mod streams;

use e2e::Daemon;
use e2e::daemon::Builder;
use e2e::raw::Transport;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One case of the table.
struct Row {
    name: &'static str,
    run: fn(&Daemon, Transport),
    on: &'static [Transport],
}

/// The network of peers that the policy allows; the rest of loopback is denied as everywhere.
const PEERS: &str = "127.9.0.1";

/// Every transport, two users, two kinds of time-limited credentials; peers only in the network of [`PEERS`].
const SETTINGS: &str = "
listen = { udp = ['127.0.0.1:0', '[::1]:0'], tcp = ['127.0.0.1:0', '[::1]:0'], tls = ['127.0.0.1:0', '[::1]:0'] }
relay = { addresses = ['127.0.0.1', '::1'], workers = 2 }
auth = { users = { bob = 'quite another secret' }, rest_secrets = ['the newest rest secret', 'the rest secret before it'] }
access = { allow_peers = ['127.9.0.0/16'], user_allocations = 10000 }
";

fn settings() -> Builder {
    Daemon::local().set(SETTINGS).with_certificate()
}

/// The daemon that rows share while at least one of them is running.
fn daemon() -> Arc<Daemon> {
    static SHARED: Mutex<Weak<Daemon>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let daemon = Arc::new(settings().start());
        *shared = Arc::downgrade(&daemon);
        daemon
    })
}

/// A peer outside the relay that it may reach, and its address.
fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((PEERS, 0)).unwrap();
    socket.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next datagram at a peer, and where it came from.
fn heard(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65536];
    let (length, from) = peer.recv_from(&mut buffer).expect("a datagram at the peer");
    (buffer[..length].to_vec(), from)
}

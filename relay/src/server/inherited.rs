//! Sockets that a supervisor opened for this process (systemd's socket activation, sd_listen_fds(3)): bound before it starts and kept
//! while it restarts, so that nobody is refused in between.
//!
//! Each is used for the address of `[listen]` that it is bound to. `FileDescriptorName=` may be `udp`, `tcp`, `tls`, `signalling` or `admin`
//! and must then be the key that names the address; any other name says nothing.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use socket2::{SockRef, Type};

use super::descriptors;

const KEYS: [&str; 5] = ["udp", "tcp", "tls", "signalling", "admin"];

/// What nobody has asked for yet.
#[derive(Default)]
pub(super) struct Inherited(Vec<Passed>);

struct Passed {
    name: String,
    address: SocketAddr,
    udp: bool,
    socket: OwnedFd,
}

impl Inherited {
    /// What `$LISTEN_FDS` speaks of, if it is meant for this process.
    pub(super) fn from_environment() -> Inherited {
        let variable = |name| std::env::var(name).ok();
        let meant = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
        let count = variable("LISTEN_FDS").filter(|_| meant).and_then(|count| count.parse().ok()).unwrap_or(0);
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned).chain(std::iter::repeat(String::new()));
        let passed = descriptors::passed_on(count).into_iter().filter_map(|socket| {
            let name = names.next().unwrap_or_default();
            let passed = Passed::new(name, socket);
            if passed.is_none() {
                tracing::warn!("a descriptor this process was started with is no IP socket that listens; it is closed");
            }
            passed
        });
        Inherited(passed.collect())
    }

    /// Sockets that another relay has given, by the key of each.
    pub(super) fn given(sockets: Vec<(String, OwnedFd)>) -> Inherited {
        Inherited(sockets.into_iter().filter_map(|(name, socket)| Passed::new(name, socket)).collect())
    }

    /// Every socket for this UDP address, one for each worker at most.
    pub(super) fn udp(&mut self, address: SocketAddr) -> Vec<OwnedFd> {
        let all = self.0.extract_if(.., |it| it.udp && it.is_for("udp", address));
        all.map(|it| it.socket).collect()
    }

    /// The socket for this TCP address of `[listen] key`.
    pub(super) fn tcp(&mut self, key: &str, address: SocketAddr) -> Option<std::net::TcpListener> {
        let at = self.0.iter().position(|it| !it.udp && it.is_for(key, address))?;
        let listener = std::net::TcpListener::from(self.0.swap_remove(at).socket);
        listener.set_nonblocking(true).ok()?;
        Some(listener)
    }

    /// Says what nobody asked for; it is closed.
    pub(super) fn close(self) {
        for Passed { address, name, .. } in self.0 {
            let named =
                if KEYS.contains(&name.as_str()) { name } else { "udp, tcp, tls, signalling or admin".to_owned() };
            tracing::warn!("a socket was passed on for {address}, which is not in [listen] {named}; it is closed");
        }
    }
}

impl Passed {
    fn new(name: String, socket: OwnedFd) -> Option<Passed> {
        let known = SockRef::from(&socket);
        let address = known.local_addr().ok()?.as_socket()?;
        let udp = known.r#type().ok()? == Type::DGRAM;
        let listens = udp || known.is_listener().unwrap_or(false);
        known.set_nonblocking(true).ok()?;
        listens.then_some(Passed { name, address, udp, socket })
    }

    fn is_for(&self, key: &str, address: SocketAddr) -> bool {
        let named = KEYS.contains(&self.name.as_str());
        self.address == address && (!named || self.name == key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sockets_are_found_by_address_and_by_name_if_they_have_one() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (at_tcp, at_udp) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let passed = |name: &str, socket: OwnedFd| Passed::new(name.to_owned(), socket).unwrap();
        let mut all = Inherited(vec![passed("tls", tcp.into()), passed("relay.socket", udp.into())]);
        assert!(all.tcp("tcp", at_tcp).is_none(), "it is called tls");
        assert!(all.tcp("tls", at_udp).is_none() && all.udp(at_tcp).is_empty());
        assert_eq!(all.tcp("tls", at_tcp).unwrap().local_addr().unwrap(), at_tcp);
        assert_eq!((all.udp(at_udp).len(), all.udp(at_udp).len()), (1, 0));
        all.close();
    }

    #[test]
    fn what_does_not_listen_is_of_no_use() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(Passed::new(String::new(), connected.into()).is_none());
        assert!(Passed::new(String::new(), std::fs::File::open("/dev/null").unwrap().into()).is_none());
    }
}

//! The sockets one worker owns: its listeners and its relayed sockets, found by number without a hash.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::names::Beside;
use super::socket::{Listener, hear_errors, hear_marks, open_connected, open_relayed};
use super::sys;
use crate::access::{Bucket, Rate};
use crate::time::Millis;
use crate::turn::{AddressId, FiveTuple, OpenError, RelayedAddress, RelayedPort};

/// Receive buffer of a relayed socket: about a second of one voice stream.
const RELAYED_RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Relayed sockets found through one page of the table.
const PAGE: usize = 256;
const PAGES: usize = 65536 / PAGE;

/// One of the things a worker waits for, or sends through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    Listener(u16),
    Relayed(RelayedPort),
    /// A stream client's connection, by its number.
    Stream(u32),
    /// A client's own socket, by its number: the listeners are somebody else's.
    Departed(u32),
    Mailbox,
}

impl Place {
    /// As a number for epoll to carry.
    pub(super) fn number(self) -> u64 {
        match self {
            Place::Relayed(port) => u64::from(port.address.0) << 16 | u64::from(port.port),
            Place::Listener(index) => 1 << 32 | u64::from(index),
            Place::Mailbox => 2 << 32,
            Place::Stream(number) => 3 << 32 | u64::from(number),
            Place::Departed(number) => 4 << 32 | u64::from(number),
        }
    }

    pub(super) fn from_number(number: u64) -> Place {
        match number >> 32 {
            0 => Place::Relayed(RelayedPort { address: AddressId((number >> 16) as u8), port: number as u16 }),
            1 => Place::Listener(number as u16),
            3 => Place::Stream(number as u32),
            4 => Place::Departed(number as u32),
            _ => Place::Mailbox,
        }
    }
}

/// ICMP errors one relayed socket may bring in a second, and at once after a pause. Who sends more is not telling news.
const ERRORS_PER_SECOND: u64 = 100;
const ERRORS_BURST: u64 = 200;

pub(super) struct Sockets {
    /// Those that were closed leave their places empty.
    listeners: Vec<Option<Open<Listener>>>,
    /// Where relayed sockets are bound, by `AddressId`.
    addresses: Vec<IpAddr>,
    /// By `AddressId`, then by port: pages that exist once one of their ports was opened.
    relayed: Vec<Vec<Option<Box<Page>>>>,
    error_rate: Option<Rate>,
    /// Sockets of single clients, since the listeners were given away: never more than there were allocations then.
    departed: Vec<Departed>,
}

struct Departed {
    socket: OwnedFd,
    /// Where its datagrams would have come in.
    listener: u16,
    local: SocketAddr,
}

fn no_pages() -> Vec<Option<Box<Page>>> {
    (0..PAGES).map(|_| None).collect()
}

type Page = [Option<Open<OwnedFd>>; PAGE];

struct Open<S> {
    socket: S,
    /// Its loss counter as last seen.
    overflow: u32,
    /// ICMP errors it may still bring.
    errors: Bucket,
}

impl Sockets {
    pub(super) fn new(listeners: Vec<Listener>, addresses: &[RelayedAddress]) -> Sockets {
        Sockets {
            listeners: listeners
                .into_iter()
                .map(|socket| Some(Open { socket, overflow: 0, errors: Bucket::default() }))
                .collect(),
            addresses: addresses.iter().map(|address| address.bind).collect(),
            relayed: addresses.iter().map(|_| no_pages()).collect(),
            error_rate: Rate::new(ERRORS_PER_SECOND, ERRORS_BURST),
            departed: Vec::new(),
        }
    }

    /// The same addresses again, and more behind them.
    pub(super) fn know(&mut self, addresses: &[RelayedAddress]) {
        for address in addresses.iter().skip(self.addresses.len()) {
            self.addresses.push(address.bind);
            self.relayed.push(no_pages());
        }
    }

    pub(super) fn add_listener(&mut self, socket: Listener) -> Place {
        self.listeners.push(Some(Open { socket, overflow: 0, errors: Bucket::default() }));
        Place::Listener(self.listeners.len() as u16 - 1)
    }

    /// Closes it; the kernel forgets it, and so does epoll.
    pub(super) fn close_listener(&mut self, index: u16) {
        if let Some(listener) = self.listeners.get_mut(usize::from(index)) {
            *listener = None;
        }
    }

    /// Those that were closed count too.
    pub(super) fn listeners(&self) -> u16 {
        self.listeners.len() as u16
    }

    pub(super) fn open_listeners(&self) -> usize {
        self.listeners.iter().flatten().count()
    }

    /// The socket at a place, if it is (still) open.
    pub(super) fn get(&self, place: Place) -> Option<BorrowedFd<'_>> {
        match place {
            Place::Listener(index) => Some(self.listeners.get(usize::from(index))?.as_ref()?.socket.socket.as_fd()),
            Place::Relayed(port) => {
                let (page, entry) = split(port);
                Some(self.relayed.get(usize::from(port.address.0))?[page].as_ref()?[entry].as_ref()?.socket.as_fd())
            }
            Place::Departed(number) => Some(self.departed.get(number as usize)?.socket.as_fd()),
            Place::Stream(_) | Place::Mailbox => None,
        }
    }

    /// Opens a client's own socket, and answers its number.
    pub(super) fn depart(&mut self, client: &FiveTuple) -> io::Result<(u32, BorrowedFd<'_>)> {
        let listener = self.get(Place::Listener(client.listener)).ok_or(io::ErrorKind::NotFound)?;
        let socket = open_connected(listener, client.local, client.remote, RELAYED_RECEIVE_BUFFER_BYTES)?;
        let number = u32::try_from(self.departed.len()).map_err(io::Error::other)?;
        self.departed.push(Departed { socket, listener: client.listener, local: client.local });
        Ok((number, self.departed[number as usize].socket.as_fd()))
    }

    /// How many clients' own sockets there are.
    pub(super) fn departures(&self) -> u32 {
        self.departed.len() as u32
    }

    /// Closes those of that number and above.
    pub(super) fn forget_departures(&mut self, from: u32) {
        self.departed.truncate(from as usize);
    }

    /// The listener and the address that this client's datagrams would have come in by.
    pub(super) fn departed(&self, number: u32) -> Option<(u16, SocketAddr)> {
        self.departed.get(number as usize).map(|it| (it.listener, it.local))
    }

    /// The address a client sent to.
    pub(super) fn local(&self, index: u16, beside: &Beside) -> Option<SocketAddr> {
        let bound = self.listeners.get(usize::from(index))?.as_ref()?.socket.address;
        Some(match beside.local {
            None => bound,
            Some((IpAddr::V6(ip), scope)) => SocketAddr::V6(SocketAddrV6::new(ip, bound.port(), 0, scope)),
            Some((ip, _)) => SocketAddr::new(ip, bound.port()),
        })
    }

    /// The source to ask the kernel for when a client is to be answered from `local`: only where it has a choice.
    pub(super) fn source(&self, index: u16, local: SocketAddr) -> Option<SocketAddr> {
        let listener = self.listeners.get(usize::from(index))?.as_ref()?;
        listener.socket.wildcard.then_some(local)
    }

    /// Whether listeners say DSCP and ECN of each datagram.
    pub(super) fn hear_marks(&self, hear: bool) {
        for Listener { socket, address, .. } in self.listeners.iter().flatten().map(|open| &open.socket) {
            let _ = hear_marks(socket.as_fd(), address.is_ipv6(), hear); // it could be set when the socket was opened
        }
    }

    /// Asks every listener what it has lost, and answers how much that is since the last time.
    pub(super) fn listeners_lost(&mut self) -> u64 {
        let mut lost = 0;
        for place in (0..self.listeners()).map(Place::Listener) {
            if let Some(Ok(total)) = self.get(place).map(sys::lost) {
                lost += self.note_overflow(place, total);
            }
        }
        lost
    }

    /// Takes note of a socket's loss counter and answers how much was lost since the last note.
    pub(super) fn note_overflow(&mut self, place: Place, total: u32) -> u64 {
        let seen = match place {
            Place::Listener(index) => {
                let listener = self.listeners.get_mut(usize::from(index)).and_then(Option::as_mut);
                listener.map(|open| &mut open.overflow)
            }
            Place::Relayed(port) => self.entry(port).and_then(|entry| entry.as_mut()).map(|open| &mut open.overflow),
            Place::Stream(_) | Place::Departed(_) | Place::Mailbox => None,
        };
        seen.map_or(0, |seen| u64::from(total.wrapping_sub(std::mem::replace(seen, total))))
    }

    /// Takes note of so many ICMP errors. Once they are too many the socket is deaf to them, and `false` is answered.
    pub(super) fn note_errors(&mut self, port: RelayedPort, count: usize, now: Millis) -> bool {
        let Some(rate) = self.error_rate else { return true };
        let Some(open) = self.entry(port).and_then(Option::as_mut) else { return true };
        let bearable = open.errors.take(now, count as u64, &rate);
        if !bearable {
            self.hear_errors(port, false);
        }
        bearable
    }

    /// Whether a relayed socket, if it is still open, hears of ICMP errors.
    pub(super) fn hear_errors(&self, port: RelayedPort, hear: bool) {
        let ipv6 = self.addresses.get(usize::from(port.address.0)).is_some_and(IpAddr::is_ipv6);
        if let Some(socket) = self.get(Place::Relayed(port)) {
            let _ = hear_errors(socket, ipv6, hear); // it could be set when the socket was opened
        }
    }

    /// Binds the real socket of a relayed port.
    pub(super) fn open(&mut self, port: RelayedPort) -> Result<BorrowedFd<'_>, OpenError> {
        let address = *self.addresses.get(usize::from(port.address.0)).ok_or(OpenError::Unavailable)?;
        let opened = open_relayed(SocketAddr::new(address, port.port), RELAYED_RECEIVE_BUFFER_BYTES);
        let socket = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse,
            _ => OpenError::Unavailable,
        })?;
        let entry = self.entry_or_page(port).ok_or(OpenError::Unavailable)?;
        Ok(entry.insert(Open { socket, overflow: 0, errors: Bucket::default() }).socket.as_fd())
    }

    /// Takes the socket of a relayed port that another process has bound. What it has lost until now was counted there.
    pub(super) fn adopt(&mut self, port: RelayedPort, socket: OwnedFd) -> Option<BorrowedFd<'_>> {
        let overflow = sys::lost(socket.as_fd()).unwrap_or(0);
        let open = Open { socket, overflow, errors: Bucket::default() };
        Some(self.entry_or_page(port)?.insert(open).socket.as_fd())
    }

    /// Where the socket of a relayed port is bound.
    pub(super) fn relayed_address(&self, port: RelayedPort) -> Option<SocketAddr> {
        let address = *self.addresses.get(usize::from(port.address.0))?;
        Some(SocketAddr::new(address, port.port))
    }

    /// Closes it; the kernel forgets it, and so does epoll. Answers whether there was one.
    pub(super) fn close(&mut self, port: RelayedPort) -> bool {
        self.entry(port).and_then(Option::take).is_some()
    }

    fn entry(&mut self, port: RelayedPort) -> Option<&mut Option<Open<OwnedFd>>> {
        let (page, entry) = split(port);
        Some(&mut self.relayed.get_mut(usize::from(port.address.0))?[page].as_mut()?[entry])
    }

    fn entry_or_page(&mut self, port: RelayedPort) -> Option<&mut Option<Open<OwnedFd>>> {
        let (page, entry) = split(port);
        let page = &mut self.relayed.get_mut(usize::from(port.address.0))?[page];
        Some(&mut page.get_or_insert_with(|| Box::new([const { None }; PAGE]))[entry])
    }
}

fn split(port: RelayedPort) -> (usize, usize) {
    (usize::from(port.port) / PAGE, usize::from(port.port) % PAGE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sockets() -> Sockets {
        Sockets::new(Vec::new(), &[RelayedAddress::same("127.0.0.1".parse().unwrap())])
    }

    fn free_port() -> RelayedPort {
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        RelayedPort { address: AddressId(0), port: probe.local_addr().unwrap().port() }
    }

    #[test]
    fn a_place_survives_the_trip_through_epoll() {
        let port = RelayedPort { address: AddressId(255), port: 65535 };
        for place in [
            Place::Listener(0),
            Place::Listener(u16::MAX),
            Place::Relayed(port),
            Place::Mailbox,
            Place::Stream(u32::MAX),
            Place::Departed(u32::MAX),
        ] {
            assert_eq!(Place::from_number(place.number()), place);
        }
    }

    #[test]
    fn a_closed_relayed_port_can_be_opened_again() {
        let (mut sockets, port) = (sockets(), free_port());
        for _ in 0..2 {
            assert!(sockets.open(port).is_ok());
            assert!(sockets.get(Place::Relayed(port)).is_some());
            assert!(sockets.close(port) && !sockets.close(port));
            assert!(sockets.get(Place::Relayed(port)).is_none());
        }
    }

    #[test]
    fn a_relayed_port_somebody_else_holds_is_in_use() {
        let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = RelayedPort { address: AddressId(0), port: held.local_addr().unwrap().port() };
        assert_eq!(sockets().open(port).err(), Some(OpenError::InUse));
    }

    #[test]
    fn an_address_we_do_not_have_is_unavailable() {
        let port = RelayedPort { address: AddressId(1), port: 50000 };
        assert_eq!(sockets().open(port).err(), Some(OpenError::Unavailable));
        assert!(sockets().get(Place::Relayed(port)).is_none());
    }

    #[test]
    fn lost_datagrams_are_counted_from_the_last_note_even_when_the_counter_wraps() {
        let (mut sockets, port) = (sockets(), free_port());
        let _ = sockets.open(port).map(|_| ());
        assert_eq!(sockets.note_overflow(Place::Relayed(port), 5), 5);
        assert_eq!(sockets.note_overflow(Place::Relayed(port), u32::MAX), u64::from(u32::MAX - 5));
        assert_eq!(sockets.note_overflow(Place::Relayed(port), 2), 3);
    }
}

//! The yardsticks: forwarders that receive and send and do nothing else, each a process of its own.
//!
//! `one`: one socket for everybody; one receive and one send a packet, the least a relay can do.
//! `two`: a socket for each caller; caller → its socket → the partner's socket → partner, or an outside peer: two receives and
//! two sends, the least a relay with real relayed ports can do without a short cut.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use super::nap::Nap;
use crate::load::epoll::Epoll;
use crate::load::mmsg::{Mmsg, grow_receive_buffer};
use crate::load::{caller_address, caller_number, peer_address};

const BATCH: usize = 64;
/// Taken from one relayed socket at a time. A voice call has one or two waiting.
const RELAYED: usize = 8;
/// Full batches taken from the callers' socket before the others get their turn.
const BATCHES: usize = 4;
const LISTENER: u64 = u64::MAX;

/// What the controlling process tells a forwarder.
#[derive(clap::Args)]
pub(crate) struct Forward {
    /// `one` or `two`
    kind: String,
    /// Callers, which need a relayed socket each
    #[arg(long, default_value_t = 0)]
    callers: usize,
    /// Port that all callers send from
    #[arg(long, default_value_t = 0)]
    client_port: u16,
    /// Port of the outside peers; without it callers reach each other
    #[arg(long)]
    peer_port: Option<u16>,
    #[arg(long, default_value_t = 0)]
    nap: u32,
}

/// Forwards until the process is ended.
pub(crate) fn serve(forward: &Forward) -> io::Result<()> {
    let listener = UdpSocket::bind("127.0.0.1:0")?;
    grow_receive_buffer(&listener, 4 << 20);
    let nap = Nap::new(forward.nap);
    let address = listener.local_addr()?;
    let say = |ports: &[String]| {
        let mut output = io::stdout().lock();
        writeln!(output, "{address} {}", ports.join(" ")).and_then(|()| output.flush())
    };
    if forward.kind == "one" {
        say(&[])?;
        return one(&listener, nap);
    }
    let sockets: Vec<UdpSocket> = (0..forward.callers).map(|_| relayed()).collect::<io::Result<_>>()?;
    let ports: Vec<u16> = sockets.iter().map(|socket| Ok(socket.local_addr()?.port())).collect::<io::Result<_>>()?;
    let peers = (0..forward.callers).map(|caller| match forward.peer_port {
        Some(port) => SocketAddrV4::new(peer_address(caller), port),
        None => SocketAddrV4::new(Ipv4Addr::LOCALHOST, ports.get(caller ^ 1).copied().unwrap_or(9)),
    });
    let callers = (0..forward.callers).map(|caller| SocketAddrV4::new(caller_address(caller), forward.client_port));
    let (peers, callers) = (peers.collect(), callers.collect());
    say(&ports.iter().map(u16::to_string).collect::<Vec<_>>())?;
    TwoHops { listener, sockets, peers, callers }.run(nap)
}

fn relayed() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    grow_receive_buffer(&socket, 4 << 20);
    Ok(socket)
}

fn one(socket: &UdpSocket, mut nap: Nap) -> io::Result<()> {
    let mut batch = Mmsg::new(BATCH, 2048);
    loop {
        let received = batch.receive(socket, true)?;
        for i in 0..received {
            let from = batch.from(i);
            batch.forward(i, SocketAddrV4::new(Ipv4Addr::from(u32::from(*from.ip()) ^ 1), from.port()));
        }
        batch.send(socket, received);
        batch.reset(0..received);
        nap.take(received, received == BATCH);
    }
}

struct TwoHops {
    listener: UdpSocket,
    /// By caller, like the two below.
    sockets: Vec<UdpSocket>,
    peers: Vec<SocketAddrV4>,
    callers: Vec<SocketAddrV4>,
}

impl TwoHops {
    fn run(&self, mut nap: Nap) -> io::Result<()> {
        let mut epoll = Epoll::new(128)?;
        epoll.add(&self.listener, LISTENER)?;
        for (caller, socket) in self.sockets.iter().enumerate() {
            epoll.add(socket, caller as u64)?;
        }
        let (mut up, mut down) = (Mmsg::new(BATCH, 2048), Mmsg::new(BATCH, 2048));
        loop {
            epoll.wait(None);
            let (mut count, mut total, mut backlog) = (0, 0, false);
            for i in 0..epoll.ready() {
                let number = epoll.number(i);
                if number == LISTENER {
                    let received = self.take_from_callers(&mut up);
                    total += received;
                    backlog |= received == BATCH * BATCHES;
                    continue;
                }
                if count + RELAYED > BATCH {
                    self.to_callers(&mut down, std::mem::take(&mut count));
                }
                let received = self.take_from_peers(&mut down, count, number as usize);
                (count, total) = (count + received, total + received);
            }
            self.to_callers(&mut down, count);
            nap.take(total, backlog);
        }
    }

    /// Sends what callers sent from their relayed sockets.
    fn take_from_callers(&self, batch: &mut Mmsg) -> usize {
        let mut total = 0;
        for _ in 0..BATCHES {
            let received = batch.receive(&self.listener, false).unwrap_or(0);
            for i in 0..received {
                let caller = caller_number(*batch.from(i).ip());
                if let (Some(peer), Some(socket)) = (self.peers.get(caller), self.sockets.get(caller)) {
                    batch.forward(i, *peer);
                    batch.send_at(i..i + 1, socket);
                }
            }
            batch.reset(0..received);
            total += received;
            if received < BATCH {
                break;
            }
        }
        total
    }

    /// Takes what waits at one relayed socket into the batch for the callers.
    fn take_from_peers(&self, batch: &mut Mmsg, start: usize, caller: usize) -> usize {
        let Some(socket) = self.sockets.get(caller) else { return 0 };
        let received = batch.receive_at(start..start + RELAYED, socket, false).unwrap_or(0);
        for i in start..start + received {
            batch.forward(i, self.callers[caller]);
        }
        received
    }

    fn to_callers(&self, batch: &mut Mmsg, count: usize) {
        batch.send_at(0..count, &self.listener);
        batch.reset(0..count);
    }
}

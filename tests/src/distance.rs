//! A long way to the server: datagrams and streams arrive later, in both directions. In user space, because not every kernel has netem.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

/// What is under way, and when it arrives.
type Late = (Instant, Vec<u8>);

/// Two addresses that stand for a daemon's. Gone with its runtime.
pub struct Distance {
    udp: SocketAddr,
    tcp: SocketAddr,
    daemon: Arc<OnceLock<[SocketAddr; 2]>>,
    _runtime: Runtime,
}

impl Distance {
    /// `one_way` is half of a round trip. Bound before the daemon starts, which must speak of these addresses.
    pub fn of(one_way: Duration) -> Distance {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (socket, listener) = runtime.block_on(async {
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap())
        });
        let (udp, tcp) = (socket.local_addr().unwrap(), listener.local_addr().unwrap());
        let daemon: Arc<OnceLock<[SocketAddr; 2]>> = Arc::default();
        runtime.spawn(datagrams(Arc::new(socket), Arc::clone(&daemon), one_way));
        runtime.spawn(streams(listener, Arc::clone(&daemon), one_way));
        Distance { udp, tcp, daemon, _runtime: runtime }
    }

    /// Stands for the TURN listener.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Stands for the signalling listener.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it all goes in the end.
    pub fn lies_before(&self, udp: SocketAddr, tcp: SocketAddr) {
        self.daemon.set([udp, tcp]).expect("lies before one daemon already");
    }
}

/// Each client has a socket of its own towards the daemon.
async fn datagrams(socket: Arc<UdpSocket>, daemon: Arc<OnceLock<[SocketAddr; 2]>>, one_way: Duration) {
    let mut clients = HashMap::<SocketAddr, UnboundedSender<Late>>::new();
    let mut buffer = vec![0; 2_048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let Some(&[server, _]) = daemon.get() else { continue };
        let out = match clients.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(way(client, server, Arc::clone(&socket), one_way).await),
        };
        let _ = out.send((Instant::now() + one_way, buffer[..length].to_vec()));
    }
}

/// What goes to the daemon for this client; what comes back finds its way by itself.
async fn way(
    client: SocketAddr,
    server: SocketAddr,
    socket: Arc<UdpSocket>,
    one_way: Duration,
) -> UnboundedSender<Late> {
    let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    upstream.connect(server).await.unwrap();
    let ((out, late_out), (back, late_back)) = (unbounded_channel(), unbounded_channel());
    tokio::spawn(send_out(late_out, Arc::clone(&upstream)));
    tokio::spawn(send_back(late_back, socket, client));
    tokio::spawn(hear(upstream, back, one_way));
    out
}

async fn hear(upstream: Arc<UdpSocket>, back: UnboundedSender<Late>, one_way: Duration) {
    let mut buffer = vec![0; 2_048];
    loop {
        // A refused datagram is an error of the next receive; it is nobody's here.
        let Ok(length) = upstream.recv(&mut buffer).await else { continue };
        if back.send((Instant::now() + one_way, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

async fn send_out(mut late: UnboundedReceiver<Late>, upstream: Arc<UdpSocket>) {
    while let Some((at, bytes)) = late.recv().await {
        sleep_until(at).await;
        let _ = upstream.send(&bytes).await;
    }
}

async fn send_back(mut late: UnboundedReceiver<Late>, socket: Arc<UdpSocket>, client: SocketAddr) {
    while let Some((at, bytes)) = late.recv().await {
        sleep_until(at).await;
        let _ = socket.send_to(&bytes, client).await;
    }
}

async fn streams(listener: TcpListener, daemon: Arc<OnceLock<[SocketAddr; 2]>>, one_way: Duration) {
    while let Ok((client, _)) = listener.accept().await {
        let Some(&[_, server]) = daemon.get() else { continue };
        let Ok(server) = TcpStream::connect(server).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (split(client), split(server));
        carry(from_client, to_server, one_way);
        carry(from_server, to_client, one_way);
    }
}

fn carry(mut from: ReadHalf<TcpStream>, mut to: WriteHalf<TcpStream>, one_way: Duration) {
    let (sender, mut late) = unbounded_channel::<Late>();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 14];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + one_way, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((at, bytes)) = late.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
}

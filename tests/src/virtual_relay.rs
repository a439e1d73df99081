//! The TURN machine on a virtual network (webrtc-util's `vnet`): no socket of this machine, no thread, no root.

use relay::access::{self, Policy};
use relay::auth::{self, Authenticator, CallKeys};
use relay::time::{Millis, Now, Unix};
use relay::turn::{
    Action, FiveTuple, Forward, HEADROOM, Packet, RelayedAddress, Settings, Shared, TAILROOM, Transport, Turn,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinHandle;
use webrtc_util::Conn;
use webrtc_util::vnet::net::Net;

/// Whom the relay knows.
pub const USER: (&str, &str) = ("alice", "alice's long secret");
/// Longest datagram; virtual or not, it is Ethernet's.
const DATAGRAM: usize = 1500;

/// One worker's machine behind one virtual socket. It relays between its own allocations; a peer outside would need a socket.
struct VirtualRelay {
    turn: Turn,
    socket: Arc<dyn Conn + Send + Sync>,
    local: SocketAddr,
    began: Instant,
}

/// Serves at `at` until the task is aborted.
pub async fn serve(net: &Net, at: SocketAddr) -> JoinHandle<()> {
    let socket = net.bind(at).await.unwrap();
    let turn = Turn::new(shared(at), 0, [4; 32]);
    let relay = VirtualRelay { turn, socket, local: at, began: Instant::now() };
    tokio::spawn(relay.run())
}

fn shared(at: SocketAddr) -> Arc<Shared> {
    let users = vec![(USER.0.to_owned(), USER.1.to_owned())];
    let settings = auth::Settings { realm: "virtual".to_owned(), users, ..Default::default() };
    let authenticator = Authenticator::new(settings, Arc::new(CallKeys::new([1; 32])), [2; 32]);
    let address: IpAddr = at.ip();
    let policy = access::Settings { own_listeners: vec![at], own_addresses: vec![address], ..Default::default() };
    let settings = Settings { addresses: vec![RelayedAddress::same(address)], ..Default::default() };
    Shared::new(settings, authenticator, Policy::new(&policy), [3; 32])
}

impl VirtualRelay {
    async fn run(mut self) {
        let mut buffer = [0; HEADROOM + DATAGRAM + TAILROOM];
        while let Ok((length, remote)) = self.socket.recv_from(&mut buffer[HEADROOM..HEADROOM + DATAGRAM]).await {
            let now = self.now();
            let from = FiveTuple { listener: 0, transport: Transport::Udp, local: self.local, remote };
            let mut packet = Packet::new(&mut buffer, HEADROOM..HEADROOM + length);
            if let Forward::ToClient { to, data } = self.turn.handle_client(now, &from, &mut packet) {
                self.send(&buffer[data], to.remote).await;
            }
            self.turn.handle_timeout(now);
            while let Some(action) = self.turn.poll_action() {
                match action {
                    Action::Reply { to, bytes } => self.send(&bytes, to.remote).await,
                    Action::Open { port } => self.turn.handle_opened(now, port, Ok(())),
                    Action::Close { .. } | Action::Tcp(_) => {}
                }
            }
        }
    }

    async fn send(&self, bytes: &[u8], to: SocketAddr) {
        // A virtual network loses what it cannot deliver, as a real one does.
        let _ = self.socket.send_to(bytes, to).await;
    }

    fn now(&self) -> Now {
        let since = |duration: Duration| u64::try_from(duration.as_millis()).unwrap();
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        Now { mono: Millis(1_000 + since(self.began.elapsed())), unix: Unix(unix), micros: 0 }
    }
}

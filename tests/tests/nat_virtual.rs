//! The UDP part of the NAT matrix without root: callers behind the virtual NATs of webrtc-util, the `turn` crate's client in each,
//! and our TURN machine on the virtual internet between them.

use e2e::PATIENCE;
use e2e::virtual_relay::{USER, serve};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stun::agent::TransactionId;
use stun::message::{BINDING_REQUEST, Getter, Message};
use stun::xoraddr::XorMappedAddress;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;
use webrtc_util::vnet::nat::{EndpointDependencyType, NatType};
use webrtc_util::vnet::net::{Net, NetConfig};
use webrtc_util::vnet::router::{Nic, Router, RouterConfig};

const RELAY: &str = "203.0.113.1:3478";
/// Attempts at a direct path. Each is followed by a round trip through the relay, so that the network had time to deliver it.
const ATTEMPTS: u32 = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Open,
    Cone,
    PortRestricted,
    Symmetric,
    TwoLayers,
}
use Kind::{Cone, Open, PortRestricted, Symmetric, TwoLayers};

const KINDS: [Kind; 5] = [Open, Cone, PortRestricted, Symmetric, TwoLayers];

impl Kind {
    /// RFC 4787's two properties: what the mapping, and what the filter, depends on.
    fn nat(self) -> Option<NatType> {
        use EndpointDependencyType::{EndpointAddrPortDependent as PortDependent, EndpointIndependent as Independent};
        let (mapping_behavior, filtering_behavior) = match self {
            Open => return None,
            Cone => (Independent, Independent),
            PortRestricted | TwoLayers => (Independent, PortDependent),
            Symmetric => (PortDependent, PortDependent),
        };
        Some(NatType { mapping_behavior, filtering_behavior, ..NatType::default() })
    }

    /// Whether hole punching works: a mapping that depends on the destination is found only by a filter that does not care for ports.
    fn reaches(self, other: Kind) -> bool {
        let strict = |kind| matches!(kind, PortRestricted | Symmetric | TwoLayers);
        !(self == Symmetric && strict(other) || other == Symmetric && strict(self))
    }
}

/// The virtual internet. It is built first and started then.
struct Internet {
    wan: Arc<Mutex<Router>>,
}

impl Internet {
    fn new() -> Internet {
        let wan = RouterConfig { cidr: "203.0.113.0/24".to_owned(), ..RouterConfig::default() };
        Internet { wan: Arc::new(Mutex::new(Router::new(wan).unwrap())) }
    }

    async fn host(&self, on: &Arc<Mutex<Router>>, address: &str) -> Arc<Net> {
        let net = Net::new(Some(NetConfig { static_ips: vec![address.to_owned()], ..NetConfig::default() }));
        let nic = net.get_nic().unwrap();
        on.lock().await.add_net(Arc::clone(&nic)).await.unwrap();
        nic.lock().await.set_router(Arc::clone(on)).await.unwrap();
        Arc::new(net)
    }

    /// A router whose outer address lies in `parent`.
    async fn nat(&self, parent: &Arc<Mutex<Router>>, outer: &str, inner: &str, nat: NatType) -> Arc<Mutex<Router>> {
        let config = RouterConfig {
            cidr: inner.to_owned(),
            static_ips: vec![outer.to_owned()],
            nat_type: Some(nat),
            ..RouterConfig::default()
        };
        let router = Arc::new(Mutex::new(Router::new(config).unwrap()));
        parent.lock().await.add_router(Arc::clone(&router)).await.unwrap();
        router.lock().await.set_router(Arc::clone(parent)).await.unwrap();
        router
    }

    /// A caller in a network of this kind; `number` makes its addresses its own.
    async fn caller(&self, kind: Kind, number: u8) -> Caller {
        let (wan, outer) = (Arc::clone(&self.wan), format!("203.0.113.{number}"));
        let net = match kind.nat() {
            None => self.host(&wan, &outer).await,
            Some(nat) => {
                let mut router = self.nat(&wan, &outer, "10.0.0.0/24", nat).await;
                if kind == TwoLayers {
                    router = self.nat(&router, "10.0.0.9", "192.168.0.0/24", nat).await;
                }
                let address = if kind == TwoLayers { "192.168.0.5" } else { "10.0.0.5" };
                self.host(&router, address).await
            }
        };
        Caller { net }
    }
}

struct Caller {
    net: Arc<Net>,
}

impl Caller {
    async fn socket(&self) -> Arc<dyn Conn + Send + Sync> {
        self.net.bind("0.0.0.0:0".parse().unwrap()).await.unwrap()
    }

    async fn client(&self) -> Client {
        let client = Client::new(ClientConfig {
            stun_serv_addr: RELAY.to_owned(),
            turn_serv_addr: RELAY.to_owned(),
            username: USER.0.to_owned(),
            password: USER.1.to_owned(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: self.socket().await,
            vnet: Some(Arc::clone(&self.net)),
        });
        let client = client.await.unwrap();
        client.listen().await.unwrap();
        client
    }
}

#[tokio::test]
async fn every_pair_of_virtual_networks_is_relayed_and_goes_direct_where_nats_let_it() {
    let internet = Internet::new();
    let relay = internet.host(&internet.wan, "203.0.113.1").await;
    let mut callers = Vec::new();
    for (kind, number) in KINDS.into_iter().zip((10..).step_by(2)) {
        callers.push((kind, internet.caller(kind, number).await, internet.caller(kind, number + 1).await));
    }
    internet.wan.lock().await.start().await.unwrap();
    let serving = serve(&relay, RELAY.parse().unwrap()).await;

    let (mut table, mut wrong) = (String::new(), Vec::new());
    for (place, (kind, one, _)) in callers.iter().enumerate() {
        for (other_kind, _, other) in &callers[place..] {
            let direct = meet(one, other, kind.reaches(*other_kind)).await;
            let path = if direct { "direct" } else { "relayed" };
            writeln!(table, "  {:14} – {:14}  {path}", format!("{kind:?}"), format!("{other_kind:?}")).unwrap();
            if direct != kind.reaches(*other_kind) {
                wrong.push((kind, other_kind, path));
            }
        }
    }
    let title = "virtual networks, UDP: both ways through the relay for every pair; and beside it";
    e2e::report("nat-virtual-matrix.txt", &format!("\n{title}\n{table}"));
    assert!(wrong.is_empty(), "{wrong:?}");
    serving.abort();
    internet.wan.lock().await.stop().await.unwrap();
}

/// A call both ways through the relay, which must work; and, beside it, hole punching: whether that worked.
async fn meet(one: &Caller, other: &Caller, expected: bool) -> bool {
    let clients = [one.client().await, other.client().await];
    let legs = [clients[0].allocate().await.unwrap(), clients[1].allocate().await.unwrap()];
    let punchers = [Puncher::new(one).await, Puncher::new(other).await];
    let start = std::time::Instant::now();
    let (mut attempt, mut direct) = (0, false);
    // The relay's permissions come first: each side's first packet installs its own.
    legs[1].send_to(b"permission", legs[0].local_addr().unwrap()).await.unwrap();
    while attempt < ATTEMPTS || (expected && !direct && start.elapsed() < PATIENCE) {
        punchers[0].punch(punchers[1].mapped).await;
        punchers[1].punch(punchers[0].mapped).await;
        for (from, to) in [(&legs[0], &legs[1]), (&legs[1], &legs[0])] {
            let voice = format!("voice {attempt}");
            from.send_to(voice.as_bytes(), to.local_addr().unwrap()).await.unwrap();
            hears(to, voice.as_bytes(), from.local_addr().unwrap()).await;
        }
        direct = punchers.iter().any(Puncher::was_answered);
        attempt += 1;
    }
    for client in clients {
        client.close().await.unwrap();
    }
    direct
}

/// Waits for this packet from this relayed address.
async fn hears(leg: &impl Conn, voice: &[u8], sender: SocketAddr) {
    let mut buffer = [0; 1500];
    loop {
        let packet = tokio::time::timeout(PATIENCE, leg.recv_from(&mut buffer)).await;
        let (length, from) = packet.expect("a packet through the relay").unwrap();
        assert_eq!(from, sender, "a relayed packet comes from the partner's relayed address");
        if &buffer[..length] == voice {
            return;
        }
    }
}

/// A socket that knows its address outside the NAT, answers whoever gets through to it, and notes whether it was answered.
struct Puncher {
    socket: Arc<dyn Conn + Send + Sync>,
    mapped: SocketAddr,
    answered: Arc<AtomicBool>,
    listening: JoinHandle<()>,
}

impl Puncher {
    async fn new(caller: &Caller) -> Puncher {
        let socket = caller.socket().await;
        let mapped = mapped_address(&*socket).await;
        let answered = Arc::new(AtomicBool::new(false));
        let listening = tokio::spawn(answer(Arc::clone(&socket), Arc::clone(&answered)));
        Puncher { socket, mapped, answered, listening }
    }

    async fn punch(&self, to: SocketAddr) {
        // What a NAT refuses is lost without a word, here as anywhere.
        let _ = self.socket.send_to(b"punch", to).await;
    }

    /// Whether there is a way there and back.
    fn was_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Puncher {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn answer(socket: Arc<dyn Conn + Send + Sync>, answered: Arc<AtomicBool>) {
    let mut buffer = [0; 64];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if &buffer[..length] == b"punch" {
            let _ = socket.send_to(b"heard", from).await;
        } else {
            answered.store(true, Ordering::Relaxed);
        }
    }
}

/// Asks the relay: an unauthenticated Binding (RFC 8489).
async fn mapped_address(socket: &(dyn Conn + Send + Sync)) -> SocketAddr {
    let mut request = Message::new();
    request.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)]).unwrap();
    socket.send_to(&request.raw, RELAY.parse().unwrap()).await.unwrap();
    let mut buffer = [0; 1500];
    let (length, _) = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer)).await.expect("an answer").unwrap();
    let mut answer = Message::new();
    answer.unmarshal_binary(&buffer[..length]).unwrap();
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&answer).unwrap();
    SocketAddr::new(mapped.ip, mapped.port)
}

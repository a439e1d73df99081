//! A signalling and TURN server of a page each, for testing the load generator without the relay: first come, first
//! matched, and as wrong as a test wants it.
#![allow(clippy::unwrap_used)]

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{SinkExt, StreamExt};
use loadgen::peer::stun::{Builder, Class, Method, View, attribute, long_term_key, parse_channel_data};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{mpsc::UnboundedSender, mpsc::unbounded_channel, oneshot},
    task::{LocalSet, spawn_local},
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

/// What the server does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Refuses every token.
    pub(crate) refuse: bool,
    /// Carries the checks but no media.
    pub(crate) deaf: bool,
    /// Changes one byte of each hundredth packet.
    pub(crate) corrupt: bool,
    /// Gives each hundredth packet to somebody else as well.
    pub(crate) cross: bool,
    /// Does not carry each fiftieth packet.
    pub(crate) lossy: bool,
    /// Tells both sides to offer.
    pub(crate) two_offerers: bool,
    /// Tells everybody that the partner's level is another.
    pub(crate) wrong_level: bool,
    /// Tells everybody of a second call while they are in the first.
    pub(crate) twice: bool,
    /// Tells only one side of a call.
    pub(crate) lonely: bool,
}

pub(crate) struct SmallServer {
    pub(crate) url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl SmallServer {
    pub(crate) fn start(faults: Faults) -> SmallServer {
        let (ready, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let turn = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let desk = Rc::new(RefCell::new(Desk { turn: turn.local_addr().unwrap(), faults, ..Desk::default() }));
                ready.send(listener.local_addr().unwrap()).unwrap();
                spawn_local(relay(turn, faults));
                spawn_local(async move {
                    for number in 1.. {
                        let (stream, _) = listener.accept().await.unwrap();
                        spawn_local(serve(stream, number, desk.clone()));
                    }
                });
                let _ = stopped.await;
            });
        });
        let address: SocketAddr = address.recv().unwrap();
        SmallServer { url: format!("ws://{address}/v1/ws"), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for SmallServer {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let _ = self.thread.take().unwrap().join();
    }
}

struct Desk {
    turn: SocketAddr,
    faults: Faults,
    people: HashMap<u64, Person>,
    waiting: Option<u64>,
}

impl Default for Desk {
    fn default() -> Desk {
        let turn = SocketAddr::from(([127, 0, 0, 1], 0));
        Desk { turn, faults: Faults::default(), people: HashMap::new(), waiting: None }
    }
}

struct Person {
    out: UnboundedSender<Value>,
    level: String,
    topics: Vec<u64>,
    partner: Option<u64>,
}

// The signature is the library's.
#[allow(clippy::result_large_err)]
async fn serve(stream: TcpStream, number: u64, desk: Rc<RefCell<Desk>>) {
    stream.set_nodelay(true).unwrap();
    let agree = |_: &Request, mut response: Response| {
        response.headers_mut().insert("Sec-WebSocket-Protocol", "pair.v1".parse().unwrap());
        Ok(response)
    };
    let Ok(socket) = accept_hdr_async(stream, agree).await else { return };
    let (mut sink, mut source) = socket.split();
    let (out, mut frames) = unbounded_channel::<Value>();
    spawn_local(async move {
        while let Some(frame) = frames.recv().await {
            if sink.send(Message::text(frame.to_string())).await.is_err() {
                return;
            }
        }
    });
    let person = Person { out, level: String::new(), topics: Vec::new(), partner: None };
    desk.borrow_mut().people.insert(number, person);
    while let Some(Ok(message)) = source.next().await {
        if let Message::Text(text) = message {
            desk.borrow_mut().handle(number, &serde_json::from_str(&text).unwrap());
        }
    }
    let mut desk = desk.borrow_mut();
    desk.waiting = desk.waiting.filter(|waiting| *waiting != number);
    desk.people.remove(&number);
}

impl Desk {
    fn handle(&mut self, from: u64, frame: &Value) {
        let kind = frame["t"].as_str().unwrap();
        let partner = self.people[&from].partner;
        match (kind, partner) {
            ("hello", _) if self.faults.refuse => {
                self.tell(from, json!({"t": "error", "q": 1, "code": "E_TOKEN", "msg": "", "fatal": true}));
            }
            ("hello", _) => {
                let claims = frame["token"].as_str().unwrap().split('.').nth(1).unwrap();
                let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
                self.people.get_mut(&from).unwrap().level = claims["lvl"].as_str().unwrap().to_owned();
                let topics: Vec<String> = (0..8).map(|topic| topic.to_string()).collect();
                let ice = self.ice(from);
                self.tell(from, json!({"t": "welcome", "policy": {"text": true}, "topics": topics, "ice": ice}));
            }
            ("queue", _) => self.queue(from, frame),
            ("leave", _) if self.waiting == Some(from) => {
                self.waiting = None;
                self.tell(from, json!({"t": "left"}));
            }
            // `matched` is on its way to who thinks it still waits, and comes first.
            ("leave", _) => self.tell(from, json!({"t": "left"})),
            ("offer" | "answer" | "cand" | "text", Some(partner)) => self.tell(partner, frame.clone()),
            ("ice", Some(partner)) => {
                let connected = json!({"t": "connected", "call": frame["call"], "setup_ms": 1});
                self.tell(partner, connected);
            }
            ("hangup", Some(partner)) => {
                for (who, by) in [(from, "self"), (partner, "peer")] {
                    self.tell(who, json!({"t": "ended", "call": frame["call"], "by": by, "why": "hangup"}));
                }
            }
            _ => {}
        }
    }

    fn queue(&mut self, from: u64, frame: &Value) {
        let topics = frame["topics"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        self.people.get_mut(&from).unwrap().topics = topics;
        let ice = self.ice(from);
        self.tell(from, json!({"t": "queued", "ice": ice}));
        let Some(waiter) = self.waiting.take() else {
            self.waiting = Some(from);
            return;
        };
        for (who, other, role) in [(waiter, from, "offerer"), (from, waiter, "answerer")] {
            if self.faults.lonely && who == from {
                continue;
            }
            let role = if self.faults.two_offerers { "offerer" } else { role };
            let (own, partner) = (&self.people[&who], &self.people[&other]);
            let common: Vec<u64> = own.topics.iter().copied().filter(|topic| partner.topics.contains(topic)).collect();
            let frame = json!({"t": "matched", "call": format!("call-{waiter}"), "role": role, "gen": 1,
                "peer": {"lvl": if self.faults.wrong_level { "C2" } else { partner.level.as_str() }, "topics": common}, "ice": self.ice(who)});
            self.people.get_mut(&who).unwrap().partner = Some(other);
            if self.faults.twice {
                self.tell(who, frame.clone());
            }
            self.tell(who, frame);
        }
    }

    fn ice(&self, number: u64) -> Value {
        let url = format!("turn:{}?transport=udp", self.turn);
        json!({"servers": [{"urls": [url], "username": number.to_string(), "credential": "p"}]})
    }

    fn tell(&self, who: u64, frame: Value) {
        if let Some(person) = self.people.get(&who) {
            let _ = person.out.send(frame);
        }
    }
}

/// A hairpin: the relayed address of user `n` is 127.0.0.1 at port `n`.
async fn relay(socket: UdpSocket, faults: Faults) {
    let (mut by_port, mut partner_of): (HashMap<u16, SocketAddr>, HashMap<SocketAddr, u16>) = Default::default();
    let carried = Arc::new(AtomicU64::new(0));
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let packet = &mut buffer[..length];
        if let Some((_, data)) = parse_channel_data(packet) {
            let media = data.first().is_some_and(|first| first >> 6 == 2);
            let count = if media { carried.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
            let lost = (media && faults.deaf) || (media && faults.lossy && count % 50 == 0);
            if media && faults.corrupt && count % 100 == 0 {
                packet[100] ^= 1;
            }
            let to = partner_of.get(&from).and_then(|port| by_port.get(port));
            if let Some(to) = to.filter(|_| !lost) {
                let _ = socket.send_to(packet, to).await;
            }
            if media && faults.cross && count % 100 == 50 {
                for stranger in by_port.values().filter(|address| Some(*address) != to && **address != from).take(1) {
                    let _ = socket.send_to(packet, stranger).await;
                }
            }
            continue;
        }
        let Some(request) = View::parse(packet) else { continue };
        let methods = [Method::Allocate, Method::Refresh, Method::CreatePermission, Method::ChannelBind];
        let Some(method) = methods.into_iter().find(|method| *method as u16 == request.method()) else { continue };
        let reply = match request.get(attribute::USERNAME) {
            None => Builder::new(Class::Error, method, request.transaction())
                .attribute(attribute::ERROR_CODE, &[0, 0, 4, 1])
                .attribute(attribute::REALM, b"r")
                .attribute(attribute::NONCE, b"n"),
            Some(user) => {
                let user = std::str::from_utf8(user).unwrap();
                let port: u16 = user.parse().unwrap();
                match method {
                    Method::Refresh => _ = by_port.remove(&port),
                    Method::ChannelBind => {
                        let peer = request.address(attribute::XOR_PEER_ADDRESS).unwrap();
                        partner_of.insert(from, peer.port());
                    }
                    _ => _ = by_port.insert(port, from),
                }
                Builder::new(Class::Success, method, request.transaction())
                    .address(attribute::XOR_RELAYED_ADDRESS, SocketAddr::from(([127, 0, 0, 1], port)))
                    .attribute(attribute::LIFETIME, &600u32.to_be_bytes())
                    .integrity(&long_term_key(user, "r", "p"))
            }
        };
        let _ = socket.send_to(&reply.finish(), from).await;
    }
}

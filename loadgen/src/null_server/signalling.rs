//! Signalling that pairs whoever asks with whoever asked before, and hands on what they say to each other unread.

use std::{cell::RefCell, collections::HashMap, net::SocketAddr, rc::Rc};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::{LocalSet, spawn_local},
};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::server::{ErrorResponse, Request, Response},
        http::HeaderValue,
        protocol::WebSocketConfig,
    },
};

use super::PASSWORD;

const BUFFER: usize = 2 << 10;

/// Every caller is of this level; the calibration's scenario says so.
const LEVEL: &str = "B1";

struct Desk {
    turn: SocketAddr,
    people: HashMap<u64, Person>,
    waiting: Option<u64>,
    calls: u64,
}

struct Person {
    /// Bounded by what one caller of loadgen is sent: a dozen frames.
    out: UnboundedSender<Utf8Bytes>,
    partner: Option<u64>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    t: &'a str,
}

pub(super) fn serve(listener: std::net::TcpListener, turn: SocketAddr) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    LocalSet::new().block_on(&runtime, async move {
        let listener = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
        let Ok(listener) = listener else { return };
        let desk = Rc::new(RefCell::new(Desk { turn, people: HashMap::new(), waiting: None, calls: 0 }));
        let mut number = 0;
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            number += 1;
            spawn_local(attend(stream, number, desk.clone()));
        }
    });
}

// The signature is the library's.
#[allow(clippy::result_large_err)]
fn agree(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("pair.v1"));
    Ok(response)
}

async fn attend(stream: TcpStream, number: u64, desk: Rc<RefCell<Desk>>) {
    let _ = stream.set_nodelay(true);
    let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0);
    let Ok(socket) = accept_hdr_async_with_config(stream, agree, Some(config)).await else { return };
    let (mut sink, mut source) = socket.split();
    let (out, mut frames) = unbounded_channel::<Utf8Bytes>();
    spawn_local(async move {
        while let Some(frame) = frames.recv().await {
            if sink.feed(Message::Text(frame)).await.is_err() || (frames.is_empty() && sink.flush().await.is_err()) {
                return;
            }
        }
    });
    desk.borrow_mut().people.insert(number, Person { out, partner: None });
    while let Some(Ok(message)) = source.next().await {
        if let Message::Text(text) = message {
            desk.borrow_mut().handle(number, &text);
        }
    }
    let mut desk = desk.borrow_mut();
    desk.waiting = desk.waiting.filter(|waiting| *waiting != number);
    desk.people.remove(&number);
}

impl Desk {
    fn handle(&mut self, from: u64, text: &Utf8Bytes) {
        let Ok(Frame { t: kind }) = serde_json::from_str(text) else { return };
        let partner = self.people.get(&from).and_then(|person| person.partner);
        match (kind, partner) {
            ("hello", _) => {
                let ice = self.ice();
                self.tell(
                    from,
                    json!({"t": "welcome", "policy": {"text": true}, "topics": [], "ice": ice}).to_string(),
                );
            }
            ("queue", _) => self.queue(from),
            ("leave", None) => {
                self.waiting = self.waiting.filter(|waiting| *waiting != from);
                self.tell(from, json!({"t": "left"}).to_string());
            }
            ("offer" | "answer" | "cand" | "text", Some(partner)) => self.pass(partner, text.clone()),
            ("hangup", Some(partner)) => {
                for (who, by) in [(from, "self"), (partner, "peer")] {
                    let call = self.call_of(from, partner);
                    self.tell(who, json!({"t": "ended", "call": call, "by": by, "why": "hangup"}).to_string());
                }
            }
            _ => {}
        }
    }

    fn queue(&mut self, from: u64) {
        let ice = self.ice();
        self.tell(from, json!({"t": "queued", "ice": ice}).to_string());
        let Some(waiter) = self.waiting.take() else {
            self.waiting = Some(from);
            return;
        };
        self.calls += 1;
        for (who, other, role) in [(waiter, from, "offerer"), (from, waiter, "answerer")] {
            if let Some(person) = self.people.get_mut(&who) {
                person.partner = Some(other);
            }
            let call = self.call_of(from, waiter);
            let matched = json!({"t": "matched", "call": call, "role": role, "gen": 1,
                "peer": {"lvl": LEVEL, "topics": []}, "ice": self.ice()});
            self.tell(who, matched.to_string());
        }
    }

    /// A caller of loadgen makes one call, so its number and its partner's name it.
    fn call_of(&self, a: u64, b: u64) -> String {
        format!("{}-{}", a.min(b), a.max(b))
    }

    fn ice(&self) -> serde_json::Value {
        let url = format!("turn:{}?transport=udp", self.turn);
        json!({"servers": [{"urls": [url], "username": "u", "credential": PASSWORD}]})
    }

    fn tell(&self, who: u64, frame: String) {
        self.pass(who, frame.into());
    }

    fn pass(&self, who: u64, frame: Utf8Bytes) {
        if let Some(person) = self.people.get(&who) {
            let _ = person.out.send(frame);
        }
    }
}

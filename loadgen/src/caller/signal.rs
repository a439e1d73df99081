//! The part of pair.v1 a caller speaks (matching.md §4.3): frames read strictly enough to notice a server that errs.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize, de};
use serde_json::json;

use crate::{
    caller::Terms,
    peer::{turn::Credential, ways::Way},
    population::{Criteria, GENDERS, LEVELS},
    scenario::Transport,
};

/// A frame from the server. Frames of no interest to a light caller read as [`Frame::Other`].
#[derive(Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Frame {
    Welcome {
        #[serde(default)]
        topics: Vec<String>,
        policy: Policy,
        ice: Option<Ice>,
        sid: Option<String>,
        key: Option<String>,
        /// Where an earlier session stands that is had again; what was missed follows.
        resumed: Option<de::IgnoredAny>,
    },
    Queued {
        ice: Option<Ice>,
    },
    /// Out of the queue, as asked.
    Left,
    Matched {
        call: String,
        role: Role,
        #[serde(rename = "gen")]
        generation: u32,
        peer: Partner,
        ice: Option<Ice>,
        offer: Option<Description>,
        /// `ice` is of another relay than the one this caller has a place on.
        #[serde(default)]
        moved: bool,
    },
    Offer(Described),
    Answer(Described),
    Cand {
        call: String,
        c: Option<String>,
    },
    Text {
        call: String,
        b: String,
    },
    Ended {
        call: String,
        why: String,
        #[serde(default)]
        requeued: bool,
    },
    Error {
        q: Option<u64>,
        code: String,
        #[serde(default)]
        fatal: bool,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub struct Policy {
    #[serde(default)]
    pub text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Offerer,
    Answerer,
}

#[derive(Deserialize)]
pub struct Partner {
    pub lvl: String,
    #[serde(default)]
    pub topics: Vec<u8>,
}

#[derive(Deserialize)]
pub struct Description {
    pub sdp: String,
}

#[derive(Deserialize)]
pub struct Described {
    pub call: String,
    pub sdp: String,
}

#[derive(Deserialize)]
pub struct Ice {
    servers: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    urls: Vec<String>,
    username: String,
    credential: String,
}

impl Ice {
    /// The ways to a TURN server, in the order in which a caller of these terms tries them.
    pub fn ways(self, terms: &Terms) -> Vec<Way> {
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
        let tried = if terms.falls_back { &all[..] } else { std::slice::from_ref(&terms.transport) };
        let way = |transport: &Transport| {
            let (server, credential) = self.turn(*transport, terms.turn)?;
            Some(Way { transport: *transport, server, credential })
        };
        tried.iter().filter_map(way).collect()
    }

    /// The first TURN server over `transport` that is named by address, and the credential for it.
    pub fn turn(&self, transport: Transport, instead: Option<SocketAddr>) -> Option<(SocketAddr, Credential)> {
        self.servers.iter().find_map(|server| {
            let address = instead.or_else(|| server.urls.iter().find_map(|url| turn_address(url, transport)))?;
            Some((address, Credential { username: server.username.clone(), password: server.credential.clone() }))
        })
    }
}

/// `turn:127.0.0.1:3478?transport=udp` (RFC 7065); names are not resolved here.
fn turn_address(url: &str, wanted: Transport) -> Option<SocketAddr> {
    let (scheme, rest) = url.split_once(':')?;
    let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (transport, port) = match (scheme, query) {
        ("turn", "" | "transport=udp") => (Transport::Udp, 3478),
        ("turn", "transport=tcp") => (Transport::Tcp, 3478),
        ("turns", "" | "transport=tcp") => (Transport::Tls, 5349),
        _ => return None,
    };
    let address = host.parse().ok().or_else(|| Some(SocketAddr::new(host.parse().ok()?, port)));
    address.filter(|_| transport == wanted)
}

/// Request numbers, by which an error names what it answers.
pub const HELLO: u64 = 1;
pub const QUEUE: u64 = 2;

pub fn hello(token: &str) -> String {
    json!({ "t": "hello", "q": HELLO, "v": [1], "token": token, "sdk": "loadgen" }).to_string()
}

/// The same of a session whose connection broke: its name, its key and the number of the last frame that arrived.
pub fn hello_again(sid: &str, key: &str, last: u64) -> String {
    json!({ "t": "hello", "q": HELLO, "v": [1], "resume": { "sid": sid, "key": key, "n": last } }).to_string()
}

pub fn queue(criteria: &Criteria) -> String {
    let topics: Vec<u8> = (0..64).filter(|topic| criteria.topics >> topic & 1 == 1).collect();
    let gender: Vec<&str> = (0..3).filter(|g| criteria.wants >> g & 1 == 1).map(|g| GENDERS[g]).collect();
    let mode = if criteria.require_topic { "require" } else { "prefer" };
    json!({ "t": "queue", "q": QUEUE, "topics": topics, "gender": gender, "max_dist": criteria.max_distance, "topic_mode": mode })
        .to_string()
}

pub fn leave() -> String {
    json!({ "t": "leave" }).to_string()
}

/// A frame of type `kind` that names only the call: `ack`, `hangup`.
pub fn of_call(kind: &str, call: &str) -> String {
    json!({ "t": kind, "call": call }).to_string()
}

/// `offer` or `answer`.
pub fn description(kind: &str, call: &str, generation: u32, sdp: &str) -> String {
    json!({ "t": kind, "call": call, "gen": generation, "sdp": sdp }).to_string()
}

/// A candidate, or the end of them.
pub fn candidate(call: &str, generation: u32, line: Option<&str>) -> String {
    json!({ "t": "cand", "call": call, "gen": generation, "c": line, "mid": "0" }).to_string()
}

pub fn ice_connected(call: &str) -> String {
    json!({ "t": "ice", "call": call, "s": "connected" }).to_string()
}

/// In-call text that carries its own time of sending, nanoseconds on the run's clock.
pub fn text(call: &str, sent: u64) -> String {
    json!({ "t": "text", "call": call, "k": 1, "b": sent.to_string() }).to_string()
}

/// The number of a level as the protocol spells it.
pub fn level(word: &str) -> Option<u8> {
    LEVELS.iter().position(|level| *level == word).map(|index| index as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn turn_urls_by_address_over_udp_are_taken() {
        let address = |url: &str| turn_address(url, Transport::Udp).map(|a| a.to_string());
        let stream = |url: &str, transport| turn_address(url, transport).map(|a| a.port());
        assert_eq!(stream("turn:127.0.0.1:4000?transport=tcp", Transport::Tcp), Some(4000));
        assert_eq!(stream("turns:127.0.0.1", Transport::Tls), Some(5349));
        assert_eq!(address("turn:127.0.0.1:4000?transport=udp").as_deref(), Some("127.0.0.1:4000"));
        assert_eq!(address("turn:127.0.0.1").as_deref(), Some("127.0.0.1:3478"));
        assert_eq!(address("turn:[::1]:4000").as_deref(), Some("[::1]:4000"));
        for other in ["turn:127.0.0.1:4000?transport=tcp", "turns:127.0.0.1:4000", "turn:relay.example:3478"] {
            assert_eq!(address(other), None, "{other}");
        }
    }

    #[test]
    fn a_matched_frame_is_read_and_unknown_ones_are_ignored() {
        let frame = r#"{"t":"matched","call":"c4","role":"offerer","polite":false,"gen":1,
            "peer":{"card":{"n":"Linh"},"lvl":"B1","topics":[17]},"deadline_ms":10000,
            "ice":{"servers":[{"urls":["turn:127.0.0.1:1?transport=udp"],"username":"u","credential":"c"}],"policy":"relay"}}"#;
        let Frame::Matched { call, role, peer, ice, .. } = serde_json::from_str(frame).unwrap() else { panic!() };
        assert_eq!((call.as_str(), role, level(&peer.lvl)), ("c4", Role::Offerer, Some(2)));
        assert_eq!(ice.unwrap().turn(Transport::Udp, None).unwrap().0.port(), 1);
        assert!(matches!(serde_json::from_str(r#"{"t":"position","ahead":3}"#).unwrap(), Frame::Other));
    }

    #[test]
    fn a_queue_frame_says_what_the_caller_wants() {
        let criteria = Criteria {
            band: 2,
            gender: 0,
            wants: 0b101,
            level: 2,
            max_distance: 1,
            topics: 0b1001,
            require_topic: true,
            blocks: Vec::new(),
        };
        let frame: serde_json::Value = serde_json::from_str(&queue(&criteria)).unwrap();
        assert_eq!(frame["topics"], json!([0, 3]));
        assert_eq!(frame["gender"], json!(["f", "x"]));
        assert_eq!((&frame["max_dist"], &frame["topic_mode"]), (&json!(1), &json!("require")));
    }
}

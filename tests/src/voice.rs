//! A person without a browser: pair.v1 by hand, a place on the relay by the raw client, and media that is RTP by its looks.

use crate::raw::message::Login;
use crate::raw::{Client, Link};
use crate::{Caller, Claims, Daemon};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub const OFFER: &str = include_str!("../../relay/src/signalling/vectors/sdp/chromium-156-offer.sdp");
pub const ANSWER: &str = include_str!("../../relay/src/signalling/vectors/sdp/firefox-153-answer.sdp");
/// The channel each side binds to the other.
pub const CHANNEL: u16 = 0x4000;

pub struct Voice {
    pub caller: Caller,
    pub turn: Client,
    pub relayed: SocketAddr,
    pub welcome: Value,
}

/// The ways to a daemon.
#[derive(Clone, Copy)]
pub struct Ways {
    pub signalling: SocketAddr,
    pub turn: SocketAddr,
    /// Where the client's own datagrams come from.
    pub source: IpAddr,
}

impl Ways {
    pub fn straight(daemon: &Daemon) -> Ways {
        Ways { signalling: daemon.signalling(), turn: daemon.turn(), source: Ipv4Addr::LOCALHOST.into() }
    }
}

impl Voice {
    /// Welcome, and with a place on the relay before there is a partner.
    pub async fn enter(daemon: &Daemon, name: &str) -> Voice {
        Voice::enter_by(Ways::straight(daemon), &Claims::adult(name)).await
    }

    pub async fn enter_by(ways: Ways, claims: &Claims) -> Voice {
        let mut caller = Caller::open_at(ways.signalling, None).await.unwrap();
        caller.request(json!({ "t": "hello", "v": [1], "token": claims.token() })).await;
        let welcome = caller.expect("welcome").await;
        let mut turn = Client::over(Link::udp_from(ways.source, ways.turn), login(&welcome));
        turn.fetch_challenge();
        let relayed = turn.allocate(1);
        Voice { caller, turn, relayed, welcome }
    }

    /// The offer lies in the ticket.
    pub async fn queue(&mut self) {
        self.caller.request(json!({ "t": "queue", "offer": { "gen": 1, "sdp": OFFER } })).await;
        self.caller.expect("queued").await;
    }

    /// One packet of media.
    pub fn speak(&mut self, number: u16) {
        self.turn.send_on(CHANNEL, &rtp(number));
    }
}

/// The two meet and can hear each other; the call. The first one waits, the second one comes.
pub async fn talk(one: &mut Voice, other: &mut Voice) -> String {
    one.queue().await;
    other.queue().await;
    let matched = other.caller.matched().await;
    let call = matched["call"].as_str().unwrap().to_owned();
    assert_eq!(one.caller.matched().await["call"], *call);
    assert_eq!(relay_candidate(&matched["offer"]), one.relayed);
    other.caller.send(json!({ "t": "answer", "call": call, "gen": 1, "sdp": ANSWER })).await;
    assert_eq!(relay_candidate(&one.caller.expect("answer").await), other.relayed);
    assert_eq!((one.turn.bind(CHANNEL, other.relayed), other.turn.bind(CHANNEL, one.relayed)), (0, 0));
    for voice in [&mut *one, &mut *other] {
        voice.caller.send(json!({ "t": "ice", "call": call, "s": "connected" })).await;
    }
    one.caller.expect("connected").await;
    other.caller.expect("connected").await;
    call
}

/// Of a frame with `ice`.
pub fn login(frame: &Value) -> Login {
    let server = &frame["ice"]["servers"][0];
    Login::new(server["username"].as_str().unwrap(), server["credential"].as_str().unwrap())
}

/// What the server itself wrote into a description.
pub fn relay_candidate(description: &Value) -> SocketAddr {
    let sdp = description["sdp"].as_str().unwrap_or_else(|| panic!("no description: {description}"));
    let line = sdp.lines().find(|line| line.starts_with("a=candidate:")).expect("a candidate of the warm relay");
    let fields: Vec<&str> = line.split(' ').collect();
    SocketAddr::new(fields[4].parse().unwrap(), fields[5].parse().unwrap())
}

/// Opus in 20 ms frames, as far as anybody without the keys can see.
pub fn rtp(number: u16) -> Vec<u8> {
    let mut packet = vec![0x5A; 92];
    packet[..2].copy_from_slice(&[0x80, 111]);
    packet[2..4].copy_from_slice(&number.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(number) * 960).to_be_bytes());
    packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
    packet
}

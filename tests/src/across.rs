//! Calls between people of several nodes: who is sent to another relay goes there.

use crate::raw::{Client, Link};
use crate::voice::{ANSWER, CHANNEL, OFFER, Voice, login, relay_candidate};
use crate::{Daemon, eventually, http};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A call that stands.
pub struct Call {
    pub id: String,
    /// Where both sides' places on the relay are asked for.
    pub relay: SocketAddr,
}

/// Until each of them matches with all.
pub fn match_together(nodes: &[&Daemon]) {
    for node in nodes {
        let wanted = format!("\nrelay_cluster_matching_nodes {}\n", nodes.len());
        eventually("nodes that match together", || {
            http::get(node.admin(), "/metrics").body.contains(&wanted).then_some(())
        });
    }
}

/// Waits to be matched, and goes to the relay that the call is on.
pub async fn matched(voice: &mut Voice) -> Value {
    let matched = voice.caller.matched().await;
    if matched["moved"] == true {
        let source: IpAddr = Ipv4Addr::LOCALHOST.into();
        voice.turn = Client::over(Link::udp_from(source, relay(&matched)), login(&matched));
        voice.turn.fetch_challenge();
        voice.relayed = voice.turn.allocate(1);
    }
    matched
}

/// Until every node knows who waits: who comes a moment later elsewhere may else be taken for the one who waited.
pub async fn is_known_to_wait() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// The first one waits, the second one comes; they can hear each other.
pub async fn talk(one: &mut Voice, other: &mut Voice) -> Call {
    one.queue().await;
    is_known_to_wait().await;
    other.queue().await;
    connect(one, other).await
}

/// What follows for two who wait.
pub async fn connect(one: &mut Voice, other: &mut Voice) -> Call {
    let (of_one, of_other) = (matched(one).await, matched(other).await);
    assert_eq!(of_one["call"], of_other["call"]);
    let (id, relay) = (of_one["call"].as_str().unwrap().to_owned(), relay(&of_one));
    assert_eq!(relay, self::relay(&of_other), "one relay for both");
    let (offerer, answerer, offer) = match of_one["role"].as_str() {
        Some("offerer") => (&mut *one, &mut *other, of_other["offer"].clone()),
        _ => (&mut *other, &mut *one, of_one["offer"].clone()),
    };
    let offer = if offer.is_null() {
        offerer.caller.send(json!({ "t": "offer", "call": id, "gen": 1, "sdp": OFFER })).await;
        answerer.caller.expect("offer").await
    } else {
        offer
    };
    assert_eq!(relay_candidate(&offer), offerer.relayed);
    answerer.caller.send(json!({ "t": "answer", "call": id, "gen": 1, "sdp": ANSWER })).await;
    assert_eq!(relay_candidate(&offerer.caller.expect("answer").await), answerer.relayed);
    assert_eq!((one.turn.bind(CHANNEL, other.relayed), other.turn.bind(CHANNEL, one.relayed)), (0, 0));
    for voice in [&mut *one, &mut *other] {
        voice.caller.send(json!({ "t": "ice", "call": id, "s": "connected" })).await;
    }
    one.caller.expect("connected").await;
    other.caller.expect("connected").await;
    Call { id, relay }
}

/// One packet each way.
pub fn hear_each_other(one: &mut Voice, other: &mut Voice) {
    for number in 0..3 {
        one.speak(number);
        assert_eq!(other.turn.expect_data().payload, crate::voice::rtp(number));
        other.speak(number);
        assert_eq!(one.turn.expect_data().payload, crate::voice::rtp(number));
    }
}

/// Of a frame with `ice`: the UDP listener it names.
pub fn relay(frame: &Value) -> SocketAddr {
    let urls = frame["ice"]["servers"][0]["urls"].as_array().unwrap_or_else(|| panic!("no ice: {frame}"));
    let mut udp = urls.iter().filter_map(|url| url.as_str()?.strip_prefix("turn:")?.strip_suffix("?transport=udp"));
    udp.find_map(|address| address.parse().ok()).unwrap_or_else(|| panic!("no UDP listener: {frame}"))
}

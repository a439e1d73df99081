//! What a client may send over its WebSocket: frames, session descriptions, candidates.

use relay::signalling::sdp::{Kind, rebuild};
use relay::signalling::{candidate, message};
use std::net::SocketAddr;

const CLIENT_FRAMES: &str = include_str!("../../../relay/src/signalling/vectors/client.json");
const DESCRIPTIONS: [&str; 3] = [
    include_str!("../../../relay/src/signalling/vectors/sdp/chromium-156-offer.sdp"),
    include_str!("../../../relay/src/signalling/vectors/sdp/chromium-156-answer.sdp"),
    include_str!("../../../relay/src/signalling/vectors/sdp/chromium-156-gathered.sdp"),
];

/// Any text frame is read or refused; what is read says nothing of itself in a log.
pub(super) fn message(frame: &[u8]) {
    if let Ok(text) = std::str::from_utf8(frame) {
        let read = message::parse(text);
        let _ = format!("{read:?}");
    }
}

/// The golden frames of the protocol.
pub(super) fn message_seeds() -> Vec<Vec<u8>> {
    let vectors: Vec<serde_json::Value> = serde_json::from_str(CLIENT_FRAMES).unwrap();
    let frame =
        |vector: &serde_json::Value| vector["raw"].as_str().map_or_else(|| vector["frame"].to_string(), str::to_owned);
    vectors.iter().map(|vector| frame(vector).into_bytes()).collect()
}

/// What was rebuilt can be rebuilt again, and holds no address, no candidate and no video; a candidate that
/// passes under `path = "relay"` names an address that was issued.
pub(super) fn sdp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for kind in [Kind::Offer, Kind::Answer] {
        let Ok(rebuilt) = rebuild(text, kind, 1) else { continue };
        assert!(!rebuilt.contains("a=candidate"), "candidates travel apart");
        assert!(!rebuilt.contains("m=video"), "there is no video");
        assert!(
            rebuilt.lines().filter(|line| line.starts_with("c=")).all(|line| line == "c=IN IP4 0.0.0.0"),
            "no address"
        );
        let again = rebuild(&rebuilt, kind, 1).expect("what was rebuilt is acceptable");
        assert_eq!(rebuild(&again, kind, 1).as_deref(), Ok(again.as_str()), "and soon stays the same");
    }
    let issued: SocketAddr = ([203, 0, 113, 7], 50_000).into();
    for line in text.lines() {
        if let candidate::Verdict::Pass(passed) = candidate::relay_only(line, &[issued]) {
            assert!(
                passed.contains("203.0.113.7 50000 typ relay raddr 0.0.0.0 rport 9"),
                "only what was issued: {passed}"
            );
        }
        let _ = candidate::direct(line, &[issued]);
    }
}

/// What Chromium says, and candidates of every kind.
pub(super) fn sdp_seeds() -> Vec<Vec<u8>> {
    let candidates = "candidate:1 1 udp 41885439 203.0.113.7 50000 typ relay raddr 192.0.2.1 rport 4000 generation 0\r\n\
        candidate:2 1 udp 2122260223 192.0.2.1 4000 typ host generation 0\r\n\
        candidate:3 1 udp 1686052607 198.51.100.2 4000 typ srflx raddr 192.0.2.1 rport 4000\r\n\
        candidate:4 1 udp 2122260223 a3a0b5a2-8f3f-4c53-9d4d-5f2b4f0e9d11.local 4000 typ host\r\n";
    DESCRIPTIONS.iter().copied().chain([candidates]).map(|text| text.as_bytes().to_vec()).collect()
}

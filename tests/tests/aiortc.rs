//! A foreign WebRTC stack: aiortc, with the ICE agent and the TURN client of aioice, over every transport they have.

use crate::people::one_test_at_a_time;
use e2e::aiortc::make_calls;
use e2e::{Claims, Daemon};
use serde_json::json;

#[test]
fn aiortc_calls_aiortc_over_turn_udp() {
    a_relayed_call_over("udp");
}

#[test]
fn aiortc_calls_aiortc_over_turn_tcp() {
    a_relayed_call_over("tcp");
}

#[test]
fn aiortc_calls_aiortc_over_turns() {
    a_relayed_call_over("tls");
}

/// Opus, encrypted, heard on both sides; a text each way; one hangs up.
fn a_relayed_call_over(transport: &str) {
    let _turn = one_test_at_a_time();
    let daemon = Daemon::speaking_only(transport);
    let here = json!({ "namespace": null, "names": {} });
    // The second pair of tokens is for a machine too busy to keep the deadlines of a call.
    let tokens = || json!([Claims::adult("ana").token(), Claims::adult("ben").token()]);
    let call = json!({
        "id": 1, "url": format!("ws://{}/v1/ws", daemon.signalling()), "sides": ["ana", "ben"], "wanted": "relayed",
        "tokens": [tokens(), tokens()],
    });
    let plan = json!({ "relay_wait_secs": 0, "at_once": 1, "callers": { "ana": here, "ben": here }, "calls": [call] });

    let calls = make_calls(&plan, &daemon.authority());
    assert_eq!(calls.len(), 1, "one call, one line");
    for side in calls[0]["sides"].as_array().unwrap() {
        let relayed =
            json!({ "path": "relayed", "types": ["relay", "relay"], "transport": transport, "policy": "relay" });
        assert_eq!(side, &relayed, "{}", calls[0]);
    }
}

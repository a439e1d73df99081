//! From `matched` to audible, counted in round trips (matching.md §4.9): every way to the server takes half of one, by a proxy that holds
//! back what passes, WebSocket and UDP alike. What takes no round trip takes next to no time beside it.
//!
//! Both sides hold a warm relay and the offer lies in the ticket, so: the answer one, an ICE check over the relay two, a flight of DTLS
//! and its answer two more. With DTLS 1.3 that is all before the first voice is heard; DTLS 1.2 takes another two.

use e2e::distance::Distance;
use e2e::raw::Client;
use e2e::voice::{ANSWER, Voice, Ways, relay_candidate, rtp};
use e2e::{Claims, Daemon, PATIENCE, report};
use serde_json::json;
use std::time::{Duration, Instant};

/// Client to server and back.
const ROUND_TRIP: Duration = Duration::from_millis(400);
/// A busy machine may add this much of a round trip.
const SLACK: f64 = 0.5;
/// How often it may be too busy.
const TRIES: usize = 3;

/// The first packets of ICE and DTLS, as short as they may be; the last one is media.
const FLIGHTS: [&[u8]; 3] = [
    &[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    &[22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    &[22, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 20],
];

/// Answers whatever comes over the relay, as ICE and DTLS do.
fn answer_everything(mut turn: Client) {
    std::thread::spawn(move || {
        while let Some(data) = turn.data(PATIENCE) {
            if data.payload == rtp(0) {
                return;
            }
            turn.send_to(data.peer.unwrap(), &data.payload);
        }
    });
}

/// Round trips from `matched` to the answer, the first check answered, DTLS 1.3 done, DTLS 1.2 done.
async fn trace(ways: Ways, serial: usize) -> [f64; 4] {
    let (ana, ben) = (Claims::adult(&format!("ana{serial}")), Claims::adult(&format!("ben{serial}")));
    let (mut ana, mut ben) = (Voice::enter_by(ways, &ana).await, Voice::enter_by(ways, &ben).await);
    ana.queue().await;
    ben.caller.send(json!({ "t": "queue" })).await;
    let matched = ben.caller.matched().await;
    let start = Instant::now();
    let steps = || start.elapsed().as_secs_f64() / ROUND_TRIP.as_secs_f64();
    assert_eq!(relay_candidate(&matched["offer"]), ana.relayed, "no candidate need travel any more");
    ben.caller.send(json!({ "t": "answer", "call": matched["call"], "gen": 1, "sdp": ANSWER })).await;
    let Voice { turn, caller: _open, .. } = ben;
    answer_everything(turn);
    ana.caller.matched().await;
    let partner = relay_candidate(&ana.caller.expect("answer").await);
    let mut trace = [steps(); 4];
    for (flight, step) in FLIGHTS.into_iter().zip(1..) {
        ana.turn.send_to(partner, flight);
        assert_eq!(ana.turn.expect_data().payload, flight);
        trace[step] = steps();
    }
    ana.turn.send_to(partner, &rtp(0));
    trace
}

#[test]
fn matched_to_audible_takes_five_round_trips_and_seven_with_dtls_1_2() {
    let daemon = Daemon::local().start();
    let (straight, distance) = (Ways::straight(&daemon), Distance::of(ROUND_TRIP / 2));
    distance.lies_before(straight.turn, straight.signalling);
    let ways = Ways { signalling: distance.tcp(), turn: distance.udp(), ..straight };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let budget = [1.0, 3.0, 5.0, 7.0];
    for serial in 1.. {
        let trace = runtime.block_on(trace(ways, serial));
        let text = format!("round trips from matched: answer, check, DTLS 1.3, DTLS 1.2: {trace:.2?} of {budget:.0?}");
        report("round-trips.txt", &text);
        if trace.iter().zip(budget).all(|(took, may)| *took < may + SLACK) {
            return;
        }
        assert!(serial < TRIES, "{text}");
    }
}

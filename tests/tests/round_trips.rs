//! From `matched` to audible, counted in round trips (matching.md §4.9): every way to the server takes half of one, by a proxy that holds
//! back what passes, WebSocket and UDP alike. What takes no round trip takes next to no time beside it.
//!
//! Both sides hold a warm relay and the offer lies in the ticket, so: the answer one, an ICE check over the relay two, a flight of DTLS
//! and its answer two more. With DTLS 1.3 that is all before the first voice is heard; DTLS 1.2 takes another two.

use e2e::raw::Client;
use e2e::voice::{ANSWER, Voice, Ways, relay_candidate};
use e2e::{Claims, Daemon, PATIENCE, report};
use serde_json::json;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// Client to server and back.
const ROUND_TRIP: Duration = Duration::from_millis(400);
/// A busy machine may add this much of a round trip.
const SLACK: f64 = 0.5;
/// How often it may be too busy.
const TRIES: usize = 3;

type Held = (tokio::time::Instant, Vec<u8>);

fn held(bytes: &[u8]) -> Held {
    (tokio::time::Instant::now() + ROUND_TRIP / 2, bytes.to_vec())
}

/// A way to `server` that takes half a round trip in each direction.
async fn slow_stream(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            for (mut from, mut to) in [(from_client, to_server), (from_server, to_client)] {
                let (hold, mut release) = mpsc::unbounded_channel::<Held>();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 16 * 1024];
                    while let Ok(length @ 1..) = from.read(&mut buffer).await {
                        let _ = hold.send(held(&buffer[..length]));
                    }
                });
                tokio::spawn(async move {
                    while let Some((at, bytes)) = release.recv().await {
                        sleep_until(at).await;
                        if to.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    address
}

async fn slow_datagrams(server: SocketAddr) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = front.local_addr().unwrap();
    tokio::spawn(async move {
        let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut buffer = vec![0; 2048];
        while let Ok((length, client)) = front.recv_from(&mut buffer).await {
            let back = match backs.entry(client) {
                Entry::Occupied(known) => Arc::clone(known.get()),
                Entry::Vacant(new) => {
                    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    back.connect(server).await.unwrap();
                    tokio::spawn(return_slowly(Arc::clone(&back), Arc::clone(&front), client));
                    Arc::clone(new.insert(back))
                }
            };
            let (at, bytes) = held(&buffer[..length]);
            tokio::spawn(async move {
                sleep_until(at).await;
                let _ = back.send(&bytes).await;
            });
        }
    });
    address
}

async fn return_slowly(back: Arc<UdpSocket>, front: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 2048];
    while let Ok(length) = back.recv(&mut buffer).await {
        let ((at, bytes), front) = (held(&buffer[..length]), Arc::clone(&front));
        tokio::spawn(async move {
            sleep_until(at).await;
            let _ = front.send_to(&bytes, client).await;
        });
    }
}

/// Answers whatever comes over the relay, as ICE and DTLS do.
fn answer_everything(mut turn: Client) {
    std::thread::spawn(move || {
        while let Some(data) = turn.data(PATIENCE) {
            if data.payload == b"enough" {
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
    for (flight, step) in [&b"check"[..], b"ClientHello", b"Finished"].into_iter().zip(1..) {
        ana.turn.send_to(partner, flight);
        assert_eq!(ana.turn.expect_data().payload, flight);
        trace[step] = steps();
    }
    ana.turn.send_to(partner, b"enough");
    trace
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn matched_to_audible_takes_five_round_trips_and_seven_with_dtls_1_2() {
    let daemon = Daemon::local().start();
    let straight = Ways::straight(&daemon);
    let (signalling, turn) = (slow_stream(straight.signalling).await, slow_datagrams(straight.turn).await);
    let ways = Ways { signalling, turn, ..straight };
    let budget = [1.0, 3.0, 5.0, 7.0];
    for serial in 1.. {
        let trace = trace(ways, serial).await;
        let text = format!("round trips from matched: answer, check, DTLS 1.3, DTLS 1.2: {trace:.2?} of {budget:.0?}");
        report("round-trips.txt", &text);
        if trace.iter().zip(budget).all(|(took, may)| *took < may + SLACK) {
            return;
        }
        assert!(serial < TRIES, "{text}");
    }
}

//! Somebody whose packets stop coming: neither the socket nor ICE has noticed, the relay has.

use e2e::raw::Client;
use e2e::vitals::metric;
use e2e::voice::{CHANNEL, Voice, rtp, talk};
use e2e::{Daemon, eventually, report};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Speaks fifty times a second until it is told to stop.
pub(crate) struct Speaker {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(Client, u16)>,
}

impl Speaker {
    pub(crate) fn start(mut turn: Client, mut number: u16) -> Speaker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                turn.send_on(CHANNEL, &rtp(number));
                number += 1;
                thread::sleep(Duration::from_millis(20));
            }
            (turn, number)
        });
        Speaker { stop, thread }
    }

    pub(crate) fn stop(self) -> (Client, u16) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_of_whom_the_relay_hears_nothing_is_missed_and_heard_again() {
    let daemon = Daemon::local().start();
    let (mut ana, mut ben) = (Voice::enter(&daemon, "ana").await, Voice::enter(&daemon, "ben").await);
    let call = talk(&mut ana, &mut ben).await;
    let (Voice { turn: anas, caller: _silent, .. }, Voice { turn: bens, caller: mut told, .. }) = (ana, ben);
    let (anas, bens) = (Speaker::start(anas, 0), Speaker::start(bens, 0));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (turn, number) = anas.stop();
    let silent = Instant::now();
    let stalled = told.at_last("peer").await;
    report("silence.txt", &format!("the partner of a silent side was told after {:?}", silent.elapsed()));
    assert_eq!((&stalled["s"], &stalled["call"]), (&"stalled".into(), &call.as_str().into()));
    let anas = Speaker::start(turn, number);
    assert_eq!(told.at_last("peer").await["s"], "back");
    // Both steps were measured on the way.
    let count = |name: &str| (metric(&daemon, name, "") == 1).then_some(());
    eventually("the first packet", || count("relay_call_first_packet_seconds_count"));
    eventually("both sides audible", || count("relay_call_audible_seconds_count"));
    drop((anas.stop(), bens.stop()));
}

//! Reports on their way to the app's backend: signed, tried again for a while, forgotten (matching.md §4.10).
//!
//! `POST` with `X-Pair-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>." and the body>`. Any status from 200 to 299 means taken.
//! Nothing is written to disk. A report that is not taken after a few tries goes back to the person who made it, who keeps the evidence;
//! one about a child's safety is tried until it is taken, and a gauge says how many wait.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;

pub use super::backend::Settings;
use super::counters::Counters;
use super::desk::{Dispatch, MAX_REPORTS};
use super::evidence::hmac;
use super::reception::Ask;
use crate::clock::Clock;

/// One try, from the connection to the status line.
const TRY_PATIENCE: Duration = Duration::from_secs(5);
/// Pauses before the second and third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// Longest pause between tries of an urgent report.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Deliveries at once.
const MAX_AT_ONCE: usize = 8;
/// Urgent reports that are held until they are taken; more go back to their reporters like others.
const MAX_URGENT: usize = 1_024;

/// Takes reports until the desk is gone.
pub(super) fn spawn(
    settings: Settings,
    desk: mpsc::Sender<Ask>,
    clock: Clock,
    counters: Arc<Counters>,
) -> mpsc::Sender<Dispatch> {
    let (reports, mut inbox) = mpsc::channel::<Dispatch>(MAX_REPORTS);
    let courier = Arc::new(Courier {
        settings,
        desk,
        clock,
        counters,
        at_once: Semaphore::new(MAX_AT_ONCE),
        urgent: AtomicUsize::new(0),
    });
    tokio::spawn(async move {
        while let Some(report) = inbox.recv().await {
            tokio::spawn(Arc::clone(&courier).carry(report));
        }
    });
    reports
}

struct Courier {
    settings: Settings,
    desk: mpsc::Sender<Ask>,
    clock: Clock,
    counters: Arc<Counters>,
    at_once: Semaphore,
    urgent: AtomicUsize,
}

impl Courier {
    async fn carry(self: Arc<Self>, report: Dispatch) {
        let holds = report.urgent && self.urgent.fetch_add(1, Ordering::Relaxed) < MAX_URGENT;
        self.counters.set_safety_undelivered(self.urgent.load(Ordering::Relaxed));
        let mut taken = self.try_to_deliver(&report).await;
        for pause in PAUSES {
            if taken {
                break;
            }
            sleep(pause).await;
            taken = self.try_to_deliver(&report).await;
        }
        self.counters.count_report(taken);
        let (id, told) = (report.id, taken);
        // A desk that is gone needs no news.
        let _ = self.desk.send(Box::new(move |desk, now| desk.handle_reported(now, id, told))).await;
        if !taken && holds {
            self.insist(&report).await;
        }
        if report.urgent {
            let left = self.urgent.fetch_sub(1, Ordering::Relaxed) - 1;
            self.counters.set_safety_undelivered(left);
        }
    }

    async fn insist(&self, report: &Dispatch) {
        let mut pause = PAUSES[PAUSES.len() - 1];
        while !self.desk.is_closed() {
            tracing::error!("a report about a child's safety could not be delivered: is the backend of [reports] up?");
            pause = (2 * pause).min(LONGEST_PAUSE);
            sleep(pause).await;
            if self.try_to_deliver(report).await {
                return self.counters.count_report(true);
            }
        }
    }

    async fn try_to_deliver(&self, report: &Dispatch) -> bool {
        let Ok(_place) = self.at_once.acquire().await else { return false };
        let request = self.request(&report.json);
        matches!(self.settings.status(&request, TRY_PATIENCE).await, Ok(200..=299))
    }

    fn request(&self, body: &str) -> Vec<u8> {
        let Settings { host, port, path, secret, .. } = &self.settings;
        let at = self.clock.now().unix.0;
        let signature = sign(secret, at, body);
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             X-Pair-Signature: t={at},v1={signature}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// Hex HMAC-SHA256 of the time, a dot and the body: what a backend compares in constant time, having looked at the time.
pub fn sign(secret: &[u8], at: u64, body: &str) -> String {
    let mac = hmac(secret, &[at.to_string().as_bytes(), b".", body.as_bytes()]);
    mac.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_a_backend_computes() {
        // printf '1800000000.{}' | openssl dgst -sha256 -hmac secret
        let expected = "bb7079132825ac793cea8c013c1dd24d926b9b02132245b10588d9e5c0df70d7";
        assert_eq!(sign(b"secret", 1_800_000_000, "{}"), expected);
    }
}

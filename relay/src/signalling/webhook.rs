//! Reports on their way to the app's backend: signed, tried again for a while, forgotten (matching.md §4.10).
//!
//! `POST` with `X-Pair-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>." and the body>`. Any status from 200 to 299 means taken.
//! Nothing is written to disk. A report that is not taken after a few tries goes back to the person who made it, who keeps the evidence;
//! one about a child's safety is tried until it is taken, and a gauge says how many wait.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::counters::Counters;
use super::desk::{Dispatch, MAX_REPORTS};
use super::evidence::hmac;
use super::socket::Event;
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
/// A status line is shorter.
const MAX_STATUS_BYTES: usize = 512;

/// Where reports go.
#[derive(Clone)]
pub struct Settings {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// With its query, if any.
    pub path: String,
    pub secret: Vec<u8>,
    /// Whom to trust; needed for HTTPS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// Takes reports until the desk is gone.
pub(super) fn spawn(
    settings: Settings,
    desk: mpsc::Sender<Event>,
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
    desk: mpsc::Sender<Event>,
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
        let _ = self.desk.send(Event::Ask(Box::new(move |desk, now| desk.handle_reported(now, id, told)))).await;
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
        matches!(timeout(TRY_PATIENCE, self.post(request)).await, Ok(Ok(200..=299)))
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

    /// The status of the answer.
    async fn post(&self, request: Vec<u8>) -> io::Result<u16> {
        let Settings { https, host, port, tls, .. } = &self.settings;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, *port)).await?;
        if !https {
            return converse(stream, &request).await;
        }
        let config = tls.clone().ok_or(io::ErrorKind::InvalidInput)?;
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| io::ErrorKind::InvalidInput)?;
        converse(TlsConnector::from(config).connect(name, stream).await?, &request).await
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

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') && answer.len() < MAX_STATUS_BYTES {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    status(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// RFC 9112 §4.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings[redacted]")
    }
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

    #[test]
    fn only_a_status_line_is_a_status() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 500\r\n"), Some(500));
        for noise in [&b""[..], b"HTTP/2 200", b"SSH-2.0-x\r\n", b"HTTP/1.1 2"] {
            assert_eq!(status(noise), None);
        }
    }
}

//! Metrics pushed to a collector (OTLP over HTTP), for operators whose tools do not fetch them. The same numbers as at `/metrics`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::stats::Sources;
use crate::metrics::otlp::{Times, request};
use crate::signalling::webhook;

/// From the connection to the status line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to, and how often.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) collector: webhook::Settings,
    pub(super) every: Duration,
}

/// Pushes until nobody is left who could say where to.
pub(super) async fn push(sources: Arc<Sources>, mut target: watch::Receiver<Option<Target>>) {
    let (start, mut refused) = (nanos(), false);
    loop {
        let current = target.borrow_and_update().clone();
        let pushing = async {
            let Some(Target { collector, every }) = current else { return std::future::pending().await };
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let body = request(&sources.page(), Times { start, now: nanos() });
                let taken = matches!(collector.status(&post(&collector, &body), PATIENCE).await, Ok(200..=299));
                if taken && refused {
                    tracing::info!("the collector of [telemetry] takes metrics again");
                } else if !taken && !refused {
                    tracing::warn!(
                        "the collector of [telemetry] takes no metrics; every interval is tried, and this is said once"
                    );
                }
                refused = !taken;
            }
        };
        tokio::select! {
            () = pushing => return,
            changed = target.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

fn post(webhook::Settings { host, port, path, .. }: &webhook::Settings, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

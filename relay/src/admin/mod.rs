//! The operator's listener: metrics, health and the dashboard. Always on loopback, because it asks nobody who they are.
//!
//! `GET /metrics` Prometheus text, or OpenMetrics or protobuf with native histograms for who accepts it · `GET /livez` 200 while the process answers · `GET /readyz` 200 once
//! everything listens and the list of `[revocations]` is here, 503 before that, from the moment it drains or stops, and while the workers
//! have no time or their receive buffers overflow: what it says in both cases tells how much of them is used.
//! `GET /` the [`dashboard`].

mod dashboard;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::Format;

/// What the admin listener shows.
#[derive(Clone)]
pub struct Admin {
    ready: Arc<AtomicBool>,
    /// Was ready, and will not be again.
    draining: Arc<AtomicBool>,
    render: Arc<dyn Fn(Format) -> Vec<u8> + Send + Sync>,
    /// Whether everything that must be known is.
    knows: Arc<dyn Fn() -> bool + Send + Sync>,
    capacity: Arc<dyn Fn() -> (bool, String) + Send + Sync>,
}

impl Admin {
    /// `render` makes the page of metrics at each scrape; it only reads counters. Without what it `knows` a server is not ready.
    pub fn new(
        render: impl Fn(Format) -> Vec<u8> + Send + Sync + 'static,
        knows: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Admin {
        Admin {
            ready: Arc::new(AtomicBool::new(false)),
            draining: Arc::new(AtomicBool::new(false)),
            render: Arc::new(render),
            knows: Arc::new(knows),
            capacity: Arc::new(|| (true, String::new())),
        }
    }

    /// Without room for more a server is not ready either; `capacity` only reads what was seen last.
    #[must_use]
    pub fn with_capacity(self, capacity: impl Fn() -> (bool, String) + Send + Sync + 'static) -> Admin {
        Admin { capacity: Arc::new(capacity), ..self }
    }

    /// From now on `/readyz` says so.
    pub fn set_ready(&self, ready: bool) {
        if self.ready.swap(ready, Relaxed) && !ready {
            self.draining.store(true, Relaxed);
        }
    }

    /// What `/readyz` says.
    pub fn is_ready(&self) -> bool {
        self.why_not().is_none()
    }

    /// Nobody new from here on.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    fn why_not(&self) -> Option<&'static str> {
        if !self.ready.load(Relaxed) {
            Some("starting, draining or stopping")
        } else if !(self.knows)() {
            Some("the list of [revocations] is not here yet")
        } else if !(self.capacity)().0 {
            Some("no room for more")
        } else {
            None
        }
    }

    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .with_state(self)
            .merge(dashboard::router())
    }
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], (admin.render)(format))
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let (_, numbers) = (admin.capacity)();
    match admin.why_not() {
        None => (StatusCode::OK, format!("ready\n{numbers}")),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n{numbers}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::site::checks::request;

    #[tokio::test]
    async fn scrapers_and_balancers_may_call_it_by_any_name() {
        let admin = Admin::new(|_| b"relay_calls 0\n".to_vec(), || true);
        for path in ["/metrics", "/livez", "/readyz"] {
            let (head, _) = request(admin.clone().router(), "GET", path, Some("relay-1.monitoring.example:9641")).await;
            let status = if path == "/readyz" { "http/1.1 503" } else { "http/1.1 200" };
            assert!(head.starts_with(status), "{path}: {head}");
            assert!(!head.contains("access-control-"), "{path}: {head}");
        }
    }
}

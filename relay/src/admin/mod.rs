//! The operator's listener: metrics and health. Always on loopback, because it asks nobody who they are.
//!
//! `GET /metrics` Prometheus text, or OpenMetrics for who accepts it · `GET /livez` 200 while the process answers · `GET /readyz` 200 once everything listens
//! and the list of `[revocations]` is here, 503 before that and from the moment it drains or stops.

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
    render: Arc<dyn Fn(Format) -> String + Send + Sync>,
    /// Whether everything that must be known is.
    knows: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Admin {
    /// `render` makes the metrics text at each scrape; it only reads counters. Without what it `knows` a server is not ready.
    pub fn new(
        render: impl Fn(Format) -> String + Send + Sync + 'static,
        knows: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Admin {
        Admin { ready: Arc::new(AtomicBool::new(false)), render: Arc::new(render), knows: Arc::new(knows) }
    }

    /// From now on `/readyz` says so.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Relaxed);
    }

    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .with_state(self)
    }
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], (admin.render)(format))
}

async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.ready.load(Relaxed) && (admin.knows)() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

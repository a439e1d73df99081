//! What the daemon says of itself, at the admin listener: `GET /v1/prove`.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::threads::{Thread, Threads};
use crate::sandbox::{Kept, is_dumpable};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub version: String,
    /// In the daemon's own namespace.
    pub pid: u32,
    pub facts: Facts,
    /// `None`: it never entered a sandbox.
    pub kept: Option<Kept>,
    /// What the kernel says to `PR_GET_DUMPABLE`.
    pub dumpable: bool,
    pub threads: Vec<Thread>,
}

type About = (Arc<RwLock<Facts>>, Option<Kept>, Threads);

/// For the operator's listener alone. A reload may change the facts.
pub fn router(facts: Arc<RwLock<Facts>>, kept: Option<Kept>, threads: Threads) -> Router {
    Router::new().route("/v1/prove", get(answer)).with_state(Arc::new((facts, kept, threads)))
}

async fn answer(State(about): State<Arc<About>>) -> Json<Answer> {
    let (facts, kept, threads) = &*about;
    let facts = facts.read().unwrap_or_else(PoisonError::into_inner).clone();
    Json(Answer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        facts,
        kept: kept.clone(),
        dumpable: is_dumpable(),
        threads: threads.ask().await,
    })
}

//! What an operator may ask of the whole server over the admin listener: `POST /v1/reload`.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::reload::Reloaded;
use crate::signalling::no_pages;

/// Reloads asked for at once.
const MAX_WISHES: usize = 8;
/// A reload takes milliseconds, but for a file system that hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest request body, in bytes.
const MAX_BODY_BYTES: usize = 1024;

/// Asks for a reload, and who wants to know how it went.
pub(super) struct Wish(pub(super) oneshot::Sender<Result<Reloaded, String>>);

/// The end for the listener and the end for who may reload.
pub(super) fn wishes() -> (Asks, mpsc::Receiver<Wish>) {
    let (sender, receiver) = mpsc::channel(MAX_WISHES);
    (Asks(sender), receiver)
}

#[derive(Clone)]
pub(super) struct Asks(mpsc::Sender<Wish>);

impl Asks {
    pub(super) fn router(self) -> Router {
        let router = Router::new().route("/v1/reload", post(reload)).with_state(self);
        router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).layer(from_fn(no_pages))
    }
}

/// 200 with what changed, by key; 422 with why nothing did; 503 if nobody is there to do it.
async fn reload(State(Asks(wishes)): State<Asks>) -> Response {
    let (answer, answered) = oneshot::channel();
    if wishes.try_send(Wish(answer)).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match timeout(PATIENCE, answered).await {
        Ok(Ok(Ok(Reloaded { changed, needs_restart }))) => {
            Json(json!({ "changed": changed, "needs_restart": needs_restart })).into_response()
        }
        Ok(Ok(Err(why))) => (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "why": why }))).into_response(),
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

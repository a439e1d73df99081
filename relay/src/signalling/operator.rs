//! What an app's backend may ask over the operator's listener (matching.md §1.4, §1.5).
//!
//! `POST /v1/revoke` ends a person or a token now · `POST /v1/calls` the relay alone, for an app with its own matchmaker ·
//! `GET`, `DELETE /v1/subjects/{sub}` what is held, and its end · `POST /v1/drain` nobody new from here on:
//! what SIGTERM begins with, without the end · `GET /v1/waiting` who waits, for the operator.
//!
//! The listener is on loopback and asks nobody who they are, so a page in a browser on the same machine must not get through: whatever
//! names another host, or comes from a page, is refused.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::desk::{BOUND_SECS, CREDENTIAL_SECS, Change, DENY_SECS, Desk, Lifetime, Subject, revoked_until};
use super::gate::{is_loopback_host, is_own_loopback};
use super::ids::CallRef;
use super::message::Ice;
use super::reception::Ask;
use super::waiting::{PAUSE, Told};
use crate::matchmaking::{Census, entry};
use crate::time::Now;

/// Longest request body, in bytes.
const MAX_BODY_BYTES: usize = 1024;
/// For a person who looks at it by a name of their own.
const NO_PAGES: &str =
    "refused: ask for localhost or a loopback address (a tunnel will do), and not from another page\n";
/// Longest notice of a stop.
const MAX_DRAIN_MS: u64 = 3_600_000;

/// The desk, from the operator's side.
#[derive(Clone)]
pub(super) struct Operator {
    desk: mpsc::Sender<Ask>,
    told: Told,
    tell: Tell,
}

/// Tells the other nodes what was asked here. Whether they will hear of it.
pub type Tell = Arc<dyn Fn(Change) -> bool + Send + Sync>;

impl Operator {
    pub(super) fn new(desk: mpsc::Sender<Ask>) -> Operator {
        Operator { desk, told: Told::default(), tell: Arc::new(|_| true) }
    }

    pub(super) fn router(mut self, shut: impl Fn() -> bool + Send + Sync + 'static, tell: Tell) -> Router {
        self.tell = tell;
        let shut = Arc::new(shut);
        let drain = move |State(operator): State<Operator>, body: Body<Drain>| {
            let shut = read(body).map(|wish| (wish, shut()));
            async move { drain(operator, shut?).await }
        };
        Router::new()
            .route("/v1/revoke", post(revoke))
            .route("/v1/calls", post(bind_call))
            .route("/v1/calls/{call}", axum::routing::delete(unbind_call))
            .route("/v1/calls/{call}/credentials", post(rebind_call))
            .route("/v1/subjects/{sub}", get(held).delete(erase))
            .route("/v1/drain", post(drain))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(from_fn(no_pages))
            .merge(Router::new().route("/v1/waiting", get(waiting)).layer(from_fn(own_page)))
            .with_state(self)
    }

    /// Runs `act` where the desk lives. Not once everything has moved to another process, where what was done here would not be known.
    async fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Desk, Now) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let ask: Ask = Box::new(move |desk, now| {
            // Nobody waits any more: then nobody needs to know.
            let _ = answer.send((!desk.has_moved()).then(|| act(desk, now)));
        });
        self.desk.send(ask).await.map_err(|_| Refusal(StatusCode::SERVICE_UNAVAILABLE))?;
        answered.await.ok().flatten().ok_or(Refusal(StatusCode::SERVICE_UNAVAILABLE))
    }
}

/// A status, and nothing of what was asked.
struct Refusal(StatusCode);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

type Answer = Result<Response, Refusal>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// Refuses whatever comes from a page in a browser, or names another host than this machine.
pub(crate) async fn no_pages(request: Request, next: Next) -> Response {
    if comes_from_a_page(request.headers()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

/// Refuses what names another host than this machine or comes from a page of somebody else's. The page that this listener itself serves may:
/// a browser sends its origin with a module, for one.
pub(crate) async fn own_page(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
    let is_own = |host: &[u8]| is_loopback_host(host) && origin.is_none_or(|origin| is_own_loopback(origin, host));
    if headers.get(header::HOST).is_some_and(|host| is_own(host.as_bytes())) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, NO_PAGES).into_response()
}

fn comes_from_a_page(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    headers.contains_key(header::ORIGIN) || !host.is_some_and(is_loopback_host)
}

/// The body, or the status that says what is wrong with it.
fn read<T: DeserializeOwned>(body: Body<T>) -> Result<T, Refusal> {
    body.map(|Json(body)| body).map_err(|rejection| Refusal(rejection.status()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    sub: Option<String>,
    jti: Option<String>,
    #[serde(default)]
    secs: Option<u64>,
}

async fn revoke(State(operator): State<Operator>, body: Body<Revocation>) -> Answer {
    let Revocation { sub, jti, secs } = read(body)?;
    if sub.is_some() == jti.is_some() {
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let secs = secs.unwrap_or(DENY_SECS);
    let (ended, change) = operator
        .ask(move |desk, now| {
            let subject = match (&sub, &jti) {
                (Some(sub), _) => Subject::Person(sub),
                (None, jti) => Subject::Token(jti.as_deref().unwrap_or_default()),
            };
            let change = Change::Revoke(subject.revoked(), revoked_until(now.unix, secs));
            (desk.revoke(now, subject, secs), change)
        })
        .await?;
    // Where there is no room here there may be elsewhere.
    let told = (operator.tell)(change);
    match ended {
        Ok(ended) if told => Ok(Json(json!({ "ended": ended })).into_response()),
        // What was there has ended; that it does not come back cannot be promised.
        _ => Err(Refusal(StatusCode::INSUFFICIENT_STORAGE)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallWish {
    #[serde(default)]
    start_secs: Option<u32>,
    #[serde(default)]
    max_secs: Option<u32>,
}

async fn bind_call(State(operator): State<Operator>, body: Body<CallWish>) -> Answer {
    let CallWish { start_secs, max_secs } = read(body)?;
    let life = Lifetime { start_secs: start_secs.unwrap_or(CREDENTIAL_SECS), max_secs: max_secs.unwrap_or(BOUND_SECS) };
    let call = operator
        .ask(move |desk, now| desk.bind_call(now, life).map(|(id, sides)| json!({ "call": id, "sides": both(&sides) })))
        .await?;
    match call {
        Ok(call) => Ok((StatusCode::CREATED, Json(call)).into_response()),
        Err(_) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

async fn rebind_call(State(operator): State<Operator>, Path(call): Path<CallRef>, body: Body<CallWish>) -> Answer {
    let start_secs = read(body)?.start_secs.unwrap_or(CREDENTIAL_SECS);
    let sides = operator
        .ask(move |desk, now| desk.rebind_call(now, call.0?, start_secs).map(|sides| json!({ "sides": both(&sides) })))
        .await?;
    sides.map(|sides| Json(sides).into_response()).ok_or(Refusal(StatusCode::NOT_FOUND))
}

async fn unbind_call(State(operator): State<Operator>, Path(call): Path<CallRef>) -> Answer {
    let ended = operator.ask(move |desk, _| call.0.is_some_and(|call| desk.unbind_call(call))).await?;
    Ok(if ended { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }.into_response())
}

/// In the words of `RTCPeerConnection`, so that an app passes them on as they are.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SideOfCall<'a, S> {
    ice_servers: &'a S,
    ice_transport_policy: &'static str,
}

fn both(sides: &[Ice<'_>; 2]) -> Value {
    let side = |ice: &Ice<'_>| json!(SideOfCall { ice_servers: &ice.servers, ice_transport_policy: ice.policy });
    json!([side(&sides[0]), side(&sides[1])])
}

async fn held(State(operator): State<Operator>, Path(sub): Path<String>) -> Answer {
    let held = operator.ask(move |desk, now| desk.held(now, &sub)).await?;
    Ok(Json(held).into_response())
}

async fn erase(State(operator): State<Operator>, Path(sub): Path<String>) -> Answer {
    let change = Change::Erase(entry(&sub));
    operator.ask(move |desk, now| desk.erase(now, &sub)).await?;
    // Asked again it does no harm.
    let told = (operator.tell)(change);
    if told { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Refusal(StatusCode::SERVICE_UNAVAILABLE)) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    in_ms: u64,
    #[serde(default)]
    to: Option<String>,
}

/// May be asked again: for another notice, or because a worker had too much to do to hear of it.
async fn drain(operator: Operator, (Drain { in_ms, to }, shut): (Drain, bool)) -> Answer {
    operator.ask(move |desk, now| desk.handle_drain(now, in_ms.min(MAX_DRAIN_MS), to.as_deref())).await?;
    if shut { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Refusal(StatusCode::SERVICE_UNAVAILABLE)) }
}

async fn waiting(State(operator): State<Operator>) -> Answer {
    let census = async {
        let mut census = Census::default();
        loop {
            let slice = move |desk: &mut Desk, now| (desk.count_waiting(now, &mut census), census);
            let (done, counted) = operator.ask(slice).await?;
            if done {
                return Ok(counted);
            }
            census = counted;
            tokio::time::sleep(PAUSE).await;
        }
    };
    let told = operator.told.or(census).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

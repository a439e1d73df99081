//! The WebSocket endpoint: a router for the HTTP server, one task per connection, and what may be asked of signalling from outside.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::extract::connect_info::Connected;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::demo;
use super::desk::{self, BadPacked, Change, Connection, Desk, Packed};
use super::fellows::{Ear, Fellows};
use super::gate::{Networks, Origins};
use super::message::{MAX_FRAME_BYTES, SUBPROTOCOL};
use super::operator::{Operator, Tell};
use super::pressure::{self, Gauges};
use super::reception::{Ask, Front, Reception};
use super::relay_desk::RelayDesk;
use super::revocations;
use super::socket::Line;
use super::token::Minter;
use super::webhook;
use crate::calls::Handle;
use crate::clock::Clock;
use crate::time::Now;

/// Buffers of a connection, each way, in bytes. An idle connection keeps both.
const BUFFER_BYTES: usize = 4 * 1024;
/// What one connection may have half-written, in bytes.
const MAX_WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// Questions waiting for the desk.
const MAX_ASKS: usize = 4_096;
/// A desk that does not get to a question for so long does not answer it.
const ASK_PATIENCE: Duration = Duration::from_secs(1);
/// How often a desk whose questions are at their bound is tried again.
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// Reloads waiting for the desk.
const MAX_FRESH: usize = 4;

/// The operator's choices.
pub struct Settings {
    pub desk: desk::Settings,
    /// Pages that may connect, as browsers write them in `Origin`.
    pub origins: Vec<String>,
    /// Networks without a limit on new connections.
    pub exempt: Vec<IpNet>,
    /// Signs tokens for the demo page; its key must be among `desk.token.keys`. Only ever for loopback.
    pub demo: Option<Minter>,
    /// Where reports go; `desk.reports` says whether anywhere.
    pub reports: Option<webhook::Settings>,
    /// Where revocations are fetched at start; `desk.await_revocations` says whether anywhere.
    pub revocations: Option<webhook::Settings>,
    pub gauges: Gauges,
    /// The desks of other nodes, if `desk.joined`. A reload does not change them.
    pub fellows: Option<Fellows>,
}

/// Where a connection comes from. The HTTP server provides it with `into_make_service_with_connect_info::<Peer>()`.
#[derive(Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// Signalling at work. Dropping it ends all connections.
pub struct Signalling {
    router: Router,
    controls: Controls,
    operator: Operator,
    counters: Arc<Counters>,
    front: Arc<Front>,
    desk: JoinHandle<()>,
    mark: u64,
}

/// What may be asked of signalling while it works.
#[derive(Clone)]
pub struct Controls {
    drain: watch::Sender<Option<u64>>,
    fresh: mpsc::Sender<Fresh>,
    entrance: Arc<Entrance>,
}

/// Other settings for signalling at work. Of the backends only those that are other ones.
pub struct Fresh {
    pub settings: Settings,
    pub reports_changed: bool,
    pub revocations_changed: bool,
}

impl Controls {
    /// No new sessions and no new calls; who is in a call stays until it ends, at most `in_ms`; everybody else is sent away.
    pub fn drain(&self, in_ms: u64) {
        self.drain.send_replace(Some(in_ms));
    }

    /// Does what another node was asked. Whether the desk has room to hear of it.
    #[must_use]
    pub fn heed(&self, changes: &[Change]) -> bool {
        let changes = changes.to_vec();
        let ask: Ask = Box::new(move |desk, now| {
            if desk.heed(now, &changes).is_err() {
                tracing::error!(
                    "more is revoked than this server holds: what was there has ended, but it may come back"
                );
            }
        });
        self.entrance.asks.try_send(ask).is_ok()
    }

    /// Calls whose two sides are not connected yet. Blocks until the desk has answered, as all of these do; not for an async runtime's
    /// thread that it needs.
    pub fn calls_in_set_up(&self) -> usize {
        // A desk that has no time or no life has nothing to wait for.
        self.ask(|desk, _| desk.calls_in_set_up()).unwrap_or(0)
    }

    /// [`Desk::hold`]. Whether it does.
    #[must_use]
    pub fn hold(&self) -> bool {
        self.ask(Desk::hold).is_some()
    }

    /// [`Desk::go_on`], after [`Controls::take_back`] if anything was packed. Whether it does.
    #[must_use]
    pub fn go_on(&self) -> bool {
        self.ask(Desk::go_on).is_some()
    }

    /// [`Desk::pack`]. `None`: nothing has moved.
    pub fn pack(&self, stays: impl Fn(&Handle) -> bool + Send + 'static) -> Option<Packed> {
        self.ask(move |desk, now| desk.pack(now, &stays)).flatten()
    }

    /// [`Desk::take_back`]. Whether it does.
    #[must_use]
    pub fn take_back(&self, packed: Packed) -> bool {
        self.ask(move |desk, now| desk.take_back(now, &packed).is_ok()).unwrap_or(false)
    }

    /// [`Desk::dismiss`]. [`Controls::lines`] get fewer within ten seconds, most of them within a round trip.
    pub fn dismiss(&self) {
        // A desk without time or life has nobody to tell.
        let _ = self.ask(Desk::dismiss);
    }

    /// WebSockets that are open, until the last word of their closing handshake.
    pub fn lines(&self) -> usize {
        self.entrance.lines.load(Ordering::Relaxed)
    }

    /// The desk's answer. `None` if it does not get to it: then it does not act any more either.
    fn ask<T: Send + 'static>(&self, act: impl FnOnce(&mut Desk, Now) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = std::sync::mpsc::channel();
        let (deadline, wanted) = (Instant::now() + ASK_PATIENCE, Arc::new(AtomicBool::new(true)));
        let still = Arc::clone(&wanted);
        let mut ask: Ask = Box::new(move |desk, now| {
            if still.swap(false, Ordering::Relaxed) {
                // Who asked waits for it.
                let _ = answer.send(act(desk, now));
            }
        });
        while let Err(refused) = self.entrance.asks.try_send(ask) {
            match refused {
                TrySendError::Full(again) if Instant::now() < deadline => ask = again,
                TrySendError::Full(_) | TrySendError::Closed(_) => return None,
            }
            std::thread::sleep(ASK_AGAIN);
        }
        match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => Some(answer),
            Err(_) if wanted.swap(false, Ordering::Relaxed) => None,
            // It has begun.
            Err(_) => answered.recv().ok(),
        }
    }

    /// Takes over other settings: the entrance at once, the desk with its next turn. Whether it could be told.
    #[must_use]
    pub fn adopt(&self, mut fresh: Fresh) -> bool {
        let Ok(place) = self.fresh.try_reserve() else { return false };
        let settings = &mut fresh.settings;
        let (exempt, demo) = (std::mem::take(&mut settings.exempt), settings.demo.take());
        self.entrance.networks.set_exempt(exempt);
        let origins = Origins::new(std::mem::take(&mut settings.origins), demo.is_some());
        *self.entrance.origins.write().unwrap_or_else(PoisonError::into_inner) = origins;
        *self.entrance.demo.write().unwrap_or_else(PoisonError::into_inner) = demo.map(Arc::new);
        place.send(fresh);
        true
    }
}

/// Starts the desk's task on the runtime that runs here. `seed` from a good source of randomness.
pub fn spawn(settings: Settings, relay: Box<dyn RelayDesk>, clock: Clock, seed: [u8; 32]) -> Signalling {
    spawn_prepared(settings, relay, clock, seed, |_| {})
}

/// The same with a desk that goes on where another process's stood, if anything is handed over. Its clock must go on, too.
///
/// # Errors
/// [`BadPacked`].
pub fn spawn_from(
    settings: Settings,
    relay: Box<dyn RelayDesk>,
    clock: Clock,
    seed: [u8; 32],
    packed: Option<&Packed>,
) -> Result<Signalling, BadPacked> {
    let mut taken_over = Ok(());
    let signalling = spawn_prepared(settings, relay, clock, seed, |desk| {
        if let Some(packed) = packed {
            taken_over = desk.take_over(clock.now(), packed);
        }
    });
    taken_over.map(|()| signalling)
}

/// The same with a desk on which something lies already, for measurements. Its connections begin at number 0.
pub fn spawn_prepared(
    settings: Settings,
    relay: Box<dyn RelayDesk>,
    clock: Clock,
    seed: [u8; 32],
    prepare: impl FnOnce(&mut Desk),
) -> Signalling {
    let counters = Arc::new(Counters::default());
    let heartbeat = Duration::from_millis(settings.desk.heartbeat_ms);
    let mut desk = Desk::new(settings.desk, relay, seed, Arc::clone(&counters));
    prepare(&mut desk);
    let mark = desk.people_mark();
    let fellows = settings.fellows.map(|fellows| fellows.split(mark));
    let (ear, say) = fellows.map_or((Ear::deaf(), None), |(ear, say)| (ear, Some(say)));
    let (asks, inbox) = mpsc::channel(MAX_ASKS);
    let operator = Operator::new(asks.clone());
    let courier = settings.reports.map(|it| webhook::spawn(it, asks.clone(), clock, Arc::clone(&counters)));
    let fetching = settings.revocations.map(|backend| revocations::spawn(backend, asks.clone(), clock));
    pressure::spawn(settings.gauges, asks.clone(), clock);
    let (outboxes, doorbell) = (HashMap::default(), asks.downgrade());
    let reception =
        Reception { desk, clock, outboxes, counters: Arc::clone(&counters), courier, fetching, doorbell, say };
    let front = Front::new(reception);
    let has_demo = settings.demo.is_some();
    let state = Arc::new(Entrance {
        asks,
        front: Arc::clone(&front),
        clock,
        heartbeat,
        origins: RwLock::new(Origins::new(settings.origins, has_demo)),
        networks: Networks::new(settings.exempt),
        demo: RwLock::new(settings.demo.map(Arc::new)),
        connections: AtomicU64::new(0),
        lines: AtomicUsize::new(0),
        counters: Arc::clone(&counters),
    });
    let (fresh, other) = mpsc::channel(MAX_FRESH);
    let (drain, draining) = watch::channel(None);
    let desk = tokio::spawn(Arc::clone(&front).run(inbox, ear, draining, other));
    let controls = Controls { drain, fresh, entrance: Arc::clone(&state) };
    Signalling { router: router(state), controls, operator, counters, front, desk, mark }
}

impl Signalling {
    /// `GET /v1/ws`, and `POST /demo/token` if there is a demo page.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    pub fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// What an app's backend may ask; for the operator's listener alone. `shut` keeps everybody new away from the rest of the server,
    /// and answers whether that was done; `tell` tells other nodes what concerns them too.
    pub fn operator_router(&self, shut: impl Fn() -> bool + Send + Sync + 'static, tell: Tell) -> Router {
        self.operator.clone().router(shut, tell)
    }

    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// [`Desk::people_mark`].
    pub fn people_mark(&self) -> u64 {
        self.mark
    }

    /// Whether the desk's task has ended although nobody asked it to.
    pub fn has_ended(&self) -> bool {
        self.desk.is_finished()
    }
}

impl Drop for Signalling {
    fn drop(&mut self) {
        self.desk.abort();
        self.front.end();
    }
}

/// What every upgrade needs.
struct Entrance {
    asks: mpsc::Sender<Ask>,
    front: Arc<Front>,
    clock: Clock,
    heartbeat: Duration,
    origins: RwLock<Origins>,
    networks: Networks,
    demo: RwLock<Option<Arc<Minter>>>,
    connections: AtomicU64,
    lines: AtomicUsize,
    counters: Arc<Counters>,
}

fn router(state: Arc<Entrance>) -> Router {
    let limit = DefaultBodyLimit::max(demo::MAX_BODY_BYTES);
    let demo = post(demo_token).layer(limit);
    Router::new().route("/v1/ws", get(upgrade)).route("/demo/token", demo).with_state(state)
}

async fn upgrade(
    State(entrance): State<Arc<Entrance>>,
    ConnectInfo(Peer(from)): ConnectInfo<Peer>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    match entrance.admit(from, &headers, upgrade) {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| async move {
            let counted = Counted::new(&entrance.lines);
            entrance.line(socket).run().await;
            drop(counted);
        }),
        Err(status) => {
            entrance.counters.count_refused_upgrade();
            status.into_response()
        }
    }
}

/// One more, for as long as it is there.
struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Entrance {
    fn admit(
        &self,
        from: SocketAddr,
        headers: &HeaderMap,
        upgrade: WebSocketUpgrade,
    ) -> Result<WebSocketUpgrade, StatusCode> {
        if !self.networks.admits(self.clock.mono(), from.ip()) {
            return Err(StatusCode::TOO_MANY_REQUESTS);
        }
        let origins = self.origins.read().unwrap_or_else(PoisonError::into_inner);
        if !origins.allow(bytes(headers, &header::ORIGIN), bytes(headers, &header::HOST)) {
            return Err(StatusCode::FORBIDDEN);
        }
        let upgrade = upgrade.protocols([SUBPROTOCOL]);
        if upgrade.selected_protocol().is_none() {
            return Err(StatusCode::BAD_REQUEST);
        }
        Ok(upgrade
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
            .max_message_size(MAX_FRAME_BYTES)
            .max_frame_size(MAX_FRAME_BYTES))
    }

    fn line(&self, socket: axum::extract::ws::WebSocket) -> Line {
        Line {
            socket,
            connection: Connection(self.connections.fetch_add(1, Ordering::Relaxed)),
            outbox: Arc::default(),
            front: Arc::clone(&self.front),
            clock: self.clock,
            heartbeat: self.heartbeat,
        }
    }
}

fn bytes<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h [u8]> {
    headers.get(name).map(|value| value.as_bytes())
}

async fn demo_token(
    State(entrance): State<Arc<Entrance>>,
    ConnectInfo(Peer(from)): ConnectInfo<Peer>,
    headers: HeaderMap,
    wish: Result<Json<demo::Wish>, JsonRejection>,
) -> Response {
    let minter = entrance.demo.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(minter) = minter else { return StatusCode::NOT_FOUND.into_response() };
    if !from.ip().to_canonical().is_loopback() {
        return StatusCode::FORBIDDEN.into_response();
    }
    demo::mint(&minter, entrance.clock.now().unix, &headers, wish).into_response()
}

#[cfg(test)]
mod tests;

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peer[redacted]")
    }
}

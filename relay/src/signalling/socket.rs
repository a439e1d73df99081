//! One WebSocket: carries frames between a client and the desk, beats its heart, and ends in time whatever the client does.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::Error as WsError;

use super::codes::CloseCode;
use super::desk::Connection;
use super::limits::{Bucket, Rate};
use super::outbox::{Next, Outbox};
use crate::clock::Clock;

/// What a connection tells the desk's task.
pub(super) enum Event {
    Opened(Connection, Arc<Outbox>),
    Frame(Connection, Utf8Bytes),
    /// A message that is no text.
    Garbage(Connection),
    Closed(Connection),
}

/// A write that takes longer means that nobody reads: the kernel's buffer is full besides.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// The client's half of the closing handshake (W10).
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Pings and pongs a client may send: libraries send one every few seconds (W09).
const CONTROL_FRAMES: Rate = Rate { burst: 20, per_minute: 60 };

pub(super) struct Line {
    pub(super) socket: WebSocket,
    pub(super) connection: Connection,
    pub(super) outbox: Arc<Outbox>,
    pub(super) desk: mpsc::Sender<Event>,
    pub(super) clock: Clock,
    pub(super) heartbeat: Duration,
}

/// The end of a connection: with a closing handshake of ours, or none because there is nobody left to shake hands with.
type End = Option<CloseCode>;

impl Line {
    /// Runs until the connection ends; the desk hears of its beginning and its end.
    pub(super) async fn run(mut self) {
        let connection = self.connection;
        if self.desk.send(Event::Opened(connection, Arc::clone(&self.outbox))).await.is_err() {
            return;
        }
        let end = self.carry().await;
        // A desk that is gone needs no news.
        let _ = self.desk.send(Event::Closed(connection)).await;
        if let Some(code) = end {
            let _ = timeout(CLOSE_PATIENCE, self.shake_hands(code)).await;
        }
    }

    async fn carry(&mut self) -> End {
        let outbox = Arc::clone(&self.outbox);
        let mut beat = interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut control = Bucket::full(CONTROL_FRAMES, self.clock.mono());
        loop {
            let step = tokio::select! {
                received = self.socket.recv() => {
                    heard = Instant::now();
                    match received {
                        Some(Ok(message)) => self.received(message, &mut control).await,
                        Some(Err(error)) => ControlFlow::Break(close_code(error)),
                        None => ControlFlow::Break(None),
                    }
                }
                next = outbox.next() => match next {
                    Next::Frame(frame) => self.write(Message::Text(frame.json.into())).await,
                    Next::Close(code) => ControlFlow::Break(Some(code)),
                },
                _ = beat.tick() => {
                    if heard.elapsed() >= 2 * self.heartbeat {
                        return None;
                    }
                    self.write(Message::Ping(Default::default())).await
                }
            };
            if let ControlFlow::Break(end) = step {
                return end;
            }
        }
    }

    async fn received(&mut self, message: Message, control: &mut Bucket) -> ControlFlow<End> {
        let event = match message {
            Message::Text(text) => Event::Frame(self.connection, text),
            Message::Binary(_) => Event::Garbage(self.connection),
            Message::Ping(_) | Message::Pong(_) => {
                return match control.take(CONTROL_FRAMES, self.clock.mono()) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(Some(CloseCode::RATE)),
                };
            }
            Message::Close(_) => {
                // Reading on writes our half of the handshake.
                let _ = timeout(CLOSE_PATIENCE, self.socket.recv()).await;
                return ControlFlow::Break(None);
            }
        };
        match self.desk.send(event).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(Some(CloseCode::AWAY)),
        }
    }

    async fn write(&mut self, message: Message) -> ControlFlow<End> {
        match timeout(WRITE_PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) | Err(_) => ControlFlow::Break(None),
        }
    }

    /// Says why, and waits for the client to say goodbye.
    async fn shake_hands(&mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.0, reason: Utf8Bytes::from_static("") };
        if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = self.socket.recv().await {}
        }
    }
}

/// RFC 6455 §7.4.1 for what a client did wrong at the level of frames; `None` where there is nobody to tell.
fn close_code(error: axum::Error) -> End {
    let error = error.into_inner().downcast::<WsError>().ok()?;
    match *error {
        WsError::Capacity(_) => Some(CloseCode(1009)),
        WsError::Utf8(_) => Some(CloseCode(1007)),
        WsError::Protocol(_) => Some(CloseCode(1002)),
        _ => None,
    }
}

//! One WebSocket: carries frames between a client and the desk, beats its heart, and ends in time whatever the client does.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use super::codes::CloseCode;
use super::desk::Connection;
use super::limits::{Bucket, Rate};
use super::message::TextFrame;
use super::outbox::{Next, Outbox};
use super::reception::{Event, Front};
use crate::clock::Clock;

/// A write that takes longer means that nobody reads: the kernel's buffer is full besides.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
/// Frames written together before the client is heard again.
const MAX_TOGETHER: usize = 8;
/// The client's half of the closing handshake (W10).
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// Pings and pongs a client may send: libraries send one every few seconds (W09).
const CONTROL_FRAMES: Rate = Rate { burst: 20, per_minute: 60 };

pub(super) struct Line {
    pub(super) socket: WebSocket,
    pub(super) connection: Connection,
    pub(super) outbox: Arc<Outbox>,
    pub(super) front: Arc<Front>,
    pub(super) clock: Clock,
    pub(super) heartbeat: Duration,
}

/// The end of a connection.
enum End {
    /// With a closing handshake of ours.
    Ours(CloseCode),
    /// The client said goodbye.
    Theirs,
    /// There is nobody left to shake hands with.
    Broken,
}

impl Line {
    /// Runs until the connection ends; the desk hears of its beginning and its end.
    pub(super) async fn run(mut self) {
        let connection = self.connection;
        if self.front.handle(Event::Opened(connection, Arc::clone(&self.outbox))).is_err() {
            return;
        }
        let end = self.carry().await;
        // A desk that is gone needs no news.
        let news = if matches!(end, End::Broken) { Event::Lost(connection) } else { Event::Closed(connection) };
        let _ = self.front.handle(news);
        if let End::Ours(code) = end {
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
                        Some(Ok(message)) => self.received(message, &mut control, &outbox).await,
                        Some(Err(error)) => ControlFlow::Break(close_code(error)),
                        None => ControlFlow::Break(End::Broken),
                    }
                }
                next = outbox.next() => match next {
                    Next::Frame(frame) => self.write_all(frame, &outbox).await,
                    Next::Close(code) => ControlFlow::Break(End::Ours(code)),
                },
                _ = beat.tick() => {
                    if heard.elapsed() >= 2 * self.heartbeat {
                        return End::Broken;
                    }
                    self.write(Message::Ping(Default::default())).await
                }
            };
            if let ControlFlow::Break(end) = step {
                return end;
            }
        }
    }

    async fn received(&mut self, message: Message, control: &mut Bucket, outbox: &Outbox) -> ControlFlow<End> {
        let event = match message {
            Message::Text(text) => Event::Frame(self.connection, text),
            Message::Binary(_) => Event::Garbage(self.connection),
            Message::Ping(_) | Message::Pong(_) => {
                return match control.take(CONTROL_FRAMES, self.clock.mono()) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(End::Ours(CloseCode::RATE)),
                };
            }
            Message::Close(frame) => {
                // Reading on writes our half of the handshake.
                let _ = timeout(CLOSE_PATIENCE, self.socket.recv()).await;
                let will_resume = frame.is_some_and(|frame| frame.code == CloseCode::WILL_RESUME.0);
                return ControlFlow::Break(if will_resume { End::Broken } else { End::Theirs });
            }
        };
        if self.front.handle(event).is_err() {
            return ControlFlow::Break(End::Ours(CloseCode::AWAY));
        }
        // The answer lies there already.
        match outbox.frame() {
            Some(frame) => self.write_all(frame, outbox).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// Writes a frame and those that wait behind it together: who is matched at once is told that they wait and that they are matched with
    /// one call to the system, not two.
    async fn write_all(&mut self, mut frame: TextFrame, outbox: &Outbox) -> ControlFlow<End> {
        for _ in 1..MAX_TOGETHER {
            patiently(self.socket.feed(Message::Text(frame.json.into()))).await?;
            match outbox.frame() {
                Some(next) => frame = next,
                None => return patiently(self.socket.flush()).await,
            }
        }
        self.write(Message::Text(frame.json.into())).await
    }

    async fn write(&mut self, message: Message) -> ControlFlow<End> {
        patiently(self.socket.send(message)).await
    }

    /// Says why, and waits for the client to say goodbye.
    async fn shake_hands(&mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.0, reason: Utf8Bytes::from_static("") };
        if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = self.socket.recv().await {}
        }
    }
}

async fn patiently(write: impl Future<Output = Result<(), axum::Error>>) -> ControlFlow<End> {
    match timeout(WRITE_PATIENCE, write).await {
        Ok(Ok(())) => ControlFlow::Continue(()),
        Ok(Err(_)) | Err(_) => ControlFlow::Break(End::Broken),
    }
}

/// RFC 6455 §7.4.1 for what a client did wrong at the level of frames.
fn close_code(error: axum::Error) -> End {
    match error.into_inner().downcast::<WsError>().as_deref() {
        Ok(WsError::Capacity(_)) => End::Ours(CloseCode(1009)),
        Ok(WsError::Utf8(_)) => End::Ours(CloseCode(1007)),
        // A connection that just stopped is reported as a protocol error too.
        Ok(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => End::Broken,
        Ok(WsError::Protocol(_)) => End::Ours(CloseCode(1002)),
        _ => End::Broken,
    }
}

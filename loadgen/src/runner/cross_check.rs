//! TURN-only callers by another's client: the `turn` crate's (webrtc-rs), as a cross-check of ours. It allocates, sends its
//! voice to its own relayed transport address and hears it come back, like [`crate::caller::Solo`]; what it does not tell
//! (channel bind, retransmissions) stays empty. It has a socket and a timer of its own, so it is no tool for big loads.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    net::UdpSocket,
    time::{sleep_until, timeout, timeout_at},
};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use super::{Again, Context, Due, Stage};
use crate::{
    caller::record::{Cause, Outcome, Record, Step, Times},
    media::{
        packet::{self, Content, Frame, StreamId},
        sockets::loopback_address,
        stream::{Account, PERIOD},
        voice::{Speaker, Tick},
    },
    peer::{
        note::Note,
        stun::CHANNEL_HEADER,
        turn::{Credential, FailureReason},
    },
    stats::reception::Reception,
    time::Nanos,
};

/// What is under way when the caller falls silent may still come for so long.
const LINGER: Duration = Duration::from_millis(200);
/// Giving the allocation back, at most.
const GOODBYE: Duration = Duration::from_secs(2);
const LONGEST: usize = 1500;

struct Caller<'a> {
    context: &'a Context,
    record: Record,
    stream: StreamId,
    speaker: Speaker,
    number: u32,
    reception: Reception,
}

/// Runs one caller from its start to its record. Nobody is cut off in TURN-only mode.
pub(super) async fn run(context: Rc<Context>, due: Due, random: [u8; 32]) -> Option<Again> {
    let Due { number, intended, .. } = due;
    let started = context.clock.now();
    let person = context.scenario.person(number);
    let times = Times { intended, started, ice: Some(started), ..Times::default() };
    let mut caller = Caller {
        context: &context,
        record: Record::new(number, person.criteria, times),
        stream: StreamId { call: packet::hash(&format!("{random:?}")), side: 0 },
        speaker: Speaker::new(context.scenario.voice, context.scenario.seed ^ u64::from(number)),
        number: 0,
        reception: Reception::default(),
    };
    let outcome = match &context.turn_only {
        Some((server, credential)) => {
            caller.live(*server, credential, person.hold).await.unwrap_or_else(Outcome::Failed)
        }
        None => Outcome::Failed(Cause::NoTurnServer),
    };
    caller.record.outcome = outcome;
    let record = caller.record;
    context.keep(record);
    context.present.set(context.present.get() - 1);
    None
}

impl Caller<'_> {
    async fn live(&mut self, server: SocketAddr, credential: &Credential, hold: Duration) -> Result<Outcome, Cause> {
        let client = self.client(server, credential).await.map_err(|_| Cause::Connect)?;
        self.record.times.allocate_sent = Some(self.now());
        let patience = self.context.terms.setup_timeout;
        let relay = match timeout(patience, client.allocate()).await {
            Ok(Ok(relay)) => relay,
            Ok(Err(error)) => return Err(Cause::Allocate(reason(&error.to_string()))),
            Err(_) => return Err(Cause::Allocate(FailureReason::Timeout)),
        };
        self.record.times.allocated = Some(self.now());
        let outcome = self.hold(&relay, hold).await;
        self.record.times.hung_up = Some(self.now());
        let closed = timeout(GOODBYE, relay.close()).await;
        if matches!(closed, Ok(Ok(()))) {
            self.record.times.freed = Some(self.now());
        }
        let _ = client.close().await;
        outcome
    }

    async fn client(&self, server: SocketAddr, credential: &Credential) -> Result<Client, turn::Error> {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = match loopback_address(self.record.number, server.ip()) {
            Some(source) => UdpSocket::bind((source, 0)).await?,
            None => UdpSocket::bind(any).await?,
        };
        let client = Client::new(ClientConfig {
            stun_serv_addr: server.to_string(),
            turn_serv_addr: server.to_string(),
            username: credential.username.clone(),
            password: credential.password.clone(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: Arc::new(socket),
            vnet: None,
        });
        let client = client.await?;
        client.listen().await?;
        Ok(client)
    }

    /// Talks to itself until the hold or the run is over; the hold begins when it hears itself.
    async fn hold(&mut self, relay: &impl Conn, hold: Duration) -> Result<Outcome, Cause> {
        let begun = self.now();
        let mut until = begun.after(self.context.terms.setup_timeout);
        let mut next = begun;
        if !self.context.terms.media {
            self.record.times.connected = Some(begun);
            (until, next) = (begun.after(hold), Nanos(u64::MAX / 2));
            self.show(1);
        }
        let mut stage = self.context.stage.clone();
        let mut buffer = [0; LONGEST];
        let clock = self.context.clock;
        let cut = loop {
            tokio::select! {
                came = relay.recv_from(&mut buffer) => {
                    let Ok((length, _)) = came else { break false };
                    if self.hear(&buffer[..length]) {
                        until = self.now().after(hold);
                        self.show(1);
                    }
                }
                () = sleep_until(clock.instant(next).into()) => {
                    self.speak(relay, next).await?;
                    next = next.after(PERIOD);
                }
                () = sleep_until(clock.instant(until).into()) => break false,
                Ok(()) = stage.changed() => if *stage.borrow_and_update() == Stage::Leaving { break true },
            }
        };
        if !self.is_up() {
            return if cut { Ok(Outcome::InFlight) } else { Err(Cause::Timeout(Step::Connected)) };
        }
        self.show(-1);
        self.linger(relay).await;
        Ok(if cut { Outcome::Cut } else { Outcome::Completed })
    }

    async fn speak(&mut self, relay: &impl Conn, due: Nanos) -> Result<(), Cause> {
        let Tick::Packet { bytes, marker, timestamp } = self.speaker.tick() else { return Ok(()) };
        let (stream, number, payload_type) = (self.stream, self.number, self.speaker.payload_type());
        let to = relay.local_addr().map_err(|_| Cause::Channel(FailureReason::BadResponse))?;
        let now = self.now();
        let mut buffer = [0; packet::LEN];
        let frame = Frame { stream, number, sent: now.0, payload_type, timestamp, marker };
        let datagram = &mut buffer[..packet::OVERHEAD + bytes];
        packet::write_frame(datagram, 0, frame);
        // The first is sent when the permission is there; the client's own ChannelData header replaces ours.
        let sent = relay.send_to(&datagram[CHANNEL_HEADER..], to).await;
        sent.map_err(|error| Cause::Channel(reason(&error.to_string())))?;
        if number == 0 {
            self.record.times.permit = Some((now, self.now()));
            self.record.times.connected = Some(self.now());
        }
        self.number += 1;
        self.context.note(Note::Sent { due, late: now.since(due) });
        Ok(())
    }

    /// Whether this is the first packet that came back.
    fn hear(&mut self, data: &[u8]) -> bool {
        let at = self.now();
        let said = match packet::read(data) {
            Content::Media(said) if said.stream == self.stream => said,
            Content::Media(_) => {
                self.context.note(Note::Foreign);
                return false;
            }
            Content::Corrupt | Content::Other => {
                self.context.note(Note::Corrupt);
                return false;
            }
        };
        let first = self.record.times.first_voice.is_none();
        self.record.times.first_voice.get_or_insert(at);
        let variation = self.reception.handle(said.sequence, said.sent, at.0);
        self.context.note(Note::Heard { at, delay: at.since(Nanos(said.sent)), variation, first });
        first
    }

    /// Takes what is still under way and closes the account.
    async fn linger(&mut self, relay: &impl Conn) {
        let until = tokio::time::Instant::now() + LINGER;
        let mut buffer = [0; LONGEST];
        while self.reception.received < u64::from(self.number) {
            let Ok(Ok((length, _))) = timeout_at(until, relay.recv_from(&mut buffer)).await else { break };
            self.hear(&buffer[..length]);
        }
        if self.context.terms.media {
            let (sent, heard_up_to) = (self.number, self.reception.highest() + 1);
            self.record.account = Some(Account { sent, heard_up_to, summary: self.reception.summary() });
        }
    }

    fn is_up(&self) -> bool {
        self.record.times.is_up(self.context.terms.depth, self.context.terms.media)
    }

    /// Keeps the gauges of the progress line.
    fn show(&self, change: i64) {
        let (talking, came_up) = (&self.context.talking, &self.context.came_up);
        talking.set(talking.get().saturating_add_signed(change));
        came_up.set(came_up.get() + u64::from(change > 0));
    }

    fn now(&self) -> Nanos {
        self.context.clock.now()
    }
}

/// The client tells an error response's code in its text alone.
fn reason(text: &str) -> FailureReason {
    let mut codes = text.split(|c: char| !c.is_ascii_digit()).filter(|word| word.len() == 3);
    let code = codes.find_map(|word| word.parse().ok().filter(|code| (300..700).contains(code)));
    code.map_or(FailureReason::Timeout, FailureReason::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_code_is_found_in_what_the_client_says() {
        assert_eq!(
            reason("Allocate error response (error 486: Allocation Quota Reached)"),
            FailureReason::Refused(486)
        );
        assert_eq!(reason("all retransmissions failed for c29"), FailureReason::Timeout);
    }
}

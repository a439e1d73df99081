//! Several relays as one: what nodes say to each other, over a broker that can read none of it and keeps nothing.
//!
//! [`Bus`] is the whole of it for who speaks: `publish` to all or to one node, `subscribe`, `request` and its answer. `local`, without a
//! `[cluster]`, has no network and nobody else. Behind the Cargo feature `nats` it is core NATS: at most once, nothing stored, and a broker
//! that could store (JetStream) is refused. Whoever needs to be sure asks, or asks again.
//!
//! Pure: `subject` where a message goes, `seal` what nobody else can read, `secrets` what else the cluster's key is good for, `members` who
//! lives, `names` nodes by name and by number, `book` revocations that all must hold. Edges, off the packet path: `nats` the connection, on the desk's
//! runtime, `matching` what desks say to each other, and on a thread of its own `neighbours`, what every node tells the others.
//!
//! Every queue has a bound: what does not fit is counted and dropped, never waited for.

mod book;
mod counters;
mod matching;
mod members;
mod names;
#[cfg(feature = "nats")]
mod nats;
mod neighbours;
mod pending;
pub mod seal;
mod secrets;
mod subject;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

pub use counters::{Counters, Lost, Standing};
pub use matching::{Matching, Said};
pub use members::{BEAT_MS, DEAD_MS, Heard, MAX_NODES, Member, Members, Vitals};
#[cfg(feature = "nats")]
pub use nats::{Broker, FirstWord, NotTaken, Running, Settings, start};
pub use neighbours::{Apply, Duties, Neighbours};
use pending::Pending;
pub use seal::{Incarnation, Lane, Seals};
pub use secrets::Secrets;
use subject::subject;
pub use subject::{PREFIX, Purpose, To};

/// Messages waiting to be sent.
pub const MAX_OUTGOING: usize = 4_096;
/// Messages of one purpose waiting to be read.
pub const MAX_INCOMING: usize = 4_096;
/// Requests waiting for their answers.
pub const MAX_REQUESTS: usize = 4_096;
/// Longest payload, in bytes, before it is sealed: room for what a desk may send along with a message (`cluster::MAX_LUGGAGE_BYTES`), and the
/// message. NATS carries a megabyte.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// A way to the other nodes. Clones share it.
#[derive(Clone)]
pub struct Bus(Option<Arc<Shared>>);

/// What came from another node.
pub struct Delivery {
    pub from: String,
    pub incarnation: Incarnation,
    pub payload: Vec<u8>,
    answer: Option<(Arc<Shared>, String)>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It was not sent: no broker, or no room.
    NotSent,
    /// The broker knows of nobody of that name.
    Nobody,
    /// None came in time. It may have arrived all the same.
    Late,
}

/// What the handles and the connection share.
struct Shared {
    node: String,
    incarnation: Incarnation,
    seals: Mutex<Seals>,
    outgoing: mpsc::Sender<Outgoing>,
    subscriptions: Mutex<Vec<Subscription>>,
    /// There is a new subscription.
    subscribed: Notify,
    pending: Mutex<Pending>,
    counters: Arc<Counters>,
    /// Whether what is said is heard, and others can be.
    up: watch::Sender<bool>,
}

/// On its way to the broker, not sealed yet.
struct Outgoing {
    subject: String,
    /// Where the answer goes.
    reply: Option<String>,
    payload: Vec<u8>,
}

#[derive(Clone)]
struct Subscription {
    purpose: Purpose,
    sink: Sink,
}

/// Takes what came, at once; false if it has no room.
type Sink = Arc<dyn Fn(Delivery) -> bool + Send + Sync>;

impl Bus {
    /// Nobody else is there.
    pub const fn local() -> Bus {
        Bus(None)
    }

    /// What the others call this node; nothing without others.
    pub fn node(&self) -> Option<&str> {
        self.0.as_ref().map(|shared| shared.node.as_str())
    }

    /// This run among the runs of this node.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.0.as_ref().map(|shared| shared.incarnation)
    }

    /// Whether what is said now has a chance to be heard.
    pub fn is_connected(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.counters.standing() == Standing::Connected)
    }

    /// Says it and forgets it. Whether it was taken to be sent, which does not mean that anybody hears it. This node itself never does.
    pub fn publish(&self, purpose: Purpose, to: To<'_>, payload: Vec<u8>) -> bool {
        let Some(shared) = &self.0 else { return to == To::Everybody };
        shared.send(Outgoing { subject: subject(purpose, to), reply: None, payload })
    }

    /// What others say for this purpose from now on, to all or to this node. What is not fetched in time is dropped and counted.
    pub fn subscribe(&self, purpose: Purpose) -> mpsc::Receiver<Delivery> {
        let (inbox, deliveries) = mpsc::channel(MAX_INCOMING);
        self.subscribe_by(purpose, Arc::new(move |delivery| inbox.try_send(delivery).is_ok()));
        deliveries
    }

    /// The same for a sink, which runs where the connection does. Of one sender, in the order they were sent: all that is for this node alone, and
    /// all that is for everybody.
    fn subscribe_by(&self, purpose: Purpose, sink: Sink) {
        if let Some(shared) = &self.0 {
            lock(&shared.subscriptions).push(Subscription { purpose, sink });
            shared.subscribed.notify_one();
        }
    }

    /// Whether there is a broker, from now on: false until others can hear this node and be heard. Nothing without others.
    pub fn watch(&self) -> Option<watch::Receiver<bool>> {
        self.0.as_ref().map(|shared| shared.up.subscribe())
    }

    /// Asks one node. May be dropped at any time.
    ///
    /// # Errors
    /// There is no answer within `patience`.
    pub async fn request(
        &self,
        purpose: Purpose,
        node: &str,
        payload: Vec<u8>,
        patience: Duration,
    ) -> Result<Delivery, NoAnswer> {
        let Some(shared) = &self.0 else { return Err(NoAnswer::Nobody) };
        let Some(mut waiting) = Pending::expect(shared, node) else {
            shared.counters.count_lost(Lost::RequestsFull);
            return Err(NoAnswer::NotSent);
        };
        let reply = Some(subject::answer(&shared.node, waiting.number()));
        if !shared.send(Outgoing { subject: subject(purpose, To::Node(node)), reply, payload }) {
            return Err(NoAnswer::NotSent);
        }
        timeout(patience, waiting.answer()).await.unwrap_or(Err(NoAnswer::Late))
    }
}

impl Delivery {
    /// Whether it wants an answer.
    pub fn is_request(&self) -> bool {
        self.answer.is_some()
    }

    /// Answers it, if it wants that. Whether it was taken to be sent.
    pub fn answer(&self, payload: Vec<u8>) -> bool {
        let Some((shared, reply)) = &self.answer else { return false };
        shared.send(Outgoing { subject: reply.clone(), reply: None, payload })
    }
}

impl Shared {
    fn send(&self, message: Outgoing) -> bool {
        let lost = if self.counters.standing() != Standing::Connected {
            Lost::Disconnected
        } else if message.payload.len() > MAX_PAYLOAD {
            Lost::TooLong
        } else if self.outgoing.try_send(message).is_err() {
            Lost::OutgoingFull
        } else {
            return true;
        };
        self.counters.count_lost(lost);
        false
    }

    /// A message of the broker's, to whoever waits for it.
    fn deliver(
        self: &Arc<Self>,
        (lane, subject): (Lane, &str),
        reply: Option<&str>,
        sealed: &[u8],
        sink: Option<&Sink>,
    ) {
        let opened = lock(&self.seals).open(unix_ms(), lane, subject, sealed);
        let opened = match opened {
            Ok(opened) => opened,
            Err(why) => return self.counters.count_lost(why.into()),
        };
        self.counters.count_received();
        let answer = reply.map(|reply| (Arc::clone(self), reply.to_owned()));
        let seal::Opened { node, incarnation, payload } = opened;
        let delivery = Delivery { from: node, incarnation, payload, answer };
        match sink {
            Some(sink) => {
                if !sink(delivery) {
                    self.counters.count_lost(Lost::IncomingFull);
                }
            }
            None => {
                if let Some(number) = subject::answered(subject, &self.node) {
                    lock(&self.pending).answered(number, delivery);
                }
            }
        }
    }
}

/// Nothing that panics holds one of these.
fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bus[nats]" } else { "Bus[local]" })
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delivery[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn alone_there_is_nobody_to_ask_and_nothing_to_hear() {
        let bus = Bus::local();
        assert!(bus.publish(Purpose::ECHO, To::Everybody, vec![1]), "everybody has heard it");
        assert!(!bus.publish(Purpose::ECHO, To::Node("b"), vec![1]));
        let asked = bus.request(Purpose::ECHO, "b", vec![1], Duration::from_secs(9)).await;
        assert_eq!(asked.err(), Some(NoAnswer::Nobody));
        assert!(bus.subscribe(Purpose::ECHO).recv().await.is_none());
        assert!(bus.node().is_none() && !bus.is_connected());
    }
}

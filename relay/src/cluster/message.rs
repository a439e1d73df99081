//! What nodes say to each other, and how it reads in bytes: a version, then postcard. The bus seals the whole.
//!
//! Whatever arrives may be a duplicate, old, out of order, of a node unknown here or of a newer version. Reading it refuses what no node of
//! this version writes; what remains is judged by who it is for.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::attributes::Attributes;

/// First byte of every message. Another one is another language.
pub const VERSION: u8 = 1;
/// Longest message that is read, in bytes; NATS carries a megabyte.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Tickets told of in one message, at most …
pub(super) const MAX_OPS: usize = 512;
/// … and bytes of them, about. One ticket that avoids everybody it may is about 5 KB.
pub(super) const MAX_OPS_BYTES: usize = 48 * 1024;
/// Calls named in one [`Body::Audit`], tickets in one [`Body::Release`] or [`Body::Ask`].
pub(super) const MAX_NAMED: usize = 512;
/// What the desk may say to the other one at once, in bytes: a frame of a client, or for one, is about 16 KB at most. With everything around
/// it, it fits into a message of the bus.
pub const MAX_LUGGAGE_BYTES: usize = 32 * 1024;

/// A node, by the number its operator or its bus gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The number of the node its operator calls so, the same on every node. Two names of one number would be one node to the others: with
    /// 256 nodes that is once in some 10^14 clusters.
    pub fn of(name: &str) -> NodeId {
        let digest = Sha256::digest(name.as_bytes());
        let mut short = [0; 8];
        short.copy_from_slice(&digest[..8]);
        NodeId(u64::from_be_bytes(short))
    }
}

/// One life of a node: nothing a node knew survives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    pub node: NodeId,
    /// Larger than in its lives before: the time of its start will do.
    pub incarnation: u64,
}

/// A pairing that was proposed, and the call that came of it if one did. Unique: its owner counts. Clients never see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// Who proposed it.
    pub owner: Peer,
    pub number: u64,
}

/// One queue: the name of a pool and an age cohort, as a number that is the same on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueKey(pub u64);

/// A ticket as it was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seat {
    pub home: Peer,
    pub number: u64,
    /// Good for one promise or one call.
    pub epoch: u32,
    pub stage: u8,
}

/// Two tickets that fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair {
    pub call: CallId,
    /// Each home compares it with its ticket's own: no cohort meets another, whatever an owner says.
    pub queue: QueueKey,
    /// Whose home makes the call.
    pub decider: Seat,
    /// Whose home promises its ticket first.
    pub follower: Seat,
    /// Which of the two was found waiting.
    pub decider_waited: bool,
}

/// Words of the desk, opaque here.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Luggage(pub Vec<u8>);

impl fmt::Debug for Luggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Luggage({} bytes)", self.0.len())
    }
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Load {
    /// Calls it would still take.
    pub room: u32,
    /// Calls it has.
    pub calls: u32,
    /// It takes no new ones and owns no queue.
    pub draining: bool,
}

/// What a home tells the owner of a queue, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Waits, with these wishes.
    Waits(Box<Announcement>),
    /// Does not wait any more.
    Gone(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Announcement {
    pub number: u64,
    pub epoch: u32,
    /// Said for the first time: somebody who just sat down. Of two tickets of one person the newer stays.
    pub fresh: bool,
    pub attributes: Attributes,
}

/// Why a promise was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Denial {
    /// No such ticket, or no longer.
    Unknown,
    /// The ticket has changed since.
    Stale,
    /// It is promised to somebody else.
    Promised,
    /// It waits in another queue.
    Queue,
    /// The other home is not known to live.
    Node,
}

impl Denial {
    pub const ALL: [Denial; 5] = [Denial::Unknown, Denial::Stale, Denial::Promised, Denial::Queue, Denial::Node];
}

/// Where a ticket stands, as its owner sees it. `None` where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Told {
    pub number: u64,
    pub ahead: u32,
    pub stage: u8,
    /// Half and nine tenths of the waits are shorter, in milliseconds.
    pub eta: Option<(u64, u64)>,
    /// Which wish, given up, would match (0 topics, 1 level, 2 gender, 3 country), and with how many.
    pub hint: Option<(u8, u32)>,
}

/// Why an owner will not have a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Turned {
    /// No more tickets of that node, or none at all.
    Full,
    /// That person waits elsewhere, since later.
    Replaced,
    /// That person waits elsewhere, since earlier.
    Duplicate,
    /// Not a ticket the owner's engine takes.
    BadCriteria,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// To everybody.
    Heartbeat(Load),
    /// Home to owner: the `at`th of a row of messages. Row and place say whether one is missing.
    Tickets { row: u64, at: u32, ops: Vec<Op> },
    /// Owner to home: something of that row is missing, say everything again.
    Again { row: u64 },
    /// Owner to home: what has become of these? A pairing of theirs came to nothing.
    Release { tickets: Vec<u64> },
    /// Owner to home: this ticket does not wait here.
    Turned { ticket: u64, epoch: u32, why: Turned },
    /// Home to owner: where do these stand?
    Ask { tickets: Vec<u64>, hints: bool },
    /// Owner to home.
    Standings { standings: Vec<Told> },
    /// Owner to the follower's home: promise it.
    Claim(Pair),
    /// Follower's home to owner: no.
    Denied { call: CallId, why: Denial },
    /// Follower's home to decider's: ours is promised, is it a call? Asked again until answered.
    Grant { pair: Pair, luggage: Luggage },
    /// Decider's home to follower's: it is a call. Said again until confirmed.
    Commit { call: CallId, relay: NodeId, luggage: Luggage },
    /// Follower's home to decider's.
    Confirmed { call: CallId },
    /// Between homes: not in that call, and never will be again.
    No { call: CallId },
    /// Between homes: what one desk has to say to the other about a call they share.
    Frame { call: CallId, luggage: Luggage },
    /// Between homes: we share these, do we not? Those it does not know are answered with `No`.
    Audit { calls: Vec<CallId> },
}

/// A message with its two ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Envelope {
    pub from: Peer,
    /// The life of the receiver it is meant for; `None` to everybody.
    pub to: Option<Peer>,
    pub body: Body,
}

/// Why a message was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Of another version.
    Version,
    /// Not what a node of this version writes.
    Malformed,
}

impl Envelope {
    pub fn encode(&self) -> Vec<u8> {
        // Fails for types of unknown length only, of which there is none here; nobody reads the empty message.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// # Errors
    /// [`Unreadable`].
    pub fn decode(bytes: &[u8]) -> Result<Envelope, Unreadable> {
        match bytes {
            [VERSION, rest @ ..] if rest.len() < MAX_MESSAGE_BYTES => {
                let (envelope, left) =
                    postcard::take_from_bytes::<Envelope>(rest).map_err(|_| Unreadable::Malformed)?;
                if left.is_empty() && envelope.body.is_bounded() { Ok(envelope) } else { Err(Unreadable::Malformed) }
            }
            [VERSION, ..] | [] => Err(Unreadable::Malformed),
            _ => Err(Unreadable::Version),
        }
    }
}

impl Body {
    /// Within the bounds every node keeps to.
    fn is_bounded(&self) -> bool {
        match self {
            Body::Tickets { ops, .. } => ops.len() <= MAX_OPS,
            Body::Release { tickets } | Body::Ask { tickets, .. } => tickets.len() <= MAX_NAMED,
            Body::Standings { standings } => standings.len() <= MAX_NAMED,
            Body::Audit { calls } => calls.len() <= MAX_NAMED,
            Body::Grant { luggage, .. } | Body::Commit { luggage, .. } | Body::Frame { luggage, .. } => {
                luggage.0.len() <= MAX_LUGGAGE_BYTES
            }
            _ => true,
        }
    }
}

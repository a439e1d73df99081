//! What is kept of one caller: the stamps of loadtest.md §5.1, the call as it was told, and how it ended.

use crate::{
    caller::signal::Role,
    media::stream::Account,
    peer::turn::FailureReason,
    population::Criteria,
    scenario::{Depth, Transport},
    time::Nanos,
};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Moments of a caller's life on the run's clock; absent where it never got there.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// t0: the schedule's start.
    pub intended: Nanos,
    /// t0′: when the generator really began.
    pub started: Nanos,
    /// t1: welcome received.
    pub registered: Option<Nanos>,
    /// The queue request left.
    pub queue_sent: Option<Nanos>,
    /// t2: enqueue acknowledged. A caller that is matched at once may never be told.
    pub queued: Option<Nanos>,
    /// t3: matched.
    pub matched: Option<Nanos>,
    /// The TURN credential was in hand.
    pub ice: Option<Nanos>,
    /// ta0, ta1: first Allocate sent, success received.
    pub allocate_sent: Option<Nanos>,
    pub allocated: Option<Nanos>,
    /// CreatePermission and ChannelBind: sent, success.
    pub permit: Option<(Nanos, Nanos)>,
    pub channel: Option<(Nanos, Nanos)>,
    /// The first connectivity check left.
    pub check_sent: Option<Nanos>,
    /// t6: its answer came.
    pub connected: Option<Nanos>,
    /// t7: DTLS done, of a full caller.
    pub secured: Option<Nanos>,
    /// t8: first voice of the partner.
    pub first_voice: Option<Nanos>,
    /// One-way delay of the partner's text through the server.
    pub text: Option<Duration>,
    /// t9: hang-up sent.
    pub hung_up: Option<Nanos>,
    /// t10: told of the end.
    pub ended: Option<Nanos>,
    /// t11: the allocation is known to be gone.
    pub freed: Option<Nanos>,
}

impl Times {
    /// Whether a caller that goes as deep as `depth` has a call: both matched, or described, or checked, or heard.
    pub fn is_up(&self, depth: Depth, media: bool) -> bool {
        match depth {
            Depth::Matching => self.matched.is_some(),
            Depth::Turn if !media => self.allocated.is_some(),
            Depth::Signalling | Depth::Light | Depth::Full | Depth::Turn => {
                self.connected.is_some() && (!media || self.first_voice.is_some())
            }
        }
    }
}

/// The call as this caller was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub call: String,
    pub role: Role,
    /// The partner's level; none if the word was none of the six.
    pub partner_level: Option<u8>,
    /// Topics said to be common.
    pub common_topics: u64,
}

/// How a caller's attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The call was up on this side and came to its end.
    Completed,
    /// The call was up on this side when the run ended; a success whose hold was cut short.
    Cut,
    /// Nobody was found before the run ended: neither success nor failure.
    Unmatched,
    /// Still setting up when the run ended: neither success nor failure.
    InFlight,
    Failed(Cause),
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// No WebSocket.
    Connect,
    /// The server answered with this error code.
    Refused(String),
    /// No partner within the caller's patience.
    NoPartner,
    Allocate(FailureReason),
    Channel(FailureReason),
    /// No TURN server named by an IPv4 or IPv6 address and UDP in `ice`.
    NoTurnServer,
    /// Not up within the set-up time; the furthest step that was reached.
    Timeout(Step),
    /// The server ended the call during set-up, for this reason.
    Ended(String),
    /// The call was up and ended without anybody hanging up, for this reason.
    Dropped(String),
    /// The WebSocket closed under the call.
    SocketLost,
    /// A frame that is not of the protocol.
    Protocol,
}

/// Steps of a set-up, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Step {
    Open,
    Registered,
    Matched,
    Allocated,
    ChannelBound,
    Connected,
    /// The partner was heard, but did not say that it hears us.
    Heard,
}

/// One caller, complete.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub number: u32,
    pub criteria: Criteria,
    pub times: Times,
    pub told: Option<Told>,
    pub outcome: Outcome,
    /// None where no media was expected or the call never came up.
    pub account: Option<Account>,
    pub turn_retransmissions: u32,
    pub check_retransmissions: u32,
    /// Connectivity checks made with a wrong password.
    pub check_rejections: u32,
    /// How often a failed set-up put it back into the queue.
    pub requeued: u32,
    /// The calls those set-ups were for. The partner, who was not put back, has a call this one ended without.
    #[serde(default)]
    pub left: Vec<String>,
    /// Told of a call while it was already in one.
    pub double_matched: bool,
    /// It stopped listening before the server said whether it had matched it: a partner it never heard of may seem alone.
    #[serde(default)]
    pub unheard: bool,
    /// Over what it reached the TURN server.
    #[serde(default)]
    pub reached: Option<Transport>,
    /// Which of the target's nodes it was connected to.
    #[serde(default)]
    pub node: u16,
    /// From being put back into the queue to being matched again, the last time.
    #[serde(default)]
    pub rematch: Option<Duration>,
    /// Its last call was on another relay than its connection, so that it allocated once more.
    #[serde(default)]
    pub moved: bool,
    /// Its media goes to the partner itself, by no relay.
    #[serde(default)]
    pub direct: bool,
}

impl Record {
    /// Refused for want of room: quota reached (486) or capacity (508), RFC 8656 §7.2.
    pub fn is_blocked(&self) -> bool {
        let codes = [486, 508].map(|code| Outcome::Failed(Cause::Allocate(FailureReason::Refused(code))));
        codes.contains(&self.outcome)
    }
}

impl Cause {
    /// A short name for tables.
    pub fn name(&self) -> String {
        match self {
            Cause::Connect => "connect".to_owned(),
            Cause::Refused(code) => format!("refused {code}"),
            Cause::NoPartner => "no partner".to_owned(),
            Cause::Allocate(reason) => format!("allocate {}", reason_name(*reason)),
            Cause::Channel(reason) => format!("channel {}", reason_name(*reason)),
            Cause::NoTurnServer => "no TURN server over UDP by address (name it with --turn IP:PORT)".to_owned(),
            Cause::Timeout(step) => format!("time-out after {}", step.name()),
            Cause::Ended(why) => format!("ended by server: {why}"),
            Cause::Dropped(why) => format!("dropped when up: {why}"),
            Cause::SocketLost => "signalling connection lost".to_owned(),
            Cause::Protocol => "frame not of the protocol".to_owned(),
        }
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Open => "open",
            Step::Registered => "welcome",
            Step::Matched => "matched",
            Step::Allocated => "allocate",
            Step::ChannelBound => "channel bound",
            Step::Connected => "connected (no voice)",
            Step::Heard => "voice (the other side heard none)",
        }
    }
}

fn reason_name(reason: FailureReason) -> String {
    match reason {
        FailureReason::Refused(code) => code.to_string(),
        FailureReason::Timeout => "time-out".to_owned(),
        FailureReason::BadResponse => "bad response".to_owned(),
    }
}

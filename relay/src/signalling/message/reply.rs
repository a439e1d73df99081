//! Server → client frames.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::quality::SideQuality;
use super::words::LevelWord;
use crate::matchmaking;
use crate::signalling::codes::ErrorCode;
use crate::signalling::ids::Id;

/// Room for a frame as most of the long ones are, its number included: growing would copy them two or three times.
const USUAL_BYTES: usize = 512;

/// One frame, as an object with its type in `t`. Its Debug says the type only.
#[derive(Serialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Reply<'a> {
    Welcome(Welcome<'a>),
    Queued(Queued<'a>),
    /// A ticket gave up its place at the client's wish.
    Left {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
    },
    /// Criteria were changed, the place kept.
    Tuned {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
    },
    /// Good for `hello` at another node, should this one die; until the next one.
    Pass {
        pass: &'a str,
    },
    Position {
        ahead: u32,
        eta: Option<Eta>,
        stage: u8,
        /// The one wish that, given up, would match now.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<HintWord>,
    },
    Matched {
        call: Id,
        role: Role,
        polite: bool,
        #[serde(rename = "gen")]
        generation: u32,
        peer: Partner<'a>,
        ice: &'a Ice<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        offer: Option<Offer<'a>>,
        /// `ice` is of another relay than the one this side was given before: what was prepared there is of no use.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        moved: bool,
        deadline_ms: u64,
    },
    Offer {
        call: Id,
        #[serde(rename = "gen")]
        generation: u32,
        sdp: &'a str,
    },
    Answer {
        call: Id,
        #[serde(rename = "gen")]
        generation: u32,
        sdp: &'a str,
    },
    Cand {
        call: Id,
        #[serde(rename = "gen")]
        generation: u32,
        c: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mid: Option<&'a str>,
    },
    Text {
        call: Id,
        k: u32,
        b: &'a str,
        /// Proves in a report that this server relayed exactly this.
        tag: &'a str,
    },
    Typing {
        call: Id,
    },
    /// Both begin a new ICE generation with these credentials; the offerer of the match offers.
    Restart {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
        call: Id,
        #[serde(rename = "gen")]
        generation: u32,
        ice: &'a Ice<'a>,
        deadline_ms: u64,
    },
    /// How the other side is doing.
    Peer {
        call: Id,
        s: PeerState,
    },
    /// How the streams of a call reach the relay, this side's and the partner's, and what else is known of both sides. Told when any of it
    /// changes, at most once in a window; the grades are good until then.
    Quality {
        call: Id,
        up: Grade,
        down: Grade,
        your: SideQuality,
        their: SideQuality,
    },
    /// In a call's life once, and again after each restart.
    Connected {
        call: Id,
        setup_ms: u64,
    },
    Ended {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
        call: Id,
        by: By,
        why: Why,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        requeued: bool,
    },
    /// The report has reached the app's backend.
    Reported {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
    },
    Blocked {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
    },
    /// The server will stop; whoever is in a call may finish it until then.
    Drain {
        in_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a str>,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
        code: ErrorCode,
        msg: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        fatal: bool,
    },
    /// The client follows its own calls from now on, or no longer.
    Tracing {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
        on: bool,
    },
    /// A step of the client's own call, so long after the match; for who follows it.
    Trace {
        call: Id,
        at_ms: u64,
        step: Step,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        q: Option<u64>,
        p: u64,
    },
}

#[derive(Serialize)]
pub struct Welcome<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<u64>,
    pub v: u32,
    /// Session, and the key that will resume it.
    pub sid: Id,
    pub key: Id,
    /// The server pings this often; silence of twice as long ends the connection.
    pub hb_ms: u64,
    pub limits: &'a Limits,
    pub policy: Policy,
    /// A topic's number is its place here.
    pub topics: &'a [String],
    /// Changes when the list does.
    pub topics_rev: u32,
    /// Absent if a resumed session could not be given a place on the relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ice: Option<&'a Ice<'a>>,
    /// This is an earlier session; its frames since `resume.n` follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// Where a resumed session stands now, whatever the client believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resumed {
    pub state: StateWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Id>,
    /// The call's ICE generation.
    #[serde(rename = "gen", skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The highest number of the client's that arrived: what bears a higher one may be said again.
    pub q: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateWord {
    Idle,
    Queued,
    Call,
}

/// What a partner's connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// Nothing is heard of it.
    Stalled,
    /// Its signalling connection broke; it has a few seconds to come back.
    Reconnecting,
    Back,
    /// Its microphone is muted, or gone.
    MicOff,
    MicOn,
}

/// What happened in a call, in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Matched,
    /// The first frame of this side's came.
    Awake,
    OfferPassed,
    AnswerPassed,
    /// A candidate of this side's was passed on …
    CandidatePassed,
    /// … or was none this call may use, or says nothing new.
    CandidateDropped,
    /// The relay hears media of one side …
    FirstVoice,
    /// … and of both: audible.
    BothVoices,
    Connected,
    /// This side misses its partner.
    Silence,
    HeardAgain,
    /// A new ICE generation began.
    Restarted,
}

/// A class of loss and jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    #[default]
    Good,
    Fair,
    Poor,
}

/// "12 people would fit if …": a wish, and about how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HintWord {
    pub relax: &'static str,
    pub would_match: u32,
}

impl From<matchmaking::Hint> for HintWord {
    fn from(hint: matchmaking::Hint) -> HintWord {
        let relax = match hint.relax {
            matchmaking::Relax::Topics => "topics",
            matchmaking::Relax::Level => "level",
            matchmaking::Relax::Gender => "gender",
            matchmaking::Relax::Country => "country",
        };
        HintWord { relax, would_match: hint.would_match }
    }
}

/// What this caller may and gets.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Policy {
    pub relay: RelayWord,
    pub acceptance: bool,
    pub text: bool,
    pub next: bool,
    /// Ordinary ICE is tried first, so the partner may see this caller's address.
    pub direct: bool,
    /// Reports reach somebody.
    pub report: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayWord {
    Always,
    MayDirect,
}

/// Bounds a well-behaved client keeps by itself (matching.md §4.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    pub frame_bytes: usize,
    pub text_chars: usize,
    pub topics: u32,
    pub frames_per_s: u32,
    pub queue_per_min: u32,
    pub next_per_min: u32,
    pub tune_per_s: u32,
    pub text_per_s: u32,
    pub text_burst: u32,
    pub sdp_per_call: u32,
    pub cand_per_call: u32,
    pub restart_per_min: u32,
    pub report_per_h: u32,
    /// A broken connection may be resumed for so long.
    pub resume_ms: u64,
}

#[derive(Serialize)]
pub struct Queued<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<u64>,
    pub tk: Id,
    pub ahead: u32,
    pub eta: Option<Eta>,
    /// Waiting times in milliseconds at which the search widens.
    pub widen: [u64; 3],
    pub ice: &'a Ice<'a>,
}

/// When half, and nine in ten, of such waits are over; milliseconds from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Eta {
    pub p50: u64,
    pub p90: u64,
}

impl From<matchmaking::Eta> for Eta {
    fn from(eta: matchmaking::Eta) -> Eta {
        Eta { p50: eta.p50_ms, p90: eta.p90_ms }
    }
}

/// What to give `RTCPeerConnection`: `iceServers` and `iceTransportPolicy`.
#[derive(Serialize)]
pub struct Ice<'a> {
    pub servers: Vec<IceServer<'a>>,
    pub policy: &'static str,
}

#[derive(Serialize)]
pub struct IceServer<'a> {
    pub urls: &'a [String],
    pub username: String,
    pub credential: String,
}

/// What a caller learns of the other. The card is the app's: passed on as it came, never looked into.
#[derive(Serialize)]
pub struct Partner<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<&'a RawValue>,
    pub lvl: LevelWord,
    /// Topics both chose.
    pub topics: Vec<u8>,
}

#[derive(Serialize)]
pub struct Offer<'a> {
    #[serde(rename = "gen")]
    pub generation: u32,
    pub sdp: &'a str,
}

/// The waiter offers, the arrival answers and is polite in later glare (matching.md §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Offerer,
    Answerer,
}

/// Whose doing the end of a call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    #[serde(rename = "self")]
    Own,
    Peer,
    Server,
}

/// Why a call ended. A closed list: a client's own words never reach the other side this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    Hangup,
    Next,
    /// The other's connection is gone.
    Lost,
    /// No `ack` in time.
    Asleep,
    /// No description, or no connection, in time.
    Deadline,
    /// ICE failed.
    Failed,
    /// A person did not agree to the match.
    Declined,
    /// Told to the one who blocked; the other hears `hangup`.
    Block,
    /// Told to the one who reported; the other hears `hangup`.
    Report,
    /// A fault of this server.
    Internal,
}

impl Why {
    pub const ALL: [Why; 10] = [
        Why::Hangup,
        Why::Next,
        Why::Lost,
        Why::Asleep,
        Why::Deadline,
        Why::Failed,
        Why::Declined,
        Why::Block,
        Why::Report,
        Why::Internal,
    ];

    /// The word on the wire and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Why::Hangup => "hangup",
            Why::Next => "next",
            Why::Lost => "lost",
            Why::Asleep => "asleep",
            Why::Deadline => "deadline",
            Why::Failed => "failed",
            Why::Declined => "declined",
            Why::Block => "block",
            Why::Report => "report",
            Why::Internal => "internal",
        }
    }
}

/// A frame ready to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct TextFrame {
    pub json: String,
    /// `position`, `quality`, `typing` and `trace`: the first to go when a connection does not keep up.
    pub droppable: bool,
}

impl Reply<'_> {
    /// The error frame for `code`, `fatal` as its table says.
    pub fn error(q: Option<u64>, code: ErrorCode, retry_ms: Option<u64>) -> Reply<'static> {
        Reply::Error { q, code, msg: code.message(), retry_ms, fatal: code.close().is_some() }
    }

    pub fn frame(&self) -> TextFrame {
        // A pass is told anew to who resumes: numbered, it would only take the room of what must be kept for them.
        let droppable = matches!(
            self,
            Reply::Pass { .. }
                | Reply::Position { .. }
                | Reply::Typing { .. }
                | Reply::Quality { .. }
                | Reply::Trace { .. }
        );
        let mut json = Vec::with_capacity(USUAL_BYTES);
        // Plain structs of strings and numbers always serialise, and as text.
        if serde_json::to_writer(&mut json, self).is_err() {
            json.clear();
        }
        TextFrame { json: String::from_utf8(json).unwrap_or_default(), droppable }
    }
}

impl TextFrame {
    /// Adds the sequence number; frames are objects with at least a type.
    pub fn number(&mut self, n: u64) {
        if self.json.pop().is_some() {
            // A String takes whatever is written to it.
            let _ = write!(self.json, ",\"n\":{n}}}");
        }
    }
}

impl fmt::Debug for TextFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TextFrame({} bytes)", self.json.len())
    }
}

impl fmt::Debug for Ice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ice[redacted]")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::quality::{Downlink, Mos, Tenths, Uplink};
    use super::*;
    use crate::emodel::Class;
    use serde_json::{Value, json};

    fn ice(urls: &[String]) -> Ice<'_> {
        let server = IceServer { urls, username: "1.2.h.0".into(), credential: "c".into() };
        Ice { servers: vec![server], policy: "relay" }
    }

    fn all_frames() -> Vec<Value> {
        let urls = ["turn:relay.example:3478?transport=udp".to_owned()];
        let (ice, call) = (ice(&urls), Id([0; 16]));
        let card = RawValue::from_string(r#"{"n":"Linh"}"#.to_owned()).unwrap();
        let limits = crate::signalling::limits::LIMITS;
        let policy =
            Policy { relay: RelayWord::Always, acceptance: false, text: true, next: true, direct: false, report: true };
        let topics = ["travel".to_owned()];
        let welcome = |resumed| Welcome {
            q: Some(1),
            v: 1,
            sid: call,
            key: call,
            hb_ms: 20_000,
            limits: &limits,
            policy,
            topics: &topics,
            topics_rev: 7,
            ice: Some(&ice),
            resumed,
        };
        let back = Resumed { state: StateWord::Call, call: Some(call), generation: Some(2), q: 17 };
        let eta = Some(Eta { p50: 400, p90: 2_100 });
        let queued = Queued { q: Some(2), tk: call, ahead: 0, eta, widen: [1_500, 4_000, 10_000], ice: &ice };
        let mos = Some(Mos { class: Class::High, profile: "g711-plc" });
        let (lost, jitter_ms) = (Tenths(8), Tenths(31));
        let up = Uplink {
            packets: 1_500,
            missing: 12,
            reordered: 2,
            lost,
            jitter_ms,
            silent: Some(40),
            rtt_ms: Some(38),
            mos,
        };
        let known = SideQuality { up: Some(up), down: Some(Downlink { lost: Tenths(0), jitter_ms: 4 }) };
        let up = Uplink { silent: None, rtt_ms: None, mos: None, ..up };
        let partly = SideQuality { up: Some(up), down: None };
        let partner = || Partner { card: Some(&card), lvl: LevelWord::B1, topics: vec![3] };
        let offer = Some(Offer { generation: 1, sdp: "v=0\r\n" });
        [
            Reply::Welcome(welcome(None)),
            Reply::Welcome(welcome(Some(back))),
            Reply::Queued(queued),
            Reply::Left { q: Some(3) },
            Reply::Tuned { q: None },
            Reply::Pass { pass: "AQ" },
            Reply::Position { ahead: 4, eta: None, stage: 1, hint: None },
            Reply::Position { ahead: 0, eta: None, stage: 3, hint: Some(HintWord { relax: "level", would_match: 10 }) },
            Reply::Matched {
                call,
                role: Role::Answerer,
                polite: true,
                generation: 1,
                peer: partner(),
                ice: &ice,
                offer,
                moved: false,
                deadline_ms: 10_000,
            },
            Reply::Matched {
                call,
                role: Role::Offerer,
                polite: false,
                generation: 1,
                peer: partner(),
                ice: &ice,
                offer: None,
                moved: true,
                deadline_ms: 10_000,
            },
            Reply::Offer { call, generation: 1, sdp: "v=0\r\n" },
            Reply::Answer { call, generation: 1, sdp: "v=0\r\n" },
            Reply::Cand { call, generation: 1, c: Some("candidate:1 1 udp 1 192.0.2.1 9 typ relay"), mid: Some("0") },
            Reply::Cand { call, generation: 1, c: None, mid: None },
            Reply::Text { call, k: 1, b: "hello!", tag: "AAAA" },
            Reply::Restart { q: Some(6), call, generation: 2, ice: &ice, deadline_ms: 15_000 },
            Reply::Peer { call, s: PeerState::Stalled },
            Reply::Peer { call, s: PeerState::Reconnecting },
            Reply::Peer { call, s: PeerState::Back },
            Reply::Peer { call, s: PeerState::MicOff },
            Reply::Peer { call, s: PeerState::MicOn },
            Reply::Quality { call, up: Grade::Good, down: Grade::Poor, your: known, their: SideQuality::default() },
            Reply::Quality { call, up: Grade::Fair, down: Grade::Good, your: SideQuality::default(), their: partly },
            Reply::Typing { call },
            Reply::Connected { call, setup_ms: 241 },
            Reply::Ended { q: Some(4), call, by: By::Own, why: Why::Next, requeued: false },
            Reply::Ended { q: None, call, by: By::Peer, why: Why::Asleep, requeued: true },
            Reply::Reported { q: Some(8) },
            Reply::Blocked { q: Some(9) },
            Reply::Drain { in_ms: 30_000, to: Some("wss://other.example/v1/ws") },
            Reply::error(Some(5), ErrorCode::Rate, Some(250)),
            Reply::error(None, ErrorCode::Age, None),
            Reply::Tracing { q: Some(7), on: true },
            Reply::Trace { call, at_ms: 12, step: Step::AnswerPassed },
            Reply::Pong { q: None, p: 9 },
        ]
        .iter()
        .map(|reply| serde_json::from_str(&reply.frame().json).unwrap())
        .collect()
    }

    #[test]
    fn golden_server_frames_are_written_as_agreed() {
        let expected: Value = serde_json::from_str(include_str!("../vectors/server.json")).unwrap();
        let written = Value::Array(all_frames());
        assert_eq!(written, expected, "\n{}", serde_json::to_string_pretty(&written).unwrap());
    }

    #[test]
    fn the_type_comes_first_so_that_people_can_read_a_trace() {
        assert!(Reply::Left { q: None }.frame().json.starts_with(r#"{"t":"left""#));
    }

    #[test]
    fn only_position_and_typing_may_be_dropped() {
        let droppable = |reply: Reply<'_>| reply.frame().droppable;
        assert!(droppable(Reply::Typing { call: Id([0; 16]) }));
        assert!(droppable(Reply::Position { ahead: 0, eta: None, stage: 0, hint: None }));
        assert!(!droppable(Reply::Left { q: None }));
    }

    #[test]
    fn every_reason_travels_under_its_name() {
        for why in Why::ALL {
            assert_eq!(json!(why), json!(why.name()));
        }
    }
}

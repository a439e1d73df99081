//! Client → server frames.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::quality::{Downlink, WireHeard};
use super::words::{GenderWord, LevelWord, ModeWord};
use super::{MAX_DEPTH, MAX_EVIDENCE, MAX_FRAME_BYTES, MAX_NOTE_CHARS, MAX_SAFE_INTEGER, MAX_TEXT_CHARS, deeper_than};
use crate::matchmaking::{Countries, Country, GenderSet, MAX_TOPICS, TopicSet};
use crate::signalling::ids::CallRef;

/// A readable frame and the number the client gave it, to be repeated in the direct answer.
#[derive(Debug)]
pub struct Envelope {
    pub q: Option<u64>,
    pub request: Request,
}

/// Why a frame could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not JSON, too deep, too long, or of the wrong shape: fatal.
    Proto,
    /// A type this server does not know: not fatal.
    Unknown { q: Option<u64> },
}

#[derive(Debug)]
pub enum Request {
    Hello(Hello),
    Queue(Queue),
    Tune(Queue),
    Leave,
    Ack {
        call: CallRef,
    },
    /// A person agreed to the match (`policy.acceptance`).
    Accept {
        call: CallRef,
    },
    Decline {
        call: CallRef,
    },
    Offer(SdpFrame),
    Answer(SdpFrame),
    Cand(Cand),
    Ice {
        call: CallRef,
        state: IceState,
    },
    /// A new ICE generation with fresh credentials, please.
    Restart {
        call: CallRef,
    },
    Text(TextRequest),
    Typing {
        call: CallRef,
    },
    /// What this side's microphone is doing.
    Mic {
        call: CallRef,
        state: MicState,
    },
    /// How the partner's stream arrives at this side.
    Heard {
        call: CallRef,
        downlink: Downlink,
    },
    Hangup {
        call: CallRef,
    },
    Next {
        call: CallRef,
    },
    Block {
        call: CallRef,
    },
    Report(Report),
    /// Steps of the client's own calls, please, or no longer.
    Trace {
        on: bool,
    },
    /// `n`: the last numbered frame the client has; nothing up to it needs to be kept for it.
    Ping {
        p: u64,
        n: Option<u64>,
    },
}

/// A token, or what is left of a session whose connection broke, or what its node gave in case it dies, or more of these.
pub struct Hello {
    pub versions: Vec<u32>,
    pub token: Option<String>,
    pub resume: Option<Resume>,
    /// Of an earlier `pass`.
    pub pass: Option<String>,
}

/// The session of an earlier `welcome`, its key, and the last numbered frame that arrived.
#[derive(Deserialize)]
pub struct Resume {
    pub sid: CallRef,
    pub key: CallRef,
    pub n: u64,
}

/// What a report is about. A closed list: anything finer is for the note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    Harassment,
    Hate,
    Sexual,
    Spam,
    SelfHarm,
    /// Ends the call at once and is delivered before anything else (S6).
    MinorSafety,
    Other,
}

/// Somebody reports the partner of this call, or of the last one.
#[derive(Deserialize)]
pub struct Report {
    pub call: CallRef,
    #[serde(rename = "cat")]
    pub category: Category,
    #[serde(default)]
    pub note: Option<String>,
    #[serde(default, rename = "ev")]
    pub evidence: Vec<Evidence>,
    /// Hang up as well.
    #[serde(default)]
    pub end: bool,
}

/// A text the partner sent, with the tag the server stamped it with.
#[derive(Deserialize)]
pub struct Evidence {
    pub k: u32,
    pub b: String,
    pub tag: String,
}

/// Criteria of `queue` and `tune`; what is absent comes from the token. `offer` belongs to `queue` alone.
#[derive(Debug)]
pub struct Queue {
    pub topics: TopicSet,
    pub gender: Option<GenderSet>,
    pub level: Option<LevelWord>,
    pub max_distance: u8,
    pub topic_mode: ModeWord,
    pub countries: Countries,
    pub offer: Option<SdpOffer>,
}

/// An offer made before there is a partner: with it in `matched` the answer is one round trip closer.
#[derive(Deserialize)]
pub struct SdpOffer {
    #[serde(rename = "gen")]
    pub generation: u32,
    pub sdp: String,
}

#[derive(Deserialize)]
pub struct SdpFrame {
    pub call: CallRef,
    #[serde(rename = "gen")]
    pub generation: u32,
    pub sdp: String,
}

/// `c` absent, `null` or empty: end of candidates.
#[derive(Deserialize)]
pub struct Cand {
    pub call: CallRef,
    #[serde(rename = "gen")]
    pub generation: u32,
    #[serde(default)]
    pub c: Option<String>,
    #[serde(default)]
    pub mid: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IceState {
    Checking,
    Connected,
    Disconnected,
    Failed,
}

/// A microphone may be refused, muted or unplugged: a state, not an error (A4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MicState {
    On,
    Muted,
    /// Refused, revoked, unplugged.
    Ended,
}

#[derive(Deserialize)]
pub struct TextRequest {
    pub call: CallRef,
    pub k: u32,
    pub b: String,
}

/// Reads one frame.
///
/// # Errors
/// [`Unreadable`]; nothing of the frame is in it.
pub fn parse(frame: &str) -> Result<Envelope, Unreadable> {
    if frame.len() > MAX_FRAME_BYTES || deeper_than(frame, MAX_DEPTH) {
        return Err(Unreadable::Proto);
    }
    let head: Head = body(frame)?;
    if head.q.is_some_and(|q| q > MAX_SAFE_INTEGER) {
        return Err(Unreadable::Proto);
    }
    let request = match &*head.t {
        "hello" => Request::Hello(body::<WireHello>(frame)?.checked()?),
        "queue" => Request::Queue(body::<WireQueue>(frame)?.checked()?),
        "tune" => Request::Tune(body::<WireQueue>(frame)?.checked()?),
        "leave" => Request::Leave,
        "ack" => Request::Ack { call: body::<OfCall>(frame)?.call },
        "accept" => Request::Accept { call: body::<OfCall>(frame)?.call },
        "decline" => Request::Decline { call: body::<OfCall>(frame)?.call },
        "restart" => Request::Restart { call: body::<OfCall>(frame)?.call },
        "block" => Request::Block { call: body::<OfCall>(frame)?.call },
        "report" => Request::Report(checked_report(body(frame)?)?),
        "offer" => Request::Offer(body(frame)?),
        "answer" => Request::Answer(body(frame)?),
        "cand" => Request::Cand(body(frame)?),
        "ice" => body::<WireIce>(frame).map(|ice| Request::Ice { call: ice.call, state: ice.s })?,
        "text" => Request::Text(checked_text(body(frame)?)?),
        "typing" => Request::Typing { call: body::<OfCall>(frame)?.call },
        "mic" => body::<WireMic>(frame).map(|mic| Request::Mic { call: mic.call, state: mic.s })?,
        "heard" => checked_heard(body(frame)?)?,
        "hangup" => Request::Hangup { call: body::<OfCall>(frame)?.call },
        "next" => Request::Next { call: body::<OfCall>(frame)?.call },
        "trace" => Request::Trace { on: body::<WireTrace>(frame)?.on },
        "ping" => checked_ping(body(frame)?)?,
        _ => return Err(Unreadable::Unknown { q: head.q }),
    };
    Ok(Envelope { q: head.q, request })
}

#[derive(Deserialize)]
struct Head {
    t: String,
    #[serde(default)]
    q: Option<u64>,
}

#[derive(Deserialize)]
struct WireHello {
    v: Vec<u32>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    resume: Option<Resume>,
    #[serde(default)]
    pass: Option<String>,
}

#[derive(Deserialize)]
struct WireQueue {
    #[serde(default)]
    topics: Vec<u8>,
    #[serde(default)]
    gender: Option<Vec<GenderWord>>,
    #[serde(default)]
    level: Option<LevelWord>,
    #[serde(default)]
    max_dist: Option<u8>,
    #[serde(default)]
    topic_mode: Option<ModeWord>,
    #[serde(default)]
    countries: Vec<String>,
    #[serde(default)]
    offer: Option<SdpOffer>,
}

#[derive(Deserialize)]
struct OfCall {
    call: CallRef,
}

#[derive(Deserialize)]
struct WireMic {
    call: CallRef,
    s: MicState,
}

#[derive(Deserialize)]
struct WireIce {
    call: CallRef,
    s: IceState,
}

#[derive(Deserialize)]
struct WireTrace {
    on: bool,
}

#[derive(Deserialize)]
struct WirePing {
    p: u64,
    #[serde(default)]
    n: Option<u64>,
}

fn checked_heard(heard: WireHeard) -> Result<Request, Unreadable> {
    Ok(Request::Heard { downlink: heard.checked()?, call: heard.call })
}

fn body<T: DeserializeOwned>(frame: &str) -> Result<T, Unreadable> {
    serde_json::from_str(frame).map_err(|_| Unreadable::Proto)
}

impl WireHello {
    fn checked(self) -> Result<Hello, Unreadable> {
        let nameless = self.token.is_none() && self.resume.is_none() && self.pass.is_none();
        let numbered = self.resume.as_ref().is_none_or(|resume| resume.n <= MAX_SAFE_INTEGER);
        if self.v.is_empty() || self.v.len() > 8 || nameless || !numbered {
            return Err(Unreadable::Proto);
        }
        Ok(Hello { versions: self.v, token: self.token, resume: self.resume, pass: self.pass })
    }
}

impl WireQueue {
    fn checked(self) -> Result<Queue, Unreadable> {
        let too_many = self.topics.len() > MAX_TOPICS as usize || self.topics.iter().any(|topic| *topic > 63);
        let gender = self.gender.map(|words| (words.len(), words.into_iter().map(Into::into).collect::<GenderSet>()));
        let bad_gender = gender.is_some_and(|(count, set)| count > 3 || set.is_empty());
        let countries: Option<Vec<Country>> = self.countries.iter().map(|code| Country::parse(code)).collect();
        let countries = countries.as_deref().and_then(Countries::new).ok_or(Unreadable::Proto)?;
        let max_distance = self.max_dist.unwrap_or(5);
        if too_many || bad_gender || max_distance > 5 {
            return Err(Unreadable::Proto);
        }
        Ok(Queue {
            topics: self.topics.into_iter().collect(),
            gender: gender.map(|(_, set)| set),
            level: self.level,
            max_distance,
            topic_mode: self.topic_mode.unwrap_or(ModeWord::Prefer),
            countries,
            offer: self.offer,
        })
    }
}

fn checked_text(text: TextRequest) -> Result<TextRequest, Unreadable> {
    let chars = text.b.chars().take(MAX_TEXT_CHARS + 1).count();
    if chars == 0 || chars > MAX_TEXT_CHARS { Err(Unreadable::Proto) } else { Ok(text) }
}

fn checked_ping(WirePing { p, n }: WirePing) -> Result<Request, Unreadable> {
    let small = p.max(n.unwrap_or(0)) <= MAX_SAFE_INTEGER;
    if small { Ok(Request::Ping { p, n }) } else { Err(Unreadable::Proto) }
}

fn checked_report(report: Report) -> Result<Report, Unreadable> {
    let is_short = |text: &str, most: usize| text.chars().nth(most).is_none();
    let note = report.note.as_deref().is_none_or(|note| is_short(note, MAX_NOTE_CHARS));
    let evidence = report.evidence.len() <= MAX_EVIDENCE;
    let texts = report.evidence.iter().all(|text| is_short(&text.b, MAX_TEXT_CHARS));
    if note && evidence && texts { Ok(report) } else { Err(Unreadable::Proto) }
}

/// Types that hold what a person said, is or uses.
macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "[redacted]"))
            }
        }
    )*};
}
redacted!(Hello, Resume, SdpOffer, SdpFrame, Cand, TextRequest, Report, Evidence);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Shared with every other implementation of the protocol.
    const VECTORS: &str = include_str!("../vectors/client.json");

    #[test]
    fn golden_client_frames_are_read_as_agreed() {
        let vectors: Vec<serde_json::Value> = serde_json::from_str(VECTORS).unwrap();
        assert!(vectors.len() > 40);
        for vector in vectors {
            let frame = vector["raw"].as_str().map_or_else(|| vector["frame"].to_string(), str::to_owned);
            let got = match parse(&frame) {
                Ok(_) => "ok",
                Err(Unreadable::Proto) => "E_PROTO",
                Err(Unreadable::Unknown { .. }) => "E_UNKNOWN",
            };
            assert_eq!(got, vector["expect"], "{}: {frame}", vector["name"]);
        }
    }

    #[test]
    fn debug_shows_nothing_a_person_sent() {
        let frame = r#"{"t":"text","call":"AAAAAAAAAAAAAAAAAAAAAA","k":1,"b":"mark-of-text"}"#;
        let token = r#"{"t":"hello","v":[1],"token":"mark-of-token"}"#;
        let queue = r#"{"t":"queue","offer":{"gen":1,"sdp":"mark-of-sdp"}}"#;
        for frame in [frame, token, queue] {
            assert!(!format!("{:?}", parse(frame).unwrap()).contains("mark"));
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_whatever_it_says() {
        let frame = format!(r#"{{"t":"leave","x":"{}"}}"#, "x".repeat(MAX_FRAME_BYTES));
        assert_eq!(parse(&frame).unwrap_err(), Unreadable::Proto);
    }

    #[test]
    fn text_is_measured_in_characters_not_bytes() {
        let text = |b: &str| format!(r#"{{"t":"text","call":"x","k":1,"b":"{b}"}}"#);
        assert!(parse(&text(&"é".repeat(2_000))).is_ok());
        assert_eq!(parse(&text(&"é".repeat(2_001))).unwrap_err(), Unreadable::Proto);
    }
}

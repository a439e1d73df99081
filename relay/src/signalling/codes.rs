//! Error codes of pair.v1 and the WebSocket close codes that go with them (matching.md §4.5).

use serde::Serialize;

/// What a client is told when a frame is refused. The text never repeats anything it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ErrorCode {
    #[serde(rename = "E_PROTO")]
    Proto,
    #[serde(rename = "E_UNKNOWN")]
    Unknown,
    #[serde(rename = "E_STATE")]
    State,
    #[serde(rename = "E_VERSION")]
    Version,
    #[serde(rename = "E_TOKEN")]
    Token,
    #[serde(rename = "E_AGE")]
    Age,
    #[serde(rename = "E_REVOKED")]
    Revoked,
    #[serde(rename = "E_REPLACED")]
    Replaced,
    #[serde(rename = "E_CRIT")]
    Criteria,
    #[serde(rename = "E_NO_SUPPLY")]
    NoSupply,
    #[serde(rename = "E_CALL")]
    Call,
    #[serde(rename = "E_SDP")]
    Sdp,
    #[serde(rename = "E_CAND")]
    Candidate,
    #[serde(rename = "E_GEN")]
    Generation,
    #[serde(rename = "E_DEADLINE")]
    Deadline,
    #[serde(rename = "E_RATE")]
    Rate,
    #[serde(rename = "E_BUSY")]
    Busy,
    #[serde(rename = "E_SLOW")]
    Slow,
    #[serde(rename = "E_REPORT_RETRY")]
    ReportRetry,
    #[serde(rename = "E_INTERNAL")]
    Internal,
}

/// Why this side closes a WebSocket (RFC 6455 §7.4, private range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Going away: the server stops.
    pub const AWAY: CloseCode = CloseCode(1001);
    /// Service restart: another process has what this one had, at the same address; the session is to be resumed there at once (IANA
    /// WebSocket Close Code Number Registry).
    pub const RESTART: CloseCode = CloseCode(1012);
    pub const PROTO: CloseCode = CloseCode(4400);
    pub const SLOW: CloseCode = CloseCode(4408);
    pub const RATE: CloseCode = CloseCode(4429);
    /// What a client that means to resume its session closes with; the server never does.
    pub const WILL_RESUME: CloseCode = CloseCode(4000);
}

impl ErrorCode {
    pub const ALL: [ErrorCode; 20] = [
        ErrorCode::Proto,
        ErrorCode::Unknown,
        ErrorCode::State,
        ErrorCode::Version,
        ErrorCode::Token,
        ErrorCode::Age,
        ErrorCode::Revoked,
        ErrorCode::Replaced,
        ErrorCode::Criteria,
        ErrorCode::NoSupply,
        ErrorCode::Call,
        ErrorCode::Sdp,
        ErrorCode::Candidate,
        ErrorCode::Generation,
        ErrorCode::Deadline,
        ErrorCode::Rate,
        ErrorCode::Busy,
        ErrorCode::Slow,
        ErrorCode::ReportRetry,
        ErrorCode::Internal,
    ];

    /// The name on the wire and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorCode::Proto => "E_PROTO",
            ErrorCode::Unknown => "E_UNKNOWN",
            ErrorCode::State => "E_STATE",
            ErrorCode::Version => "E_VERSION",
            ErrorCode::Token => "E_TOKEN",
            ErrorCode::Age => "E_AGE",
            ErrorCode::Revoked => "E_REVOKED",
            ErrorCode::Replaced => "E_REPLACED",
            ErrorCode::Criteria => "E_CRIT",
            ErrorCode::NoSupply => "E_NO_SUPPLY",
            ErrorCode::Call => "E_CALL",
            ErrorCode::Sdp => "E_SDP",
            ErrorCode::Candidate => "E_CAND",
            ErrorCode::Generation => "E_GEN",
            ErrorCode::Deadline => "E_DEADLINE",
            ErrorCode::Rate => "E_RATE",
            ErrorCode::Busy => "E_BUSY",
            ErrorCode::Slow => "E_SLOW",
            ErrorCode::ReportRetry => "E_REPORT_RETRY",
            ErrorCode::Internal => "E_INTERNAL",
        }
    }

    /// The number in matching.md §4.5, for tables and dashboards; frames carry the name.
    pub const fn number(self) -> u16 {
        match self {
            ErrorCode::Proto => 100,
            ErrorCode::Unknown => 101,
            ErrorCode::State => 102,
            ErrorCode::Version => 103,
            ErrorCode::Token => 200,
            ErrorCode::Age => 201,
            ErrorCode::Revoked => 202,
            ErrorCode::Replaced => 203,
            ErrorCode::Criteria => 300,
            ErrorCode::NoSupply => 301,
            ErrorCode::Call => 400,
            ErrorCode::Sdp => 401,
            ErrorCode::Candidate => 402,
            ErrorCode::Generation => 403,
            ErrorCode::Deadline => 404,
            ErrorCode::Rate => 500,
            ErrorCode::Busy => 501,
            ErrorCode::Slow => 502,
            ErrorCode::ReportRetry => 600,
            ErrorCode::Internal => 900,
        }
    }

    /// One fixed sentence for people who read logs of their client.
    pub const fn message(self) -> &'static str {
        match self {
            ErrorCode::Proto => "not a frame of pair.v1",
            ErrorCode::Unknown => "this server does not know that type of frame",
            ErrorCode::State => "not now",
            ErrorCode::Version => "no common version",
            ErrorCode::Token => "the token is not valid here, or no longer",
            ErrorCode::Age => "the age gate is closed",
            ErrorCode::Revoked => "the app has withdrawn this access",
            ErrorCode::Replaced => "a newer connection of the same person took over",
            ErrorCode::Criteria => "the token does not allow that",
            ErrorCode::NoSupply => "nobody who fits is here now",
            ErrorCode::Call => "no such call",
            ErrorCode::Sdp => "needs one audio line with a fingerprint, no video, and less of it",
            ErrorCode::Candidate => "not a candidate this call may use",
            ErrorCode::Generation => "not the current generation",
            ErrorCode::Deadline => "too late",
            ErrorCode::Rate => "too often",
            ErrorCode::Busy => "the server is full, try later",
            ErrorCode::Slow => "the connection does not keep up",
            ErrorCode::ReportRetry => "the report could not be delivered: keep it and try again",
            ErrorCode::Internal => "a fault of this server",
        }
    }

    /// The close code that always follows; `None` for errors the connection survives.
    pub const fn close(self) -> Option<CloseCode> {
        match self {
            ErrorCode::Proto => Some(CloseCode::PROTO),
            ErrorCode::Token => Some(CloseCode(4401)),
            ErrorCode::Version | ErrorCode::Age | ErrorCode::Revoked => Some(CloseCode(4403)),
            ErrorCode::Replaced => Some(CloseCode(4409)),
            ErrorCode::Busy => Some(CloseCode(4503)),
            ErrorCode::Slow => Some(CloseCode::SLOW),
            ErrorCode::Internal => Some(CloseCode(1011)),
            // E_RATE closes with 4429 only when it is earned again and again: see `Session::strike`.
            ErrorCode::Unknown
            | ErrorCode::State
            | ErrorCode::Criteria
            | ErrorCode::NoSupply
            | ErrorCode::ReportRetry
            | ErrorCode::Call
            | ErrorCode::Sdp
            | ErrorCode::Candidate
            | ErrorCode::Generation
            | ErrorCode::Deadline
            | ErrorCode::Rate => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_code_travels_under_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.name()));
        }
    }

    #[test]
    fn close_codes_are_those_of_the_protocol() {
        let fatal: Vec<(&str, u16)> =
            ErrorCode::ALL.iter().filter_map(|code| Some((code.name(), code.close()?.0))).collect();
        let expected = [
            ("E_PROTO", 4400),
            ("E_VERSION", 4403),
            ("E_TOKEN", 4401),
            ("E_AGE", 4403),
            ("E_REVOKED", 4403),
            ("E_REPLACED", 4409),
            ("E_BUSY", 4503),
            ("E_SLOW", 4408),
            ("E_INTERNAL", 1011),
        ];
        assert_eq!(fatal, expected);
        let asyncapi = include_str!("../../docs/pair.v1/asyncapi.json");
        let others = [CloseCode::AWAY, CloseCode::RESTART, CloseCode::RATE, CloseCode::WILL_RESUME];
        let documented = others.into_iter().chain(fatal.iter().map(|(_, code)| CloseCode(*code)));
        assert!(documented.map(|code| code.0.to_string()).all(|code| asyncapi.contains(&code)));
    }
}

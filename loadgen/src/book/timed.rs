//! The phases of a call that are timed, and what they are called.

/// What is timed, in the order a caller meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timed {
    /// t0′ − t0: the generator's own lag.
    Start,
    /// t1 − t0: connected and greeted.
    Register,
    /// ta1 − ta0, the 401 round trip included; corrected: since the credential was in hand.
    Allocate,
    /// t3 − t0.
    MatchWait,
    /// t3 − t2 of the later side, from when the rules allowed the pair; uncorrected: since its queue request left.
    MatchDecision,
    Permission,
    Channel,
    /// t6 − first check sent.
    Check,
    /// t7 − t6: DTLS, of full callers.
    Secure,
    /// t6 − t3, worse side.
    SetupAfterMatch,
    /// t6 − t0, worse side.
    Setup,
    /// t8 − t0, worse side.
    FirstMedia,
    /// Text through the server, one way.
    Text,
    /// t10 of the far end − t9.
    Disconnect,
    /// t11 − t9, each side.
    Release,
}

impl Timed {
    pub const ALL: [Timed; 15] = [
        Timed::Start,
        Timed::Register,
        Timed::Allocate,
        Timed::MatchWait,
        Timed::MatchDecision,
        Timed::Permission,
        Timed::Channel,
        Timed::Check,
        Timed::Secure,
        Timed::SetupAfterMatch,
        Timed::Setup,
        Timed::FirstMedia,
        Timed::Text,
        Timed::Disconnect,
        Timed::Release,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Timed::Start => "start lag (generator)",
            Timed::Register => "signalling ready",
            Timed::Allocate => "allocate",
            Timed::MatchWait => "match wait",
            Timed::MatchDecision => "match decision",
            Timed::Permission => "permission",
            Timed::Channel => "channel bind",
            Timed::Check => "connectivity check",
            Timed::Secure => "DTLS handshake",
            Timed::SetupAfterMatch => "set-up after match",
            Timed::Setup => "call set-up",
            Timed::FirstMedia => "time to 1st media",
            Timed::Text => "text, one way",
            Timed::Disconnect => "disconnect",
            Timed::Release => "allocation freed",
        }
    }

    /// The name in JSON and objectives.
    pub fn key(self) -> &'static str {
        match self {
            Timed::Start => "start_lag",
            Timed::Register => "register",
            Timed::Allocate => "allocate",
            Timed::MatchWait => "match",
            Timed::MatchDecision => "decision",
            Timed::Permission => "permission",
            Timed::Channel => "channel",
            Timed::Check => "check",
            Timed::Secure => "secure",
            Timed::SetupAfterMatch => "setup_after_match",
            Timed::Setup => "setup",
            Timed::FirstMedia => "ttfm",
            Timed::Text => "text",
            Timed::Disconnect => "disconnect",
            Timed::Release => "release",
        }
    }
}

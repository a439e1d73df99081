//! The JSON language of pair.v1 (matching.md §4.3): one object per text frame, in both directions.
//!
//! Reading is strict about shape and bounds, and deaf to fields it does not know. Nothing here keeps or prints what a
//! client sent; the Debug of every type that holds such data says `[redacted]`.

mod quality;
mod reply;
mod request;
mod words;

pub use quality::{Downlink, Mos, SideQuality, Tenths, Uplink, rating};
pub use reply::{
    By, Eta, Grade, HintWord, Ice, IceServer, Limits, Offer, Partner, PeerState, Policy, Queued, RelayWord, Reply,
    Resumed, Role, StateWord, Step, TextFrame, Welcome, Why,
};
pub use request::{
    Cand, Category, Envelope, Evidence, Hello, IceState, MicState, Queue, Report, Request, Resume, SdpFrame, SdpOffer,
    TextRequest, Unreadable, parse,
};
pub use words::{BandWord, GenderWord, LevelWord, ModeWord};

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "pair.v1";
/// The only version of the language spoken so far.
pub const VERSION: u32 = 1;
/// Longest frame read, in bytes.
pub const MAX_FRAME_BYTES: usize = 16 * 1024;
/// Deepest nesting of objects and arrays in a frame.
pub const MAX_DEPTH: usize = 8;
/// Longest in-call text, in Unicode scalar values.
pub const MAX_TEXT_CHARS: usize = 2_000;
/// Longest note of a report, in Unicode scalar values.
pub const MAX_NOTE_CHARS: usize = 500;
/// Texts in one report.
pub const MAX_EVIDENCE: usize = 50;
/// Largest integer a JavaScript client can hold.
pub(super) const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Whether objects and arrays nest deeper than `limit` outside strings. Needs no valid JSON: it only guards the parser.
pub(super) fn deeper_than(json: &str, limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod schema_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert!(!deeper_than(r#"{"a":[[[[[[[1]]]]]]]}"#, 8));
        assert!(deeper_than(r#"{"a":[[[[[[[[1]]]]]]]]}"#, 8));
        assert!(!deeper_than(r#"{"a":"[[[[[[[[[[[[\"[[[["}"#, 8));
        assert!(deeper_than(&"[".repeat(10_000), 8));
    }
}

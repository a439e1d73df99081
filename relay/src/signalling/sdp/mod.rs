//! Session descriptions (RFC 8866, RFC 8829), taken apart and written anew from an allow-list (matching.md §4.7).
//!
//! What is not on the list does not reach the partner: addresses, candidates, session and stream names, canonical names,
//! SSRC lines, header extensions that would show loudness in the clear. What remains is one audio line, at most one data
//! channel line, and what ICE, DTLS and Opus need. Candidates travel on their own, see [`super::candidate`]; those that
//! the server knows anyway it writes itself.

mod emit;
mod media;
mod parse;
mod text;

#[cfg(test)]
mod tests;

/// Longest description read, in bytes. Chromium's with candidates of four interfaces has 5 000.
pub const MAX_SDP_BYTES: usize = 12 * 1024;

/// Not a description of one audio call: no audio, no fingerprint, video, too big, or not SDP at all. Says no more, so
/// that nothing of it can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSdp;

/// Which half of offer/answer (RFC 3264) a description is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Offer,
    Answer,
}

/// Writes `sdp` anew, for the partner. `generation` becomes the version in `o=`.
///
/// # Errors
/// [`BadSdp`].
pub fn rebuild(sdp: &str, kind: Kind, generation: u32) -> Result<String, BadSdp> {
    let description = parse::description(sdp, kind).ok_or(BadSdp)?;
    Ok(emit::description(&description, generation))
}

/// A rebuilt description with these candidates in its first section, which carries all the others.
pub fn with_candidates(sdp: &str, lines: impl Iterator<Item = String>) -> String {
    let sections: Vec<usize> = sdp.match_indices("\r\nm=").map(|(at, _)| at + 2).collect();
    let (first, rest) = sdp.split_at(sections.get(1).copied().unwrap_or(sdp.len()));
    let lines: String = lines.map(|line| format!("a={line}\r\n")).collect();
    format!("{first}{lines}{rest}")
}

pub(in crate::signalling) use self::text::is_ice_chars;

/// Whether `mid` can be the identification tag of a line in a rebuilt description.
pub fn is_mid(mid: &str) -> bool {
    text::is_mid(mid)
}

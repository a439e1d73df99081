//! Which characters may stand where, and lines as (type, value).

/// Longest line, in bytes; a `msid` line, the longest a browser writes, has 90.
const MAX_LINE_BYTES: usize = 512;
/// Lines in a description; Chromium's with candidates has 120.
const MAX_LINES: usize = 512;
const MAX_MID_BYTES: usize = 16;

/// The lines of a description as (type, value), or `None` if one of them is no line of SDP. Ends in CRLF or LF.
pub(super) fn lines(sdp: &str) -> Option<Vec<(u8, &str)>> {
    let lines: Vec<&str> = sdp.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let (last, lines) = lines.split_last()?;
    // What follows the last line end is nothing, or a last line without one.
    let rest = (!last.is_empty()).then_some(last);
    if lines.len() > MAX_LINES {
        return None;
    }
    lines.iter().chain(rest).map(|line| typed(line)).collect()
}

fn typed(line: &str) -> Option<(u8, &str)> {
    let (kind, value) = line.split_once('=')?;
    let &[kind @ b'a'..=b'z'] = kind.as_bytes() else { return None };
    (line.len() <= MAX_LINE_BYTES && !value.bytes().any(|b| b.is_ascii_control())).then_some((kind, value))
}

/// `token` of RFC 8866 §9, narrowed to what browsers use for mids.
pub(super) fn is_mid(text: &str) -> bool {
    (1..=MAX_MID_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// `ice-char` of RFC 8839 §5.
pub(in crate::signalling) fn is_ice_chars(text: &str, least: usize) -> bool {
    (least..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

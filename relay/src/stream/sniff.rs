//! What a connection speaks, from its first bytes. Pure.

use crate::wire::MAGIC_COOKIE;

/// Bytes after which [`sniff`] always knows.
pub const ENOUGH_BYTES: usize = 8;

/// HTTP methods a browser, a monitor or a scanner begins with.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "];

/// How HTTP/2 begins (RFC 9113 §3.4), as far as we look.
const HTTP2: &[u8; ENOUGH_BYTES] = b"PRI * HT";

/// What the first bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// A STUN message: a TURN client. ChannelData cannot come first: there is no channel yet, and `GET ` would look like it.
    Stun,
    /// A TLS handshake record.
    Tls,
    /// An HTTP request line.
    Http,
    /// The preface of HTTP/2.
    Http2,
    /// It depends on what follows.
    Unclear,
    /// Nothing we speak.
    Other,
}

/// Looks at the first bytes of a connection; from [`ENOUGH_BYTES`] on the answer is never [`Spoken::Unclear`].
pub fn sniff(first: &[u8]) -> Spoken {
    // A STUN type may begin with 0x16 too; the cookie decides first.
    match (begins_stun(first), begins_tls(first), begins_http(first), begins_with(first, HTTP2)) {
        (Some(true), ..) => Spoken::Stun,
        (_, Some(true), ..) => Spoken::Tls,
        (_, _, Some(true), _) => Spoken::Http,
        (.., Some(true)) => Spoken::Http2,
        (Some(false), Some(false), Some(false), Some(false)) => Spoken::Other,
        _ => Spoken::Unclear,
    }
}

/// Each of these: yes, no, or `None` while it cannot be told.
fn begins_stun(first: &[u8]) -> Option<bool> {
    if first.first().is_some_and(|byte| byte & 0xC0 != 0) || first.get(3).is_some_and(|byte| byte % 4 != 0) {
        return Some(false);
    }
    begins_with(first.get(4..).unwrap_or_default(), &MAGIC_COOKIE)
}

/// Record type 22, major version 3 (RFC 8446 §5.1), message type 1: a client says hello.
fn begins_tls(first: &[u8]) -> Option<bool> {
    match begins_with(first, &[22, 3]) {
        Some(true) => first.get(5).map(|message| *message == 1),
        unclear_or_no => unclear_or_no,
    }
}

fn begins_http(first: &[u8]) -> Option<bool> {
    let enough = &first[..first.len().min(ENOUGH_BYTES)];
    let answers = METHODS.map(|method| begins_with(enough, &method[..method.len().min(ENOUGH_BYTES)]));
    if answers.contains(&Some(true)) {
        Some(true)
    } else if answers.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn begins_with(bytes: &[u8], wanted: &[u8]) -> Option<bool> {
    if bytes.len() >= wanted.len() {
        Some(bytes.starts_with(wanted))
    } else if wanted.starts_with(bytes) {
        None
    } else {
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BINDING: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
    const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

    #[test]
    fn each_protocol_is_known_by_its_first_bytes() {
        for (bytes, spoken) in [
            (BINDING, Spoken::Stun),
            (CLIENT_HELLO, Spoken::Tls),
            (b"GET / HTTP/1.1\r\n", Spoken::Http),
            (b"OPTIONS / HTTP/1.1\r\n", Spoken::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Spoken::Http2),
            (b"PRINT /", Spoken::Other),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Spoken::Other),
            (b"\r\n\r\n\0\r\nQUIT\n", Spoken::Other),
            (b"\x40\x00\x00\x04data", Spoken::Other),
            (b"\x16\x03\x01\x00\x20\x0e\x00\x00", Spoken::Other),
            (b"\x80\x2e\x01\x03\x01\x00\x15\x00", Spoken::Other),
            (b"\x00\x01\x00\x00\x00\x00\x00\x00", Spoken::Other),
        ] {
            assert_eq!(sniff(bytes), spoken, "{bytes:?}");
        }
    }

    #[test]
    fn one_byte_at_a_time_it_is_unclear_until_it_is_right() {
        for (bytes, spoken) in [
            (BINDING, Spoken::Stun),
            (CLIENT_HELLO, Spoken::Tls),
            (b"CONNECT x:1 HTTP/1.1\r\n", Spoken::Http),
            (b"PRI * HTTP/2.0\r\n", Spoken::Http2),
        ] {
            for cut in 0..bytes.len() {
                let early = sniff(&bytes[..cut]);
                assert!(early == spoken || early == Spoken::Unclear && cut < ENOUGH_BYTES, "{cut} of {bytes:?}");
            }
        }
    }

    #[test]
    fn a_stun_message_whose_type_looks_like_tls_is_stun() {
        assert_eq!(sniff(b"\x16\x03\x00\x04\x21\x12\xa4\x42"), Spoken::Stun);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn enough_bytes_are_always_enough_and_more_change_nothing(
            bytes in prop::collection::vec(any::<u8>(), ENOUGH_BYTES..24),
        ) {
            let spoken = sniff(&bytes[..ENOUGH_BYTES]);
            prop_assert_ne!(spoken, Spoken::Unclear);
            prop_assert_eq!(sniff(&bytes), spoken);
        }
    }
}

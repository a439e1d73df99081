//! TLS, TURN in the clear, or HTTP: what a connection speaks, from its first bytes.

use relay::stream::sniff::{ENOUGH_BYTES, Spoken, sniff};

/// Every beginning is unclear or already right, eight bytes are enough, and nobody is taken for somebody else.
pub(super) fn run(bytes: &[u8]) {
    let whole = sniff(bytes);
    for cut in 0..=bytes.len().min(64) {
        match sniff(&bytes[..cut]) {
            Spoken::Unclear => assert!(cut < ENOUGH_BYTES, "enough is enough"),
            early => {
                assert_eq!(early, whole, "it does not change its mind");
                break;
            }
        }
    }
    match whole {
        Spoken::Stun => {
            assert!(bytes[0] < 0x40 && bytes[3].is_multiple_of(4) && bytes[4..8] == [0x21, 0x12, 0xA4, 0x42])
        }
        Spoken::Tls => {
            assert!(bytes[..2] == [22, 3] && bytes[5] == 1);
            assert!(
                bytes.get(4..8) != Some(&[0x21, 0x12, 0xA4, 0x42]) || !bytes[3].is_multiple_of(4),
                "the cookie comes first"
            );
        }
        Spoken::Http => {
            let method = bytes.iter().take(ENOUGH_BYTES).take_while(|byte| byte.is_ascii_uppercase()).count();
            assert!((3..ENOUGH_BYTES).contains(&method) && bytes[method] == b' ', "a method and a space");
        }
        Spoken::Http2 => assert_eq!(bytes[..ENOUGH_BYTES], *b"PRI * HT"),
        Spoken::Unclear => assert!(bytes.len() < ENOUGH_BYTES),
        Spoken::Other => {
            let head = &bytes[..bytes.len().min(ENOUGH_BYTES)];
            assert!(!head.starts_with(b"GET ") && !head.starts_with(b"POST ") && !head.starts_with(b"CONNECT "));
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let firsts: [&[u8]; 11] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes",
        b"\x16\x03\x00\x04\x21\x12\xa4\x42",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x16\x03\x01\x00\x20\x0e\x00\x00",
        b"GET /v1/ws HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x40\x00\x00\x04data",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c",
    ];
    firsts.iter().map(|first| first.to_vec()).collect()
}

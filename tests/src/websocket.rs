//! A WebSocket by hand, frame by frame and octet by octet, for what no library would send.

use crate::{Claims, Daemon};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// RFC 6455 §5.2.
pub mod opcode {
    /// Goes on with a message.
    pub const CONTINUATION: u8 = 0;
    /// Begins a message in UTF-8.
    pub const TEXT: u8 = 1;
    /// Begins a message that is none of ours.
    pub const BINARY: u8 = 2;
    /// Ends the connection.
    pub const CLOSE: u8 = 8;
    /// Asks for a pong.
    pub const PING: u8 = 9;
    /// Answers a ping, or nothing.
    pub const PONG: u8 = 10;
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A message of pair.v1, by its type, with `p` if it has one.
    Message(String, Option<u64>),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// A close frame, with its code.
    Close(Option<u16>),
    /// The connection is closed.
    End,
}

/// One connection that has said hello.
pub struct Socket {
    stream: TcpStream,
}

/// A frame as a client sends it. `first` is FIN, the reserved bits and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64, true);
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a frame, which may promise more than there is.
pub fn head(first: u8, length: u64, masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    match length {
        0..126 => vec![first, bit | length as u8],
        126..0x1_0000 => [&[first, bit | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, bit | 127][..], &length.to_be_bytes()].concat(),
    }
}

impl Socket {
    /// Upgrades, shows a token, and waits for `welcome`.
    pub fn connect(daemon: &Daemon) -> Socket {
        let mut stream = TcpStream::connect(daemon.signalling()).unwrap();
        stream.set_read_timeout(Some(crate::PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: pair.v1\r\n\r\n",
            daemon.signalling()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer to the upgrade");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        let mut socket = Socket { stream };
        let hello = json!({ "t": "hello", "v": [1], "token": Claims::adult(&unique()).token() });
        socket.send(&frame(0x80 | opcode::TEXT, hello.to_string().as_bytes()));
        assert_eq!(socket.hear(), Said::Message("welcome".into(), None));
        socket
    }

    /// Sends bytes as they are. A server that has closed is found out by what is heard next.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next thing that is said; the server's own pings are nobody's business.
    pub fn hear(&mut self) -> Said {
        loop {
            let Some((op, payload)) = self.read_frame() else { return Said::End };
            match op {
                opcode::TEXT => {
                    let message: serde_json::Value = serde_json::from_slice(&payload).expect("the server speaks JSON");
                    return Said::Message(message["t"].as_str().unwrap().to_owned(), message["p"].as_u64());
                }
                opcode::PONG => return Said::Pong(payload),
                opcode::CLOSE => {
                    return Said::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code)));
                }
                opcode::PING => {}
                other => panic!("the server sent opcode {other}"),
            }
        }
    }

    fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("silence"),
            Err(_) => return None,
        }
        assert_eq!(head[0] & 0xf0, 0x80, "the server sends whole frames without reserved bits");
        assert_eq!(head[1] & 0x80, 0, "the server does not mask");
        let mut length = u64::from(head[1]);
        if length >= 126 {
            let mut more = [0; 8];
            let bytes = if length == 126 { &mut more[6..] } else { &mut more[..] };
            self.stream.read_exact(bytes).ok()?;
            length = u64::from_be_bytes(more);
        }
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        Some((head[0] & 0x0f, payload))
    }
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("ws{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

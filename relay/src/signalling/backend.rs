//! One request to the app's backend, within bounds of time and size.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// A status line is shorter.
const MAX_STATUS_BYTES: usize = 512;

/// Where the backend is, and the secret it knows this server by.
#[derive(Clone)]
pub struct Settings {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// With its query, if any.
    pub path: String,
    pub secret: Vec<u8>,
    /// Whom to trust; needed for HTTPS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Settings {
    /// The status of the answer.
    pub(crate) async fn status(&self, request: &[u8], patience: Duration) -> io::Result<u16> {
        let first_line = |answer: &[u8]| answer.contains(&b'\n') || answer.len() >= MAX_STATUS_BYTES;
        let answer = timeout(patience, self.converse(request, first_line)).await??;
        status(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The body of a 200, at most `max_bytes` with its head. The request must be HTTP/1.0, so that the body comes in one piece.
    pub(super) async fn body(&self, request: &[u8], max_bytes: usize, patience: Duration) -> io::Result<Vec<u8>> {
        let too_long = |answer: &[u8]| answer.len() > max_bytes;
        let answer = timeout(patience, self.converse(request, too_long)).await??;
        body(answer, max_bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Reads until there is enough or no more.
    async fn converse(&self, request: &[u8], enough: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, self.port)).await?;
        if !self.https {
            return exchange(stream, request, enough).await;
        }
        let config = self.tls.clone().ok_or(io::ErrorKind::InvalidInput)?;
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| io::ErrorKind::InvalidInput)?;
        exchange(TlsConnector::from(config).connect(name, stream).await?, request, enough).await
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !enough(&answer) && stream.read_buf(&mut answer).await? > 0 {}
    Ok(answer)
}

/// RFC 9112 §4.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// What follows the head, if all of it came (RFC 9112 §6).
fn body(mut answer: Vec<u8>, max_bytes: usize) -> Option<Vec<u8>> {
    if answer.len() > max_bytes || status(&answer)? != 200 {
        return None;
    }
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let body = answer.split_off(end);
    let head = String::from_utf8(answer).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let complete = length.is_none_or(|length| length.trim().parse() == Ok(body.len()));
    complete.then_some(body)
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_is_a_status() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 500\r\n"), Some(500));
        for noise in [&b""[..], b"HTTP/2 200", b"SSH-2.0-x\r\n", b"HTTP/1.1 2"] {
            assert_eq!(status(noise), None);
        }
    }

    #[test]
    fn a_body_is_all_of_it_or_nothing() {
        let read = |answer: &str, max| body(answer.as_bytes().to_vec(), max);
        assert_eq!(read("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}", 100), Some(b"{}".to_vec()));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 100), Some(b"{}".to_vec()));
        for bad in ["HTTP/1.1 200 OK\r\nContent-length: 3\r\n\r\n{}", "HTTP/1.1 500 No\r\n\r\n{}", "HTTP/1.1 200 OK"] {
            assert_eq!(read(bad, 100), None);
        }
        assert_eq!(read("HTTP/1.0 200 OK\r\n\r\n{}", 20), None, "too long");
    }
}

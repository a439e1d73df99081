//! Fetches the daemon's answer from its admin listener.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::answer::Answer;

/// More than the daemon gives its threads to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// An answer is a few kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    Unreachable(SocketAddr, io::Error),
    /// Something else listens there, or a relay of another version.
    NotAnAnswer(SocketAddr),
}

/// Asks the daemon whose admin listener this is.
///
/// # Errors
/// Nobody answers, or not with this.
pub fn ask(admin: SocketAddr) -> Result<Answer, AskError> {
    let text = fetch(admin).map_err(|error| AskError::Unreachable(admin, error))?;
    let body = text.strip_prefix("HTTP/1.1 200").and_then(|rest| rest.split_once("\r\n\r\n")).map(|(_, body)| body);
    let answer = body.and_then(|body| serde_json::from_str(body).ok());
    answer.ok_or(AskError::NotAnAnswer(admin))
}

fn fetch(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /v1/prove HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Unreachable(admin, error) => write!(
                f,
                "no relay answers at {admin}: {error}. Is it running, and is that its [listen] admin? --admin ADDR names another"
            ),
            AskError::NotAnAnswer(admin) => {
                write!(f, "what answers at {admin} is not a relay of this version's admin listener")
            }
        }
    }
}

impl std::error::Error for AskError {}

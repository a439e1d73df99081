//! Fetches the daemon's answer from its admin listener.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use super::answer::Answer;
use super::checks::{Proof, prove};
use super::kernel::Kernel;

/// How often it is looked again while there are threads that were not asked: those that look up names go after ten seconds.
const LOOKS: u32 = 15;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
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

/// Asks the daemon whose admin listener this is, and the kernel about it.
///
/// # Errors
/// Nobody answers, or not with this.
pub fn look(admin: SocketAddr) -> Result<Proof, AskError> {
    let mut look = 1;
    loop {
        let daemon = ask(admin)?;
        let kernel = Kernel::of(daemon.pid);
        let strangers = kernel.tasks.iter().any(|task| daemon.threads.iter().all(|thread| thread.id != task.id));
        if !strangers || look == LOOKS {
            return Ok(prove(daemon, kernel));
        }
        look += 1;
        sleep(BETWEEN_LOOKS);
    }
}

/// Asks the daemon alone.
///
/// # Errors
/// Nobody answers, or not with this.
fn ask(admin: SocketAddr) -> Result<Answer, AskError> {
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

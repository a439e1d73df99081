//! What loadgen is calibrated against: a server that does as little as lets a caller go its whole way. Signalling pairs
//! first come with first come and hands frames on unread; TURN grants everything and turns ChannelData round. It checks
//! nothing and keeps no promise of the protocols, so what it cannot carry is the generator's limit, not a relay's.
//!
//! It runs in a process of its own (this binary again), which ends when its input closes.

mod signalling;
mod turn;

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
};

use crate::sys;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "serve-nothing-for-calibration";
/// What every caller is told to authenticate with.
const USER: &str = "u";
pub const PASSWORD: &str = "p";
pub(crate) const REALM: &str = "null";

/// The server in its process.
pub struct NullServer {
    child: Child,
    input: Option<ChildStdin>,
    pub signalling: SocketAddr,
    pub turn: SocketAddr,
}

impl NullServer {
    pub fn start() -> io::Result<NullServer> {
        NullServer::of(Command::new(std::env::current_exe()?).arg(SUBCOMMAND))
    }

    /// The child that `command` starts.
    pub fn of(command: &mut Command) -> io::Result<NullServer> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let mut words = line.split_whitespace().map(str::parse);
        let (Some(Ok(signalling)), Some(Ok(turn))) = (words.next(), words.next()) else {
            let _ = child.kill();
            return Err(io::Error::other(format!("the null server did not start ({})", child.wait()?)));
        };
        Ok(NullServer { child, input, signalling, turn })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whom allocations are made as without signalling.
    pub fn user(&self) -> &'static str {
        USER
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side: serves until its input closes.
pub fn serve() -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    sys::raise_open_files().map_err(text)?;
    let relay = UdpSocket::bind("127.0.0.1:0").map_err(text)?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let (near, far) = (listener.local_addr().map_err(text)?, relay.local_addr().map_err(text)?);
    thread::Builder::new().name("turn".to_owned()).spawn(move || turn::serve(&relay)).map_err(text)?;
    thread::Builder::new()
        .name("signalling".to_owned())
        .spawn(move || signalling::serve(listener, far))
        .map_err(text)?;
    let mut output = io::stdout().lock();
    writeln!(output, "{near} {far}").and_then(|()| output.flush()).map_err(text)?;
    let _ = io::stdin().lock().read_to_end(&mut Vec::new());
    Ok(())
}

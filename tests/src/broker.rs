//! A `nats-server` as Debian ships it, on a port and in a folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::own_directory;
use crate::process::Process;

const FIX: &str = "apt-get install nats-server (tests/run.sh does it)";

/// A broker that runs, until it is stopped or dropped. Its folder has whatever it writes.
pub struct Broker {
    process: Process,
    port: u16,
    directory: PathBuf,
    configuration: String,
}

impl Broker {
    /// Core NATS: no JetStream, no accounts.
    pub fn start() -> Broker {
        Broker::configured("")
    }

    /// With JetStream, which keeps what it is told to in the broker's folder.
    pub fn that_keeps() -> Broker {
        Broker::configured("jetstream { store_dir: './kept' }")
    }

    /// With this in its configuration beside where it listens; relative paths are in its folder.
    pub fn configured(configuration: &str) -> Broker {
        Broker::prepared(configuration, |_| {})
    }

    /// After something was put into its folder.
    pub fn prepared(configuration: &str, prepare: impl FnOnce(&Path)) -> Broker {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = own_directory();
        prepare(&directory);
        let process = run(&directory, port, configuration);
        Broker { process, port, directory, configuration: configuration.to_owned() }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Without a word to anybody.
    pub fn kill(&mut self) {
        self.process.signal(libc::SIGKILL);
        crate::eventually("the broker's end", || (!self.process.is_running()).then_some(()));
    }

    /// On the same port as before, which must be free again.
    pub fn start_again(&mut self) {
        self.process = run(&self.directory, self.port, &self.configuration);
    }

    /// The same with another configuration.
    pub fn start_again_as(&mut self, configuration: &str) {
        configuration.clone_into(&mut self.configuration);
        self.start_again();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn run(directory: &Path, port: u16, configuration: &str) -> Process {
    std::fs::write(directory.join("nats.conf"), format!("listen: 127.0.0.1:{port}\n{configuration}\n")).unwrap();
    let mut command = Command::new("nats-server");
    command.args(["-c", "nats.conf"]).current_dir(directory);
    let mut process = Process::start(&mut command, FIX);
    process.wait_for("Server is ready", |line| line.contains("Server is ready").then_some(()));
    process
}

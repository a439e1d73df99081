//! A successor that fails: the relay at work goes on, and the next one that asks gets everything.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::daemon::Builder;
use e2e::{Daemon, eventually, http};

use crate::operating::{Client, ended, speak, talking};

/// A place to be asked at, which nobody else uses.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Place {
        let place = Place(std::env::temp_dir().join(format!("e2e-succession-{name}-{}", std::process::id())));
        place.clear();
        place
    }

    pub(crate) fn before(&self) -> PathBuf {
        let mut name = self.0.as_os_str().to_owned();
        name.push(".before");
        name.into()
    }

    fn clear(&self) {
        let _ = (std::fs::remove_file(&self.0), std::fs::remove_file(self.before()));
    }

    pub(crate) fn relay(&self) -> Builder {
        let relay = Daemon::local().set("drain.deadline_secs = 3600\nlisten.tcp = ['127.0.0.1:0']");
        relay.argument("--hand-over").argument(self.0.to_str().unwrap())
    }

    /// One that takes everything.
    pub(crate) fn upgrade(&self) -> Builder {
        let relay = Daemon::local().set("drain.deadline_secs = 3600");
        relay.argument("upgrade").argument("--hand-over").argument(self.0.to_str().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

pub(crate) fn listens_as(daemon: &Daemon) -> String {
    format!(
        "listen = {{ udp = ['{}'], tcp = ['{}'], signalling = '{}', admin = '{}' }}",
        daemon.turn(),
        daemon.tcp(),
        daemon.signalling(),
        daemon.admin()
    )
}

/// Takes over, and the one before ends when its last client leaves.
fn takes_over(place: &Place, mut before: Daemon) {
    let mut call = talking(&before);
    let successor = place.relay().set(&listens_as(&before)).start();
    speak(&mut call, b"through the old one");
    let mut newer = talking(&successor);
    speak(&mut newer, b"through the new one");
    assert!(TcpStream::connect(successor.tcp()).is_ok());
    for (client, _) in &mut call {
        assert_eq!(client.refresh(0), 0);
    }
    assert_eq!(ended(&mut before), Some(0));
    assert_eq!(http::get(successor.admin(), "/livez").status, 200);
}

/// It has taken the place to be asked at when it fails: nobody of that name is there to become.
fn fails_late(place: &Place, daemon: &Daemon) {
    let file = place.0.with_extension("toml");
    std::fs::write(
        &file,
        format!("{}\n[signalling]\ndemo_page = true\n[sandbox]\nuser = 'nobody-of-this-name'\n", listens_as(daemon)),
    )
    .unwrap();
    let output = Command::new(e2e::daemon::binary())
        .arg("--config")
        .arg(&file)
        .arg("--hand-over")
        .arg(&place.0)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("nobody-of-this-name"), "{said}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn after_a_successor_that_fails_late_the_next_one_is_heard() {
    let place = Place::new("late");
    let daemon = place.relay().start();
    let mut call = talking(&daemon);
    for _ in 0..2 {
        fails_late(&place, &daemon);
        speak(&mut call, b"as if nothing had been");
        let mut newcomer = Client::alice(&daemon);
        newcomer.allocate().unwrap();
        assert_eq!(newcomer.refresh(0), 0);
    }
    for (client, _) in &mut call {
        assert_eq!(client.refresh(0), 0);
    }
    takes_over(&place, daemon);
}

/// Asks as far as `go` and is gone before it hears `yours`.
fn asks_and_dies(path: &Path) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
    let mut given = Vec::new();
    while !given.ends_with(b"end\n") {
        let mut bytes = [0; 256];
        let length = stream.read(&mut bytes).unwrap();
        assert_ne!(length, 0, "{given:?}");
        given.extend_from_slice(&bytes[..length]);
    }
    stream.write_all(b"go").unwrap();
}

#[test]
fn a_successor_that_dies_between_go_and_yours_loses_nothing_for_the_next() {
    let place = Place::new("dies");
    let daemon = place.relay().start();
    let mut call = talking(&daemon);
    asks_and_dies(&place.0);
    eventually("it was noticed", || daemon.log().contains("not handed over").then_some(()));
    speak(&mut call, b"those who are there are served on");
    for (client, _) in &mut call {
        assert_eq!(client.refresh(0), 0);
    }
    let successor = place.relay().set(&listens_as(&daemon)).start();
    let mut newer = talking(&successor);
    speak(&mut newer, b"through the next one");
    assert!(TcpStream::connect(successor.tcp()).is_ok());
    let mut daemon = daemon;
    assert_eq!(ended(&mut daemon), Some(0));
}

//! Chromium: one chromedriver, and for each person a browser of its own with a fake microphone.
//!
//! WebDriver is plain HTTP and JSON (W3C WebDriver, with the `goog/cdp` extension for what must happen before a page loads).

use super::{Browser, Microphone, Remote, trust};
use crate::daemon::own_directory;
use crate::http;
use crate::process::Process;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

const FIX: &str = "apt-get install chromium chromium-driver (tests/run.sh does it)";

/// What headless Chromium needs as root, and for calls on loopback with a microphone that beeps once a second.
const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--window-size=1100,860",
];

/// A chromedriver of our own on a free port.
pub struct Driver {
    process: Process,
    address: SocketAddr,
    home: PathBuf,
}

/// One browser of a driver.
struct Session<'a> {
    driver: &'a Driver,
    id: String,
    profile: PathBuf,
}

impl Driver {
    /// Starts chromedriver and reads its port.
    pub fn start() -> Driver {
        Driver::at_home(own_directory())
    }

    /// The same, for browsers that also trust what this authority (a PEM file) has signed.
    pub fn trusting(authority: &Path) -> Driver {
        let home = own_directory();
        // Where Chromium on Linux looks for authorities its user has added.
        trust::add(authority, &home.join(".pki/nssdb"));
        Driver::at_home(home)
    }

    fn at_home(home: PathBuf) -> Driver {
        let mut command = Command::new("chromedriver");
        let mut process = Process::start(command.args(["--port=0", "--log-level=WARNING"]).env("HOME", &home), FIX);
        let port = process.wait_for("started successfully on port", |line| {
            line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok()
        });
        Driver { process, address: (Ipv4Addr::LOCALHOST, port).into(), home }
    }

    /// A new Chromium with an empty profile.
    pub fn browser(&self, microphone: Microphone) -> Browser<'_> {
        self.browser_with(microphone, &[])
    }

    /// The same with more flags.
    pub fn browser_with(&self, microphone: Microphone, flags: &[&str]) -> Browser<'_> {
        let profile = own_directory();
        let mut arguments: Vec<String> = FLAGS.iter().chain(flags).map(ToString::to_string).collect();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        arguments.push(match microphone {
            Microphone::Allowed => "--use-fake-ui-for-media-stream".to_owned(),
            Microphone::Refused => "--use-fake-ui-for-media-stream=deny".to_owned(),
        });
        let options = json!({ "args": arguments });
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options } } });
        let answer =
            self.call("POST", "/session", Some(&wanted)).unwrap_or_else(|why| panic!("no browser: {why}. Fix: {FIX}"));
        let id = answer["sessionId"].as_str().expect("WebDriver gives a session id").to_owned();
        Browser { remote: Box::new(Session { driver: self, id, profile }) }
    }

    /// One WebDriver command: the `value` of the answer, or the driver's own words.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let answer = http::request(self.address, method, path, body).map_err(|error| error.to_string())?;
        let value = answer.json()["value"].take();
        if answer.status == 200 {
            Ok(value)
        } else {
            Err(format!("{path}: {}", value["message"].as_str().unwrap_or("?")))
        }
    }

    /// What chromedriver printed.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.process.stop();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

impl Remote for Session<'_> {
    fn command(&self, method: &str, what: &str, body: Option<Value>) -> Result<Value, String> {
        self.driver.call(method, &format!("/session/{}/{what}", self.id), body.as_ref())
    }

    fn before_each_page(&self, script: &str) {
        let command = json!({ "cmd": "Page.addScriptToEvaluateOnNewDocument", "params": { "source": script } });
        self.command("POST", "goog/cdp/execute", Some(command)).unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _ = self.driver.call("DELETE", &format!("/session/{}", self.id), None);
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

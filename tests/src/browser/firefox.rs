//! Firefox, spoken to in its own tongue: Marionette, a JSON array after its length in decimal digits, over TCP.
//!
//! Debian has no geckodriver; it would only translate WebDriver's paths into these command names, as [`translate`] does.

use super::{Browser, Microphone, Remote, trust};
use crate::daemon::own_directory;
use crate::process::Process;
use crate::{PATIENCE, eventually};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

const FIX: &str = "apt-get install firefox-esr (tests/run.sh does it)";

/// A microphone that needs no question and no hardware, calls on loopback, and nothing that calls home.
const SETTINGS: [(&str, &str); 22] = [
    ("marionette.port", "0"),
    ("media.navigator.streams.fake", "true"),
    ("media.peerconnection.ice.loopback", "true"),
    ("media.autoplay.default", "0"),
    ("media.gmp-manager.updateEnabled", "false"),
    ("network.proxy.type", "0"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("network.dns.disablePrefetch", "true"),
    ("network.prefetch-next", "false"),
    ("app.update.disabledForTesting", "true"),
    ("app.normandy.enabled", "false"),
    ("browser.safebrowsing.update.enabled", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.aboutwelcome.enabled", "false"),
    ("browser.startup.page", "0"),
    ("browser.startup.homepage_override.mstone", "\"ignore\""),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("extensions.update.enabled", "false"),
    ("extensions.systemAddon.update.enabled", "false"),
    ("services.settings.server", "\"data:,#remote-settings-dummy/v1\""),
    ("toolkit.telemetry.server", "\"\""),
];

/// One Firefox with a profile of its own.
struct Firefox {
    process: Process,
    profile: PathBuf,
    wire: RefCell<Wire>,
    early: RefCell<Vec<String>>,
}

/// The connection, and how many commands went over it.
struct Wire {
    stream: TcpStream,
    sent: u64,
}

/// A new Firefox with an empty profile that, if told so, also trusts what this authority (a PEM file) has signed.
pub fn start(microphone: Microphone, authority: Option<&Path>) -> Browser<'static> {
    let profile = own_directory();
    if let Some(authority) = authority {
        trust::add(authority, &profile);
    }
    std::fs::write(profile.join("user.js"), preferences(microphone)).unwrap();
    let mut command = Command::new("firefox-esr");
    command.args(["--marionette", "--headless", "--no-remote", "--profile"]).arg(&profile).env("HOME", &profile);
    command.env("MOZ_DISABLE_AUTO_SAFE_MODE", "1").env("MOZ_CRASHREPORTER_DISABLE", "1");
    let process = Process::start(&mut command, FIX);
    let port = eventually("Firefox to say where Marionette listens", || {
        std::fs::read_to_string(profile.join("MarionetteActivePort")).ok()?.trim().parse().ok()
    });
    let wire = RefCell::new(Wire::connect(port));
    let firefox = Firefox { process, profile, wire, early: RefCell::default() };
    firefox.ask("WebDriver:NewSession", json!({})).unwrap_or_else(|why| panic!("no session: {why}"));
    Browser { remote: Box::new(firefox) }
}

fn preferences(microphone: Microphone) -> String {
    let mut text = String::new();
    let mut set = |name: &str, value: &str| writeln!(text, "user_pref(\"{name}\", {value});").unwrap();
    SETTINGS.into_iter().for_each(|(name, value)| set(name, value));
    match microphone {
        Microphone::Allowed => set("media.navigator.permission.disabled", "true"),
        Microphone::Refused => set("permissions.default.microphone", "2"),
    }
    text
}

impl Wire {
    fn connect(port: u16) -> Wire {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Wire { stream, sent: 0 };
        let greeting = wire.receive().unwrap();
        assert_eq!(greeting["marionetteProtocol"], 3, "{greeting}");
        wire
    }

    fn ask(&mut self, command: &str, parameters: &Value) -> std::io::Result<Value> {
        self.sent += 1;
        let request = json!([0, self.sent, command, parameters]).to_string();
        self.stream.write_all(format!("{}:{request}", request.len()).as_bytes())?;
        self.receive()
    }

    fn receive(&mut self) -> std::io::Result<Value> {
        let mut length = 0;
        loop {
            let mut digit = [0];
            self.stream.read_exact(&mut digit)?;
            match digit[0] {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        serde_json::from_slice(&body).map_err(std::io::Error::other)
    }
}

impl Firefox {
    fn ask(&self, command: &str, parameters: Value) -> Result<Value, String> {
        let mut answer = self.wire.borrow_mut().ask(command, &parameters).map_err(|error| error.to_string())?;
        match answer[2]["message"].as_str() {
            Some(why) => Err(format!("{command}: {why}")),
            None => Ok(answer[3].take()),
        }
    }

    fn run(&self, script: &str) -> Result<Value, String> {
        // Without the name of a sandbox a script shares the page's objects, as WebDriver wants it.
        self.ask("WebDriver:ExecuteScript", json!({ "script": script, "args": [], "sandbox": null }))
    }
}

impl Remote for Firefox {
    fn command(&self, method: &str, what: &str, body: Option<Value>) -> Result<Value, String> {
        let body = body.unwrap_or_else(|| json!({}));
        if what == "execute/sync" {
            return self.run(body["script"].as_str().unwrap()).map(|mut answer| answer["value"].take());
        }
        let (command, parameters) =
            translate(what, body).ok_or_else(|| format!("{method} {what} is not spoken here"))?;
        let mut answer = self.ask(command, parameters)?;
        if command == "WebDriver:Navigate" {
            for script in self.early.borrow().iter() {
                self.run(script)?;
            }
        }
        Ok(answer["value"].take())
    }

    /// Marionette has no such command: it runs when the page is there but, the pages under test, has done nothing yet.
    fn before_each_page(&self, script: &str) {
        self.early.borrow_mut().push(script.to_owned());
    }
}

/// The name and the parameters under which Marionette knows a path of WebDriver.
fn translate(what: &str, mut body: Value) -> Option<(&'static str, Value)> {
    let command = match what.split('/').collect::<Vec<_>>()[..] {
        ["url"] => "WebDriver:Navigate",
        ["element"] => "WebDriver:FindElement",
        ["actions"] => "WebDriver:PerformActions",
        ["screenshot"] => "WebDriver:TakeScreenshot",
        ["element", id, verb] => {
            body["id"] = id.into();
            match verb {
                "click" => "WebDriver:ElementClick",
                "value" => "WebDriver:ElementSendKeys",
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((command, body))
}

impl Drop for Firefox {
    fn drop(&mut self) {
        let _ = self.ask("Marionette:Quit", json!({ "flags": ["eForceQuit"] }));
        self.process.stop();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

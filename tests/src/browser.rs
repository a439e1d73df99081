//! Real browsers: one chromedriver, and for each person a Chromium of its own with a fake microphone.
//!
//! WebDriver is plain HTTP and JSON (W3C WebDriver, with the `goog/cdp` extension for what must happen before a page loads).

use crate::daemon::own_directory;
use crate::process::Process;
use crate::{eventually, http};
use base64::Engine;
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

/// What a browser answers when a page asks for the microphone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Microphone {
    /// As if the person had pressed "allow".
    Allowed,
    /// As if the person had pressed "block".
    Refused,
}

/// A chromedriver of our own on a free port.
pub struct Driver {
    process: Process,
    address: SocketAddr,
}

/// One browser with one page. Closed, and its profile removed, when dropped.
pub struct Browser<'a> {
    driver: &'a Driver,
    session: String,
    profile: PathBuf,
}

impl Driver {
    /// Starts chromedriver and reads its port.
    pub fn start() -> Driver {
        let mut process = Process::start(Command::new("chromedriver").args(["--port=0", "--log-level=WARNING"]), FIX);
        let port = process.wait_for("started successfully on port", |line| {
            line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok()
        });
        Driver { process, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// A new Chromium with an empty profile.
    pub fn browser(&self, microphone: Microphone) -> Browser<'_> {
        let profile = own_directory();
        let mut arguments: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
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
        let session = answer["sessionId"].as_str().expect("WebDriver gives a session id").to_owned();
        Browser { driver: self, session, profile }
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

impl Browser<'_> {
    fn command(&self, method: &str, what: &str, body: Option<Value>) -> Result<Value, String> {
        self.driver.call(method, &format!("/session/{}/{what}", self.session), body.as_ref())
    }

    fn must(&self, what: &str, body: Value) -> Value {
        self.command("POST", what, Some(body)).unwrap_or_else(|why| panic!("{why}"))
    }

    /// A script that runs in every page before the page's own.
    pub fn before_each_page(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// A command of the Chrome DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.must("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// Loads a page and waits for it.
    pub fn open(&self, url: &str) {
        self.must("url", json!({ "url": url }));
    }

    /// Runs the body of a function in the page, waiting for the promise it may return.
    pub fn run(&self, script: &str) -> Value {
        self.must("execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Runs `return (expression)` until it is neither null nor false.
    pub fn until(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        let waiting = format!("`{expression}` in a page that shows: {}", self.text("body"));
        eventually(&waiting, || match self.run(&script) {
            Value::Null | Value::Bool(false) => None,
            value => Some(value),
        })
    }

    /// Clicks where a person would: the element must be there, visible and not covered.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        eventually(&format!("a click on {selector}"), || {
            self.command("POST", &format!("element/{element}/click"), Some(json!({}))).ok()
        });
    }

    /// Types into a field; `\u{E007}` is Enter (W3C WebDriver, 17.4.2).
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.must(&format!("element/{element}/value"), json!({ "text": text }));
    }

    /// Presses keys one after another on whatever has the focus.
    pub fn press(&self, keys: &str) {
        let events = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]);
        let source = json!({ "type": "key", "id": "keyboard", "actions": events.collect::<Vec<_>>() });
        self.must("actions", json!({ "actions": [source] }));
    }

    /// The text a person would read.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.innerText ?? '';");
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Writes what the window shows to a PNG file.
    pub fn screenshot(&self, file: &Path) {
        let image = self.command("GET", "screenshot", None).unwrap_or_else(|why| panic!("{why}"));
        let bytes = base64::engine::general_purpose::STANDARD.decode(image.as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    fn find(&self, selector: &str) -> String {
        eventually(&format!("the element {selector}"), || {
            let found =
                self.command("POST", "element", Some(json!({ "using": "css selector", "value": selector }))).ok()?;
            Some(found.as_object()?.values().next()?.as_str()?.to_owned())
        })
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        let _ = self.driver.call("DELETE", &format!("/session/{}", self.session), None);
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

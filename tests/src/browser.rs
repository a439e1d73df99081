//! A browser with one page, as a test uses it; [`chromium`] and [`firefox`] are how each is spoken to.

pub mod chromium;
pub mod firefox;
mod trust;

pub use chromium::Driver;

use crate::eventually;
use base64::Engine;
use serde_json::{Value, json};
use std::path::Path;

/// What a browser answers when a page asks for the microphone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Microphone {
    /// As if the person had pressed "allow".
    Allowed,
    /// As if the person had pressed "block".
    Refused,
}

/// How commands reach a browser. Dropped: the browser is closed and its profile removed.
trait Remote {
    /// A command of W3C WebDriver, named by its path after the session: the `value` of the answer, or the driver's own words.
    fn command(&self, method: &str, what: &str, body: Option<Value>) -> Result<Value, String>;

    /// Has a script run in every page before the page does anything with what the script changes.
    fn before_each_page(&self, script: &str);
}

/// One browser with one page. Closed, and its profile removed, when dropped.
pub struct Browser<'a> {
    remote: Box<dyn Remote + 'a>,
}

impl Browser<'_> {
    fn command(&self, method: &str, what: &str, body: Option<Value>) -> Result<Value, String> {
        self.remote.command(method, what, body)
    }

    fn must(&self, what: &str, body: Value) -> Value {
        self.command("POST", what, Some(body)).unwrap_or_else(|why| panic!("{why}"))
    }

    /// A script that runs in every page before the page does anything with what the script changes.
    pub fn before_each_page(&self, script: &str) {
        self.remote.before_each_page(script);
    }

    /// A command of the Chrome DevTools protocol; only Chromium has it.
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

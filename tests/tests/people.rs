//! The language of the browser tests: people, each with a browser, who meet on the page.

use e2e::browser::{Browser, Driver, Microphone};
use e2e::{Daemon, PATIENCE, eventually};
use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// "talking", "late" if a deadline of the server ended the call, or something in between.
const CALL_STATE: &str = "
    const call = document.querySelector('#screen-call');
    if (!call.hidden && document.querySelector('#call-state').textContent === 'Talking') return 'talking';
    const said = recorder.frames.filter((frame) => frame.to === 'page').map((frame) => JSON.parse(frame.data));
    const late = said.findLast((message) => message.t === 'ended' || message.t === 'matched');
    return late?.t === 'ended' && ['asleep', 'deadline'].includes(late.why) ? 'late' : 'waiting';";

/// How often something is tried that a busy machine can spoil.
const MEETINGS: usize = 3;

/// Two browsers in a call are all that two cores can do in real time.
pub(crate) fn one_test_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn two_in_a_call<'a>(daemon: &Daemon, driver: &'a Driver) -> (Person<'a>, Person<'a>) {
    let chromium = || driver.browser(Microphone::Allowed);
    meet(daemon, &chromium, &chromium)
}

/// The first waits, the second comes, and they talk. New people try again when the server's deadlines (a second to show that one is
/// awake, three to describe oneself) ended the call: a machine that runs every test at once may miss them, and is allowed to.
pub(crate) fn meet<'a>(
    daemon: &Daemon,
    waiting: &dyn Fn() -> Browser<'a>,
    coming: &dyn Fn() -> Browser<'a>,
) -> (Person<'a>, Person<'a>) {
    meet_across([daemon, daemon], waiting, coming)
}

/// The same where the first comes to one node and the second to another.
pub(crate) fn meet_across<'a>(
    [first, second]: [&Daemon; 2],
    waiting: &dyn Fn() -> Browser<'a>,
    coming: &dyn Fn() -> Browser<'a>,
) -> (Person<'a>, Person<'a>) {
    for _ in 0..MEETINGS {
        let ana = Person::arrives_with(waiting(), first, "Ana");
        ana.looks_for_someone();
        ana.page.until("!document.querySelector('#screen-wait').hidden");
        let ben = Person::arrives_with(coming(), second, "Ben");
        ben.looks_for_someone();
        if ana.talks_in_time() && ben.talks_in_time() {
            return (ana, ben);
        }
    }
    panic!("{MEETINGS} times in a row somebody was too late for the server's deadlines")
}

/// Has something measured that one busy moment of the machine can spoil: the best of a few attempts, or the first that is good enough.
pub(crate) fn best_of_a_few(good: f64, mut measure: impl FnMut() -> f64) -> f64 {
    let first = measure();
    (1..MEETINGS).fold(first, |best, _| if best <= good { best } else { best.min(measure()) })
}

pub(crate) struct Person<'a> {
    pub(crate) name: &'static str,
    pub(crate) page: Browser<'a>,
}

impl<'a> Person<'a> {
    /// Opens the page and fills in who one is; stands before the choice of topics.
    pub(crate) fn arrives(
        driver: &'a Driver,
        daemon: &Daemon,
        name: &'static str,
        microphone: Microphone,
    ) -> Person<'a> {
        Person::arrives_with(driver.browser(microphone), daemon, name)
    }

    /// The same with any browser.
    pub(crate) fn arrives_with(page: Browser<'a>, daemon: &Daemon, name: &'static str) -> Person<'a> {
        page.before_each_page(include_str!("recorder.js"));
        page.open(&daemon.page());
        page.type_into("#name", name);
        page.click("input[value='18+']");
        page.click("#screen-you button[type='submit']");
        page.until(
            "!document.querySelector('#screen-wish').hidden && document.querySelectorAll('#topics input').length > 0",
        );
        Person { name, page }
    }

    pub(crate) fn looks_for_someone(&self) {
        self.page.click("#find");
    }

    pub(crate) fn is_talking(&self) {
        assert!(self.talks_in_time(), "{} was too late: {}", self.name, self.story());
    }

    /// Waits until the call stands; false if the server ended it because somebody was too late.
    fn talks_in_time(&self) -> bool {
        let start = Instant::now();
        loop {
            match self.page.run(CALL_STATE).as_str() {
                Some("talking") => return true,
                Some("late") => {
                    eprintln!("{} was too late: {}", self.name, self.story());
                    return false;
                }
                _ => assert!(start.elapsed() < PATIENCE, "{} never talked: {}", self.name, self.story()),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What went over the socket, in short, for whoever must find out why a call did not come about.
    fn story(&self) -> String {
        let frames = self.frames();
        let first = frames.first().map_or(0.0, |frame| count(frame, "at"));
        let lines = frames.iter().map(|frame| {
            let said = message(frame);
            let details = ["why", "by", "code", "s"].map(|name| said[name].as_str().unwrap_or_default());
            format!("\n{:6} ms to {}: {} {}", count(frame, "at") - first, frame["to"], said["t"], details.join(" "))
        });
        format!("{}{}", self.page.text("body"), lines.collect::<String>())
    }

    pub(crate) fn types(&self, words: &str) {
        self.page.run(&format!("document.querySelector('#words').value = {words:?}"));
        self.page.click("#say button");
    }

    pub(crate) fn reads(&self, words: &str) {
        self.page
            .until(&format!("document.querySelector('#log li.peer:last-child')?.lastChild.textContent === {words:?}"));
    }

    /// What the browser itself says about its newest peer connection.
    pub(crate) fn media(&self) -> Value {
        self.page.run("return recorder.media()")
    }

    pub(crate) fn hears_more_than(&self, before: &Value) {
        eventually(&format!("{} to hear more than {before}", self.name), || {
            let now = self.media();
            (count(&now, "received") > count(before, "received") + 50.0
                && count(&now, "energy") > count(before, "energy"))
            .then_some(())
        });
    }

    pub(crate) fn frames(&self) -> Vec<Value> {
        self.page.run("return recorder.frames").as_array().unwrap().clone()
    }

    /// When the first frame of this type went to `to` ("server" or "page"), in milliseconds of the machine's clock.
    pub(crate) fn frame_at(&self, to: &str, t: &str) -> f64 {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let frame = self.frames().into_iter().find(|frame| frame["to"] == to && message(frame)["t"] == t);
            if let Some(frame) = frame {
                return count(&frame, "at");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} never saw `{t}`", self.name)
    }
}

pub(crate) fn count(of: &Value, what: &str) -> f64 {
    of[what].as_f64().unwrap_or_else(|| panic!("no {what} in {of}"))
}

pub(crate) fn message(frame: &Value) -> Value {
    serde_json::from_str(frame["data"].as_str().unwrap()).unwrap()
}

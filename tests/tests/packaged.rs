//! Callers of an installed package. Run by `tests/packaging/debian.sh`, inside the network of the Debian system it has booted: only there is
//! the relay of the package, at the address its configuration names.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::browser::{Browser, Driver, Microphone};
use e2e::{PATIENCE, eventually};
use serde_json::json;

use crate::pair_browser::OWN_CLIENT;

/// The page of the packaged relay, e.g. `http://127.0.0.1:8080`.
const PAGE: &str = "PACKAGED_PAGE";
/// Commands for a shell: one that upgrades the package, and one that upgrades it to a version that cannot run.
const UPGRADES: [&str; 2] = ["PACKAGED_UPGRADE", "PACKAGED_BAD_UPGRADE"];
/// How often two strangers try to meet: a busy machine may miss a deadline of the server.
const MEETINGS: usize = 5;
/// Long enough for a second call of a deadline that was missed.
const TALKING: Duration = Duration::from_secs(20);

/// Two callers, and when they began to talk.
struct Call<'a> {
    pages: [Browser<'a>; 2],
    begun: Instant,
}

impl<'a> Call<'a> {
    fn of_two_strangers(driver: &'a Driver) -> Call<'a> {
        for _ in 0..MEETINGS {
            let pages = [(); 2].map(|()| {
                let page = driver.browser(Microphone::Allowed);
                page.before_each_page(include_str!("recorder.js"));
                page.open(&variable(PAGE));
                page.run(OWN_CLIENT);
                page
            });
            if pages.iter().all(talks) {
                // What is told to somebody who waits is no fault of the call.
                pages.iter().for_each(|page| drop(page.run("heard.length = 0")));
                let call = Call { pages, begun: Instant::now() };
                call.is_heard();
                return call;
            }
        }
        panic!("{MEETINGS} times in a row two strangers did not meet")
    }

    /// Voices arrive on both sides, and nobody was told of an end, an error or a break.
    fn is_heard(&self) -> f64 {
        let mut packets = 0.0;
        for page in &self.pages {
            let received = || page.run("return recorder.media()")["received"].as_f64().unwrap();
            let before = received();
            packets += eventually("a voice", || Some(received()).filter(|now| *now > before + 50.0));
            assert_eq!(page.run("return pair.state"), "talking");
            let wrong = "return heard.filter(({ type }) => ['ended', 'error', 'connection', 'restart'].includes(type))";
            assert_eq!(page.run(wrong), json!([]));
        }
        packets
    }

    fn says(&self, what: &str) {
        let packets = self.is_heard();
        eprintln!(
            "seen: {what}: {packets} packets of voice after {:.1} s, none broken off",
            self.begun.elapsed().as_secs_f64()
        );
    }

    fn ends(self) {
        self.pages[0].run("pair.hangup()");
        for page in &self.pages {
            page.until("pair.state !== 'talking'");
        }
    }
}

fn talks(page: &Browser<'_>) -> bool {
    let start = Instant::now();
    while start.elapsed() < TALKING.min(PATIENCE) {
        if page.run("return pair.state === 'talking' && heard.some(({ type }) => type === 'connected')") == true {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: this is run by tests/packaging/debian.sh"))
}

/// Whether it did what it says it does.
fn shell(name: &str) {
    let begun = Instant::now();
    let output = Command::new("sh").args(["-c", &variable(name)]).output().unwrap();
    let [said, why] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{said}{why}");
    eprintln!("seen: {name} took {:.1} s", begun.elapsed().as_secs_f64());
}

#[test]
#[ignore = "run by tests/packaging/debian.sh, where the package is installed"]
fn calls_live_on_while_the_package_is_upgraded() {
    let driver = Driver::start();
    let first = Call::of_two_strangers(&driver);
    first.says("a call through the package");
    shell(UPGRADES[0]);
    first.says("the same call, its package upgraded");
    let second = Call::of_two_strangers(&driver);
    second.says("a call through the new version");
    first.says("the first call beside it, through the old process");
    first.ends();
    shell(UPGRADES[1]);
    second.says("that call after an upgrade that cannot run");
    second.ends();
    Call::of_two_strangers(&driver).says("a call that began after it");
}

//! Chromium and Firefox over every TURN transport there is for browsers: relayed on both sides, and heard on both sides.

use crate::people::{meet, one_test_at_a_time};
use e2e::Daemon;
use e2e::browser::{Browser, Driver, Microphone, firefox};

#[test]
fn chromium_calls_chromium_over_turn_udp() {
    chromiums_call_over("udp");
}

#[test]
fn chromium_calls_chromium_over_turn_tcp() {
    chromiums_call_over("tcp");
}

#[test]
fn chromium_calls_chromium_over_turns() {
    chromiums_call_over("tls");
}

#[test]
fn firefox_calls_chromium_over_turn_udp() {
    firefox_calls_chromium_over("udp", &[false, true]);
}

#[test]
fn firefox_calls_chromium_over_turn_tcp() {
    firefox_calls_chromium_over("tcp", &[false]);
}

#[test]
fn firefox_calls_chromium_over_turns() {
    firefox_calls_chromium_over("tls", &[true]);
}

#[test]
fn firefox_calls_firefox_over_turn_udp() {
    let _turn = one_test_at_a_time();
    let daemon = Daemon::speaking_only("udp");
    let firefox = || firefox::start(Microphone::Allowed, None);
    a_relayed_call(&daemon, [&firefox, &firefox], "udp");
}

fn chromiums_call_over(transport: &str) {
    let _turn = one_test_at_a_time();
    let daemon = Daemon::speaking_only(transport);
    let driver = Driver::trusting(&daemon.authority());
    let chromium = || driver.browser(Microphone::Allowed);
    a_relayed_call(&daemon, [&chromium, &chromium], transport);
}

/// `turn_about`: whether Chromium waits. Whoever waits offers and whoever comes answers.
fn firefox_calls_chromium_over(transport: &str, turn_about: &[bool]) {
    let _turn = one_test_at_a_time();
    let daemon = Daemon::speaking_only(transport);
    let driver = Driver::trusting(&daemon.authority());
    let chromium = || driver.browser(Microphone::Allowed);
    let firefox = || firefox::start(Microphone::Allowed, Some(&daemon.authority()));
    for &chromium_waits in turn_about {
        match chromium_waits {
            false => a_relayed_call(&daemon, [&firefox, &chromium], transport),
            true => a_relayed_call(&daemon, [&chromium, &firefox], transport),
        }
    }
}

/// Both talk, and ask their browser how it is connected and what it hears.
fn a_relayed_call<'a>(daemon: &Daemon, [waiting, coming]: [&dyn Fn() -> Browser<'a>; 2], transport: &str) {
    let (ana, ben) = meet(daemon, waiting, coming);
    for person in [&ana, &ben] {
        let media = person.media();
        let said = |what: &str| media[what].as_str().unwrap().to_owned();
        assert_eq!([said("local"), said("relayProtocol")], ["relay", transport], "{}: {media}", person.name);
        // Firefox goes on saying "prflx" of an address whose first check overtook its candidate.
        assert!(["relay", "prflx"].contains(&said("remote").as_str()), "{}: {media}", person.name);
        person.page.until("document.querySelector('#shield').dataset.path === 'hidden'");
        person.hears_more_than(&media);
    }
    ana.types("hello from one browser");
    ben.reads("hello from one browser");
    ben.types("and from another");
    ana.reads("and from another");
}

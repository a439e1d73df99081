//! How many round trips to the server it takes from `matched` to a voice: two real Chromiums, far from the server.

use crate::pair_browser::OWN_CLIENT;
use crate::people::{best_of_a_few, count, one_test_at_a_time};
use e2e::browser::{Browser, Driver, Microphone};
use e2e::distance::Distance;
use e2e::{Daemon, report};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// A round trip between a client and the server: long enough that what the machine itself needs is a small part of it.
const ROUND_TRIP: Duration = Duration::from_millis(400);
/// Issue 5, "Calls": what DTLS 1.2 is allowed, and half a round trip for the machine.
const ROUND_TRIPS: f64 = 7.5;

/// Notes when `matched` came, when the first packet of the partner's voice did, and each step of ICE and DTLS.
const WATCH: &str = "
    window.steps = [];
    pair.addEventListener('matched', () => {
        window.matchedAt = Date.now();
        const pc = recorder.connections.find((one) => one.connectionState !== 'closed');
        const step = (name) => steps.push([name, Date.now() - matchedAt]);
        pc.addEventListener('iceconnectionstatechange', () => step('ICE ' + pc.iceConnectionState));
        pc.addEventListener('connectionstatechange', () => step('ICE and DTLS ' + pc.connectionState));
        const look = setInterval(async () => {
            const heard = [...(await pc.getStats()).values()].some((s) => s.type === 'inbound-rtp' && s.packetsReceived > 0);
            if (!heard || window.audible) return;
            window.audible = Date.now() - matchedAt;
            window.dtls = [...(await pc.getStats()).values()].find((s) => s.type === 'transport')?.tlsVersion;
            clearInterval(look);
        }, 10);
    });";

#[test]
#[ignore = "a trace with delays of its own: --long"]
fn from_matched_to_a_voice_in_a_few_round_trips() {
    let _turn = one_test_at_a_time();
    let rounds = best_of_a_few(ROUND_TRIPS, trace);
    assert!(rounds <= ROUND_TRIPS, "{rounds:.1} round trips");
}

fn trace() -> f64 {
    let distance = Distance::of(ROUND_TRIP / 2);
    let daemon = Daemon::local()
        .set(&format!("signalling.turn_urls = ['turn:{}?transport=udp']", distance.udp()))
        .set(&format!("signalling.origins = ['http://{}']", distance.tcp()))
        .start();
    distance.lies_before(daemon.turn(), daemon.signalling());
    let driver = Driver::start();
    let pages = [(); 2].map(|()| {
        let page = driver.browser(Microphone::Allowed);
        page.before_each_page(include_str!("recorder.js"));
        page.open(&format!("http://{}/", distance.tcp()));
        page.run(&OWN_CLIENT.replace("await pair.queue();", "await new Promise((warm) => setTimeout(warm, 3000));"));
        page.run(WATCH);
        page
    });
    pages.iter().for_each(|page| drop(page.run("return pair.queue()")));
    let mut text = format!("from `matched` to a voice, with a round trip r of {ROUND_TRIP:?} to the server\n");
    let audible = pages.each_ref().map(|page| story(page, &mut text));
    report("browser-trace.txt", &text);
    audible[0].max(audible[1])
}

/// Writes one side's steps; returns the round trips until its voice was heard.
fn story(page: &Browser<'_>, text: &mut String) -> f64 {
    let in_rounds = |ms: f64| ms / ROUND_TRIP.as_secs_f64() / 1_000.0;
    let audible = in_rounds(page.until("window.audible ?? null").as_f64().unwrap());
    page.until("pair.state === 'talking'");
    let matched = page.run("return matchedAt").as_f64().unwrap();
    let role =
        page.run("return recorder.frames.map(({ data }) => JSON.parse(data)).find(({ t }) => t === 'matched').role");
    writeln!(text, "{} ({}):", role.as_str().unwrap(), page.run("return window.dtls ?? 'DTLS version unknown'"))
        .unwrap();
    let mut steps: Vec<(f64, String)> = Vec::new();
    for step in page.run("return steps").as_array().unwrap() {
        steps.push((step[1].as_f64().unwrap(), step[0].as_str().unwrap().to_owned()));
    }
    for frame in page.run("return recorder.frames").as_array().unwrap() {
        let said: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
        let (at, t) = (count(frame, "at") - matched, said["t"].as_str().unwrap());
        if at >= -5.0 && ["matched", "answer", "cand", "connected"].contains(&t) {
            steps.push((at, format!("`{t}` to the {}", if frame["to"] == "page" { "client" } else { "server" })));
        }
    }
    steps.push((audible * ROUND_TRIP.as_secs_f64() * 1_000.0, "the first packet of the partner's voice".to_owned()));
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (at, step) in steps {
        writeln!(text, "  {:4.1} r  {step}", in_rounds(at.max(0.0))).unwrap();
    }
    audible
}

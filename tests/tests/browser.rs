//! Two real Chromiums, each with a profile and a microphone of its own, and the page as a person uses it.

use crate::people::{Person, best_of_a_few, count, message, one_test_at_a_time, two_in_a_call};
use e2e::browser::{Driver, Microphone};
use e2e::{Caller, Claims, Daemon, eventually};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

/// Issue 2, "What it must show" 3.
const SILENT_WITHIN_MS: f64 = 100.0;

#[test]
fn two_strangers_talk_and_neither_learns_the_others_address() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);

    for person in [&ana, &ben] {
        let before = person.media();
        assert_eq!((&before["local"], &before["remote"]), (&json!("relay"), &json!("relay")), "{}", person.name);
        assert_ne!(before["cipher"], "none", "media is encrypted between the browsers");
        person.hears_more_than(&before);
        person.page.until("document.querySelector('#shield').dataset.path === 'hidden'");
        person.page.until("document.querySelector('#shield-text').textContent === 'Your address is hidden'");
    }
    assert_eq!(ana.page.text("#partner"), "Ben");
    assert_eq!(ben.page.text("#partner"), "Ana");

    ana.types("hello from <b>Ana</b> 👋");
    ben.reads("hello from <b>Ana</b> 👋");
    ben.types("and back");
    ana.reads("and back");

    let [from_ana, from_ben] = [&ana, &ben].map(relay_candidates_only);
    assert_ne!(from_ana, from_ben, "each side has relay addresses of its own");
}

#[test]
fn hanging_up_silences_the_far_side_within_100_ms_and_leaves_no_text() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let silent = best_of_a_few(SILENT_WITHIN_MS, || hang_up_and_measure(&daemon, &driver));
    assert!(silent <= SILENT_WITHIN_MS, "both silent after {silent} ms");
}

/// Returns how long after the hang-up the last of the two connections was closed, in milliseconds.
fn hang_up_and_measure(daemon: &Daemon, driver: &Driver) -> f64 {
    let (ana, ben) = two_in_a_call(daemon, driver);
    ana.types("soon forgotten");
    ben.reads("soon forgotten");
    ben.page.type_into("#words", "never sent");

    ana.page.click("#hangup");
    for person in [&ana, &ben] {
        person.page.until("!document.querySelector('#screen-wish').hidden");
        assert_eq!(person.page.run("return recorder.connections.at(-1).connectionState"), "closed");
        assert_eq!(person.page.run("return document.querySelector('#far').srcObject"), Value::Null);
        assert_eq!(
            person.page.run(
                "return document.querySelector('#log').children.length + document.querySelector('#words').value.length"
            ),
            0
        );
    }
    assert_eq!(ben.page.text("#ended-note"), "Your partner hung up.");

    let hung_up = ana.frame_at("server", "hangup");
    let told = ben.frame_at("page", "ended");
    let [own, far] = [&ana, &ben].map(|person| person.page.run("return recorder.closedAt").as_f64().unwrap() - hung_up);
    eprintln!("hang-up: told after {} ms, silent after {far} ms", told - hung_up);
    own.max(far)
}

/// The server ends the call, not the clients' good will: both browsers keep their connections open, go on sending, and are not heard.
#[test]
fn a_call_that_was_hung_up_is_dead_even_if_both_clients_hold_on_to_it() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let last = best_of_a_few(SILENT_WITHIN_MS, || hold_on_and_measure(&daemon, &driver));
    assert!(last <= SILENT_WITHIN_MS, "the last packet was heard {last} ms after the hang-up");
}

/// Returns how long after the hang-up the last packet was heard, in milliseconds.
fn hold_on_and_measure(daemon: &Daemon, driver: &Driver) -> f64 {
    let (ana, ben) = two_in_a_call(daemon, driver);
    for person in [&ana, &ben] {
        person.page.run("recorder.holdOn = true");
    }
    ana.page.click("#hangup");
    ben.page.until("!document.querySelector('#screen-wish').hidden");
    let hung_up = ana.frame_at("server", "hangup");
    std::thread::sleep(Duration::from_millis(300));
    let lasts = [&ana, &ben].map(|person| {
        let before = person.media();
        let after = eventually(&format!("{} to go on sending", person.name), || {
            let now = person.media();
            (count(&now, "sent") > count(&before, "sent") + 50.0).then_some(now)
        });
        assert_eq!(count(&after, "received"), count(&before, "received"), "{} hears nothing more", person.name);
        count(&after, "lastReceivedAt") - hung_up
    });
    eprintln!("both hold on: the last packets were heard {lasts:.0?} ms after the hang-up");
    lasts[0].max(lasts[1])
}

#[test]
fn next_leaves_one_stranger_and_finds_another() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);
    ana.types("bye");
    ben.reads("bye");

    ana.page.click("#next");
    ana.page.until("!document.querySelector('#screen-wait').hidden");
    ben.page.until("!document.querySelector('#screen-wish').hidden");
    assert_eq!(ben.page.text("#ended-note"), "Your partner moved on.");
    assert_eq!(ana.page.run("return document.querySelector('#log').children.length"), 0);

    let eva = Person::arrives(&driver, &daemon, "Eva", Microphone::Allowed);
    eva.looks_for_someone();
    for (person, partner) in [(&ana, "Eva"), (&eva, "Ana")] {
        person.is_talking();
        assert_eq!(person.page.text("#partner"), partner);
        person.hears_more_than(&person.media());
    }
    assert_eq!(ana.page.run("return recorder.connections.length"), 2, "a new call is a new connection");
}

/// Whoever comes second finds the call already gone; that is no reason to lose one's place.
#[test]
fn both_pressing_next_at_once_leaves_both_waiting_for_somebody_else() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);

    ben.page.run("recorder.deaf = true");
    ana.page.click("#next");
    ana.page.until(
        "!document.querySelector('#screen-wait').hidden && document.querySelector('#ahead').textContent !== 'unknown'",
    );
    ben.page.click("#next");
    ben.page.run("recorder.hear()");
    ben.frame_at("page", "error");
    for person in [&ana, &ben] {
        person.page.until("!document.querySelector('#screen-wait').hidden");
    }
    let eva = Person::arrives(&driver, &daemon, "Eva", Microphone::Allowed);
    let kim = Person::arrives(&driver, &daemon, "Kim", Microphone::Allowed);
    eva.looks_for_someone();
    eva.is_talking();
    kim.looks_for_someone();
    kim.is_talking();
    assert_ne!(eva.page.text("#partner"), kim.page.text("#partner"), "Ana and Ben are both served");
}

#[test]
fn when_the_server_goes_away_the_call_ends_and_the_microphone_is_given_back() {
    let _turn = one_test_at_a_time();
    let (mut daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);

    daemon.process().stop();
    for person in [&ana, &ben] {
        person.page.until("!document.querySelector('#screen-offline').hidden");
        assert_eq!(person.page.text("#offline-why"), "The connection to the server was lost.");
        assert_eq!(person.page.run("return recorder.connections.at(-1).connectionState"), "closed");
        assert_eq!(person.page.run("return recorder.microphones.map((track) => track.readyState).join()"), "ended");
    }
}

/// Promise A4: access to the microphone is the person's to give, and no is an answer.
#[test]
fn a_refused_microphone_is_a_state_and_one_can_still_listen_and_type() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let ana = Person::arrives(&driver, &daemon, "Ana", Microphone::Refused);
    ana.looks_for_someone();
    ana.page.until("!document.querySelector('#screen-wait').hidden");
    ana.page.until("document.querySelector('#wait-microphone').dataset.state === 'refused'");
    assert!(ana.page.run("return document.querySelector('#toast').hidden").as_bool().unwrap(), "it is not an error");

    let ben = Person::arrives(&driver, &daemon, "Ben", Microphone::Allowed);
    ben.looks_for_someone();
    ana.is_talking();
    ben.is_talking();
    ana.hears_more_than(&ana.media());
    ana.types("I can only type today");
    ben.reads("I can only type today");
    assert!(ana.page.run("return document.querySelector('#mute').disabled").as_bool().unwrap());
}

#[test]
fn a_microphone_revoked_in_mid_call_is_a_state_and_the_call_goes_on() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);
    let microphone = json!({ "permission": { "name": "microphone" }, "setting": "denied" });

    ana.page.devtools("Browser.setPermission", microphone);
    ana.page.until("document.querySelector('#call-microphone').dataset.state === 'lost'");
    ana.frame_at("server", "mic");
    assert!(ana.page.run("return document.querySelector('#toast').hidden").as_bool().unwrap(), "it is not an error");
    ana.is_talking();
    ana.hears_more_than(&ana.media());
    ana.types("my microphone is gone");
    ben.reads("my microphone is gone");
    ben.page.until("document.querySelector('#peer-microphone').innerText === 'Your partner’s microphone is off.'");
}

#[test]
fn muting_is_silence_for_the_other_side_but_not_the_end_of_the_call() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);

    // What is heard in two seconds, and what there was by then.
    let listen = || {
        let before = ben.media();
        std::thread::sleep(Duration::from_secs(2));
        let after = ben.media();
        (
            count(&after, "energy") - count(&before, "energy"),
            count(&after, "received") > count(&before, "received"),
            after,
        )
    };
    let (tone, ..) = listen();
    assert!(tone > 0.0);
    ana.page.click("#mute");
    ana.page.until("document.querySelector('#mute').getAttribute('aria-pressed') === 'true'");
    let after = eventually("two seconds in which packets flow and nothing is in them", || {
        let (heard, flows, after) = listen();
        // A decoder's comfort noise is not exactly zero.
        (heard < tone / 1000.0 && flows).then_some(after)
    });

    ana.page.click("#mute");
    ben.hears_more_than(&after);
}

/// A partner's card and text are somebody else's words: shown as they are, and unable to fetch anything from anywhere.
#[test]
fn what_a_partner_says_of_itself_is_text_and_the_browser_fetches_nothing_from_elsewhere() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = elsewhere.local_addr().unwrap();
    let name = format!("<img src=http://{address}/>");
    let ana = Person::arrives(&driver, &daemon, "Ana", Microphone::Allowed);
    ana.looks_for_someone();
    ana.page.until("!document.querySelector('#screen-wait').hidden");

    let token =
        Claims::adult("Eve").with("card", json!({ "n": name, "picture": format!("http://{address}/eve.png") })).token();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut eve, _) = Caller::connect(&daemon, &token).await;
        eve.request(json!({ "t": "queue" })).await;
        let call = eve.matched().await["call"].clone();
        eve.send(json!({ "t": "text", "call": call, "k": 1, "b": name })).await;
        ana.reads(&name);
        assert_eq!(ana.page.text("#partner"), name);
        assert_eq!(ana.page.run("return document.querySelectorAll('img').length"), 0);
    });

    let refused = ana.page.run(&format!(
        "const refused = [];
         document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
         new Image().src = 'http://{address}/picture';
         return fetch('http://{address}/fetch').catch(() => new Promise((done) => setTimeout(() => done(refused.sort().join()), 500)));"
    ));
    assert_eq!(refused, "connect-src,img-src");
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody called");
}

#[test]
fn with_direct_calls_the_page_says_that_addresses_are_shown() {
    let _turn = one_test_at_a_time();
    let daemon = Daemon::local().set("calls.path = 'direct-first'\ncalls.direct_bands = ['18+']").start();
    let driver = Driver::start();
    let ana = Person::arrives(&driver, &daemon, "Ana", Microphone::Allowed);
    assert_eq!(ana.page.text("#shield-text"), "Partners see each other’s address", "before anything is sent");
    assert!(ana.page.text("#promise").contains("your partner’s device learns your internet address"));

    ana.looks_for_someone();
    let ben = Person::arrives(&driver, &daemon, "Ben", Microphone::Allowed);
    ben.looks_for_someone();
    for person in [&ana, &ben] {
        person.is_talking();
        assert_eq!(person.page.text("#shield-text"), "Addresses are shown");
        let seen = |kind: &str| {
            person.frames().iter().any(|frame| frame["to"] == "page" && frame["data"].as_str().unwrap().contains(kind))
        };
        assert!(seen("typ host"), "what relayed calls must not show is seen here by the same recorder");
        person.hears_more_than(&person.media());
    }
}

#[test]
fn an_age_the_server_does_not_admit_is_told_so_and_gets_no_further() {
    let _turn = one_test_at_a_time();
    let daemon = Daemon::local().set("matching.min_band = '16-17'").start();
    let driver = Driver::start();
    let page = driver.browser(Microphone::Allowed);
    page.open(&daemon.page());
    page.click("input[value='13-15']");
    page.click("#screen-you button[type='submit']");
    page.until("!document.querySelector('#screen-offline').hidden");
    assert_eq!(page.text("#offline-why"), "This server does not admit your age group.");
}

#[test]
fn the_whole_page_can_be_used_by_keyboard_and_every_control_has_a_name() {
    const TAB: &str = "\u{E004}";
    const ENTER: &str = "\u{E007}";
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let page = driver.browser(Microphone::Allowed);
    page.open(&daemon.page());
    page.until("document.activeElement.tagName === 'H1'");
    let tab_to = |selector: &str| {
        let there = format!("return document.activeElement.matches({selector:?})");
        let found = (0..40).any(|_| {
            page.press(TAB);
            page.run(&there).as_bool().unwrap()
        });
        assert!(found, "{selector} cannot be reached by the Tab key");
    };
    let every_control_has_a_name = || {
        page.devtools("Accessibility.enable", json!({}));
        let tree = page.devtools("Accessibility.getFullAXTree", json!({}));
        let controls = ["button", "textbox", "radio", "checkbox", "link"];
        let nodes = tree["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|node| controls.contains(&node["role"]["value"].as_str().unwrap_or("")));
        let names: Vec<_> = nodes.map(|node| node["name"]["value"].as_str().unwrap_or("").trim().to_owned()).collect();
        assert!(!names.is_empty() && names.iter().all(|name| !name.is_empty()), "{names:?}");
    };

    every_control_has_a_name();
    tab_to("#name");
    page.press("Kim");
    tab_to("[name=band]");
    page.press("\u{E012}\u{E014}"); // arrows: to the last and back round, so that any choice is reached
    page.press(" ");
    tab_to("#screen-you button");
    page.press(ENTER);
    page.until("!document.querySelector('#screen-wish').hidden && document.activeElement.matches('#screen-wish h1')");
    every_control_has_a_name();
    tab_to("[name=topic]");
    page.press(" ");
    page.until("document.querySelectorAll('[name=topic]:checked').length === 1");
    tab_to("#find");
    page.press(ENTER);
    page.until("document.activeElement.matches('#screen-wait h1')");
    every_control_has_a_name();
    tab_to("#leave");
    page.press(ENTER);
    page.until("document.activeElement.matches('#screen-wish h1')");
}

/// Not a check: draws the pictures of the documentation when asked to (`SCREENSHOTS=1`).
#[test]
fn pictures_for_the_documentation() {
    if std::env::var_os("SCREENSHOTS").is_none() {
        return;
    }
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let docs = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../relay/docs"));
    std::fs::create_dir_all(&docs).unwrap();

    let ana = Person::arrives(&driver, &daemon, "Ana", Microphone::Allowed);
    ana.page.click("[name=topic][value='0']");
    ana.page.click("[name=topic][value='3']");
    ana.looks_for_someone();
    ana.page.until("document.querySelector('#waited').textContent === '3 s'");
    let place = "{ t: 'position', ahead: 2, eta: { p50: 4000, p90: 9000 }, stage: 2, hint: { relax: 'level', would_match: 12 } }";
    ana.page.run(&format!("recorder.tell({place})"));
    ana.page.screenshot(&docs.join("page-waiting.png"));

    let ben = Person::arrives(&driver, &daemon, "Ben", Microphone::Allowed);
    let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true });
    ben.page.click("[name=topic][value='3']");
    ben.looks_for_someone();
    for person in [&ana, &ben] {
        person.is_talking();
    }
    for (from, to, words) in [
        (&ana, &ben, "Hi! Which food do you miss most?"),
        (&ben, &ana, "My grandmother's dumplings."),
        (&ana, &ben, "Tell me more!"),
    ] {
        from.types(words);
        to.reads(words);
    }
    std::thread::sleep(Duration::from_secs(4));
    ana.page.screenshot(&docs.join("page-in-call.png"));
    ben.page.devtools("Emulation.setDeviceMetricsOverride", phone);
    ben.page.devtools(
        "Emulation.setEmulatedMedia",
        json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] }),
    );
    std::thread::sleep(Duration::from_secs(1));
    ben.page.screenshot(&docs.join("page-phone-dark.png"));
}

/// Reads every frame a page sent or got: no candidate but relayed ones, in descriptions only the server's own, and no address of this
/// machine anywhere else. Returns the partner's candidates.
fn relay_candidates_only(person: &Person<'_>) -> Vec<String> {
    let own_addresses: Vec<String> = webrtc_util::ifaces::ifaces()
        .unwrap()
        .into_iter()
        .filter_map(|interface| Some(interface.addr?.ip()))
        .filter(|address| !address.is_loopback())
        .map(|address| address.to_string())
        .collect();
    let mut candidates = Vec::new();
    let mut descriptions = 0;
    for frame in person.frames() {
        let (raw, message) = (frame["data"].as_str().unwrap(), message(&frame));
        for forbidden in
            ["typ host", "typ srflx", "typ prflx", ".local"].into_iter().chain(own_addresses.iter().map(String::as_str))
        {
            assert!(
                !raw.contains(forbidden),
                "{} saw `{forbidden}` in a `{}` to {}",
                person.name,
                message["t"],
                frame["to"]
            );
        }
        // Alone, in a ticket, or with the news of a match.
        if let Some(sdp) = message["sdp"].as_str().or(message["offer"]["sdp"].as_str()) {
            descriptions += 1;
            let issued: Vec<&str> = sdp.lines().filter(|line| line.starts_with("a=candidate")).collect();
            assert!(issued.is_empty() || frame["to"] == "page", "a page's candidates travel as `cand`");
            assert!(issued.iter().all(|line| line.contains(" typ relay")), "only what the relay issued: {issued:?}");
            candidates.extend(issued.into_iter().map(str::to_owned));
        }
        if let (Some(candidate), true) = (message["c"].as_str().filter(|c| !c.is_empty()), frame["to"] == "page") {
            assert!(candidate.contains(" typ relay"), "{candidate}");
            candidates.push(candidate.to_owned());
        }
    }
    assert!(
        descriptions >= 2 && !candidates.is_empty(),
        "the frames were recorded: {descriptions}, {}",
        candidates.len()
    );
    candidates
}

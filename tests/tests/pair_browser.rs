//! The client and the page where it gets difficult: two makes of browser, a network that goes away, a server that lies, a partner to
//! be rid of.

use crate::people::{one_test_at_a_time, two_in_a_call};
use e2e::browser::{Browser, Driver, Microphone, firefox};
use e2e::meddler::Meddler;
use e2e::network::{self, Network};
use e2e::{Claims, Daemon, PATIENCE, eventually, vitals, webhook};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Whoever may not meet is looked at for so long: a match takes milliseconds.
const NOT_MATCHED: Duration = Duration::from_secs(2);
/// How long the network is away.
const CUT: Duration = Duration::from_secs(5);
/// Set in the process that runs inside the namespace of the callers; its value is the server's.
const SERVER: &str = "E2E_SERVER_NAMESPACE";
/// The server's address on the wire of the namespaces, the callers', and a port.
const ADDRESSES: [&str; 2] = ["198.51.100.1", "198.51.100.2"];
const PORT: u16 = 8080;

/// Counts allocations that were made, not those that are there.
const ALLOCATIONS: &str = "relay_allocations_created_total";

/// Sets up a client of one's own on the page's origin, as an app would, and waits in the queue.
pub(crate) const OWN_CLIENT: &str = "
    return (async () => {
        const { Pair } = await import('/pair.js');
        const body = JSON.stringify({ name: 'x', lvl: 'B1', band: '18+', g: 'x', gp: ['f', 'm', 'x'] });
        const headers = { 'content-type': 'application/json' };
        const demo = async () => (await (await fetch('/demo/token', { method: 'POST', headers, body })).json()).token;
        window.heard = [];
        window.pair = new Pair({ token: async () => window.ownToken ?? demo() });
        for (const type of ['queued', 'restart', 'connected', 'peer', 'ended', 'safety', 'error', 'connection'])
            pair.addEventListener(type, (event) => heard.push({ type, at: performance.now(), ...event.detail }));
        pair.addEventListener('matched', () => { window.matchedAt = performance.now(); });
        await pair.connect();
        await new Promise((ready) => setTimeout(ready, 1000)); // as a person would, who chooses topics
        await pair.queue();
    })();";

/// A booked lesson: the tokens of both name it, so that nobody but these two is ever matched, and again and again, until one blocks.
#[test]
fn firefox_and_chromium_meet_read_one_code_move_on_and_block() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let lesson = |name| Claims::adult(name).with("with", json!("a-lesson-booked-for-today")).token();
    let firefox = own_client_with(firefox::start(Microphone::Allowed, None), &daemon.page(), &lesson("Ana"));
    let chromium = own_client_with(driver.browser(Microphone::Allowed), &daemon.page(), &lesson("Ben"));
    let pages = [&firefox, &chromium];
    talk_and_read_the_same_code(pages);
    chromium.run("pair.sendText('soon forgotten')");
    waits(&firefox, "pair.texts.length === 1");

    // On to the next, who is the same: the roles are the other way round, and nothing of the first call is left.
    chromium.run("pair.next()");
    waits(&firefox, "pair.state === 'idle' && pair.texts.length === 0");
    firefox.run("return pair.queue()");
    talk_and_read_the_same_code(pages);
    assert_eq!(chromium.run("return pair.texts.length"), 0);

    chromium.run("pair.block()");
    for page in pages {
        waits(page, "pair.state === 'idle'");
        page.run("heard.length = 0; return pair.queue()");
        waits(page, "heard.some((event) => event.type === 'queued')");
    }
    std::thread::sleep(NOT_MATCHED);
    for page in pages {
        assert_eq!(page.run("return pair.state"), "queued", "they meet no more");
    }
}

fn talk_and_read_the_same_code(pages: [&Browser<'_>; 2]) {
    let codes = pages.map(|page| {
        waits(page, "pair.state === 'talking' && pair.call.safetyCode !== null");
        hears(page);
        page.run("return pair.call.safetyCode")
    });
    assert_eq!(codes[0], codes[1]);
    assert_eq!(codes[0].as_str().unwrap().len(), "123 ".len() * 13 - 1, "{}", codes[0]);
}

/// As [`Browser::until`], but who waits in vain is told what happened instead.
fn waits(page: &Browser<'_>, expression: &str) {
    let start = Instant::now();
    while page.run(&format!("return ({expression}) === true")) != true {
        let story = "return JSON.stringify([heard, recorder.frames.map(({ to, data }) => `${to} ${data.slice(0, 90)}`)], null, 1)";
        assert!(start.elapsed() < PATIENCE, "in vain: {expression}\n{}", page.run(story).as_str().unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn hears(page: &Browser<'_>) {
    let received = || page.run("return recorder.media()")["received"].as_f64().unwrap();
    let before = received();
    eventually("a voice", || (received() > before + 50.0).then_some(()));
}

/// Another process has taken the server's place: who is told so resumes there, through connections that are refused and not
/// answered at first.
#[test]
fn a_server_that_makes_room_for_another_is_come_back_to_and_no_voice_stops() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let pages = [own_client(&driver, &daemon.page()), own_client(&driver, &daemon.page())];
    pages.iter().for_each(|page| waits(page, "pair.state === 'talking'"));
    for page in &pages {
        page.run(
            "const Socket = WebSocket;
            window.attempts = [];
            window.WebSocket = class extends Socket {
                constructor(url, protocol) {
                    const attempt = attempts.push(performance.now());
                    if (attempt === 2) return Object.assign(new EventTarget(), { close() {} }); // nobody answers
                    super(attempt === 1 ? url.replace('/v1/ws', '/nobody/here') : url, protocol);
                }
            };
            window.madeRoom = performance.now();
            recorder.socket.dispatchEvent(new CloseEvent('close', { code: 1012 }));
            pair.sendText('said meanwhile');",
        );
        assert_eq!(page.run("return pair.resuming && pair.state === 'talking'"), true);
    }
    for page in &pages {
        waits(page, "!pair.resuming && pair.welcome?.resumed?.state === 'call'");
        waits(page, "pair.texts.some(({ from, text }) => from === 'peer' && text === 'said meanwhile')");
        hears(page);
        assert_eq!(page.run("return attempts.length"), 3);
        let pauses = page.run("return attempts.map((at, number) => at - (attempts[number - 1] ?? madeRoom))");
        let within = |number: usize, from: f64, to: f64| (from..to + 300.0).contains(&pauses[number].as_f64().unwrap());
        assert!(within(0, 0.0, 3000.0) && within(1, 500.0, 1000.0) && within(2, 2500.0, 3000.0), "{pauses}");
        let heard = |kind: &str| page.run(&format!("return heard.filter(({{ type }}) => type === '{kind}').length"));
        assert_eq!([heard("error"), heard("ended"), heard("restart")], [0, 0, 0]);
        assert_eq!(heard("connection"), 2);
    }
}

#[test]
fn a_newcomer_whom_the_server_did_not_get_to_hear_says_hello_to_the_other_process() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let page = driver.browser(Microphone::Allowed);
    page.before_each_page(include_str!("recorder.js"));
    page.open(&daemon.page());
    page.run(
        "const Socket = WebSocket;
        let told = 0;
        window.WebSocket = class extends Socket {
            constructor(...given) {
                super(...given);
                if (told++ > 0) return;
                this.addEventListener('open', (event) => {
                    event.stopImmediatePropagation();
                    this.dispatchEvent(new CloseEvent('close', { code: 1012 }));
                });
            }
        };",
    );
    page.run(OWN_CLIENT);
    waits(&page, "pair.state === 'queued'");
    assert_eq!(page.run("return heard.some(({ type }) => type === 'error' || type === 'connection')"), false);
}

/// Text is wiped when a call ends, but for the report that is being written; the backend learns what was really said.
#[test]
fn a_report_written_when_the_call_has_ended_reaches_the_backend_with_verified_evidence() {
    let _turn = one_test_at_a_time();
    let backend = webhook::Receiver::start();
    let (daemon, driver) = (Daemon::local().set(&backend.settings()).start(), Driver::start());
    let (ana, ben) = two_in_a_call(&daemon, &driver);
    for words in ["something unkind", "and worse"] {
        ana.types(words);
        ben.reads(words);
    }
    ben.types("not part of the evidence");
    ana.reads("not part of the evidence");

    let codes = [&ana, &ben].map(|person| {
        person.page.until("!document.querySelector('#safety').hidden");
        person.page.run("return document.querySelector('#safety-code').textContent")
    });
    assert_eq!(codes[0], codes[1], "both people see one safety code");
    ben.page.click("#report");
    ana.page.click("#hangup");
    ben.page.until("document.querySelectorAll('#log li').length === 0");
    ben.page.type_into("#report-note", "please look");
    ben.page.click("#report-dialog [value=send]");
    let report = backend.report();
    let said: Vec<&Value> = report["verified"].as_array().unwrap().iter().map(|text| &text["b"]).collect();
    assert_eq!(said, ["something unkind", "and worse"], "{report}");
    assert_eq!((&report["unverified"], &report["note"]), (&json!(0), &json!("please look")), "{report}");
    assert_ne!(report["reporter_sub"], report["reported_sub"]);
    ben.page.until("document.querySelector('#toast').innerText.startsWith('Your report has arrived')");
}

/// Both hold their relay before they are matched: whoever waited and whoever came, the daemon counts no allocation afterwards.
#[test]
fn both_sides_have_their_relay_before_they_are_matched() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let waiting = own_client(&driver, &daemon.page());
    let coming = driver.browser(Microphone::Allowed);
    coming.before_each_page(include_str!("recorder.js"));
    coming.open(&daemon.page());
    let connect = OWN_CLIENT.replace("await pair.queue();", "");
    coming.run(&connect);
    let made = || vitals::metric(&daemon, ALLOCATIONS, "");
    let before = eventually("both to have allocated", || Some(made()).filter(|made| *made >= 2));
    coming.run("return pair.queue()");
    for page in [&waiting, &coming] {
        waits(page, "pair.state === 'talking'");
        hears(page);
        let offer = page
            .run("return recorder.frames.map(({ data }) => JSON.parse(data)).find(({ t }) => t === 'queue').offer.sdp");
        assert!(offer.as_str().unwrap().contains("a=fingerprint:"), "the offer lies in the ticket");
    }
    assert_eq!(made(), before, "nobody had to allocate after the match");
}

/// A daemon that puts other fingerprints into the descriptions: the codes tell, and the browsers' encryption does not come about.
#[test]
fn a_server_that_swaps_fingerprints_gives_the_two_sides_different_codes() {
    const CODE: &str = "
        const { safetyCode } = await import('/pair.js');
        const pc = recorder.connections.at(-1);
        return safetyCode(pc.localDescription?.sdp, pc.remoteDescription?.sdp);";
    let code = |page: &Browser<'_>| {
        page.until("recorder.connections.at(-1)?.remoteDescription != null && recorder.connections.at(-1).localDescription != null");
        page.run(&format!("return (async () => {{ {CODE} }})()"))
    };
    let _turn = one_test_at_a_time();
    let meddler = Meddler::bind();
    let daemon = Daemon::local().set(&format!("signalling.origins = ['{}']", meddler.origin())).start();
    meddler.stand_before(daemon.signalling());
    let driver = Driver::start();
    let pages = [(); 2].map(|()| own_client(&driver, &format!("{}/", meddler.origin())));
    let codes = [code(&pages[0]), code(&pages[1])];
    assert!(codes.iter().all(Value::is_string), "{codes:?}");
    assert_ne!(codes[0], codes[1]);
    for page in &pages {
        assert_eq!(
            page.run("return heard.some((event) => event.type === 'connected' || event.type === 'safety')"),
            false
        );
    }
}

fn own_client<'a>(driver: &'a Driver, url: &str) -> Browser<'a> {
    own_client_with(driver.browser(Microphone::Allowed), url, "")
}

/// With a token from elsewhere than the demo page's backend.
fn own_client_with<'a>(page: Browser<'a>, url: &str, token: &str) -> Browser<'a> {
    page.before_each_page(include_str!("recorder.js"));
    page.open(url);
    page.run(&format!("window.ownToken = {token:?} || undefined"));
    page.run(OWN_CLIENT);
    page
}

#[test]
fn a_call_outlives_a_network_that_is_gone_for_five_seconds_in_namespaces() {
    in_namespaces("a_call_outlives_a_network_that_is_gone_for_five_seconds_in_namespaces", |server, pages| {
        Network::cut(server, true);
        let cut_at = Instant::now();
        for page in &pages {
            page.run("pair.sendText('on its way when it broke')"); // says something, and so finds out
            waits(page, "pair.resuming");
            page.run("pair.sendText('said while nobody could hear')");
            assert_eq!(page.run("return pair.state"), "talking", "a call does not hang on this connection");
        }
        std::thread::sleep(CUT.saturating_sub(cut_at.elapsed()));
        Network::cut(server, false);
        for page in &pages {
            waits(page, "!pair.resuming && pair.welcome?.resumed?.state === 'call'");
            waits(page, "pair.texts.filter(({ from }) => from === 'peer').length === 2");
            hears(page);
            let read = "return pair.texts.filter(({ from }) => from === 'peer').map(({ text }) => text)";
            assert_eq!(
                page.run(read),
                json!(["on its way when it broke", "said while nobody could hear"]),
                "once, in order"
            );
            assert_eq!(page.run("return heard.filter((event) => event.type === 'ended')"), json!([]));
            let connection = "return heard.filter(({ type }) => type === 'connection').map(({ resuming }) => resuming)";
            assert_eq!(page.run(connection), json!([true, false]));
        }
    });
}

/// Nothing breaks here, nothing is answered: the client has to find out by itself, and the call gets new paths meanwhile.
#[test]
fn a_network_that_swallows_everything_is_noticed_and_outlived_in_namespaces() {
    in_namespaces("a_network_that_swallows_everything_is_noticed_and_outlived_in_namespaces", |server, pages| {
        Network::swallow(server, true);
        for page in &pages {
            page.run("pair.sendText('is anybody there?')");
        }
        for page in &pages {
            waits(page, "pair.resuming");
        }
        Network::swallow(server, false);
        for page in &pages {
            waits(page, "!pair.resuming && pair.welcome?.resumed?.state === 'call'");
            waits(page, "pair.texts.some(({ from, text }) => from === 'peer' && text === 'is anybody there?')");
            hears(page);
            assert_eq!(page.run("return pair.texts.length"), 2, "each said once");
            assert_eq!(page.run("return heard.filter((event) => event.type === 'ended')"), json!([]));
        }
    });
}

/// In namespaces because each caller has one network there: a handle has two allocations, one for the old paths and one for the new.
#[test]
fn new_paths_in_mid_call_leave_the_voices_flowing_in_namespaces() {
    in_namespaces("new_paths_in_mid_call_leave_the_voices_flowing_in_namespaces", |_, pages| {
        let fragment = |page: &Browser<'_>| {
            page.run("return recorder.connections.at(-1).localDescription.sdp.match(/ice-ufrag:(\\S+)/)[1]")
        };
        let before = pages.each_ref().map(fragment);
        pages[1].run("pair.restart()");
        for (page, before) in pages.iter().zip(&before).rev() {
            waits(page, "heard.some((event) => event.type === 'restart' && event.gen === 2)");
            waits(page, "heard.filter((event) => event.type === 'connected').length === 2");
            assert_ne!(fragment(page), *before, "a new generation has new credentials");
            hears(page);
            let wrong = "return heard.filter(({ type }) => type === 'error' || type === 'ended')";
            assert_eq!(page.run(wrong), json!([]));
        }
        pages[0].run("pair.sendText('hello'); pair.hangup()");
        for page in &pages {
            waits(page, "pair.state === 'idle' && pair.texts.length === 0 && pair.call === null");
        }
    });
}

/// The callers' browsers run in a namespace of their own, and so does the server: the test runs itself in there, and is told the
/// server's namespace and two pages that talk.
fn in_namespaces(test: &str, story: fn(&str, [Browser<'_>; 2])) {
    if let Ok(server) = std::env::var(SERVER) {
        return two_talk(&server, story);
    }
    let _turn = one_test_at_a_time();
    if let Err(why) = network::possible() {
        panic!("no network namespaces: {why}. As root tests/run.sh has them; without, it leaves this test out");
    }
    let mut wires = Network::public();
    let server = wires.public_host("server", &[&format!("{}/24", ADDRESSES[0])]);
    let callers = wires.public_host("callers", &[&format!("{}/24", ADDRESSES[1])]);
    let mut command = network::command_inside(&callers, &std::env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", &format!("pair_browser::{test}")]);
    let output = command.env(SERVER, &server).env("RELAY_BIN", e2e::daemon::binary()).output().unwrap();
    let [said, why] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success() && said.contains("1 passed"), "{said}{why}");
}

fn two_talk(server: &str, story: fn(&str, [Browser<'_>; 2])) {
    let (address, page) = (ADDRESSES[0], format!("http://{}:{PORT}", ADDRESSES[0]));
    let daemon = Daemon::local().inside(server).set(&format!(
        "listen = {{ udp = ['{address}:0'], signalling = '{address}:{PORT}' }}\nrelay.addresses = ['{address}']\n\
         signalling = {{ origins = ['{page}'], demo_page = false }}\nlimits.exempt = ['198.51.100.0/24']"
    ));
    let (_daemon, driver) = (daemon.start(), Driver::start());
    let secure = format!("--unsafely-treat-insecure-origin-as-secure={page}");
    let pages = ["Ana", "Ben"].map(|name| {
        own_client_with(driver.browser_with(Microphone::Allowed, &[&secure]), &page, &Claims::adult(name).token())
    });
    for page in &pages {
        waits(page, "pair.state === 'talking' && pair.call.safetyCode !== null");
    }
    story(server, pages);
}

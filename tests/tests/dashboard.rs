//! The operator's dashboard in Chromium, with a call, people who wait and a relay that goes away: the numbers are those of `/metrics`, and
//! everybody can use it, in both schemes, on a phone and by keyboard.

use crate::page_access::{axe, looks_at, obeys_the_rules};
use crate::people::one_test_at_a_time;
use crate::silence::Speaker;
use e2e::broker::Broker;
use e2e::browser::{Browser, Driver, Microphone};
use e2e::vitals::metric;
use e2e::voice::{Voice, talk};
use e2e::{Caller, Claims, Daemon, eventually, http};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
/// Of each group that waits: more than the ten from which on a group is told of.
const ALIKE: usize = 12;
/// Phones are as narrow as this.
const PHONE: u32 = 360;

/// A call with voices both ways, and people who wait in vain. They stay while this lives.
struct World {
    runtime: tokio::runtime::Runtime,
    speakers: Vec<Speaker>,
}

impl World {
    fn new(daemon: &Daemon) -> World {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let speakers = runtime.block_on(async {
            let (mut ana, mut ben) = (Voice::enter(daemon, "ana").await, Voice::enter(daemon, "ben").await);
            talk(&mut ana, &mut ben).await;
            let (Voice { turn: anas, caller: ana, .. }, Voice { turn: bens, caller: ben, .. }) = (ana, ben);
            let mut callers = vec![ana, ben];
            // Those of A1 and C2 would fit if the former accepted any level; women who want others would fit the men of B2.
            for (gender, level, wants, reach) in
                [("m", "A1", "f", 0), ("f", "C2", "m", 5), ("f", "B2", "x", 0), ("m", "B2", "f", 0)]
            {
                for number in 0..ALIKE {
                    callers.push(
                        waits(daemon, &format!("{gender}{level}{number}"), (gender, level, "18+"), (wants, reach))
                            .await,
                    );
                }
            }
            for number in 0..3 {
                callers.push(waits(daemon, &format!("minor{number}"), ("f", "B1", "13-15"), ("m", 5)).await);
            }
            drop(tokio::spawn(stay(callers)));
            vec![Speaker::start(anas, 0), Speaker::start(bens, 0)]
        });
        World { runtime, speakers }
    }

    fn leaves(self) {
        self.runtime.shutdown_background();
        self.speakers.into_iter().for_each(|speaker| drop(speaker.stop()));
    }
}

/// In a pool of their own, so that a crowd in another one finds none of them.
async fn waits(
    daemon: &Daemon,
    name: &str,
    (gender, level, band): (&str, &str, &str),
    (wants, reach): (&str, u8),
) -> Caller {
    let claims = Claims::adult(name).with("g", json!(gender)).with("lvl", json!(level)).with("pool", json!("evening"));
    let claims = claims.with("age", json!({ "ok": true, "band": band }));
    let (mut caller, _) = Caller::connect(daemon, &claims.token()).await;
    caller.request(json!({ "t": "queue", "gender": [wants], "max_dist": reach })).await;
    caller.expect("queued").await;
    caller
}

/// A connection that says nothing is closed after a while.
async fn stay(mut callers: Vec<Caller>) {
    loop {
        for caller in &mut callers {
            caller.send(json!({ "t": "ping", "p": 1 })).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

#[test]
fn the_dashboard_shows_what_metrics_say_and_everybody_can_use_it() {
    let _turn = one_test_at_a_time();
    let axe = axe();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let world = World::new(&daemon);
    let page = driver.browser_with(Microphone::Refused, &["--window-size=1280,1000"]);
    page.open(&format!("http://{}/", daemon.admin()));
    page.until("document.querySelector('#health').dataset.state === 'ready'");
    page.until("document.querySelector('#calls').textContent === '1'");
    page.until(
        "[...document.querySelectorAll('#groups tr')].filter((row) => row.innerText.includes('Level')).length === 2",
    );
    page.until("parseFloat(document.querySelector('#packets').textContent) > 0");

    numbers_are_those_of_metrics(&page, &daemon);
    groups_are_those_of_the_desk(&page, &daemon);
    everything_comes_from_the_relay(&page, &daemon);
    // What is looked at must not be drawn anew meanwhile.
    page.click("#pause");
    looks_at(&page, "dashboard", axe.as_deref());
    nothing_scrolls_sideways(&page);
    page.click("#pause");
    keyboard_walk(&page, &daemon);
    page.click("#pause");
    obeys_the_rules(&page, "dashboard, with its table", axe.as_deref());
    page.click("#pause");
    an_outage_is_told_and_overcome(&page, axe.as_deref());
    world.leaves();
}

/// Paused, so that both are of one moment; what grows on is compared with what it was before and is now.
fn numbers_are_those_of_metrics(page: &Browser<'_>, daemon: &Daemon) {
    let before = metric(daemon, "relay_packets_relayed_total", "");
    page.until("Number(document.querySelector('#packets-sub').textContent.replace(/[^0-9]/g, '')) > 0");
    std::thread::sleep(Duration::from_secs(3));
    page.click("#pause");
    assert!(page.text("#stamp").starts_with("Paused at "));
    for (tile, name) in [
        ("calls", "relay_calls"),
        ("waiting", "relay_queue_tickets"),
        ("sessions", "relay_signalling_sessions"),
        ("allocations", "relay_allocations"),
    ] {
        assert_eq!(page.text(&format!("#{tile}")), metric(daemon, name, "").to_string(), "{name}");
    }
    assert_eq!(page.text("#waiting"), (4 * ALIKE + 3).to_string());
    let packets = number(&page.text("#packets-sub"));
    assert!((before..=metric(daemon, "relay_packets_relayed_total", "")).contains(&packets), "{packets} packets");
    // Two who speak fifty times a second, on a machine that may have no time.
    let rate = number(&page.text("#packets"));
    assert!((20..=130).contains(&rate), "{rate} packets a second");
    let relayed = |path: &str| metric(daemon, "relay_packets_relayed_total", &format!("path=\"{path}\""));
    assert!(relayed("hairpin") > 0 && relayed("client_to_peer") == 0, "the call stays within this server");
    assert!(page.text("#paths").contains("Within this server"), "{}", page.text("#paths"));
    let shown = page.run("return [...document.querySelectorAll('#overflow [data-reason]')].map((row) => [row.dataset.reason, row.children[2].textContent])");
    for row in shown.as_array().unwrap() {
        let (reason, count) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
        let told = metric(daemon, "relay_drops_total", &format!("reason=\"{reason}\""));
        assert_eq!(number(count), told, "{reason}");
    }
    assert!(shown.as_array().unwrap().len() >= 4, "{shown}");
    let workers = page.run("return document.querySelectorAll('#workers tr').length");
    assert_eq!(
        workers,
        http::get(daemon.admin(), "/metrics").body.matches("\nrelay_worker_busy_seconds_total{").count()
    );
    // Measured or not: never noughts instead.
    let quality = page.run("return [document.querySelector('#quality').hidden, document.querySelector('#quality-none').hidden, document.querySelectorAll('#quality-rows tr').length]");
    let measured = metric(daemon, "relay_call_mos_count", "") > 0;
    assert!(measured || quality == json!([true, false, 0]), "{quality}");
    page.click("#pause");
    page.until("!document.querySelector('#stamp').textContent.startsWith('Paused')");
}

/// The digits of a text.
fn number(text: &str) -> u64 {
    text.chars()
        .filter(char::is_ascii_digit)
        .collect::<String>()
        .parse()
        .unwrap_or_else(|_| panic!("no number: {text}"))
}

fn groups_are_those_of_the_desk(page: &Browser<'_>, daemon: &Daemon) {
    let told = http::get(daemon.admin(), "/v1/waiting").json();
    let of = |level: &str, gender: &str| -> Value {
        let groups = told["groups"].as_array().unwrap();
        let group = groups.iter().find(|group| group["lvl"] == level && group["gender"] == json!([gender]));
        group.unwrap_or_else(|| panic!("nobody of {level} who wants {gender}: {told}")).clone()
    };
    for (level, gender, relax) in [("A1", "f", "level"), ("B2", "x", "gender"), ("B2", "f", "level")] {
        let group = of(level, gender);
        assert_eq!(
            (&group["people"], &group["hint"]["relax"], &group["hint"]["would_match"]),
            (&json!(10), &json!(relax), &json!(10)),
            "{group}"
        );
    }
    assert_eq!(of("C2", "m")["starved_of"], "people");
    assert!(!told.to_string().contains("13-15"), "three are not told of: {told}");
    let shown = page.text("#groups");
    for words in ["A1", "C2", "Women", "10 or more", "Gender", "Too few people", "10 or more would fit at any level"] {
        assert!(shown.contains(words), "{words} in {shown}");
    }
    assert!(!shown.contains("13"), "{shown}");
}

fn everything_comes_from_the_relay(page: &Browser<'_>, daemon: &Daemon) {
    let loaded = page.run("return performance.getEntriesByType('resource').map(({ name }) => name)");
    let own = format!("http://{}/", daemon.admin());
    for name in loaded.as_array().unwrap() {
        assert!(name.as_str().unwrap().starts_with(&own), "{name}");
    }
}

fn nothing_scrolls_sideways(page: &Browser<'_>) {
    let phone = json!({ "width": PHONE, "height": 740, "deviceScaleFactor": 1, "mobile": true });
    page.devtools("Emulation.setDeviceMetricsOverride", phone);
    assert_eq!(page.run("return document.documentElement.scrollWidth"), PHONE);
    page.devtools("Emulation.clearDeviceMetricsOverride", json!({}));
}

#[test]
fn the_dashboard_shows_the_nodes_of_a_cluster_and_everybody_can_read_it() {
    let _turn = one_test_at_a_time();
    let (axe, driver, broker) = (axe(), Driver::start(), Broker::start());
    let key = "keys = ['thirty-two bytes or more, the same on every node']";
    let node = |name: &str| {
        Daemon::local().set(&format!("cluster = {{ nats = '{}', node = '{name}', {key} }}", broker.url())).start()
    };
    let (one, _other) = (node("one"), node("other"));
    let page = driver.browser_with(Microphone::Refused, &["--window-size=1280,1000"]);
    page.open(&format!("http://{}/", one.admin()));
    page.until("document.querySelectorAll('#nodes tr').length === 2");
    page.until("document.querySelector('#nodes').innerText.match(/ready/g)?.length === 2");
    let shown = page.run("return document.querySelector('#nodes-card').innerText");
    let shown = shown.as_str().unwrap();
    for words in ["connected", "one", "other", "this one", env!("CARGO_PKG_VERSION")] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    page.click("#pause");
    looks_at(&page, "dashboard-nodes", axe.as_deref());
    let phone = json!({ "width": PHONE, "height": 740, "deviceScaleFactor": 1, "mobile": true });
    page.devtools("Emulation.setDeviceMetricsOverride", phone);
    assert_eq!(page.run("return document.documentElement.scrollWidth"), PHONE);
}

/// Everything that can be done is done by keys, and what has the focus is seen to have it.
fn keyboard_walk(page: &Browser<'_>, daemon: &Daemon) {
    // Anew: where one has clicked is where the keys would begin.
    page.open(&format!("http://{}/", daemon.admin()));
    page.until("document.querySelector('#calls').textContent === '1'");
    let focused = || {
        page.run("const { activeElement: it } = document; return it.id || it.className || it.getAttribute('href') || it.tagName").as_str().unwrap().to_owned()
    };
    let mut walk = Vec::new();
    for _ in 0..7 {
        page.press(TAB);
        let outline = page.run("return parseFloat(getComputedStyle(document.activeElement).outlineWidth)");
        assert!(outline.as_f64().unwrap() >= 2.0, "{} has the focus and does not show it", focused());
        walk.push(focused());
    }
    assert_eq!(walk, ["skip", "pause", "SUMMARY", "/metrics", "/readyz", "/v1/waiting", "/v1/cluster"]);
    page.run("document.querySelector('.skip').focus()");
    page.press(ENTER);
    page.until("document.activeElement.id === 'main'");
    page.run("document.querySelector('#pause').focus()");
    page.press(" ");
    page.until("document.querySelector('#pause').textContent === 'Resume'");
    page.press(ENTER);
    page.until("document.querySelector('#pause').textContent === 'Pause'");
    page.press(TAB);
    page.press(ENTER);
    page.until("document.querySelector('#table').open && document.querySelectorAll('#past tr').length > 0");
    page.press(TAB);
    assert_eq!(focused(), "scroll", "what can scroll can be reached");
}

fn an_outage_is_told_and_overcome(page: &Browser<'_>, axe: Option<&str>) {
    let network = |offline: bool| {
        let conditions = json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        page.devtools("Network.emulateNetworkConditions", conditions);
    };
    page.devtools("Network.enable", json!({}));
    network(true);
    page.until("document.querySelector('#health').dataset.state === 'lost'");
    assert!(page.text("#lost").starts_with("The relay has not answered since "), "{}", page.text("#lost"));
    page.until("/Next try in [3-9] s/.test(document.querySelector('#lost-next').textContent)");
    assert_eq!(page.text("#calls"), "1", "what was seen last stays");
    obeys_the_rules(page, "dashboard, without an answer", axe);
    network(false);
    page.click("#again");
    page.until("document.querySelector('#health').dataset.state === 'ready' && document.querySelector('#lost').hidden");
}

/// `SCREENSHOTS=1 cargo test -p e2e pictures_of_the_dashboard` renews those of `relay/docs`; no other run writes into the tree.
#[test]
fn pictures_of_the_dashboard_for_the_documentation() {
    if std::env::var_os("SCREENSHOTS").is_none() {
        return;
    }
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../relay/docs");
    let world = World::new(&daemon);
    let target = format!("ws://{}/v1/ws", daemon.signalling());
    let line = "run --arrivals ramp:0.5..2/240s --hold exp:15s --warmup 1s --for 340s --quiet --target";
    let mut crowd = Command::new(e2e::daemon::build("loadgen"));
    crowd.args(line.split_whitespace()).args([&target, "--token-secret", e2e::daemon::DEV_KEY]);
    let mut crowd = crowd.spawn().unwrap();
    let page = driver.browser_with(Microphone::Refused, &["--window-size=1280,1400"]);
    page.open(&format!("http://{}/", daemon.admin()));
    std::thread::sleep(Duration::from_secs(310));
    page.until(
        "[...document.querySelectorAll('#groups tr')].filter((row) => row.innerText.includes('Level')).length === 2",
    );
    let screen = |width: u32, height: u32, scheme: &str, file: &str| {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width <= PHONE });
        page.devtools("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
        std::thread::sleep(Duration::from_secs(1));
        page.screenshot(&docs.join(file));
    };
    screen(1200, 1390, "light", "dashboard-light.png");
    screen(1200, 1390, "dark", "dashboard-dark.png");
    screen(PHONE, 1560, "dark", "dashboard-phone.png");
    let _ = crowd.kill();
    let _ = crowd.wait();
    eventually("the crowd to leave", || (metric(&daemon, "relay_calls", "") <= 1).then_some(()));
    world.leaves();
}

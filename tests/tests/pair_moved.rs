//! `matched` on another relay than the client has made itself ready on: `"moved": true`.

use crate::{pair_browser::OWN_CLIENT, people::one_test_at_a_time};
use e2e::browser::{Driver, Microphone};
use e2e::{Daemon, eventually};
use serde_json::json;

#[test]
fn who_is_moved_to_another_relay_is_ready_there_and_offers_anew() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let elsewhere = "turn:127.0.0.1:9?transport=udp";
    for moved in [false, true] {
        let page = driver.browser(Microphone::Allowed);
        page.before_each_page(include_str!("recorder.js"));
        page.open(&daemon.page());
        page.run(OWN_CLIENT);
        page.until("heard.some(({ type }) => type === 'queued')");
        let ice = json!({ "servers": [{ "urls": [elsewhere], "username": "1.9.x.1", "credential": "c" }], "policy": "relay" });
        let mut matched = json!({ "t": "matched", "call": "c", "role": "offerer", "gen": 1, "peer": {}, "ice": ice });
        if moved {
            matched["moved"] = json!(true);
        }
        page.run(&format!(
            "recorder.tell({matched}); recorder.offers = () => recorder.frames.filter(
            ({{ to, data }}) => to === 'server' && JSON.parse(data).t === 'offer').length"
        ));
        let connections = "return recorder.connections.map((it) => it.signalingState === 'closed')";
        assert_eq!(page.run(connections), if moved { json!([true, false]) } else { json!([false]) });
        if moved {
            page.until("recorder.offers() === 1");
        }
        assert_eq!(page.run("return recorder.offers()"), u64::from(moved), "the other's came with the ticket");
        let servers = "return recorder.connections.at(-1).getConfiguration().iceServers[0].urls[0]";
        eventually("the other relay is asked", || (page.run(servers) == elsewhere).then_some(()));
    }
}

/// Of several nodes one has died: another one takes in who was there.
#[test]
fn who_is_taken_in_by_another_node_shows_its_pass_and_is_ready_there() {
    let _turn = one_test_at_a_time();
    let (daemon, driver) = (Daemon::local().start(), Driver::start());
    let page = driver.browser(Microphone::Allowed);
    page.before_each_page(include_str!("recorder.js"));
    page.open(&daemon.page());
    page.run(OWN_CLIENT);
    page.until("heard.some(({ type }) => type === 'queued')");
    page.run(
        "recorder.said = (t) => recorder.frames.map(({ data }) => JSON.parse(data)).filter((it) => it.t === t);
         recorder.tell({ t: 'pass', pass: 'old' });
         recorder.tell({ t: 'pass', pass: 'papers' });
         recorder.socket.close(4000);",
    );
    page.until("recorder.said('welcome').length === 2");
    let hello = page.run("return recorder.said('hello').at(-1)");
    assert_eq!(hello["pass"], "papers");
    assert_eq!(page.run("return recorder.connections.length"), 1, "the same session needs nothing new");
    page.run(
        "const elsewhere = { ...recorder.said('welcome').at(-1), sid: 'another', resumed: { state: 'queued', q: 0 } };
         recorder.tell(elsewhere);
         recorder.tell({ t: 'position', n: 1, ahead: 3, eta: null, stage: 0 });",
    );
    let connections = "return recorder.connections.map((it) => it.signalingState === 'closed')";
    assert_eq!(page.run(connections), json!([true, false]), "what was made ready for the dead one is of no use");
    assert_eq!(page.run("return pair.state"), "queued");
    page.run("recorder.socket.close(4000)");
    page.until("recorder.said('hello').length === 3");
    assert_eq!(page.run("return recorder.said('hello').at(-1).resume.n"), 1, "another session's numbers begin anew");
}

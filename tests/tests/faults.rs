//! Faults that the conformance suite (`conformance/faults`) does not cause: what people depend on besides the relay is gone, and the
//! configuration breaks under a call. In each, nothing is lost: the call goes on, both ways, and a new one can begin.
//! `relay/docs/privacy.md` lists every fault with its test.

use e2e::certificate::{connect, replace, spoil};
use e2e::voice::{self, CHANNEL, Voice, rtp};
use e2e::{Daemon, eventually, http};
use serde_json::json;
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

const SECRET: &str = "a secret between daemon and backend, of 32 bytes";

struct Talk {
    ana: Voice,
    ben: Voice,
    id: String,
    packets: u16,
}

impl Talk {
    async fn begin(daemon: &Daemon, [one, other]: [&str; 2]) -> Talk {
        let (mut ana, mut ben) = (Voice::enter(daemon, one).await, Voice::enter(daemon, other).await);
        let id = voice::talk(&mut ana, &mut ben).await;
        Talk { ana, ben, id, packets: 0 }
    }

    /// Both hear each other.
    fn goes_on(&mut self) {
        for _ in 0..10 {
            self.packets += 1;
            hears(&mut self.ben, &mut self.ana, self.packets);
            hears(&mut self.ana, &mut self.ben, self.packets);
        }
    }
}

fn hears(to: &mut Voice, from: &mut Voice, number: u16) {
    from.turn.send_on(CHANNEL, &rtp(number));
    assert_eq!(to.turn.expect_data().payload, rtp(number));
}

/// A backend that takes connections and says nothing, one that talks nonsense, and none at all.
fn backends() -> [(&'static str, String); 3] {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let wrong = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (at_silent, at_wrong) = (silent.local_addr().unwrap(), wrong.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        held.extend(silent.incoming().flatten());
    });
    std::thread::spawn(move || {
        for mut stream in wrong.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = std::io::Write::write_all(&mut stream, &[b'\xFF'; 70_000]);
        }
    });
    [("gone", closed.to_string()), ("hung", at_silent.to_string()), ("wrong", at_wrong.to_string())]
}

/// There is no broker between nodes yet; an app's backend stands in for it: the one thing outside that a relay talks to.
/// Lost: nothing. A report that is not taken goes back to its reporter, who has the evidence.
#[tokio::test(flavor = "multi_thread")]
async fn f06_a_backend_that_is_gone_hung_or_wrong_hinders_no_call_and_loses_no_report() {
    for (how, address) in backends() {
        let daemon =
            Daemon::local().set(&format!("reports = {{ url = 'http://{address}/r', secret = '{SECRET}' }}")).start();
        let mut talk = Talk::begin(&daemon, ["ana", "ben"]).await;
        let report = json!({ "t": "report", "call": talk.id, "cat": "other", "note": "kept by its reporter" });
        talk.ben.caller.send(report).await;
        for _ in 0..5 {
            talk.goes_on();
            tokio::time::sleep(Duration::from_millis(100)).await; // a call may send 400 packets a second
        }
        let mut second = Talk::begin(&daemon, ["eva", "leo"]).await;
        second.goes_on();
        talk.goes_on();
        if how != "hung" {
            assert_eq!(talk.ben.caller.at_last("error").await["code"], "E_REPORT_RETRY", "{how}");
        }
    }
}

/// Lost: nothing. Nobody is let in before the list is here, and TURN does not wait for it.
#[test]
fn f06_without_its_list_of_revocations_a_relay_is_not_ready_and_relays() {
    for (how, address) in backends() {
        let settings = format!("revocations = {{ url = 'http://{address}/r', secret = '{SECRET}' }}");
        let daemon = Daemon::local().set(&settings).start();
        assert_eq!(http::get(daemon.admin(), "/readyz").status, 503, "{how}");
        assert_eq!(http::get(daemon.admin(), "/livez").status, 200, "{how}");
        let login = e2e::raw::message::Login::new("alice", "alice's long secret");
        let mut client = e2e::raw::Client::over(e2e::raw::Link::open(&daemon, e2e::raw::Transport::Udp), login);
        client.fetch_challenge();
        client.allocate(1);
    }
}

/// Lost: nothing. The old configuration stays, whole, and a good one is taken afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn f08_half_a_file_changes_nothing_under_a_call_and_a_whole_one_is_taken() {
    let mut daemon = Daemon::local().start();
    let mut talk = Talk::begin(&daemon, ["ana", "ben"]).await;
    let whole = "listen = { udp = ['127.0.0.1:0'], signalling = '127.0.0.1:0', admin = '127.0.0.1:0' }\n\
                 relay = { realm = 'e2e.test', addresses = ['127.0.0.1'] }\naccess = { user_allocations = 9 }\n";
    let refusals = |daemon: &Daemon| daemon.log().matches("not reloaded, everything stays as it was").count();
    for cut in [30, whole.len() / 2, whole.len() - 5] {
        let before = refusals(&daemon);
        daemon.reload_text(&whole[..cut]);
        eventually("the refusal", || (refusals(&daemon) > before).then_some(()));
        talk.goes_on();
    }
    daemon.reload("access = { user_allocations = 9 }");
    eventually("the reload", || daemon.log().contains("reloaded; changed: access.user_allocations").then_some(()));
    talk.goes_on();
    Talk::begin(&daemon, ["eva", "leo"]).await.goes_on();
}

/// Lost: nothing. A certificate without its key is refused, and the one before is shown on.
#[tokio::test(flavor = "multi_thread")]
async fn f09_a_certificate_with_anothers_key_is_refused_and_a_good_pair_taken_under_a_call() {
    let mut daemon = Daemon::local().set("listen = { tls = ['127.0.0.1:0'] }").with_certificate().start();
    let mut talk = Talk::begin(&daemon, ["ana", "ben"]).await;
    spoil(&daemon);
    daemon.signal(libc::SIGHUP);
    eventually("the refusal", || daemon.log().contains("is not the key of the first certificate").then_some(()));
    talk.goes_on();
    replace(&daemon);
    daemon.signal(libc::SIGHUP);
    eventually("the new pair", || daemon.log().contains("the certificate was read again").then_some(()));
    assert!(connect(&daemon, daemon.tls(), &[]).await.is_ok(), "the new one is shown");
    talk.goes_on();
}

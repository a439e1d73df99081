//! Changing a relay at work: with a call running and callers arriving, nobody is refused and nothing is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use e2e::certificate::{self, connect};
use e2e::daemon::DEV_KEY;
use e2e::{Caller, Claims, Daemon, eventually, http};
use serde_json::{Value, json};

use crate::operating::{Client, ended, speak, talking};

pub(crate) const OTHER_KEY: &str = "another secret of thirty-two bytes or more, for tests";

pub(crate) fn reload(daemon: &mut Daemon, toml: &str) -> (u16, Value) {
    daemon.rewrite(toml);
    let answer = http::post(daemon.admin(), "/v1/reload", &json!({}));
    (answer.status, answer.json())
}

pub(crate) fn changed(answer: &Value, list: &str) -> Vec<String> {
    answer[list].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

/// Callers who come one pair after the other and are matched, until told to stop.
struct Arrivals {
    stop: Arc<AtomicBool>,
    /// Signs the tokens: 0 the first key, 1 the other.
    key: Arc<AtomicU32>,
    came: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Arrivals {
    fn begin(signalling: SocketAddr) -> Arrivals {
        let (stop, key, came) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let task = tokio::spawn(arrive(signalling, Arc::clone(&stop), Arc::clone(&key), Arc::clone(&came)));
        Arrivals { stop, key, came, task }
    }

    /// Waits until two more pairs have met, so that one of them began after this was asked.
    async fn two_more(&self) {
        let before = self.came.load(Ordering::Relaxed);
        while self.came.load(Ordering::Relaxed) < before + 2 {
            assert!(!self.task.is_finished(), "somebody was refused");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

async fn arrive(at: SocketAddr, stop: Arc<AtomicBool>, key: Arc<AtomicU32>, came: Arc<AtomicU32>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut pair = Vec::new();
        for side in ["a", "b"] {
            number += 1;
            let token = token(&format!("n{number}{side}"), key.load(Ordering::Relaxed));
            let mut caller = Caller::open_at(at, None).await.unwrap();
            caller.request(json!({ "t": "hello", "v": [1], "token": token })).await;
            caller.expect("welcome").await;
            caller.request(json!({ "t": "queue" })).await;
            pair.push(caller);
        }
        for caller in &mut pair {
            caller.matched().await;
        }
        for caller in pair {
            caller.close().await;
        }
        came.fetch_add(1, Ordering::Relaxed);
    }
}

/// Signed with the first key, number 0, or the other.
fn token(name: &str, key: u32) -> String {
    let claims = Claims::adult(name);
    if key == 0 { claims.token() } else { claims.sign("other", "HS256", OTHER_KEY.as_bytes()) }
}

pub(crate) fn key(kid: &str, secret: &str) -> String {
    format!("{{ kid = '{kid}', alg = 'HS256', secret = '{secret}' }}")
}

/// Reload, certificate and keys: as often as the proof asks for, with `LONG` set; once otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn reloads_certificates_and_keys_change_under_calls_and_arrivals() {
    let rounds = if std::env::var_os("LONG").is_some() { 5 } else { 1 };
    let mut daemon = Daemon::local()
        .set("listen = { tls = ['127.0.0.1:0'], tcp = ['127.0.0.1:0'] }\nlimits.unauthenticated_per_second = 0")
        .with_certificate()
        .start();
    let mut call = talking(&daemon);
    let arrivals = Arrivals::begin(daemon.signalling());
    let (dev, other) = (key("dev", DEV_KEY), key("other", OTHER_KEY));
    for round in 0..rounds {
        let (status, answer) = reload(
            &mut daemon,
            &format!(
                "access.user_allocations = {}\nrelay.ports = '{}-65535'\nmatching.topics = ['t{round}']",
                20 + round,
                40_000 + round
            ),
        );
        assert_eq!(status, 200, "{answer}");
        assert_eq!(changed(&answer, "changed"), ["relay.ports", "access.user_allocations", "matching.topics"]);
        speak(&mut call, b"after a reload");
        arrivals.two_more().await;

        certificate::replace(&daemon);
        let (status, answer) = reload(&mut daemon, "");
        assert_eq!((status, changed(&answer, "changed")), (200, vec!["tls.certificate".to_owned()]));
        connect(&daemon, daemon.tls(), &["http/1.1"]).await.unwrap();
        connect(&daemon, daemon.tcp(), &[]).await.unwrap();
        speak(&mut call, b"after a certificate");
        arrivals.two_more().await;

        // Keys rotate with overlap: both, then callers come with the other, then the old one goes; and back.
        for (kept, number) in [(&other, 1), (&dev, 0)] {
            let both = reload(&mut daemon, &format!("auth.tokens = [{dev}, {other}]"));
            assert_eq!((both.0, changed(&both.1, "changed")), (200, vec!["auth.tokens".to_owned()]));
            arrivals.key.store(number, Ordering::Relaxed);
            arrivals.two_more().await;
            assert_eq!(reload(&mut daemon, &format!("auth.tokens = [{kept}]")).0, 200);
            arrivals.two_more().await;
            speak(&mut call, b"after a key");
        }
    }
    let gone = Claims::adult("late").sign("other", "HS256", OTHER_KEY.as_bytes());
    let mut late = Caller::open_at(daemon.signalling(), None).await.unwrap();
    late.request(json!({ "t": "hello", "v": [1], "token": gone })).await;
    assert_eq!(late.expect("error").await["code"], "E_TOKEN", "a key that was removed opens no door");
    arrivals.end().await;
    assert!(!daemon.log().contains(OTHER_KEY) && !daemon.log().contains(DEV_KEY));

    // And the end: the call lives on, newcomers are sent away, and when it is over so is the server.
    daemon.rewrite("drain.deadline_secs = 3600");
    assert_eq!(http::post(daemon.admin(), "/v1/reload", &json!({})).status, 200);
    daemon.signal(libc::SIGTERM);
    eventually("/readyz says no", || (http::get(daemon.admin(), "/readyz").status == 503).then_some(()));
    let mut newcomer = Client::alice(&daemon);
    eventually("workers refuse", || newcomer.allocate().err());
    speak(&mut call, b"while draining");
    assert_eq!(http::post(daemon.admin(), "/v1/reload", &json!({})).status, 422, "not while it drains");
    for (client, _) in &mut call {
        assert_eq!(client.refresh(0), 0);
    }
    assert_eq!(ended(&mut daemon), Some(0));
}

#[test]
fn a_reload_that_cannot_be_done_says_why_and_changes_nothing() {
    let mut daemon = Daemon::local().start();
    let (status, answer) = reload(&mut daemon, "relay.ports = 'all of them'");
    assert_eq!(status, 422);
    assert!(answer["why"].as_str().unwrap().contains("relay.ports"), "{answer}");
    let (status, answer) =
        reload(&mut daemon, "relay.ports = '40000-65535'\nrelay.workers = 7\nsandbox.mode = 'required'");
    assert_eq!((status, changed(&answer, "changed")), (200, vec!["relay.ports".to_owned()]));
    assert_eq!(changed(&answer, "needs_restart"), ["relay.workers", "sandbox.mode"]);
    let page = http::request(daemon.signalling(), "POST", "/v1/reload", Some(&json!({}))).unwrap();
    assert_eq!(page.status, 404, "only the admin listener is asked");
}

#[test]
fn tcp_listeners_come_and_go() {
    let mut daemon = Daemon::local().set("listen.tcp = ['127.0.0.1:0']").start();
    let first = daemon.tcp();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let (status, answer) = reload(&mut daemon, &format!("listen.tcp = ['127.0.0.1:0', '{taken}']"));
    assert_eq!(status, 422);
    assert!(answer["why"].as_str().unwrap().contains("in use"), "{answer}");
    drop(held);
    let connects = |to: SocketAddr| std::net::TcpStream::connect(to).is_ok();
    let (status, answer) = reload(&mut daemon, &format!("listen.tcp = ['127.0.0.1:0', '{taken}']"));
    assert_eq!((status, changed(&answer, "changed")), (200, vec!["listen.tcp".to_owned()]));
    eventually("the new listener", || connects(taken).then_some(()));
    assert!(connects(first));
    assert_eq!(reload(&mut daemon, &format!("listen.tcp = ['{taken}']")).0, 200);
    eventually("the first one is closed", || (!connects(first)).then_some(()));
    assert!(connects(taken));
}

#[test]
fn a_plain_turn_server_can_be_drained_by_an_operator_too() {
    let daemon = Daemon::configured(
        "listen = { udp = ['127.0.0.1:0'], admin = '127.0.0.1:0' }\nrelay.realm = 'e2e.test'\n\
         auth.users = { alice = \"alice's long secret\" }\ndrain.deadline_secs = 0",
    )
    .start();
    Client::alice(&daemon).allocate().unwrap();
    assert_eq!(http::post(daemon.admin(), "/v1/drain", &json!({ "in_ms": 1 })).status, 204);
    eventually("workers refuse", || Client::alice(&daemon).allocate().err());
    let ready = http::get(daemon.admin(), "/readyz");
    assert!(ready.status == 503 && ready.body.starts_with("not ready: starting, draining"), "{}", ready.body);
}

#[test]
fn secrets_come_from_files_the_environment_and_systemds_credentials() {
    let folder = std::env::temp_dir().join(format!("e2e-secrets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("users"), "bob:a password out of a list\n").unwrap();
    std::fs::write(folder.join("alice"), "alice's long secret\n").unwrap();
    let list = folder.join("users");
    let mut daemon = Daemon::local()
        .set(&format!("auth.users = {{ alice = {{ credential = 'alice' }}, carol = {{ env = 'E2E_CAROL' }} }}\nauth.users_file = '{}'", list.display()))
        .env("CREDENTIALS_DIRECTORY", folder.to_str().unwrap())
        .env("E2E_CAROL", "carol's long secret")
        .start();
    let knows =
        |daemon: &Daemon, name: &str, password: &str| Client::new(daemon.turn(), name, password).allocate().is_ok();
    assert!(knows(&daemon, "alice", "alice's long secret") && knows(&daemon, "carol", "carol's long secret"));
    assert!(knows(&daemon, "bob", "a password out of a list"));
    std::fs::write(&list, "bob:another password of his\n").unwrap();
    let (status, answer) = reload(&mut daemon, "");
    assert_eq!((status, changed(&answer, "changed")), (200, vec!["auth.users".to_owned()]));
    eventually("the new password", || knows(&daemon, "bob", "another password of his").then_some(()));
    std::fs::remove_dir_all(&folder).unwrap();
    let (status, answer) = reload(&mut daemon, "");
    assert_eq!(status, 422);
    assert!(answer["why"].as_str().unwrap().contains("cannot be read"), "{answer}");
    assert!(knows(&daemon, "alice", "alice's long secret"), "and nothing changed");
}

/// Callers who come one pair after the other; who is sent away by a server that ends comes back at once.
pub(crate) async fn arrive_again_and_again(
    at: SocketAddr,
    stop: Arc<AtomicBool>,
    key: Arc<AtomicU32>,
    came: Arc<AtomicU32>,
) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let (a, b) = tokio::join!(arrives(at, format!("h{number}a"), &key), arrives(at, format!("h{number}b"), &key));
        a.close().await;
        b.close().await;
        came.fetch_add(1, Ordering::Relaxed);
    }
}

/// Until matched. Nothing but 1001 (going away) may come in between.
async fn arrives(at: SocketAddr, name: String, key: &AtomicU32) -> Caller {
    loop {
        let mut caller = Caller::open_at(at, None).await.expect("nobody is refused");
        caller.request(json!({ "t": "hello", "v": [1], "token": token(&name, key.load(Ordering::Relaxed)) })).await;
        caller.request(json!({ "t": "queue" })).await;
        loop {
            match caller.next().await {
                Ok(said) if said["t"] == "matched" => return caller,
                // Came in by the old one's door in its last moment: asked to come again.
                Ok(said) if said["code"] == "E_BUSY" => break,
                Ok(said) => assert_ne!(said["t"], "error", "{said}"),
                Err(ended) => {
                    assert_eq!(ended, e2e::client::Ended::Closed(Some(1001)));
                    break;
                }
            }
        }
    }
}

/// One relay takes the place of another, as often as the proof asks for with `LONG` set; twice otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_over_refuses_nobody_and_loses_no_call() {
    let rounds = if std::env::var_os("LONG").is_some() { 5 } else { 2 };
    let socket = std::env::temp_dir().join(format!("e2e-hand-over-{}", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let relay =
        || Daemon::local().set("drain.deadline_secs = 3600").argument("--hand-over").argument(socket.to_str().unwrap());
    let mut daemon = relay().set("listen.tcp = ['127.0.0.1:0']").start();
    let listen = format!(
        "listen = {{ udp = ['{}'], tcp = ['{}'], signalling = '{}', admin = '{}' }}",
        daemon.turn(),
        daemon.tcp(),
        daemon.signalling(),
        daemon.admin()
    );
    let (stop, came) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let arrivals =
        tokio::spawn(arrive_again_and_again(daemon.signalling(), Arc::clone(&stop), Arc::default(), Arc::clone(&came)));
    for _ in 0..rounds {
        let mut call = talking(&daemon);
        speak(&mut call, b"before");
        let successor = tokio::task::block_in_place(|| relay().set(&listen).start());
        speak(&mut call, b"after, through the old one");
        let mut newer = talking(&successor);
        speak(&mut newer, b"through the new one");
        speak(&mut call, b"and the old one still");
        let before = came.load(Ordering::Relaxed);
        while came.load(Ordering::Relaxed) < before + 2 {
            assert!(!arrivals.is_finished(), "somebody was refused");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        for (client, _) in &mut call {
            assert_eq!(client.refresh(0), 0, "its allocation is where it was");
        }
        assert_eq!(tokio::task::block_in_place(|| ended(&mut daemon)), Some(0));
        for (client, _) in &mut newer {
            assert_eq!(client.refresh(0), 0);
        }
        daemon = successor;
    }
    stop.store(true, Ordering::Relaxed);
    arrivals.await.unwrap();
}

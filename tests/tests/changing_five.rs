//! The whole proof in one: a call runs, callers arrive by signalling and by `loadgen`, and meanwhile the relay is reloaded, gets another
//! certificate and other keys, and makes room for another, five times each. Nobody is refused and nothing is lost.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use e2e::certificate::{self, connect};
use e2e::daemon::{Builder, DEV_KEY, build};
use e2e::process::Process;
use e2e::{Daemon, eventually};
use serde_json::Value;

use crate::changing::{OTHER_KEY, arrive_again_and_again, changed, key, reload};
use crate::operating::{ended, speak, talking};

const ROUNDS: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn five_reloads_certificates_keys_and_take_overs_refuse_nobody_and_lose_no_call() {
    let socket = std::env::temp_dir().join(format!("e2e-five-{}", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let mut daemon = relay(&socket, 0).set("listen = { tls = ['127.0.0.1:0'], tcp = ['127.0.0.1:0'] }").start();
    let listen = listen(&daemon);
    let load = Load::begin(&daemon);
    let (stop, number, came) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let arriving =
        arrive_again_and_again(daemon.signalling(), Arc::clone(&stop), Arc::clone(&number), Arc::clone(&came));
    let arrivals = tokio::spawn(arriving);
    let two_more = async || {
        let before = came.load(Ordering::Relaxed);
        while came.load(Ordering::Relaxed) < before + 2 {
            assert!(!arrivals.is_finished(), "somebody was refused");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for round in 0..ROUNDS {
        let mut call = talking(&daemon);

        let (status, answer) =
            reload(&mut daemon, &format!("access.user_allocations = {}\nmatching.topics = ['t{round}']", 60 + round));
        assert_eq!((status, changed(&answer, "changed").len()), (200, 2), "{answer}");
        speak(&mut call, b"after a reload");
        two_more().await;

        certificate::replace(&daemon);
        let (status, answer) = reload(&mut daemon, "");
        assert_eq!((status, changed(&answer, "changed")), (200, vec!["tls.certificate".to_owned()]));
        connect(&daemon, daemon.tls(), &["http/1.1"]).await.unwrap();
        speak(&mut call, b"after a certificate");
        two_more().await;

        let next = (round + 1) % 2;
        let both = format!("auth.tokens = [{}, {}]", kept(0), kept(1));
        assert_eq!(reload(&mut daemon, &both).0, 200);
        number.store(next, Ordering::Relaxed);
        two_more().await;
        assert_eq!(reload(&mut daemon, &format!("auth.tokens = [{}]", kept(next))).0, 200);
        speak(&mut call, b"after a key");
        two_more().await;

        let successor = tokio::task::block_in_place(|| relay(&socket, next).set(&listen).start());
        speak(&mut call, b"through the old one");
        two_more().await;
        speak(&mut call, b"and the old one still");
        for (client, _) in &mut call {
            assert_eq!(client.refresh(0), 0, "its allocation is where it was");
        }
        assert_eq!(tokio::task::block_in_place(|| ended(&mut daemon)), Some(0));
        daemon = successor;
    }
    stop.store(true, Ordering::Relaxed);
    arrivals.await.unwrap();
    tokio::task::block_in_place(|| load.end());
}

/// One that hands over and takes over there; `number` says whose tokens it takes.
fn relay(socket: &std::path::Path, number: u32) -> Builder {
    Daemon::local()
        .set(&format!("auth.tokens = [{}]\nauth.users = {{ load = \"loadgen's long secret\" }}", kept(number)))
        .set("drain.deadline_secs = 3600\naccess.user_allocations = 50")
        .with_certificate()
        .argument("--hand-over")
        .argument(socket.to_str().unwrap())
}

fn kept(number: u32) -> String {
    if number == 0 { key("dev", DEV_KEY) } else { key("other", OTHER_KEY) }
}

fn listen(daemon: &Daemon) -> String {
    format!(
        "listen = {{ udp = ['{}'], tcp = ['{}'], tls = ['{}'], signalling = '{}', admin = '{}' }}",
        daemon.turn(),
        daemon.tcp(),
        daemon.tls(),
        daemon.signalling(),
        daemon.admin()
    )
}

/// Packets relayed so far.
fn relayed(daemon: &Daemon) -> f64 {
    let page = e2e::http::get(daemon.admin(), "/metrics").body;
    let counts = page.lines().filter(|line| line.starts_with("relay_packets_relayed_total"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Ten callers of `loadgen` a second, each of whom allocates, hears its own voice for half a second and goes.
struct Load {
    process: Process,
    result: PathBuf,
}

impl Load {
    fn begin(daemon: &Daemon) -> Load {
        let result = std::env::temp_dir().join(format!("e2e-five-{}.json", std::process::id()));
        let turn = format!("turn:{}", daemon.turn());
        let mut command = Command::new(build("loadgen"));
        command.args(["run", "--turn", &turn, "--user", "load", "--password", "loadgen's long secret"]);
        command.args(["--calls/s", "10", "--hold", "fixed:500ms", "--warmup", "100ms", "--for", "10m", "-q", "--json"]);
        let mut process = Process::start(command.arg(&result), "see above");
        eventually("somebody of loadgen's talks", || {
            assert!(process.is_running(), "{}", process.log());
            (relayed(daemon) > 0.0).then_some(())
        });
        Load { process, result }
    }

    /// Nobody of them failed, whatever loadgen thinks of a machine that is busy with tests.
    fn end(mut self) {
        self.process.signal(libc::SIGINT);
        eventually("loadgen's result", || (!self.process.is_running()).then_some(()));
        let text =
            std::fs::read_to_string(&self.result).unwrap_or_else(|error| panic!("{error}: {}", self.process.log()));
        let outcomes = &serde_json::from_str::<Value>(&text).unwrap()["outcomes"];
        assert!(outcomes["calls_up"].as_u64().unwrap() > 20, "{outcomes}");
        assert_eq!((&outcomes["calls_failed"], &outcomes["callers_failed"]), (&0.into(), &0.into()), "{outcomes}");
        let _ = std::fs::remove_file(&self.result);
    }
}

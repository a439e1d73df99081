//! A relay under a supervisor: what it tells systemd, the sockets it is given, and health that answers under a flood.

use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::process::Process;
use e2e::{Daemon, PATIENCE, eventually, http};

#[test]
fn systemd_is_told_of_the_start_reloads_life_and_the_end() {
    let path = std::env::temp_dir().join(format!("e2e-notify-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let ear = UnixDatagram::bind(&path).unwrap();
    ear.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut daemon =
        Daemon::local().env("NOTIFY_SOCKET", path.to_str().unwrap()).env("WATCHDOG_USEC", "100000").start();
    let hears = |word: &str| loop {
        let mut news = [0; 512];
        let length = ear.recv(&mut news).unwrap();
        let said = String::from_utf8_lossy(&news[..length]).into_owned();
        if said.lines().any(|line| line == word) {
            break said;
        }
    };
    hears("READY=1");
    hears("WATCHDOG=1");
    daemon.signal(libc::SIGHUP);
    let reloading = hears("RELOADING=1");
    let micros: u64 = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap().parse().unwrap();
    assert!(micros > 0);
    hears("READY=1");
    daemon.signal(libc::SIGTERM);
    hears("STOPPING=1");
    assert_eq!(crate::operating::ended(&mut daemon), Some(0));
    let _ = std::fs::remove_file(path);
}

/// Stops one thread of a process, named so, and lets it go when it is told to.
const STOPPER: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_ulong, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
pid, name = sys.argv[1], sys.argv[2]
for tid in map(int, os.listdir(f"/proc/{pid}/task")):
    if open(f"/proc/{pid}/task/{tid}/comm").read().strip() != name: continue
    if libc.ptrace(SEIZE, tid, None, None) != 0:
        print("forbidden", flush=True); sys.exit()
    libc.ptrace(INTERRUPT, tid, None, None)
    os.waitpid(tid, 0x40000000)
    print("stopped", flush=True)
    sys.stdin.readline()
    libc.ptrace(DETACH, tid, None, None)
    print("gone on", flush=True)
    sys.exit()
print("no such thread", flush=True)
"#;

#[test]
fn systemd_hears_nothing_while_one_thread_stands_still() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let path = std::env::temp_dir().join(format!("e2e-pulse-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let ear = UnixDatagram::bind(&path).unwrap();
    let alive = |within: std::time::Duration| {
        ear.set_read_timeout(Some(within)).unwrap();
        let mut news = [0; 512];
        loop {
            match ear.recv(&mut news) {
                Ok(length) if news[..length].starts_with(b"WATCHDOG=1") => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    // Outside the sandbox, because nobody may look into it.
    let settings = "relay = { workers = 2 }\nsandbox.mode = 'off'\nlisten.tcp = ['127.0.0.1:0']";
    let environment = Daemon::local().set(settings).env("NOTIFY_SOCKET", path.to_str().unwrap());
    let mut daemon = environment.env("WATCHDOG_USEC", "200000").start();
    for thread in ["udp-1", "edges", "streams"] {
        assert!(alive(PATIENCE), "all is well");
        let mut stopper = Command::new("python3");
        stopper.args(["-c", STOPPER, &daemon.id().to_string(), thread]);
        let piped = std::process::Stdio::piped;
        let mut stopper = stopper.stdin(piped()).stdout(piped()).spawn().unwrap();
        let mut said = BufReader::new(stopper.stdout.take().unwrap()).lines();
        match said.next().unwrap().unwrap().as_str() {
            "forbidden" => {
                eprintln!("left out: no thread of another process may be stopped here");
                stopper.wait().unwrap();
                return;
            }
            word => assert_eq!(word, "stopped", "{thread}"),
        }
        eventually("it is noticed", || daemon.log().contains(&format!("thread=\"{thread}\"")).then_some(()));
        while alive(std::time::Duration::from_millis(100)) {}
        assert!(!alive(std::time::Duration::from_millis(600)), "{thread} stands still");
        stopper.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert_eq!(said.next().unwrap().unwrap(), "gone on");
        stopper.wait().unwrap();
    }
    assert!(alive(PATIENCE), "and goes on");
    daemon.signal(libc::SIGTERM);
    let _ = std::fs::remove_file(path);
}

/// Holds the sockets, as systemd does, and starts the relay anew each time it ends.
const SUPERVISOR: &str = r#"
import os, socket, subprocess, sys, signal
binary, config, udp, tcp = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.1", udp))
t = socket.socket(socket.AF_INET, socket.SOCK_STREAM); t.bind(("127.0.0.1", tcp)); t.listen(16)
u2, t2 = os.dup2(u.fileno(), 200), os.dup2(t.fileno(), 201)
pid = 0
def end(*_):
    if pid: os.kill(pid, signal.SIGTERM)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
for run in range(2):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(200, 3); os.dup2(201, 4)
        os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="udp:admin")
        os.execv(binary, [binary, "--config", config])
    print("child", pid, flush=True)
    os.waitpid(pid, 0)
    print("ended", run, flush=True)
"#;

#[test]
fn a_restart_with_sockets_of_the_supervisor_refuses_nobody() {
    let free = |_: ()| UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (udp, tcp) = (free(()), std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let config = std::env::temp_dir().join(format!("e2e-supervised-{}.toml", std::process::id()));
    std::fs::write(
        &config,
        format!("[listen]\nudp = ['127.0.0.1:{udp}']\nadmin = '127.0.0.1:{tcp}'\n[relay]\nworkers = 2\n[drain]\ndeadline_secs = 0\n"),
    )
    .unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", SUPERVISOR]).arg(e2e::daemon::binary()).arg(&config).args([udp.to_string(), tcp.to_string()]);
    let mut supervisor = Process::start(&mut command, "apt-get install python3");
    let child = supervisor.wait_for("child", |line| line.strip_prefix("child ")?.trim().parse::<u32>().ok());
    supervisor.wait_for("ready", |line| (line.trim() == "ready").then_some(()));
    let admin = ([127, 0, 0, 1], tcp).into();
    assert_eq!(http::get(admin, "/livez").status, 200);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(("127.0.0.1", udp)).unwrap();
    let binding = |id: u8| {
        use relay::wire::{Method, Request, TransactionId};
        client.send(&Request::new(Method::Binding, TransactionId([id; 12])).finish(None)).unwrap();
    };
    let mut answer = [0; 256];
    binding(1);
    client.recv(&mut answer).unwrap();
    assert!(Command::new("kill").arg(child.to_string()).status().unwrap().success());
    // Whoever comes while nobody is there waits in the sockets, and is served by the next one.
    let waiting = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    supervisor.wait_for("ended", |line| line.starts_with("ended 0").then_some(()));
    drop(waiting);
    assert_eq!(http::get(admin, "/livez").status, 200);
    client.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    eventually("the next one answers", || {
        binding(2);
        client.recv(&mut answer).ok().filter(|_| answer[8..20] == [2; 12])
    });
    let log = supervisor.log();
    let last = log.lines().rev().find_map(|line| line.strip_prefix("child ")?.trim().parse::<u32>().ok()).unwrap();
    assert_ne!(last, child);
    assert!(Command::new("kill").arg(last.to_string()).status().unwrap().success());
    let _ = std::fs::remove_file(config);
}

#[test]
fn health_answers_under_a_flood_and_speaks_of_capacity() {
    let daemon = Daemon::local().set("relay.workers = 1").start();
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..2)
        .map(|_| {
            let (to, stop) = (daemon.turn(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(to).unwrap();
                let mut sent = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let _ = socket.send(&[0x40, 1, 0, 4, 1, 2, 3, 4]);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let numbers = eventually("a look at the workers", || {
        assert_eq!(http::get(daemon.admin(), "/livez").status, 200);
        let answer = http::get(daemon.admin(), "/readyz");
        assert!([200, 503].contains(&answer.status), "{}", answer.body);
        let busy = answer.body.lines().find_map(|line| line.strip_prefix("workers busy: "))?;
        let percent: u64 = busy.split('%').next()?.parse().ok()?;
        (percent > 5).then(|| answer.body.clone())
    });
    assert!(numbers.contains("receive buffers lost"), "{numbers}");
    stop.store(true, Ordering::Relaxed);
    assert!(floods.into_iter().map(|flood| flood.join().unwrap()).sum::<u64>() > 0);
}

//! `relay prove` asks a running daemon and the kernel.

use e2e::Daemon;
use serde_json::Value;
use std::process::Command;

fn prove(daemon: &Daemon, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(e2e::daemon::binary());
    let output = command.args(["prove", "--admin", &daemon.admin().to_string()]).args(more).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

/// Exit status, and what it says to programs.
pub(crate) fn proof(daemon: &Daemon) -> (Option<i32>, Value) {
    let (code, said) = prove(daemon, &["--json"]);
    (code, serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// Every kind of thread there is: workers, edges, streams, TCP allocations, the first one.
fn everything() -> Daemon {
    let listen =
        "listen = { tcp = ['127.0.0.1:0'], tls = ['127.0.0.1:0'] }\nrelay = { tcp_allocations = true, workers = 2 }";
    Daemon::local().set(listen).with_certificate().start()
}

#[test]
fn every_thread_of_an_ordinary_daemon_is_refused_and_all_that_is_promised_holds() {
    let daemon = everything();
    let (code, proof) = proof(&daemon);
    for check in proof["checks"].as_array().unwrap() {
        assert_eq!(check["holds"], "yes", "{check}");
    }
    assert_eq!((code, &proof["proven"]), (Some(0), &Value::Bool(true)));
    let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap().count();
    assert_eq!(threads, 6, "two workers, edges, streams, splice, and the first");
    let tried = proof["daemon"]["threads"].as_array().unwrap();
    assert_eq!(tried.len(), threads);
    assert!(tried.iter().all(|thread| thread["writing"] == "denied"), "{tried:?}");
    assert_eq!(proof["kernel"]["core_limit"], 0);
}

/// As a script leaves its lock file open, a service manager its state, a container its log.
#[test]
fn a_file_that_was_left_open_for_writing_by_whoever_started_it_is_closed() {
    let daemon = Daemon::local()
        .under(&["bash", "-c", "exec 7>/dev/shm/e2e-left-open; rm /dev/shm/e2e-left-open; exec \"$@\"", "bash"])
        .start();
    // The number may have been given to something else since.
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap();
    let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let left: Vec<_> = open.filter(|to| to.to_string_lossy().contains("e2e-left-open")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(proof(&daemon).0, Some(0));
}

#[test]
fn it_prints_the_data_map_and_the_paragraphs_of_this_configuration() {
    let (code, said) = prove(&everything(), &[]);
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "What the kernel says",
        "text in calls",
        "none: no backend for reports is configured",
        "The person you talk with does not learn your IP address",
        "a modified one could swap the keys",
        "proven: everything holds",
    ] {
        assert!(said.to_lowercase().contains(&expected.to_lowercase()), "{expected:?} is missing in {said}");
    }
}

#[test]
fn without_the_sandbox_it_fails_and_says_where() {
    let daemon = Daemon::local().set("sandbox.mode = 'off'").start();
    daemon.says("sandbox.mode is \"off\"");
    let (code, proof) = proof(&daemon);
    assert_eq!((code, &proof["proven"]), (Some(1), &Value::Bool(false)));
    let broken: Vec<_> = proof["checks"].as_array().unwrap().iter().filter(|it| it["holds"] == "no").collect();
    for name in ["landlock", "seccomp", "no_new_privs", "dumpable", "file_size"] {
        assert!(broken.iter().any(|check| check["name"] == name), "{name} in {broken:?}");
    }
    assert!(prove(&daemon, &[]).1.contains("NOT PROVEN"));
}

#[test]
fn where_no_relay_answers_that_is_what_it_says() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ask = |admin: String| {
        let output = Command::new(e2e::daemon::binary()).args(["prove", "--admin", &admin]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = ask(closed.to_string());
    assert!(code == Some(1) && said.contains("no relay answers"), "{said}");
    let daemon = Daemon::local().start();
    let (code, said) = ask(daemon.signalling().to_string());
    assert!(code == Some(1) && said.contains("is not a relay of this version's admin listener"), "{said}");
}

//! The sandbox from outside: what a program in it gets for trying to record, and what the daemon in it still does.

use crate::prove::proof;
use e2e::voice::{self, Voice};
use e2e::{Daemon, eventually, webhook};
use serde_json::json;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

/// A relay that has gone bad: `tests/src/bin/recorder.rs`.
const RECORDER: &str = env!("CARGO_BIN_EXE_recorder");

/// What became of it, what it said, and what is in the folder where it was to write.
fn recorder(way: &str) -> (ExitStatus, String, Vec<(PathBuf, Vec<u8>)>) {
    let folder = std::env::temp_dir().join(format!("e2e-recorder-{way}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("kept");
    std::fs::write(&file, "before").unwrap();
    let output = Command::new(RECORDER).arg(way).arg(&file).current_dir(&folder).output().unwrap();
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    (output.status, String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(), files)
}

#[test]
fn a_build_that_writes_a_payload_to_a_file_dies() {
    let (status, said, _) = recorder("serve");
    assert_eq!((status.code(), said.as_str()), (Some(0), "done\n"), "what a relay does is allowed");
    let ways = [
        ("create", libc::SIGSYS),
        ("append", libc::SIGSYS),
        ("overwrite", libc::SIGSYS),
        ("inherited", libc::SIGXFSZ), // a descriptor from before: open it is, grow it may not
        ("rename", libc::SIGSYS),
        ("memory-file", libc::SIGSYS),
        ("program", libc::SIGSYS),
        ("fork", libc::SIGSYS),
    ];
    for (way, signal) in ways {
        let (status, said, files) = recorder(way);
        assert_eq!(status.signal(), Some(signal), "{way}: {said}");
        assert_eq!(files.len(), 1, "{way}: no new file, and no core: {files:?}");
        assert_eq!(files[0].1, b"before", "{way}: nothing was added");
    }
}

#[test]
fn what_is_no_business_of_a_relay_is_denied() {
    let ways = [
        ("probe", "Denied"),
        ("read", "PermissionDenied"),
        ("list", "PermissionDenied"),
        ("connect", "PermissionDenied"),
        ("code", "PermissionDenied"),
        ("dumpable", "PermissionDenied"),
        ("ring", "Unsupported"),
        ("packets", "code: 97"),
    ];
    for (way, answer) in ways {
        let (status, said, _) = recorder(way);
        assert!(status.success() && said.starts_with("denied: ") && said.contains(answer), "{way}: {status} {said}");
    }
}

#[test]
fn where_landlock_is_missing_required_starts_nothing_and_on_says_so() {
    let file = std::env::temp_dir().join(format!("e2e-required-{}.toml", std::process::id()));
    std::fs::write(&file, "listen.udp = ['127.0.0.1:0']\nsandbox.mode = 'required'\n").unwrap();
    let mut command = Command::new(RECORDER);
    command.arg("without-landlock").arg(e2e::daemon::binary()).arg("--config").arg(&file);
    let output = command.output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("sandbox.mode is \"required\", and this system has no Landlock"), "{said}");
    assert!(output.stdout.is_empty(), "nothing was announced");

    let daemon = Daemon::local().under(&[RECORDER, "without-landlock"]).start();
    daemon.says("the sandbox has a hole: this system has no Landlock");
    let (code, proof) = proof(&daemon);
    assert_eq!(code, Some(1), "what cannot be shown is not proven");
    let holds =
        |name: &str| proof["checks"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()["holds"].clone();
    assert_eq!((holds("landlock"), holds("seccomp")), (json!("no"), json!("yes")));
    assert!(!proof["privacy"].to_string().contains("The operating system holds"), "and is not promised");
}

#[test]
fn started_as_root_it_becomes_the_user_it_is_told_to() {
    let daemon = Daemon::local().set("sandbox.user = 'nobody'").start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    let ids: Vec<u32> = uid.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]) && ids[0] != 0, "{uid}");
    assert_eq!(proof(&daemon).0, Some(0));
}

#[test]
fn a_user_that_is_not_there_is_named_and_nothing_starts() {
    let file = std::env::temp_dir().join(format!("e2e-user-{}.toml", std::process::id()));
    std::fs::write(&file, "listen.udp = ['127.0.0.1:0']\nsandbox.user = 'nobody-at-all'\n").unwrap();
    let output = Command::new(e2e::daemon::binary()).arg("--config").arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no user \"nobody-at-all\""), "{said}");
}

/// Finding an address by its name takes files, sockets and a thread that was not there when the sandbox was entered.
#[tokio::test(flavor = "multi_thread")]
async fn inside_it_a_report_reaches_a_backend_known_by_its_name() {
    let backend = webhook::Receiver::start();
    let daemon = Daemon::local().set(&backend.settings().replace("//127.0.0.1:", "//localhost:")).start();
    let (mut ana, mut ben) = (Voice::enter(&daemon, "ana").await, Voice::enter(&daemon, "ben").await);
    let call = voice::talk(&mut ana, &mut ben).await;
    ben.caller.send(json!({ "t": "report", "call": call, "cat": "other" })).await;
    ben.caller.at_last("reported").await;
    assert_eq!(backend.report()["cat"], "other");
    // The thread that looked the name up tries nothing; the proof waits until it has gone.
    assert_eq!(proof(&daemon).0, Some(0));
}

#[test]
fn inside_it_sighup_reads_a_new_file_of_the_same_name() {
    let mut daemon = Daemon::local().start();
    daemon.reload("access.user_allocations = 7");
    eventually("the reload", || daemon.log().contains("reloaded").then_some(()));
    assert!(!daemon.log().contains("not reloaded"), "{}", daemon.log());
}

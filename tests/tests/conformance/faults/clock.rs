//! F7: the wall clock jumps. Lifetimes follow the monotonic clock, the expiry of time-limited credentials the wall's.
//!
//! The same with clocks that are told the time: `relay/src/auth/tests` (expiry) and `relay/src/turn/tests/refreshing.rs`.

use super::super::credentials::rest;
use super::{heard, peer, settings};
use e2e::raw::client::UDP;
use e2e::raw::message::method;
use e2e::raw::{Ask, Client, Link, Transport};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const FIX: &str = "apt-get install faketime (tests/run.sh --long does it)";

/// Where Debian keeps the library for programs with threads.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let candidates = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    candidates.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("libfaketime is not there. Fix: {FIX}"))
}

/// Sets the daemon's wall clock off by so many seconds; it looks at every reading.
fn jump(file: &Path, secs: i64) {
    let next = file.with_extension("next");
    std::fs::write(&next, format!("{secs:+}s\n")).unwrap();
    std::fs::rename(&next, file).unwrap();
}

const HOUR: i64 = 3600;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;

#[test]
#[ignore = "needs libfaketime; tests/run.sh --long"]
fn f07_a_jump_of_the_wall_clock_ends_no_allocation_and_moves_only_the_expiry_of_credentials() {
    let file = std::env::temp_dir().join(format!("e2e-clock-{}", std::process::id()));
    jump(&file, 0);
    // The library reads its file at each look at the clock, which the sandbox has put out of reach.
    let daemon = settings()
        .set("sandbox.mode = 'off'")
        .env("LD_PRELOAD", library().to_str().unwrap())
        .env("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let (outside, outside_at) = peer();
    let mut client = Client::challenged(&daemon, Transport::Udp);
    client.allocate(1);
    assert_eq!(client.bind(0x4000, outside_at), 0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for offset in [HOUR, -HOUR, TEN_YEARS, -TEN_YEARS, 0] {
        jump(&file, offset);
        client.send_on(0x4000, b"still here");
        assert_eq!(heard(&outside).0, b"still here", "after a jump of {offset} s");
        assert_eq!(client.refresh(600), 0, "nonce and allocation are as good as before");
        for (expires, good) in [(600, true), (-600, false)] {
            let expires = now.saturating_add_signed(offset + expires);
            let mut guest =
                Client::over(Link::open(&daemon, Transport::Udp), rest(&expires.to_string(), "the newest rest secret"));
            guest.fetch_challenge();
            let code = guest.code(Ask::request(method::ALLOCATE).transport(UDP));
            assert_eq!(code == 0, good, "{code} for a credential until {expires} after a jump of {offset} s");
        }
    }
    let _ = std::fs::remove_file(file);
}

//! A call in a real Chromium: a page with two peer connections that may only use the relay, and a word from one to the other. The page is
//! served to it from here, and says here how it went.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Findings;

const CHECK: &str = "a browser's call";
/// Starting a browser takes most of it.
const PATIENCE: Duration = Duration::from_secs(40);
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const PAGE: &str = include_str!("browser.html");
/// A request head is shorter.
const MAX_HEAD: usize = 8 * 1024;

/// `urls` as clients are told them, and credentials good for two allocations.
pub(super) fn check(urls: &[String], (username, password): (&str, &str), found: &mut Findings) {
    let ice = serde_json::json!({ "urls": urls, "username": username, "credential": password });
    match run(&PAGE.replace("ICE_SERVER", &ice.to_string())) {
        Ok(said) if said == "good" => {
            found.good(CHECK, format!("Chromium connected two peers through {}", urls.join(", ")))
        }
        Ok(said) => found.bad(
            CHECK,
            format!("Chromium did not get through {}: {said}", urls.join(", ")),
            "see the other findings; in Chromium, chrome://webrtc-internals",
        ),
        Err(why) => found.unknown(CHECK, why),
    }
}

/// A child that is gone when this is.
struct Browser(Child, PathBuf);

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// What the page said.
fn run(page: &str) -> Result<String, String> {
    let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    here.set_nonblocking(true).map_err(|error| error.to_string())?;
    let address = here.local_addr().map_err(|error| error.to_string())?;
    let profile = std::env::temp_dir().join(format!("relay-doctor-{}", std::process::id()));
    let browser = NAMES.iter().find_map(|name| {
        let mut command = Command::new(name);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-loopback-in-peer-connection",
            "--no-first-run",
        ]);
        command.arg(format!("--user-data-dir={}", profile.display())).arg(format!("http://{address}/"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
    });
    let Some(browser) = browser else { return Err("there is no Chromium here".to_owned()) };
    let _browser = Browser(browser, profile);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match here.accept() {
            Ok((stream, _)) => {
                if let Some(said) = answer(stream, page) {
                    return Ok(said);
                }
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Err("Chromium started, and the page said nothing in time".to_owned())
}

/// Serves the page, or takes its word: `/said/…`.
fn answer(mut stream: TcpStream, page: &str) -> Option<String> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let said = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/said/")).map(|word| word.replace("%20", " "));
    let body = if said.is_some() { "" } else { page };
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // What it is answered no longer matters to a page that has said its word.
    let _ = stream.write_all(answer.as_bytes());
    said
}

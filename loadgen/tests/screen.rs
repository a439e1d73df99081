//! The screen on a real terminal: a pseudo-terminal made by `script` (util-linux), keys typed into it.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use loadgen::report::{live::Live, screen::Screen};

const PATIENCE: Duration = Duration::from_secs(60);
/// Alternate screen taken and given back.
const TAKEN: &str = "\u{1b}[?1049h";
const GIVEN_BACK: &str = "\u{1b}[?1049l";
const CURSOR_SHOWN: &str = "\u{1b}[?25h";

/// A shell on a pseudo-terminal of 80 × 24 that runs a program and then says how it left the terminal.
struct Terminal {
    child: Child,
    read: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// Of loadgen.
    fn run(line: &str) -> Terminal {
        Terminal::of(&format!("{} {line}", env!("CARGO_BIN_EXE_loadgen")))
    }

    fn of(command: &str) -> Terminal {
        let shell = format!("stty rows 24 cols 80; {command}; echo code $?; stty -a");
        let mut child = Command::new("script")
            .args(["-qec", &shell, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("script: {error}. Fix: apt-get install bsdutils"));
        let mut output = child.stdout.take().unwrap();
        let (sender, read) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let _ = sender.send(buffer[..length].to_vec());
            }
        });
        Terminal { child, read, seen: String::new() }
    }

    /// Waits until `wanted` has been sent since the last call. Only what changes on a screen is sent: one word, none of whose
    /// letters was there before.
    fn shows(&mut self, wanted: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(wanted) {
                let rest = self.seen.split_off(at + wanted.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            let bytes =
                self.read.recv_timeout(left).unwrap_or_else(|_| panic!("{wanted:?} was not shown in: {}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn press(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// After the program: its exit code is `code`, and the terminal echoes and edits lines again.
    fn leaves_as_before(mut self, code: u8) {
        self.shows(GIVEN_BACK);
        self.shows(&format!("code {code}"));
        let state = self.shows("echoctl") + "echoctl";
        let words: Vec<&str> = state.split_whitespace().collect();
        for mode in ["icanon", "isig", "echo", "opost"] {
            assert!(words.contains(&mode), "{mode} is off: {state}");
        }
        assert!(self.child.wait().unwrap().success());
    }
}

fn result(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loadgen-screen-{name}-{}.json", std::process::id()))
}

#[test]
fn keys_change_the_rate_which_the_result_says_and_q_gives_the_terminal_back() {
    let file = result("keys");
    let mut terminal =
        Terminal::run(&format!("run --calls/s 10 --for 60s --warmup 2s --hold fixed:300ms --json {}", file.display()));
    terminal.shows(TAKEN);
    terminal.shows("measuring");
    terminal.press("*");
    terminal.shows("ALTERED");
    terminal.press("p");
    terminal.shows("PAUSED");
    terminal.press("pq");
    terminal.leaves_as_before(130);
    let result: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    let factors: Vec<f64> =
        result["manual_changes"].as_array().unwrap().iter().map(|change| change["factor"].as_f64().unwrap()).collect();
    assert_eq!(factors, [2.0, 0.0, 2.0]);
    assert_eq!(result["interrupted"], true);
    let warnings = result["verdict"]["warnings"].to_string();
    assert!(warnings.contains("changed by hand"), "{warnings}");
}

#[test]
fn ctrl_c_gives_the_terminal_back_and_prints_what_was_measured() {
    let mut terminal = Terminal::run("run --calls/s 10 --for 60s --warmup 2s --hold fixed:300ms");
    terminal.shows(TAKEN);
    terminal.shows("measuring");
    terminal.press("\u{3}");
    terminal.leaves_as_before(130);
}

#[test]
fn a_termination_from_outside_gives_the_terminal_back() {
    let mut terminal = Terminal::run("run --calls/s 10 --for 60s --warmup 2s --hold fixed:300ms --seed 7316");
    terminal.shows(TAKEN);
    terminal.shows("measuring");
    // The shell's child, and not the relay that is that one's child.
    let found = Command::new("sh")
        .args([
            "-c",
            &format!(
                "for p in $(cat /proc/{0}/task/{0}/children); do cat /proc/$p/task/$p/children; done",
                terminal.child.id()
            ),
        ])
        .output()
        .unwrap();
    let pids = String::from_utf8(found.stdout).unwrap();
    for pid in pids.split_whitespace() {
        assert!(Command::new("kill").args(["-TERM", pid]).status().unwrap().success());
    }
    terminal.leaves_as_before(130);
}

/// Where the other half of a test runs this program again, on a terminal of its own.
const ON_A_TERMINAL: &str = "LOADGEN_TEST_ON_A_TERMINAL";

#[test]
fn a_panic_of_any_thread_gives_the_terminal_back_and_is_not_drawn_over() {
    if std::env::var_os(ON_A_TERMINAL).is_some() {
        return panic_under_the_screen();
    }
    let name = "a_panic_of_any_thread_gives_the_terminal_back_and_is_not_drawn_over";
    let program = std::env::current_exe().unwrap();
    let command = format!("{ON_A_TERMINAL}=1 RUST_BACKTRACE=0 {} --exact --nocapture {name}", program.display());
    let mut terminal = Terminal::of(&command);
    terminal.shows(TAKEN);
    terminal.shows("begun");
    terminal.shows(GIVEN_BACK);
    terminal.shows("somebody fell over");
    // Whoever drew shows the cursor once more.
    let after = terminal.shows("and the run went on").replace(CURSOR_SHOWN, "");
    assert!(!after.contains('\u{1b}') && !after.contains("anew"), "{after:?}");
    terminal.leaves_as_before(0);
}

fn panic_under_the_screen() {
    const LONGER_THAN_A_FRAME: Duration = Duration::from_millis(700);
    let live = Arc::new(Live::default());
    let title = |title: &str| live.change(|scene| scene.title = title.to_owned());
    title("begun");
    let screen = Screen::start(live.clone()).unwrap();
    thread::sleep(LONGER_THAN_A_FRAME);
    let fell = thread::spawn(|| panic!("somebody fell over")).join();
    assert!(fell.is_err());
    thread::sleep(LONGER_THAN_A_FRAME);
    title("anew");
    thread::sleep(LONGER_THAN_A_FRAME);
    println!("and the run went on");
    drop(screen);
}

#[test]
fn plain_lines_where_they_are_asked_for_even_on_a_terminal() {
    let mut terminal = Terminal::run("run --plain --calls/s 10 --for 1s --warmup 500ms --drain 1s --hold fixed:300ms");
    let before = terminal.shows("VERDICT");
    assert!(!before.contains(TAKEN) && before.contains("arriving"), "{before}");
    terminal.child.wait().unwrap();
}

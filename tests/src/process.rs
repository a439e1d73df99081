//! A child process with an owner: its output is captured line by line, and it is gone when the owner is.

#![allow(unsafe_code)] // one system call: std can only send SIGKILL

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a process may take to leave by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running program. Dropped: SIGTERM, a grace, SIGKILL; always by its own process id.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a program with no input. Panics with `fix` if it cannot be started.
    pub fn start(command: &mut Command, fix: &str) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}. Fix: {fix}"));
        let lines = Arc::default();
        collect(child.stdout.take(), &lines);
        collect(child.stderr.take(), &lines);
        Process { name, child, lines }
    }

    /// Everything written so far, standard output and error together.
    pub fn log(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The first answer `find` gives for a line of the output; panics with the whole output if the process ends before, or
    /// takes longer than [`crate::PATIENCE`].
    pub fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.wait_up_to(crate::PATIENCE, what, find)
    }

    /// The same for what takes longer.
    pub fn wait_up_to<T>(&mut self, patience: Duration, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if let Some(found) = self.log().lines().find_map(&find) {
                return found;
            }
            if ended || start.elapsed() > patience {
                let how = if ended { "ended" } else { "is still silent" };
                panic!("{} {how} without `{what}`. Its output:\n{}", self.name, self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process id, for tests that look at a process from outside.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Sends it a signal, if it has not ended by itself.
    pub fn signal(&mut self, signal: i32) {
        if self.is_running() {
            // SAFETY: a plain system call. The child is ours and not yet reaped, so its id belongs to nobody else.
            unsafe { libc::kill(self.child.id().cast_signed(), signal) };
        }
    }

    /// SIGTERM, and what the process makes of it: its exit code, or `None` if it had to be killed.
    pub fn stop(&mut self) -> Option<i32> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.code();
        }
        self.signal(libc::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads until the other end closes, so that a talkative child never blocks on a full pipe.
fn collect(output: Option<impl Read + Send + 'static>, lines: &Arc<Mutex<Vec<String>>>) {
    let Some(output) = output else { return };
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}

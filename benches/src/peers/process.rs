//! A server in a process of its own, on the cores it is given; it ends when its owner goes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::load::cpu;

pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Process {
    /// Starts `command` on `cores`; the caller is on `home` before and after. What it logs goes to the file `log`.
    pub(crate) fn start(mut command: Command, cores: &[usize], home: usize, log: PathBuf) -> Result<Process, String> {
        let program = command.get_program().to_string_lossy().into_owned();
        let say = |error: io::Error| format!("{program} could not be started: {error}");
        let errors = File::create(&log).map_err(say)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        cpu::pin_to(cores);
        let child = command.spawn();
        cpu::pin(home);
        let mut child = child.map_err(say)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = BufReader::new(output.ok_or_else(|| format!("{program}: no pipe"))?);
        Ok(Process { child, input, output, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line the process prints.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(length) if length > 0 => Ok(line.trim_end().to_owned()),
            _ => Err(self.trouble("it has ended")),
        }
    }

    /// Writes one line to the process.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("no pipe")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|error| error.to_string())
    }

    /// Whether it is gone already.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// What went wrong, with the end of its log.
    pub(crate) fn trouble(&self, what: &str) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(4)..].join("\n  ");
        if last.is_empty() { what.to_owned() } else { format!("{what}; its log ends with\n  {last}") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for configurations and logs of one run.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Tries until it works, for ten seconds.
pub(crate) fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..200 {
        if let Some(done) = attempt() {
            return Some(done);
        }
        thread::sleep(Duration::from_millis(50));
    }
    None
}

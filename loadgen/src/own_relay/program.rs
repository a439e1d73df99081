//! Which program serves as a relay of our own: this one, another build of it, or a command.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process::{Command, Stdio},
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

/// Stands for the configuration file in a command.
const CONFIG: &str = "{config}";
/// Of what a program said when it did not start.
const MOST_COMPLAINTS: usize = 600;

/// Who serves. `PATH` of a `relay` is run with `--config FILE`; `PATH` of a `loadgen` as loadgen runs itself; anything else is
/// words, one of which has `{config}`, and prints where it listens and then `ready`, as the daemon does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    This,
    Loadgen(PathBuf),
    Command(Vec<String>),
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Program, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let first = words.first().ok_or("a command is empty")?;
        let path = PathBuf::from(first);
        if first.contains('/') && !path.is_file() {
            return Err(format!("{first}: no such program"));
        }
        let is_loadgen = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("loadgen"));
        match words.as_slice() {
            [_] if is_loadgen => Ok(Program::Loadgen(path)),
            [path] => Ok(Program::Command([path, "--config", CONFIG].map(str::to_owned).to_vec())),
            words if words.iter().any(|word| word.contains(CONFIG)) => Ok(Program::Command(words.to_vec())),
            _ => Err(format!("{text:?}: name one program, or write {CONFIG} where its configuration file goes")),
        }
    }
}

/// A folder of one relay, for us alone: its configuration has secrets. Removed with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn with(configuration: &str) -> io::Result<Folder> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("loadgen-{}-{number}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Folder(path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.configuration())?;
        file.write_all(configuration.as_bytes())?;
        Ok(folder)
    }

    pub(super) fn command(&self, words: &[String]) -> io::Result<Command> {
        let config = self.configuration().display().to_string();
        let mut words = words.iter().map(|word| word.replace(CONFIG, &config));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stderr(Stdio::from(fs::File::create(self.log())?));
        Ok(command)
    }

    /// What the program said before it ended.
    pub(super) fn complaints(&self) -> String {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let start = said.len().saturating_sub(MOST_COMPLAINTS);
        let start = (start..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(said.len());
        if said.is_empty() { String::new() } else { format!(": {}", said[start..].trim_end()) }
    }

    fn configuration(&self) -> PathBuf {
        self.0.join("relay.toml")
    }

    fn log(&self) -> PathBuf {
        self.0.join("stderr")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_alone_is_the_simple_case() {
        let words = |text: &str| match text.parse().unwrap() {
            Program::Command(words) => words.join(" "),
            other => panic!("{other:?}"),
        };
        assert_eq!(words("relay"), "relay --config {config}");
        assert_eq!(words("nice -n 5 relay --config={config}"), "nice -n 5 relay --config={config}");
        assert_eq!("loadgen-old".parse(), Ok(Program::Loadgen("loadgen-old".into())));
        for wrong in ["", "/no/such/relay", "relay --log debug"] {
            assert!(wrong.parse::<Program>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_configuration_is_for_us_alone_and_goes_with_its_relay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::with("secret").unwrap();
        let path = folder.configuration();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
        drop(folder);
        assert!(!path.exists());
    }
}

//! `relay import-coturn`: a `turnserver.conf` becomes a `relay.toml`, and what has no counterpart is listed with what to do about it.
//!
//! `lines` reads the file → `options` knows what becomes of each option → `mapping` and `places` write keys into a `draft`. Secrets go
//! into files of their own that only their owner may read, never to the terminal.

mod draft;
mod lines;
mod mapping;
mod options;
mod peers;
mod places;
mod turndb;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use draft::Draft;

use super::{FAILED, MISUSED, fail, load, print};
use crate::cli::ImportCoturn;

/// Reads, writes, looks the result over, and says what is left to do.
pub(crate) fn import(wanted: &ImportCoturn) -> ExitCode {
    let source = wanted.file.display().to_string();
    let text = match std::fs::read(&wanted.file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return fail(MISUSED, &format!("{source}: cannot be read: {error}")),
    };
    let exported = match wanted.users_db.as_deref().map(turndb::read).transpose() {
        Ok(exported) => exported.unwrap_or_default(),
        Err(why) => return fail(MISUSED, &why),
    };
    let stem = wanted.output.file_stem().map_or_else(|| "relay".into(), |stem| stem.to_string_lossy().into_owned());
    let draft = mapping::map(&lines::read(&text), &exported, &stem);
    if let Err(why) = write(&draft, &source, wanted) {
        return fail(FAILED, &why);
    }
    print(&report(&draft, &wanted.output));
    let checked =
        load(&wanted.output).and_then(|settings| relay::server::check(&settings).map_err(|error| error.to_string()));
    match checked {
        Ok(()) => {
            print(&format!("\n{}: no problems\n", wanted.output.display()));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(MISUSED, &format!("\nThe result is written, and needs your hand:\n{problems}")),
    }
}

/// Secrets first, so that the configuration never names a file that is not there.
fn write(draft: &Draft, source: &str, wanted: &ImportCoturn) -> Result<(), String> {
    let folder = wanted.output.parent().unwrap_or_else(|| Path::new(""));
    for (name, text) in &draft.secrets {
        create(&folder.join(name), text, 0o600, wanted.force)?;
    }
    create(&wanted.output, &draft.text(source), 0o644, wanted.force)
}

fn create(file: &Path, text: &str, mode: u32, force: bool) -> Result<(), String> {
    if force {
        // A file that is there keeps its mode when it is opened: what was readable by all would stay so.
        let _ = std::fs::remove_file(file);
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{} is there already; --force writes over it", file.display()),
        _ => format!("{} cannot be written: {error}", file.display()),
    })
}

fn report(draft: &Draft, output: &Path) -> String {
    let mut text = format!("{}: {} keys written\n", output.display(), draft.mapped);
    for (name, _) in &draft.secrets {
        text.push_str(&format!("{name}: secrets, readable by their owner alone; make it the service's user\n"));
    }
    for (title, notes) in [
        ("No counterpart, and what to do", &draft.missing),
        ("Worth knowing", &draft.worth_knowing),
        ("Left out, nothing is lost", &draft.dropped),
    ] {
        if !notes.is_empty() {
            text.push_str(&format!("\n{title}:\n"));
        }
        for note in notes {
            text.push_str(&format!("  - {note}\n"));
        }
    }
    text
}

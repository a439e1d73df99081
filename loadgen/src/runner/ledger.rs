//! Writes one line a call to a file from a thread of its own: the run never waits for a disk, and what a slow one cannot
//! take is counted, not kept.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::mpsc::{SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

use crate::{book::Finished, report::calls};

/// Lines under way at most.
const QUEUE: usize = 4096;

pub(super) struct Ledger {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<io::Result<()>>>,
    lost: u64,
}

impl Ledger {
    pub(super) fn create(path: &Path) -> io::Result<Ledger> {
        let file = File::create(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        let (lines, received) = sync_channel::<String>(QUEUE);
        let writer = thread::Builder::new().name("calls".to_owned()).spawn(move || {
            let mut file = BufWriter::new(file);
            writeln!(file, "{}", calls::header())?;
            for line in received {
                writeln!(file, "{line}")?;
            }
            file.flush()
        })?;
        Ok(Ledger { lines: Some(lines), writer: Some(writer), lost: 0 })
    }

    pub(super) fn add(&mut self, call: &Finished) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(calls::line(call)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }

    /// Writes what is left; how many calls the file lacks.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.lines = None;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(written)) => written.map(|()| self.lost),
            _ => Ok(self.lost),
        }
    }
}

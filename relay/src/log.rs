//! Where log lines go, and what becomes of those that cannot be written: a full disk or a closed pipe under the log is no
//! reason to stop relaying. They are counted, and the first line that can be written again says how many there were.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static LOST: Lost = Lost { total: AtomicU64::new(0), unsaid: AtomicU64::new(0) };

/// Log lines that could not be written since the start.
pub fn lines_lost() -> u64 {
    LOST.total.load(Relaxed)
}

/// Standard error for whole log lines; writing to it never fails.
#[derive(Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOST.write(&mut io::stderr().lock(), line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Lost {
    total: AtomicU64,
    /// Not yet confessed to.
    unsaid: AtomicU64,
}

impl Lost {
    fn write(&self, out: &mut impl Write, line: &[u8]) {
        let unsaid = self.unsaid.load(Relaxed);
        if unsaid > 0 && writeln!(out, "{unsaid} log lines could not be written").is_ok() {
            self.unsaid.fetch_sub(unsaid, Relaxed);
        }
        if out.write_all(line).is_err() {
            self.total.fetch_add(1, Relaxed);
            self.unsaid.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() > self.room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= bytes.len();
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_find_no_room_are_counted_and_named_once_when_there_is_some_again() {
        let lost = Lost { total: AtomicU64::new(0), unsaid: AtomicU64::new(0) };
        let mut disk = Disk { room: 6, written: Vec::new() };
        for _ in 0..3 {
            lost.write(&mut disk, b"first\n");
        }
        assert_eq!((lost.total.load(Relaxed), disk.written.as_slice()), (2, &b"first\n"[..]));
        disk.room = 1000;
        for _ in 0..2 {
            lost.write(&mut disk, b"later\n");
        }
        assert_eq!(disk.written, b"first\n2 log lines could not be written\nlater\nlater\n");
        assert_eq!(lost.total.load(Relaxed), 2);
    }
}

//! The relay's nap policy (`relay/src/dataplane/nap.rs`) for the bare forwarders: while packets are many, sleep a little
//! before looking, unless the last look left something behind.

use std::thread;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_millis(20);

pub(crate) struct Nap {
    length: Duration,
    window: Instant,
    datagrams: u64,
    busy: bool,
}

impl Nap {
    pub(crate) fn new(micros: u32) -> Nap {
        Nap { length: Duration::from_micros(micros.into()), window: Instant::now(), datagrams: 0, busy: false }
    }

    /// Sleeps if that is due; `backlog`: there may be more waiting.
    pub(crate) fn take(&mut self, datagrams: usize, backlog: bool) {
        if self.length.is_zero() {
            return;
        }
        self.datagrams += datagrams as u64;
        let elapsed = self.window.elapsed();
        if elapsed >= WINDOW {
            let rate = self.datagrams * 1000 / elapsed.as_millis() as u64;
            self.busy = rate >= relay::dataplane::NAP_ABOVE_PER_SEC;
            (self.window, self.datagrams) = (Instant::now(), 0);
        }
        if self.busy && !backlog {
            thread::sleep(self.length);
        }
    }
}

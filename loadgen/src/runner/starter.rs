//! The thread that says when a caller is due, to within the kernel's timer; and the hand that changes how fast.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self as std_mpsc, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use super::Due;
use crate::{
    arrival::followed::{Followed, Next},
    sys,
    time::{Clock, Nanos},
};

pub(super) struct Starter {
    pub(super) due: mpsc::UnboundedReceiver<Due>,
    pub(super) stop: Arc<AtomicBool>,
    /// Moments of the schedule and the factor from then on.
    changes: Sender<(Nanos, f64)>,
}

impl Starter {
    /// The channel is bounded by the schedule.
    pub(super) fn start(followed: Followed, clock: Clock, start: Nanos, real_time: bool) -> io::Result<Starter> {
        let (sender, due) = mpsc::unbounded_channel();
        let (changes, changed) = std_mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::Builder::new().name("starter".to_owned()).spawn(move || {
            sys::sharpen_sleeps();
            if real_time {
                sys::go_real_time();
            }
            let mut thread = Following { adjustable: followed.is_adjustable(), followed, changed, clock, start };
            while let Some((number, intended)) = thread.next() {
                if stopped.load(Ordering::Relaxed)
                    || sender.send(Due { number, intended, visit: 0, came_over: false }).is_err()
                {
                    return;
                }
            }
        })?;
        Ok(Starter { due, stop, changes })
    }

    /// From `now` on, `factor` times the rate of the schedule.
    pub(super) fn change(&self, now: Nanos, factor: f64) {
        let _ = self.changes.send((now, factor));
    }
}

struct Following {
    followed: Followed,
    changed: Receiver<(Nanos, f64)>,
    clock: Clock,
    start: Nanos,
    adjustable: bool,
}

impl Following {
    /// Sleeps until the next caller is due; none if there is none any more, or nobody who would hear of it.
    fn next(&mut self) -> Option<(u32, Nanos)> {
        loop {
            let heard = match self.followed.upcoming() {
                Next::Over => return None,
                Next::Paused => self.changed.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Next::At(number, at) => {
                    let intended = self.start.after(at.since(Nanos::ZERO));
                    match self.wait(intended.since(self.clock.now())) {
                        Err(RecvTimeoutError::Timeout) => {
                            self.followed.advance();
                            return Some((number, intended));
                        }
                        heard => heard,
                    }
                }
            };
            let (now, factor) = heard.ok()?;
            self.followed.change(Nanos::ZERO.after(now.since(self.start)), factor);
        }
    }

    /// Nothing but the kernel's timer where nobody can change anything.
    fn wait(&self, pause: Duration) -> Result<(Nanos, f64), RecvTimeoutError> {
        if self.adjustable {
            return self.changed.recv_timeout(pause);
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        }
        Err(RecvTimeoutError::Timeout)
    }
}

//! The end in peace: nobody new is let in, and what exists runs on until it is over or the deadline has come.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::asks::Wish;
use super::error::Broken;
use super::notify::Notify;
use super::{Running, Signals, tick, ticks};
use crate::turn::Command;

/// How often it is looked whether everything is over.
const LOOK: Duration = Duration::from_millis(100);
/// How often the log says what is left.
const REPORT: Duration = Duration::from_secs(10);

/// What a drain waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Left {
    allocations: u64,
    calls: u64,
    /// Of a child's safety, on their way.
    reports: u64,
}

impl Running {
    /// Returns when everything is over, when the deadline has come, or when it is told not to wait any longer.
    pub(super) async fn drain(&mut self, signals: &mut Signals, notify: &Notify) -> Result<(), Broken> {
        notify.stopping();
        let mut watchdog = ticks(notify);
        let patience = Duration::from_secs(self.changeable.settings.drain.deadline_secs.into());
        let (deadline, mut reported) = (Instant::now() + patience, Instant::now());
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.admin.set_ready(false);
        if let Some(cluster) = &self.cluster {
            cluster.hands.look();
        }
        let mut told = self.let_nobody_in();
        self.signalling.0.drain(patience.as_millis() as u64);
        self.report("draining: nobody new is let in", deadline);
        while self.left() != (Left { allocations: 0, calls: 0, reports: 0 }) {
            tokio::select! {
                _ = signals.terminate.recv() => return self.cut_short(deadline),
                _ = signals.interrupt.recv() => return self.cut_short(deadline),
                _ = signals.hangup.recv() => tracing::warn!("not reloaded: this server is draining"),
                Some(Wish(answer)) = self.wishes.recv() => {
                    // Who asked may have gone.
                    let _ = answer.send(Err("this server is draining".to_owned()));
                }
                () = tick(&mut watchdog) => self.tell_alive(notify),
                broken = self.edges.broken() => return Err(broken),
                () = sleep_until(deadline) => {
                    self.report("draining: the deadline has come", deadline);
                    return Ok(());
                }
                _ = look.tick() => {}
            }
            told = told || self.let_nobody_in();
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                self.report("draining", deadline);
            }
        }
        Ok(())
    }

    fn cut_short(&self, deadline: Instant) -> Result<(), Broken> {
        self.report("draining: told to end at once", deadline);
        Ok(())
    }

    /// Answers whether every worker has been told. A full mailbox is asked again.
    fn let_nobody_in(&self) -> bool {
        self.workers.mailboxes().post_all(Command::Drain).is_ok()
    }

    fn left(&self) -> Left {
        Left {
            allocations: self.workers.counters().iter().map(|worker| worker.allocations()).sum(),
            calls: self.signalling.1.calls(),
            reports: self.signalling.1.safety_undelivered(),
        }
    }

    fn report(&self, what: &'static str, deadline: Instant) {
        let (Left { allocations, calls, reports }, secs) = (self.left(), (deadline - Instant::now()).as_secs());
        tracing::info!(allocations, calls, reports, secs_left = secs, "{what}");
    }
}

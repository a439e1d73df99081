//! What somebody at the keys of a running load does to it, and what that leaves in the result.

use std::sync::{Arc, atomic::Ordering};

use super::director::Director;
use crate::{
    arrival::followed::FACTORS,
    report::{
        Change,
        live::{Command, Live},
    },
    time::Nanos,
};

/// The rate as it is changed by hand.
pub(super) struct Hand {
    live: Option<Arc<Live>>,
    /// None where the rate is not ours to change.
    factor: Option<f64>,
    paused: bool,
    pub(super) changes: Vec<Change>,
}

/// Changes kept at most; beyond them the rate stays as it is.
const MAX_CHANGES: usize = 1000;

impl Hand {
    pub(super) fn new(live: Option<Arc<Live>>, adjustable: bool) -> Hand {
        Hand { live, factor: adjustable.then_some(1.0), paused: false, changes: Vec::new() }
    }

    /// The factor from now on, if the command changes it.
    fn follow(&mut self, command: Command) -> Option<f64> {
        let factor = self.factor.filter(|_| self.changes.len() < MAX_CHANGES)?;
        match command {
            Command::Times(times) => {
                // Rounded, so that up and down leads back to where it was.
                let wanted = ((factor * times).clamp(FACTORS.0, FACTORS.1) * 1000.0).round() / 1000.0;
                let changed = wanted != factor;
                self.factor = Some(wanted);
                (changed && !self.paused).then_some(wanted)
            }
            Command::Pause => {
                self.paused = !self.paused;
                Some(if self.paused { 0.0 } else { factor })
            }
            Command::End => None,
        }
    }

    fn shown(&self) -> Option<f64> {
        self.factor.map(|factor| if self.paused { 0.0 } else { factor })
    }
}

impl<R: FnMut(&str)> Director<R> {
    /// Does what was asked for since the last look; true if that is to end the run.
    pub(super) fn obey(&mut self, start: Nanos) -> bool {
        let Some(live) = self.hand.live.clone() else { return false };
        let now = self.context.clock.now();
        for command in live.take() {
            if command == Command::End {
                self.interrupted.get_or_insert(now);
                self.starter.stop.store(true, Ordering::Relaxed);
                return true;
            }
            if let Some(factor) = self.hand.follow(command) {
                self.starter.change(now, factor);
                self.hand.changes.push(Change { t: now.since(start).as_secs_f64(), factor });
            }
        }
        let shown = self.hand.shown();
        live.change(|scene| scene.factor = shown);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_and_down_lead_back_and_a_pause_goes_on_where_it_was() {
        let mut hand = Hand::new(None, true);
        assert_eq!(hand.follow(Command::Times(2.0)), Some(2.0));
        assert_eq!(hand.follow(Command::Pause), Some(0.0));
        assert_eq!(hand.follow(Command::Times(0.5)), None, "nothing changes while paused");
        assert_eq!(hand.follow(Command::Pause), Some(1.0));
        for _ in 0..100 {
            hand.follow(Command::Times(10.0));
        }
        assert_eq!(hand.shown(), Some(FACTORS.1), "bounded");
    }

    #[test]
    fn a_rate_that_is_not_ours_stays() {
        let mut hand = Hand::new(None, false);
        assert_eq!((hand.follow(Command::Times(2.0)), hand.follow(Command::Pause), hand.shown()), (None, None, None));
    }
}

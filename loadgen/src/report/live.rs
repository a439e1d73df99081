//! What a run shows of itself while it lasts, and what it is told: one side writes a scene a second and takes commands,
//! the other draws and presses keys. Neither waits for the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Second;
use crate::{book::Book, book::Timed, stats::latency::Distribution};

/// Commands that wait at most; more are those of a cat on the keyboard.
const MAX_COMMANDS: usize = 16;
/// Causes of failure shown.
const MAX_CAUSES: usize = 4;
/// Parts of a decade of the histogram.
const PER_DECADE: f64 = 4.0;

/// What somebody wants of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// So many times the rate offered now.
    Times(f64),
    /// Stop letting callers in, or go on.
    Pause,
    /// End early; what was measured is shown.
    End,
}

/// Between a run and whoever watches it.
#[derive(Debug, Default)]
pub struct Live {
    scene: Mutex<Scene>,
    commands: Mutex<Vec<Command>>,
}

/// One moment of a run.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Seed, schedule and shape of the load.
    pub title: String,
    pub stage: &'static str,
    pub now: Second,
    pub before: Second,
    /// Seconds of warm-up, and of the whole schedule.
    pub warmup: f64,
    pub length: f64,
    pub callers_per_call: f64,
    /// Of the scheduled rate; 0 while paused, none where it cannot be changed.
    pub factor: Option<f64>,
    pub phases: Vec<PhaseNow>,
    /// Lower end in ms and count, of call set-up.
    pub histogram: Vec<(f64, u64)>,
    pub up: u64,
    pub failed: u64,
    pub causes: Vec<(String, u64)>,
}

#[derive(Clone, Copy, Debug)]
pub struct PhaseNow {
    pub timed: Timed,
    pub n: u64,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

impl Live {
    pub fn scene(&self) -> Scene {
        lock(&self.scene).clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Scene)) {
        change(&mut lock(&self.scene));
    }

    pub fn press(&self, command: Command) {
        let mut commands = lock(&self.commands);
        if commands.len() < MAX_COMMANDS || command == Command::End {
            commands.push(command);
        }
    }

    pub fn take(&self) -> Vec<Command> {
        std::mem::take(&mut lock(&self.commands))
    }
}

impl Scene {
    /// What the book says by now.
    pub fn read(&mut self, book: &Book) {
        let measured = Timed::ALL.into_iter().filter(|timed| !book.phase(*timed).corrected.is_empty());
        self.phases = measured.map(|timed| PhaseNow::of(timed, &book.phase(timed).corrected)).collect();
        self.histogram = histogram(&book.phase(Timed::Setup).corrected);
        (self.up, self.failed) = (book.counts.calls_up, book.counts.failed());
        let mut causes: Vec<(String, u64)> = book.causes.iter().map(|(cause, times)| (cause.name(), *times)).collect();
        causes.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        causes.truncate(MAX_CAUSES);
        self.causes = causes;
    }

    pub fn phase(&self, timed: Timed) -> Option<&PhaseNow> {
        self.phases.iter().find(|phase| phase.timed == timed)
    }
}

impl PhaseNow {
    fn of(timed: Timed, distribution: &Distribution) -> PhaseNow {
        let at = |percent| distribution.percentile_millis(percent);
        let (n, max) = (distribution.len(), distribution.max_millis());
        PhaseNow { timed, n, p50: at(50.0), p90: at(90.0), p99: at(99.0), max }
    }
}

/// Counts in parts of decades, from the first that has any to the last.
fn histogram(of: &Distribution) -> Vec<(f64, u64)> {
    let part = |micros: u64| ((micros.max(1) as f64 / 1e3).log10() * PER_DECADE).floor() as i32;
    let mut counts: Vec<(i32, u64)> = Vec::new();
    for step in of.histogram().iter_recorded() {
        let (place, count) = (part(step.value_iterated_to()), step.count_since_last_iteration());
        match counts.last_mut() {
            Some((last, total)) if *last == place => *total += count,
            Some((last, _)) => {
                let between = *last + 1..place;
                counts.extend(between.map(|empty| (empty, 0)));
                counts.push((place, count));
            }
            None => counts.push((place, count)),
        }
    }
    counts.into_iter().map(|(place, count)| (10f64.powf(f64::from(place) / PER_DECADE), count)).collect()
}

/// A watcher that panicked is no reason to end the run.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_histogram_has_no_holes_and_loses_nobody() {
        let mut distribution = Distribution::default();
        for millis in [1, 1, 2, 100] {
            distribution.record(Duration::from_millis(millis));
        }
        let parts = histogram(&distribution);
        assert_eq!(parts.iter().map(|(_, count)| count).sum::<u64>(), 4);
        assert!(
            parts.len() >= 8 && parts.windows(2).all(|pair| (pair[1].0 / pair[0].0 - 10f64.powf(0.25)).abs() < 1e-6)
        );
    }

    #[test]
    fn commands_are_bounded_but_an_end_is_always_heard() {
        let live = Live::default();
        (0..100).for_each(|_| live.press(Command::Times(1.1)));
        live.press(Command::End);
        let taken = live.take();
        assert_eq!((taken.len(), taken.last()), (MAX_COMMANDS + 1, Some(&Command::End)));
        assert!(live.take().is_empty());
    }
}

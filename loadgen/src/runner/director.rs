//! Leads a run through its stages: lets callers in when they are due, cuts them off when that is wanted, drains, and waits
//! until everybody has left.

use std::{rc::Rc, sync::atomic::Ordering, time::Duration};

use rand::RngCore;
use tokio::{
    signal::unix::Signal,
    sync::watch,
    task::LocalSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{
    Again, Context, Due, Stage, abort::Patience, cross_check, hand::Hand, sample::Sampler, session, starter::Starter,
};
use crate::{media::Window, scenario::TurnBy, time::Nanos};

/// How long callers may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(6);
/// Between looks at how many talk, for Little's law.
const LOOK: Duration = Duration::from_millis(50);

/// Leads the run through its stages.
pub(super) struct Director<R> {
    pub(super) context: Rc<Context>,
    pub(super) starter: Starter,
    pub(super) stages: watch::Sender<Stage>,
    pub(super) sampler: Sampler<R>,
    pub(super) interrupt: Signal,
    pub(super) dropped: u64,
    pub(super) interrupted: Option<Nanos>,
    pub(super) cut: watch::Sender<Option<Nanos>>,
    /// When everybody is to be cut off; none if not or not again.
    pub(super) sever_at: Option<Nanos>,
    /// With an objective that is missed; none if misses are borne to the end.
    pub(super) patience: Option<Patience>,
    pub(super) aborted: Option<String>,
    pub(super) hand: Hand,
    /// Callers that were due inside the window.
    pub(super) offered: u64,
}

impl<R: FnMut(&str)> Director<R> {
    pub(super) async fn direct(&mut self, local: &LocalSet, start: Nanos, window: Window) {
        let clock = self.context.clock;
        self.sampler.begin(start);
        self.arrivals(local, start, window.until).await;
        self.starter.stop.store(true, Ordering::Relaxed);
        let drained =
            if self.interrupted.is_some() { clock.now() } else { window.until.after(self.context.scenario.drain) };
        self.await_everybody(Stage::Draining, start, drained).await;
        self.await_everybody(Stage::Leaving, start, clock.now().after(FAREWELL)).await;
    }

    /// Lets callers in until the last is due or somebody interrupts.
    async fn arrivals(&mut self, local: &LocalSet, start: Nanos, until: Nanos) {
        let clock = self.context.clock;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                _ = self.interrupt.recv() => {
                    self.interrupted = Some(clock.now());
                    return self.starter.stop.store(true, Ordering::Relaxed);
                }
                due = self.starter.due.recv(), if open => match due {
                    Some(due) => self.arrive(local, due),
                    None => open = false,
                },
                _ = look.tick() => {
                    self.sampler.look(&self.context, "arriving");
                    if self.obey(start) {
                        return;
                    }
                    if self.has_enough(clock.now()) {
                        self.interrupted = Some(clock.now());
                        return self.starter.stop.store(true, Ordering::Relaxed);
                    }
                }
                () = sleep_until(clock.instant(self.sever_at.unwrap_or(until)).into()), if self.sever_at.is_some() => self.sever(),
                () = sleep_until(clock.instant(until).into()) => return,
            }
        }
    }

    fn sever(&mut self) {
        let now = self.context.clock.now();
        self.sever_at = None;
        self.context.storm.borrow_mut().at = now;
        let _ = self.cut.send(Some(now));
    }

    /// Whether an objective has been missed for so long that the rest of the run would tell nothing new.
    fn has_enough(&mut self, now: Nanos) -> bool {
        let Some(patience) = &mut self.patience else { return false };
        self.aborted = patience.ends(now, &self.context.scenario.objectives, &self.context.book.borrow());
        self.aborted.is_some()
    }

    /// An arrival that cannot happen is dropped and counted, never delayed.
    fn arrive(&mut self, local: &LocalSet, due: Due) {
        let context = &self.context;
        self.offered += u64::from(context.window.contains(due.intended));
        if context.present.get() >= context.scenario.max_callers as u64 {
            self.dropped += 1;
            return;
        }
        context.arrived.set(context.arrived.get() + 1);
        context.present.set(context.present.get() + 1);
        local.spawn_local(attend(context.clone(), due));
    }

    /// Announces `stage` and waits until nobody is left or `until`.
    async fn await_everybody(&mut self, stage: Stage, start: Nanos, until: Nanos) {
        let _ = self.stages.send(stage);
        let clock = self.context.clock;
        let name = if stage == Stage::Draining { "draining" } else { "leaving" };
        let mut look = interval(LOOK);
        while self.context.present.get() > 0 && clock.now() < until {
            tokio::select! {
                _ = look.tick() => {
                    self.sampler.look(&self.context, name);
                    if self.obey(start) {
                        return;
                    }
                }
                _ = self.interrupt.recv() => {
                    self.interrupted.get_or_insert(clock.now());
                    return;
                }
            }
        }
    }
}

/// One caller; a member of a closed population comes again when it has finished and thought.
async fn attend(context: Rc<Context>, mut due: Due) {
    loop {
        let mut random = [0; 32];
        rand::rng().fill_bytes(&mut random);
        let severed = match context.scenario.turn_client {
            // Boxed: the room it needs would be kept for every other caller too.
            TurnBy::WebrtcRs => Box::pin(cross_check::run(context.clone(), due, random)).await,
            _ => session::run(context.clone(), due, random).await,
        };
        let arriving = || *context.stage.borrow() == Stage::Arriving;
        due = match severed {
            _ if !arriving() => return,
            Some(Again { at, came_over }) => Due { intended: at, visit: due.visit + 1, came_over, ..due },
            None if context.scenario.users == 0 => return,
            None => {
                let intended = context.clock.now().after(context.scenario.think_after(due.number));
                Due { number: due.number.wrapping_add(context.scenario.users), intended, visit: 0, came_over: false }
            }
        };
        let intended = due.intended;
        sleep_until(context.clock.instant(intended).into()).await;
        if !arriving() {
            return;
        }
        context.arrived.set(context.arrived.get() + 1);
        context.present.set(context.present.get() + 1);
        context.came_again.set(context.came_again.get() + u64::from(context.window.contains(intended)));
    }
}

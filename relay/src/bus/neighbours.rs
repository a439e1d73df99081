//! What every node tells the others, whatever people do: that it lives and how much room it has, and whom the app has withdrawn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::book::{self, Book};
use super::members::{BEAT_MS, Beat, Heard};
use super::{Bus, Counters, Delivery, Lost, Member, Members, Purpose, To, Vitals};
use crate::clock::Clock;
use crate::signalling::desk::{Change, Revoked};
use crate::time::{Millis, Unix};

/// Changes of this node's own that wait to be told.
const MAX_CHANGES: usize = 1_024;
/// One page of another node's list.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two times that another node is asked for its list.
const ASK_AGAIN_MS: u64 = 2_000;
/// Signs of life with another number than ours in a row, before its list is asked for: a revocation that is on its way is no difference.
const DIFFERENT: u32 = 2;
/// Pages of one list: enough for all it may hold.
const MAX_PAGES: usize = book::MAX_HELD / book::PAGE + 1;

/// Does what others have said.
pub type Apply = Box<dyn Fn(&[Change]) -> bool + Send + Sync>;

/// What a node does for the others, by hand of who has it.
pub struct Duties {
    /// How this node is, now.
    pub vitals: Box<dyn Fn() -> Vitals + Send + Sync>,
    /// Others have said so: to be done here as well. If there is no room for it now, it is asked again.
    pub apply: Apply,
}

/// The others, as they are seen from anywhere. Clones share it.
#[derive(Clone)]
pub struct Neighbours {
    bus: Bus,
    clock: Clock,
    members: Arc<RwLock<Members>>,
    changes: mpsc::Sender<Change>,
    counters: Arc<Counters>,
}

impl Neighbours {
    /// The others and what is to be driven for them. `bus` is the one of `counters`.
    pub fn new(
        bus: Bus,
        clock: Clock,
        counters: Arc<Counters>,
        duties: Duties,
    ) -> (Neighbours, impl Future<Output = ()> + Send) {
        let members = Arc::new(RwLock::new(Members::new(bus.node().unwrap_or_default())));
        let (changes, told) = mpsc::channel(MAX_CHANGES);
        let neighbours = Neighbours { bus, clock, members, changes, counters };
        // Subscribed before anybody could speak.
        let heard = Heards {
            alive: neighbours.bus.subscribe(Purpose::ALIVE),
            revoked: neighbours.bus.subscribe(Purpose::REVOKED),
            asked: neighbours.bus.subscribe(Purpose::HELD),
        };
        let (answers, answered) = mpsc::channel(1);
        let round = Round {
            neighbours: neighbours.clone(),
            duties,
            book: Book::default(),
            owed: Vec::new(),
            different: BTreeMap::new(),
            odd: BTreeSet::new(),
            namesake: false,
            asked_at: None,
            answers,
        };
        (neighbours, round.run(heard, told, answered))
    }

    /// Who lives, without this node.
    pub fn members(&self) -> Members {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the others what was done here. Whether it will be told; what is not is told by the signs of life.
    pub fn tell(&self, change: Change) -> bool {
        self.changes.try_send(change).is_ok()
    }

    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long ago each was heard, with what it said.
    pub fn seen(&self) -> Vec<(String, Member, u64)> {
        let now = self.clock.mono();
        self.members().others().map(|(name, it)| (name.to_owned(), it.clone(), now.since(it.heard))).collect()
    }

    /// The last word of this node: the others need not wait for its silence.
    pub fn leave(&self) {
        self.say(Beat { leaves: true, ..Beat::default() });
    }

    fn say(&self, beat: Beat) {
        // Numbers and a version always become JSON.
        if let Ok(payload) = serde_json::to_vec(&beat)
            && self.bus.is_connected()
        {
            self.bus.publish(Purpose::ALIVE, To::Everybody, payload);
        }
    }
}

struct Heards {
    alive: mpsc::Receiver<Delivery>,
    revoked: mpsc::Receiver<Delivery>,
    asked: mpsc::Receiver<Delivery>,
}

/// What goes on all the time.
struct Round {
    neighbours: Neighbours,
    duties: Duties,
    book: Book,
    /// What was to be done here and could not be yet; as much as is held.
    owed: Vec<Change>,
    /// Who differs, and for how many signs of life; of nodes that live.
    different: BTreeMap<String, u32>,
    /// Who was named in the log because it does not fit; of nodes that live.
    odd: BTreeSet<String>,
    /// Somebody of this node's own name was.
    namesake: bool,
    /// When a list was asked for last.
    asked_at: Option<Millis>,
    answers: mpsc::Sender<Vec<Change>>,
}

impl Round {
    async fn run(
        mut self,
        mut heard: Heards,
        mut told: mpsc::Receiver<Change>,
        mut answered: mpsc::Receiver<Vec<Change>>,
    ) {
        let mut beats = interval(Duration::from_millis(BEAT_MS));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.neighbours.members.read().unwrap_or_else(PoisonError::into_inner).poll_timeout();
            let until = due.map(|at| Duration::from_millis(at.since(self.neighbours.clock.mono())));
            tokio::select! {
                _ = beats.tick() => self.beat(),
                () = pause(until) => self.bury(),
                Some(delivery) = heard.alive.recv() => self.hear(&delivery),
                Some(delivery) = heard.revoked.recv() => match book::read(&delivery.payload) {
                    Some(changes) => self.take(changes),
                    None => self.neighbours.counters.count_lost(Lost::Unreadable),
                },
                Some(delivery) = heard.asked.recv() => self.show(&delivery),
                Some(changes) = answered.recv() => self.take(changes),
                Some(change) = told.recv() => self.tell(change),
                else => return,
            }
        }
    }

    fn beat(&mut self) {
        let now = self.neighbours.clock.now();
        self.book.forget_ended(now.unix);
        self.pay();
        self.bury();
        self.neighbours.counters.set_revocations(self.book.len());
        let held = self.book.digest(now.unix);
        let vitals = (self.duties.vitals)();
        self.look_at_all(&vitals);
        self.neighbours.say(Beat { vitals, leaves: false, held });
    }

    /// Names, once, who lives and does not fit.
    fn look_at_all(&mut self, own: &Vitals) {
        let members = self.neighbours.members.read().unwrap_or_else(PoisonError::into_inner);
        let (mut apart, mut unlike) = (0, 0);
        for (node, member) in members.others() {
            let (matches, alike) = (member.vitals.matches(own), member.vitals.is_alike(own));
            apart += usize::from(!matches);
            unlike += usize::from(!alike);
            if matches && alike {
                self.odd.remove(node);
            } else if self.odd.insert(node.to_owned()) && !matches {
                tracing::warn!(
                    node,
                    "a node of the cluster began with another key: nobody is matched with its people until both have begun with the same"
                );
            } else if !alike {
                tracing::warn!(
                    node,
                    "a node of the cluster has other settings for matching: see [matching], [calls] and [auth] there and here"
                );
            }
        }
        self.neighbours.counters.set_different(apart, unlike);
    }

    fn bury(&mut self) {
        let mut members = self.neighbours.members.write().unwrap_or_else(PoisonError::into_inner);
        for node in members.bury(self.neighbours.clock.mono()) {
            self.different.remove(&node);
            self.odd.remove(&node);
            tracing::warn!(node, "a node of the cluster is not heard any more");
        }
        self.neighbours.counters.set_nodes(members.others().count() + 1);
    }

    fn hear(&mut self, delivery: &Delivery) {
        let counters = &self.neighbours.counters;
        let Ok(beat) = serde_json::from_slice::<Beat>(&delivery.payload) else {
            return counters.count_lost(Lost::Unreadable);
        };
        let (now, held, leaves) = (self.neighbours.clock.now(), beat.held, beat.leaves);
        let goes = leaves || beat.vitals.draining;
        let (node, incarnation) = (delivery.from.as_str(), delivery.incarnation);
        let mut members = self.neighbours.members.write().unwrap_or_else(PoisonError::into_inner);
        let heard = members.hear(now.mono, node, incarnation, beat);
        counters.set_nodes(members.others().count() + 1);
        drop(members);
        match heard {
            Heard::New => tracing::info!(node, "a node of the cluster is here"),
            Heard::Left => {
                self.different.remove(node);
                self.odd.remove(node);
                tracing::info!(node, "a node of the cluster has left");
            }
            Heard::Namesake => {
                counters.count_lost(Lost::Namesake);
                self.meet_namesake(goes);
            }
            Heard::NoRoom => counters.count_lost(Lost::NodesFull),
            Heard::Known | Heard::Past => {}
        }
        if !leaves && matches!(heard, Heard::New | Heard::Known) {
            self.compare(now.mono, node, held != self.book.digest(now.unix));
        }
    }

    /// One that makes room for this one, or for which this one makes room, is to be there.
    fn meet_namesake(&mut self, goes: bool) {
        if !goes && !self.namesake && !(self.duties.vitals)().draining {
            self.namesake = true;
            tracing::error!(
                "another node of the cluster has this one's name: the two match nobody with each other. Give each a name of its own \
                 (cluster.node) and start them again"
            );
        }
    }

    /// Asks a node for its list if it goes on holding another one than this.
    fn compare(&mut self, now: Millis, node: &str, differs: bool) {
        if !differs {
            self.different.remove(node);
            return;
        }
        let times = self.different.entry(node.to_owned()).or_default();
        *times += 1;
        if *times >= DIFFERENT && self.asked_at.is_none_or(|at| now.since(at) >= ASK_AGAIN_MS) {
            self.asked_at = Some(now);
            self.different.remove(node);
            drop(tokio::spawn(fetch(self.neighbours.bus.clone(), node.to_owned(), self.answers.clone())));
        }
    }

    /// What others have said or hold: news is done here too.
    fn take(&mut self, changes: Vec<Change>) {
        let now = self.neighbours.clock.now();
        let book = &mut self.book;
        let is_news = |change: &Change| match change {
            Change::Revoke(revoked, until) => book.add(now.unix, *revoked, *until),
            Change::Erase(_) => true,
        };
        self.owed.extend(changes.into_iter().filter(is_news));
        self.pay();
        self.neighbours.counters.set_revocations(self.book.len());
    }

    /// Does what is owed, or as much as there is room for later.
    fn pay(&mut self) {
        if !self.owed.is_empty() && (self.duties.apply)(&self.owed) {
            self.owed.clear();
        }
        if self.owed.len() > book::MAX_HELD {
            tracing::error!(
                "revocations of other nodes are lost here: this server has had too much to do for too long"
            );
            self.owed.clear();
        }
    }

    fn tell(&mut self, change: Change) {
        if let Change::Revoke(revoked, until) = change {
            self.book.add(self.neighbours.clock.now().unix, revoked, until);
        }
        let mut payload = Vec::new();
        book::write(change, &mut payload);
        self.neighbours.bus.publish(Purpose::REVOKED, To::Everybody, payload);
    }

    /// A page of the list, and whether there are more.
    fn show(&self, delivery: &Delivery) {
        let after = match book::read(&delivery.payload).as_deref() {
            Some([]) => None,
            Some([Change::Revoke(after, _)]) => Some(*after),
            _ => return self.neighbours.counters.count_lost(Lost::Unreadable),
        };
        let (mut page, more) = self.book.page(after);
        page.insert(0, u8::from(more));
        delivery.answer(page);
    }
}

async fn pause(until: Option<Duration>) {
    match until {
        Some(until) => sleep(until).await,
        None => std::future::pending().await,
    }
}

/// The whole list of a node, a page at a time.
async fn fetch(bus: Bus, node: String, to: mpsc::Sender<Vec<Change>>) {
    let mut after: Option<Revoked> = None;
    for _ in 0..MAX_PAGES {
        let mut question = Vec::new();
        if let Some(after) = after {
            book::write(Change::Revoke(after, Unix(0)), &mut question);
        }
        let Ok(answer) = bus.request(Purpose::HELD, &node, question, PATIENCE).await else { return };
        let Some((more, page)) = answer.payload.split_first() else { return };
        let Some(changes) = book::read(page) else { return };
        after = changes.iter().rev().find_map(|change| match change {
            Change::Revoke(revoked, _) => Some(*revoked),
            Change::Erase(_) => None,
        });
        if to.send(changes).await.is_err() || *more == 0 || after.is_none() {
            return;
        }
    }
}

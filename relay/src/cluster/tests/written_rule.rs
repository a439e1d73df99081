//! The rule as matching.md §4.13 has it, in a model small enough to be seen through, and what is wrong with it.
//!
//! The owner claims at both homes, both grant, the owner commits to both or releases both. A grant has a lease; when it runs out, a home
//! asks the other, and "committed iff both homes hold a grant for the same call" is decided by the lower. Messages may be late or lost;
//! they are not even doubled. One call, two tickets.

use std::collections::{HashMap, HashSet, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Queued,
    Granted,
    InCall,
    /// Back in the queue, or in its next call.
    Free,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Claim(usize),
    Granted(usize),
    Commit(usize),
    Release(usize),
    /// The lease is over: I hold a grant, do you?
    Ask {
        to: usize,
    },
    Decided {
        to: usize,
        committed: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    homes: [At; 2],
    /// What the owner has heard; it has decided once it has committed or released.
    granted: [bool; 2],
    decided: Option<bool>,
    network: Vec<Message>,
}

impl World {
    fn start() -> World {
        let network = vec![Message::Claim(0), Message::Claim(1)];
        World { homes: [At::Queued; 2], granted: [false; 2], decided: None, network }
    }

    fn owner_decides(&mut self, commits: bool) {
        if self.decided.is_none() {
            self.decided = Some(commits);
            self.network
                .extend([0, 1].map(|home| if commits { Message::Commit(home) } else { Message::Release(home) }));
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Claim(home) if self.homes[home] == At::Queued => {
                self.homes[home] = At::Granted;
                self.network.push(Message::Granted(home));
            }
            Message::Granted(home) => {
                self.granted[home] = true;
                if self.granted == [true; 2] {
                    self.owner_decides(true);
                }
            }
            Message::Commit(home) if self.homes[home] == At::Granted => self.homes[home] = At::InCall,
            Message::Release(home) if self.homes[home] == At::Granted => self.homes[home] = At::Free,
            // The lower decides, whoever asked: both hold a grant, or not.
            Message::Ask { to: 0 } => {
                let committed = matches!(self.homes[0], At::Granted | At::InCall);
                if committed {
                    self.homes[0] = At::InCall;
                }
                self.network.push(Message::Decided { to: 1, committed });
            }
            Message::Ask { to } => {
                // The higher says what it holds; the lower decides on that.
                let committed = matches!(self.homes[to], At::Granted | At::InCall);
                self.network.push(Message::Decided { to: 0, committed });
            }
            Message::Decided { to, committed } if self.homes[to] == At::Granted => {
                self.homes[to] = if committed { At::InCall } else { At::Free };
            }
            _ => {}
        }
        self.network.sort_unstable();
        self.network.dedup();
    }

    fn successors(&self) -> Vec<World> {
        let mut all = Vec::new();
        for place in 0..self.network.len() {
            let mut lost = self.clone();
            let message = lost.network.remove(place);
            let mut heard = lost.clone();
            heard.hear(message);
            all.extend([lost, heard]);
        }
        let mut late = self.clone();
        late.owner_decides(false);
        all.push(late);
        for home in [0, 1] {
            if self.homes[home] == At::Granted {
                let mut asks = self.clone();
                asks.network.push(Message::Ask { to: 1 - home });
                asks.network.sort_unstable();
                asks.network.dedup();
                all.push(asks);
            }
        }
        all
    }

    /// One is in the call for good, and the other elsewhere for good.
    fn is_broken(&self) -> bool {
        matches!(self.homes, [At::InCall, At::Free] | [At::Free, At::InCall])
    }
}

#[test]
fn the_written_rule_leaves_one_participant_behind() {
    let mut parents: HashMap<World, Option<World>> = HashMap::from([(World::start(), None)]);
    let mut queue = VecDeque::from([World::start()]);
    let mut broken = None;
    while let Some(world) = queue.pop_front() {
        if world.is_broken() {
            broken = Some(world);
            break;
        }
        for next in world.successors() {
            if !parents.contains_key(&next) {
                parents.insert(next.clone(), Some(world.clone()));
                queue.push_back(next);
            }
        }
    }
    let mut way = vec![broken.expect("the written rule is safe after all: say so in the module's head")];
    while let Some(Some(before)) = parents.get(&way[way.len() - 1]) {
        way.push(before.clone());
    }
    for world in way.iter().rev() {
        println!("{world:?}");
    }
    assert!(way.len() <= 10, "there is a short way");
}

/// It needs no loss: that the owner may give up is enough. Without that and without leases the coordinator is the only one who decides.
#[test]
fn the_written_rule_fails_without_any_loss() {
    let mut seen = HashSet::from([World::start()]);
    let mut queue = VecDeque::from([World::start()]);
    let mut broken = false;
    while let Some(world) = queue.pop_front() {
        broken |= world.is_broken();
        let fewer = |next: &World| next.homes == world.homes && next.network.len() < world.network.len();
        let kind = world.successors().into_iter().filter(|next| !fewer(next) || next.granted != world.granted);
        for next in kind {
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    assert!(broken);
}

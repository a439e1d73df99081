//! What desks say to each other about matching (`cluster`): to the nodes by name, from the nodes by number, and only among those that know
//! people by the same hashes. Of two that do not, neither would recognise somebody whom the other's person has blocked.
//!
//! Neither direction waits: what has no room is counted and dropped, and the protocol says it again.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::mpsc;

use super::names::{Names, Taken};
use super::{Bus, Counters, Delivery, Lost, MAX_INCOMING, MAX_PAYLOAD, Purpose, To, lock};
use crate::cluster::{self, MAX_LUGGAGE_BYTES, NodeId, Peer};

/// After each message: by which hashes its sender knows people.
const MARK: usize = 8;
/// What stands around luggage is far shorter.
const _: () = assert!(MAX_LUGGAGE_BYTES + 1024 + MARK <= MAX_PAYLOAD);

/// What another node's desk has said, and who it is by its seal.
pub type Said = (Peer, Vec<u8>);

/// This desk's way to the others. Clones share it.
#[derive(Clone)]
pub struct Matching {
    bus: Bus,
    names: Arc<Mutex<Names>>,
    mark: Arc<OnceLock<u64>>,
    /// Two names with one number were named in the log.
    collides: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

impl Matching {
    /// `bus` is one with others, of `counters`. What they say from now on comes by the channel.
    pub fn new(bus: &Bus, counters: &Arc<Counters>) -> (Matching, mpsc::Receiver<Said>) {
        let names = Arc::new(Mutex::new(Names::new(bus.node().unwrap_or_default())));
        let (mark, collides, counters) = (Arc::default(), Arc::default(), Arc::clone(counters));
        let matching = Matching { bus: bus.clone(), names, mark, collides, counters };
        let (inbox, heard) = mpsc::channel(MAX_INCOMING);
        let hears = matching.clone();
        bus.subscribe_by(
            Purpose::MATCHING,
            Arc::new(move |delivery| hears.hear(delivery).is_none_or(|said| inbox.try_send(said).is_ok())),
        );
        (matching, heard)
    }

    /// This node, as the others' desks know it.
    pub fn me(&self) -> Peer {
        let incarnation = self.bus.incarnation().map_or(0, |it| it.started_ms);
        Peer { node: NodeId::of(self.bus.node().unwrap_or_default()), incarnation }
    }

    /// By which hashes this desk knows people; told once, and nobody is heard before.
    pub fn know_people_by(&self, mark: u64) {
        // Who tells it again tells the same.
        let _ = self.mark.set(mark);
    }

    /// Says it and forgets it.
    pub fn say(&self, to: cluster::To, mut message: Vec<u8>) {
        let Some(mark) = self.mark.get() else { return };
        message.extend_from_slice(&mark.to_be_bytes());
        match to {
            cluster::To::Everybody => drop(self.bus.publish(Purpose::MATCHING, To::Everybody, message)),
            cluster::To::Node(number) => {
                let names = lock(&self.names);
                match names.name(number) {
                    Some(name) => drop(self.bus.publish(Purpose::MATCHING, To::Node(name), message)),
                    None => self.counters.count_lost(Lost::Nobody),
                }
            }
        }
    }

    /// `None` if it is not for the desk.
    fn hear(&self, Delivery { from, incarnation, mut payload, .. }: Delivery) -> Option<Said> {
        let (_, mark) = payload.split_last_chunk::<MARK>()?;
        if self.mark.get() != Some(&u64::from_be_bytes(*mark)) {
            self.counters.count_lost(Lost::Apart);
            return None;
        }
        payload.truncate(payload.len() - MARK);
        match lock(&self.names).hear(&from) {
            Ok(node) => Some((Peer { node, incarnation: incarnation.started_ms }, payload)),
            Err(Taken) => {
                self.counters.count_lost(Lost::Namesake);
                // Of its own name `neighbours` says so.
                if self.bus.node() != Some(&from) && !self.collides.swap(true, Relaxed) {
                    tracing::error!(
                        node = from,
                        "this node's name has the same number as another's: nobody is matched with its people. Give it another name (cluster.node) \
                         and start it again"
                    );
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Incarnation;

    fn said(from: &str, bytes: &[u8]) -> Delivery {
        let incarnation = Incarnation { started_ms: 7, chance: 1 };
        Delivery { from: from.to_owned(), incarnation, payload: bytes.to_vec(), answer: None }
    }

    fn lost(counters: &Counters) -> Vec<(&'static str, u64)> {
        counters.lost().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn who_knows_people_by_the_same_hashes_is_heard_by_number_and_life() {
        let counters = Arc::default();
        let (matching, _) = Matching::new(&Bus::local(), &counters);
        let marked = [&b"hello"[..], &9_u64.to_be_bytes()].concat();
        assert_eq!(matching.hear(said("b", &marked)), None, "nobody is heard before the desk is there");
        matching.know_people_by(9);
        let from = Peer { node: NodeId::of("b"), incarnation: 7 };
        assert_eq!(matching.hear(said("b", &marked)), Some((from, b"hello".to_vec())));
        assert_eq!(matching.hear(said("b", b"hello\0\0\0\0\0\0\0\x08")), None);
        assert_eq!(matching.hear(said("b", b"short")), None);
        assert_eq!(lost(&counters), [("apart", 2)]);
    }

    #[test]
    fn a_node_nobody_has_heard_of_is_told_nothing() {
        let counters = Arc::default();
        let (matching, _) = Matching::new(&Bus::local(), &counters);
        matching.know_people_by(9);
        matching.say(cluster::To::Node(NodeId(1)), vec![1]);
        assert_eq!(lost(&counters), [("nobody", 1)]);
    }
}

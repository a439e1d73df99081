//! Who the media thread speaks and listens for, by where their datagrams come from.

use std::{collections::HashMap, net::UdpSocket, sync::Arc};

use tokio::sync::mpsc::Sender;

use super::{
    Mail,
    full::FullParty,
    impair::Impairment,
    packet::StreamId,
    sockets::{Key, Source},
    stream::{Hearing, Sending},
};

/// Callers by source.
#[derive(Default)]
pub(super) struct Parties {
    pub(super) places: Vec<Option<Party>>,
    pub(super) free: Vec<u32>,
    pub(super) by_key: HashMap<Key, u32, foldhash::fast::RandomState>,
}

pub(super) struct Party {
    pub(super) source: Source,
    pub(super) mailbox: Sender<Mail>,
    pub(super) network: Option<Box<Impairment>>,
    /// Media is the caller's own to read.
    pub(super) opaque: bool,
    pub(super) sending: Option<(Sending, usize)>,
    pub(super) full: Option<FullParty>,
    pub(super) hearing: Option<Hearing>,
    pub(super) closed: Option<StreamId>,
}

impl Parties {
    pub(super) fn insert(&mut self, key: Key, party: Party) {
        self.remove(key);
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[place as usize] = Some(party);
        self.by_key.insert(key, place);
    }

    pub(super) fn get(&mut self, key: Key) -> Option<(u32, &mut Party)> {
        let place = *self.by_key.get(&key)?;
        Some((place, self.places.get_mut(place as usize)?.as_mut()?))
    }

    pub(super) fn socket(&self, key: Key) -> Option<Arc<UdpSocket>> {
        match &self.places.get(*self.by_key.get(&key)? as usize)?.as_ref()?.source {
            Source::Own { socket, .. } => Some(socket.clone()),
            Source::Shared { .. } => None,
        }
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Some(place) = self.by_key.remove(&key) {
            self.places[place as usize] = None;
            self.free.push(place);
        }
    }
}

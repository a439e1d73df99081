//! The stream clients of one worker: found by number, with the few lists of what is to be done about them.

use std::collections::BTreeSet;

use super::stream::{NewStream, Stream};
use super::worker_tcp::Departure;
use crate::time::Millis;
use crate::turn::{Connection, FiveTuple, Transport};

/// A connection's number: its place below, and above how often that place was used, so that what comes late for a closed
/// connection does not reach the next one there.
const PLACE_BITS: u32 = 20;
/// Connections of one worker at once.
const MOST_STREAMS: usize = 1 << PLACE_BITS;

pub(super) struct Streams {
    worker: u16,
    idle_millis: u64,
    places: Vec<Place>,
    empty: Vec<u32>,
    deadlines: BTreeSet<(Millis, u32)>,
    dirty: Vec<u32>,
    doomed: Vec<u32>,
    departing: Vec<(u32, Departure)>,
}

#[derive(Default)]
struct Place {
    uses: u32,
    stream: Option<Box<Stream>>,
}

/// What became of a message for a stream client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pushed {
    /// It waits, and so many older ones had to go.
    Waits { dropped: u64 },
    /// There is no such connection any more.
    Gone,
}

impl Streams {
    pub(super) fn new(worker: u16, idle_millis: u64) -> Streams {
        Streams {
            worker,
            idle_millis,
            places: Vec::new(),
            empty: Vec::new(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            doomed: Vec::new(),
            departing: Vec::new(),
        }
    }

    /// Takes a connection in and answers its number; `None` if there are too many.
    pub(super) fn insert(&mut self, new: NewStream, now: Millis) -> Option<u32> {
        let place = match self.empty.pop() {
            Some(place) => place,
            None if self.places.len() < MOST_STREAMS => {
                self.places.push(Place::default());
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        let entry = &mut self.places[place as usize];
        entry.uses = entry.uses.wrapping_add(1);
        let number = entry.uses << PLACE_BITS | place;
        let connection = Connection { worker: self.worker, number };
        let transport = if new.is_tls() { Transport::Tls(connection) } else { Transport::Tcp(connection) };
        let client = FiveTuple { listener: new.listener, transport, local: new.local, remote: new.remote };
        entry.stream = Some(Box::new(Stream::new(new, client, now)));
        self.look_again(number, now.after(self.idle_millis));
        Some(number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Stream> {
        let place = self.places.get_mut((number as usize) % MOST_STREAMS)?;
        if place.uses << PLACE_BITS != number & !(MOST_STREAMS as u32 - 1) {
            return None;
        }
        place.stream.as_deref_mut()
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Box<Stream>> {
        let deadline = self.get_mut(number)?.deadline;
        self.deadlines.remove(&(deadline, number));
        let place = number % MOST_STREAMS as u32;
        self.empty.push(place);
        self.places[place as usize].stream.take()
    }

    /// Relayed data for a client.
    pub(super) fn push_data(&mut self, number: u32, message: &[u8]) -> Pushed {
        match self.get_mut(number).filter(|stream| !stream.doomed) {
            Some(stream) => {
                let dropped = stream.outbox.push_data(message);
                self.soil(number);
                Pushed::Waits { dropped }
            }
            None => Pushed::Gone,
        }
    }

    /// Has it flushed at the end of this turn.
    pub(super) fn soil(&mut self, number: u32) {
        let Some(stream) = self.get_mut(number) else { return };
        // What waits for room is flushed when there is some.
        if !stream.dirty && !stream.waits_for_room {
            stream.dirty = true;
            self.dirty.push(number);
        }
    }

    /// There is room again.
    pub(super) fn room(&mut self, number: u32) {
        if let Some(stream) = self.get_mut(number)
            && stream.waits_for_room
            && !stream.dirty
        {
            stream.dirty = true;
            self.dirty.push(number);
        }
    }

    /// Has it closed at the end of this turn.
    pub(super) fn doom(&mut self, number: u32) {
        let Some(stream) = self.get_mut(number) else { return };
        if !stream.doomed {
            stream.doomed = true;
            self.doomed.push(number);
        }
    }

    /// Has it handed over at the end of this turn, unless it is closed. Answers whether it is there.
    pub(super) fn depart(&mut self, number: u32, departure: Departure) -> bool {
        let Some(stream) = self.get_mut(number).filter(|stream| stream.stays()) else { return false };
        stream.departing = true;
        self.departing.push((number, departure));
        true
    }

    pub(super) fn next_departing(&mut self) -> Option<(u32, Departure)> {
        self.departing.pop()
    }

    pub(super) fn next_dirty(&mut self) -> Option<u32> {
        self.dirty.pop()
    }

    pub(super) fn next_doomed(&mut self) -> Option<u32> {
        self.doomed.pop()
    }

    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn look_again(&mut self, number: u32, at: Millis) {
        if let Some(stream) = self.get_mut(number) {
            stream.deadline = at;
            self.deadlines.insert((at, number));
        }
    }

    /// A connection whose silence is to be looked at with [`Streams::is_silent`].
    pub(super) fn due(&mut self, now: Millis) -> Option<u32> {
        let (at, number) = *self.deadlines.first()?;
        (at <= now).then(|| {
            self.deadlines.pop_first();
            number
        })
    }

    /// Whether nothing was heard of it for too long. Otherwise it will be due again.
    pub(super) fn is_silent(&mut self, number: u32, now: Millis, has_allocation: bool) -> bool {
        let idle = self.idle_millis;
        let Some(stream) = self.get_mut(number) else { return false };
        stream.shrink();
        let since = if has_allocation { now } else { stream.heard };
        let at = since.after(idle);
        if at > now {
            self.look_again(number, at);
        }
        at <= now
    }
}

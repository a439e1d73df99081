//! What was heard of one side of a call, by any of its allocations: one for each address family, and one after another where ICE restarts.

use serde::{Deserialize, Serialize};

use super::MAX_ALLOCATIONS;
use crate::time::Millis;

/// What was last heard of one side of a call, over all its allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// When anything was; zero for never.
    pub last: Millis,
    pub media: Media,
}

/// What was heard of a side's media since its first packet, as RFC 3550 counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    pub since: Option<Millis>,
    /// Packets that were sent, as far as their numbers tell.
    pub expected: u32,
    /// Those of them that came, each once.
    pub received: u32,
    pub duplicates: u32,
    /// Packets that came behind one with a higher number.
    pub reordered: u32,
    /// Now.
    pub jitter_micros: u32,
    /// Time for which there were packets, and time for which there were none because there was nothing to say.
    pub spoken_ms: u32,
    pub silent_ms: u32,
    /// From the relay to the client and back, smoothed; not known before a connectivity check was answered.
    pub round_trip_micros: Option<u32>,
}

/// The allocations of one side, each by its place.
#[derive(Default)]
pub(super) struct Sound {
    places: [Media; MAX_ALLOCATIONS],
    /// Those that are gone.
    past: Media,
    /// The place that media came to last.
    speaks: usize,
}

impl Media {
    pub fn lost(&self) -> u32 {
        self.expected.saturating_sub(self.received)
    }

    /// Of what was sent.
    pub fn loss_percent(&self) -> f64 {
        if self.expected == 0 { 0.0 } else { f64::from(self.lost()) * 100.0 / f64::from(self.expected) }
    }

    /// Share of its time for which the stream had nothing to say; `None` before it has lasted.
    pub fn silent_percent(&self) -> Option<u32> {
        let (silent, all) = (u64::from(self.silent_ms), u64::from(self.silent_ms) + u64::from(self.spoken_ms));
        (silent * 100).checked_div(all).and_then(|percent| u32::try_from(percent).ok())
    }

    /// Both together; what is no count is the other's, where there is any.
    pub(crate) fn and(&self, other: &Media) -> Media {
        let sum = |count: fn(&Media) -> u32| count(self).saturating_add(count(other));
        Media {
            since: self.since.into_iter().chain(other.since).min(),
            expected: sum(|it| it.expected),
            received: sum(|it| it.received),
            duplicates: sum(|it| it.duplicates),
            reordered: sum(|it| it.reordered),
            jitter_micros: if other.received > 0 { other.jitter_micros } else { self.jitter_micros },
            spoken_ms: sum(|it| it.spoken_ms),
            silent_ms: sum(|it| it.silent_ms),
            round_trip_micros: other.round_trip_micros.or(self.round_trip_micros),
        }
    }

    /// What came after `before`; what is no count stays.
    pub(crate) fn after(&self, before: &Media) -> Media {
        Media {
            expected: self.expected.saturating_sub(before.expected),
            received: self.received.saturating_sub(before.received),
            duplicates: self.duplicates.saturating_sub(before.duplicates),
            reordered: self.reordered.saturating_sub(before.reordered),
            spoken_ms: self.spoken_ms.saturating_sub(before.spoken_ms),
            silent_ms: self.silent_ms.saturating_sub(before.silent_ms),
            ..*self
        }
    }
}

impl Sound {
    /// That of a side whose allocations have yet to say what they heard.
    pub(super) fn after(past: Media) -> Sound {
        Sound { past, ..Sound::default() }
    }

    /// What those heard that are gone.
    pub(super) fn past(&self) -> Media {
        self.past
    }

    pub(super) fn note(&mut self, place: usize, media: Media) {
        let Some(before) = self.places.get_mut(place) else { return };
        if media.received > before.received {
            self.speaks = place;
        }
        *before = media;
    }

    /// The allocation of that place is gone.
    pub(super) fn end(&mut self, place: usize) {
        if let Some(media) = self.places.get_mut(place) {
            self.past = self.past.and(&std::mem::take(media));
        }
    }

    /// All of them together; jitter and round trip are those of the one that speaks.
    pub(super) fn media(&self) -> Media {
        let quiet = self.places.iter().enumerate().filter(|(place, _)| *place != self.speaks);
        let others = quiet.fold(self.past, |all, (_, media)| all.and(media));
        self.places.get(self.speaks).map_or(others, |speaks| others.and(speaks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: Media = Media {
        since: Some(Millis(7)),
        expected: 100,
        received: 90,
        duplicates: 1,
        reordered: 2,
        jitter_micros: 4_000,
        spoken_ms: 2_000,
        silent_ms: 500,
        round_trip_micros: Some(30_000),
    };

    #[test]
    fn a_side_that_moves_to_another_allocation_loses_no_count() {
        let mut sound = Sound::default();
        sound.note(0, MEDIA);
        sound.note(1, Media { since: Some(Millis(9)), jitter_micros: 1_000, round_trip_micros: None, ..MEDIA });
        let both = sound.media();
        assert_eq!((both.expected, both.received, both.since), (200, 180, Some(Millis(7))));
        assert_eq!((both.jitter_micros, both.round_trip_micros), (1_000, Some(30_000)));
        sound.end(0);
        assert_eq!(sound.media(), both);
        sound.note(0, MEDIA);
        assert_eq!((sound.media().lost(), sound.media().jitter_micros), (30, 4_000));
        let all = sound.media();
        sound.end(1);
        sound.end(0);
        assert_eq!(sound.media(), all, "the last one may be gone before the call is");
    }

    #[test]
    fn a_window_is_what_came_after_its_beginning() {
        let later = Media { expected: 150, received: 135, jitter_micros: 9, ..MEDIA };
        let window = later.after(&MEDIA);
        assert_eq!((window.expected, window.lost(), window.jitter_micros, window.duplicates), (50, 5, 9, 0));
        assert_eq!((window.silent_percent(), MEDIA.silent_percent()), (None, Some(20)));
    }
}

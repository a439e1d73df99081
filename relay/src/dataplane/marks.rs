//! DSCP and ECN of what clients send (RFC 8656 §14): heard with every datagram, unless a worker is busy and its clients mark nothing.
//! Then in glimpses: the kernel writes the byte beside each datagram only if asked to, which costs a twenty-fifth of a relayed packet.

use crate::time::Millis;

/// A glimpse begins this often, in milliseconds: the longest that a mark which is new goes unheard.
const EVERY_MILLIS: u64 = 250;
/// A glimpse takes as long, in milliseconds: longer than a frame of voice, so that each stream shows in it.
const GLIMPSE_MILLIS: u64 = 25;
/// How long marks are heard on after the last one, in milliseconds.
const KEPT_MILLIS: u64 = 10_000;

/// What one worker asks of all its listeners.
#[derive(Default)]
pub(super) struct Marks {
    /// Whether it asks; `None` while the sockets are as somebody else has left them.
    asks: Option<bool>,
    since: Millis,
    last: Option<Millis>,
}

impl Marks {
    /// To be told when something was marked.
    pub(super) fn heard(&mut self, now: Millis) {
        self.last = Some(now);
    }

    /// Before each look at the sockets. Whether to ask from now on, if that is news.
    pub(super) fn change(&mut self, now: Millis, busy: bool) -> Option<bool> {
        let passed = now.since(self.since);
        let asks = match self.asks {
            Some(true) => {
                let marked = self.last.is_some_and(|last| now.since(last) < KEPT_MILLIS);
                !busy || marked || passed < GLIMPSE_MILLIS
            }
            Some(false) => !busy || passed >= EVERY_MILLIS - GLIMPSE_MILLIS,
            None => true,
        };
        if self.asks == Some(asks) {
            return None;
        }
        (self.asks, self.since) = (Some(asks), now);
        Some(asks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked at each millisecond of the first `millis`, with a mark in those that `marked` names.
    fn asked(busy: bool, millis: u64, marked: impl Fn(u64) -> bool) -> Vec<bool> {
        let (mut marks, mut asks) = (Marks::default(), false);
        let one = |now| {
            asks = marks.change(Millis(now), busy).unwrap_or(asks);
            if asks && marked(now) {
                marks.heard(Millis(now));
            }
            asks
        };
        (1..=millis).map(one).collect()
    }

    #[test]
    fn a_worker_with_time_hears_every_mark() {
        assert!(asked(false, 60_000, |_| false).into_iter().all(|asks| asks));
    }

    #[test]
    fn a_busy_one_whose_clients_mark_nothing_asks_a_tenth_of_the_time() {
        let asked = asked(true, 60_000, |_| false);
        let share = asked.iter().filter(|asks| **asks).count();
        assert!((5_900..=6_100).contains(&share), "{share} of 60 000 ms");
        assert!(asked.windows(250).all(|window| window.contains(&true)));
    }

    #[test]
    fn a_stream_that_begins_to_be_marked_is_heard_within_a_quarter_of_a_second_and_to_its_end() {
        for begins in 1_000..1_250 {
            let asked = asked(true, 30_250, |now| (begins..20_000).contains(&now) && (now - begins) % 20 == 0);
            let at = |now: u64| asked[now as usize - 1];
            assert!((begins + EVERY_MILLIS..20_000).all(at), "begun at {begins}");
            assert!((30_000..30_250).any(|now| !at(now)), "ten seconds after its end there is nothing to hear");
        }
    }

    #[test]
    fn a_worker_that_was_busy_asks_as_soon_as_it_wakes() {
        let mut marks = Marks::default();
        assert_eq!(marks.change(Millis(1), true), Some(true));
        assert_eq!(marks.change(Millis(26), true), Some(false));
        assert_eq!(marks.change(Millis(60_000), true), Some(true));
    }

    #[test]
    fn who_is_no_longer_busy_asks_at_once() {
        let mut marks = Marks::default();
        assert_eq!(marks.change(Millis(1), true), Some(true));
        assert_eq!(marks.change(Millis(26), true), Some(false));
        assert_eq!(marks.change(Millis(27), false), Some(true));
        assert_eq!(marks.change(Millis(28), false), None);
    }
}

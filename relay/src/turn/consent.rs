//! Round trips of the legs of calls, from the connectivity checks that pass: ICE's (RFC 8445 §7) and then consent's, one in some five
//! seconds (RFC 7675 §5.1). A Binding request towards a side goes from here to its client, and the answer comes back here.
//!
//! The request passes one worker and the answer perhaps another, so what is under way stands in a table they share: a fixed number of
//! places, no lock, and a newer request takes an older one's place. Only the transaction's keyed hash is kept, and when it passed.

use std::hash::BuildHasher;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::hashing::{Seeded, seeded};
use crate::routes::CallSide;
use crate::wire::{MAGIC_COOKIE, STUN_HEADER, TransactionId};

/// Checks under way at once, all calls together: two a call in five seconds, and answered within one, are 20 000 calls.
const PLACES: usize = 8_192;
/// An answer later than this is none.
const LONGEST_MICROS: u32 = 60_000_000;

/// Of each check 32 bits of its hash, and the low 32 of the microseconds when it first passed. Zero: none.
pub(crate) struct Checks {
    places: Box<[AtomicU64]>,
    hash: Seeded,
}

/// What is looked for among a call's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    Request(TransactionId),
    /// A success response.
    Answer(TransactionId),
}

impl Check {
    /// `None` for whatever is no Binding request or success response (RFC 8489 §5).
    pub(crate) fn read(payload: &[u8]) -> Option<Check> {
        let header = payload.first_chunk::<STUN_HEADER>()?;
        if header[4..8] != MAGIC_COOKIE {
            return None;
        }
        let mut transaction = TransactionId([0; 12]);
        transaction.0.copy_from_slice(&header[8..]);
        match (header[0], header[1]) {
            (0, 1) => Some(Check::Request(transaction)),
            (1, 1) => Some(Check::Answer(transaction)),
            _ => None,
        }
    }
}

impl Checks {
    pub(crate) fn new(hash_seed: u64) -> Checks {
        Checks { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(), hash: seeded(hash_seed) }
    }

    /// A request goes to that side, at `at` in microseconds. Of one that is sent again the first counts.
    pub(crate) fn asks(&self, whom: CallSide, transaction: TransactionId, at: u64) {
        let (place, tag) = self.find(whom, transaction);
        if place.load(Relaxed) >> 32 != tag >> 32 {
            place.store(tag | at & u64::from(u32::MAX), Relaxed);
        }
    }

    /// That side answers: microseconds since it was asked, the first time it does.
    pub(crate) fn answers(&self, who: CallSide, transaction: TransactionId, at: u64) -> Option<u32> {
        let (place, tag) = self.find(who, transaction);
        let asked = place.load(Relaxed);
        let is_ours = asked >> 32 == tag >> 32 && place.compare_exchange(asked, 0, Relaxed, Relaxed).is_ok();
        let micros = (at as u32).wrapping_sub(asked as u32);
        (is_ours && micros <= LONGEST_MICROS).then_some(micros)
    }

    fn find(&self, side: CallSide, transaction: TransactionId) -> (&AtomicU64, u64) {
        let hash = self.hash.hash_one((side, transaction.0));
        // A tag of zero would look like an empty place.
        let tag = (hash & !u64::from(u32::MAX)).max(1 << 32);
        (&self.places[hash as usize % PLACES], tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CallSide = CallSide::new(7, false);
    const B: CallSide = CallSide::new(7, true);

    fn transaction(number: u8) -> TransactionId {
        TransactionId([number; 12])
    }

    #[test]
    fn an_answer_is_timed_once_and_from_the_first_request() {
        let checks = Checks::new(1);
        checks.asks(B, transaction(1), 5_000);
        checks.asks(B, transaction(1), 505_000);
        assert_eq!(checks.answers(B, transaction(1), 545_250), Some(540_250));
        assert_eq!(checks.answers(B, transaction(1), 545_300), None);
    }

    #[test]
    fn nobody_answers_for_another_or_what_was_never_asked() {
        let checks = Checks::new(1);
        checks.asks(B, transaction(1), 5_000);
        assert_eq!(checks.answers(A, transaction(1), 6_000), None);
        assert_eq!(checks.answers(B, transaction(2), 6_000), None);
        assert_eq!(checks.answers(CallSide::new(8, true), transaction(1), 6_000), None);
        assert_eq!(checks.answers(B, transaction(1), 6_000), Some(1_000));
    }

    #[test]
    fn the_clock_may_wrap_in_between_and_an_answer_after_a_minute_is_none() {
        let checks = Checks::new(1);
        let late = u64::from(u32::MAX) - 500;
        checks.asks(B, transaction(1), late);
        assert_eq!(checks.answers(B, transaction(1), late + 20_000), Some(20_000));
        checks.asks(B, transaction(2), 0);
        assert_eq!(checks.answers(B, transaction(2), 60_000_001), None);
    }

    #[test]
    fn a_flood_of_requests_costs_a_measurement_and_nothing_else() {
        let checks = Checks::new(1);
        for number in 0..100_000u32 {
            let mut id = [0; 12];
            id[..4].copy_from_slice(&number.to_be_bytes());
            checks.asks(A, TransactionId(id), u64::from(number));
        }
        checks.asks(B, transaction(1), 100_000);
        assert_eq!(checks.answers(B, transaction(1), 100_010), Some(10));
        assert_eq!(checks.places.len(), PLACES);
    }

    #[test]
    fn only_binding_requests_and_their_success_are_checks() {
        let mut packet = [0; 20];
        packet[1] = 1;
        packet[4..8].copy_from_slice(&MAGIC_COOKIE);
        packet[8..].fill(9);
        assert_eq!(Check::read(&packet), Some(Check::Request(transaction(9))));
        packet[0] = 1;
        assert_eq!(Check::read(&packet), Some(Check::Answer(transaction(9))));
        for (first, second) in [(0x01, 0x11), (0x00, 0x11), (0x00, 0x03), (0x01, 0x03)] {
            (packet[0], packet[1]) = (first, second);
            assert_eq!(Check::read(&packet), None, "{first:#x} {second:#x}");
        }
        (packet[0], packet[1], packet[4]) = (0, 1, 0);
        assert_eq!(Check::read(&packet), None, "no cookie");
        assert_eq!(Check::read(&packet[..19]), None);
    }
}

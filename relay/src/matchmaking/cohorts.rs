//! Age cohorts. Each pool has one engine per cohort and a ticket enters the one of its band, so that adults and minors
//! share no queue, no list and no search: a forbidden pair cannot be expressed (matching.md T6).

use super::ticket::Band;

/// The engines of one pool, by number.
pub(super) struct Cohorts {
    adults: u16,
    minors: Minors,
}

/// There is no variant with adults in it.
enum Minors {
    Apart { younger: u16, older: u16 },
    Together(u16),
}

impl Cohorts {
    /// Asks `engine` for a fresh engine per cohort, and says whom it is for.
    pub(super) fn new(minor_bands_meet: bool, mut engine: impl FnMut(&'static [Band]) -> u16) -> Cohorts {
        let adults = engine(&[Band::Adult]);
        let minors = match minor_bands_meet {
            true => Minors::Together(engine(&[Band::B13_15, Band::B16_17])),
            false => Minors::Apart { younger: engine(&[Band::B13_15]), older: engine(&[Band::B16_17]) },
        };
        Cohorts { adults, minors }
    }

    /// The one engine a ticket of this band may enter.
    pub(super) const fn engine(&self, band: Band) -> u16 {
        match (band, &self.minors) {
            (Band::Adult, _) => self.adults,
            (Band::B13_15, Minors::Apart { younger, .. }) => *younger,
            (Band::B16_17, Minors::Apart { older, .. }) => *older,
            (Band::B13_15 | Band::B16_17, Minors::Together(minors)) => *minors,
        }
    }

    pub(super) fn engines(&self) -> impl Iterator<Item = u16> {
        let minors = match self.minors {
            Minors::Apart { younger, older } => [Some(younger), Some(older)],
            Minors::Together(minors) => [Some(minors), None],
        };
        std::iter::once(self.adults).chain(minors.into_iter().flatten())
    }
}

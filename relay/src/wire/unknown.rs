//! UNKNOWN-ATTRIBUTES (RFC 8489 §14.13): what a 420 lists.

/// The list of a 420, without repetition and bounded, so that the answer stays small.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct UnknownAttributes {
    count: usize,
    numbers: [u16; UnknownAttributes::MAX],
}

impl UnknownAttributes {
    /// Further ones are not listed; the client may try again.
    pub const MAX: usize = 16;

    /// The list of one that is known, and not here.
    pub fn only(number: u16) -> UnknownAttributes {
        let mut one = UnknownAttributes::default();
        one.push(number);
        one
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn numbers(&self) -> &[u16] {
        &self.numbers[..self.count]
    }

    pub(super) fn push(&mut self, number: u16) {
        if self.count < Self::MAX && !self.numbers().contains(&number) {
            self.numbers[self.count] = number;
            self.count += 1;
        }
    }
}

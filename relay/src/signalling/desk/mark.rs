//! Whether another node's desk means the same person by the same number.

use super::Desk;

impl Desk {
    /// By which hashes this desk knows people, see [`crate::matchmaking::Pepper::mark`]. Fixed once it has taken over what another one left.
    pub fn people_mark(&self) -> u64 {
        self.verifier.mark()
    }
}

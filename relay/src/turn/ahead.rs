//! Looking ahead: with thousands of allocations each packet waits for memory several times, one place after the other. What a
//! batch will need is read for all of its packets together, place by place, so that the waits overlap.

use std::hint::black_box;

use super::Turn;
use crate::routes::{FiveTuple, RelayedPort};

/// Packets looked after at once.
pub const LOOK_AHEAD: usize = 64;

impl Turn {
    /// Reads, and changes nothing, for packets from these clients that are about to be handled; any beyond [`LOOK_AHEAD`] are
    /// left out.
    pub fn look_ahead(&self, clients: &[FiveTuple]) {
        let mut keys = [None; LOOK_AHEAD];
        for (key, client) in keys.iter_mut().zip(clients) {
            *key = self.allocations.probable(client);
        }
        let mut ports: [Option<(RelayedPort, RelayedPort)>; LOOK_AHEAD] = [None; LOOK_AHEAD];
        for (ports, key) in ports.iter_mut().zip(&keys[..clients.len().min(LOOK_AHEAD)]) {
            let Some(allocation) = key.and_then(|key| self.allocations.get(key)) else { continue };
            black_box(allocation.client.listener);
            *ports = allocation.relayed.ports().next().zip(allocation.channels.first_own());
        }
        let mut read = 0;
        for (from, to) in ports.iter().flatten() {
            read ^= self.shared.routes.touch(*from) ^ self.shared.routes.touch(*to);
        }
        black_box(read);
    }
}

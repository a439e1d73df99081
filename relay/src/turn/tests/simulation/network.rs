//! The weather between everybody: what is lost, how long the rest takes, and what arrives twice.

use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::turn::RelayedPort;

/// What is under way, and when it arrives; of what arrives at once, what left first comes first.
pub(super) struct Network {
    under_way: BTreeMap<(u64, u64), Event>,
    sent: u64,
    loss: f64,
    repeated: f64,
    delay: u64,
    /// Some packets take this much longer: later ones overtake them.
    detour: u64,
}

#[derive(Clone)]
pub(super) enum Event {
    /// A client's datagram; `stranger`: somebody else sends it, who saw it pass.
    AtServer {
        client: usize,
        stranger: bool,
        bytes: Vec<u8>,
    },
    AtClient {
        client: usize,
        bytes: Vec<u8>,
    },
    /// At the peer outside, from this relayed port.
    AtPeer {
        from: RelayedPort,
        bytes: Vec<u8>,
    },
    /// At a relayed port, from the peer outside or from another host.
    AtRelayed {
        port: RelayedPort,
        host: u8,
        bytes: Vec<u8>,
    },
    /// The socket of a relayed port is bound, or is not to be had.
    Opened {
        worker: usize,
        port: RelayedPort,
        works: bool,
    },
    /// A worker hears that a call is over.
    CallOver {
        worker: usize,
        port: RelayedPort,
    },
    /// Clients learn of each other's relayed addresses, which needs no luck.
    News,
    /// The clients have said what they had to say.
    Farewell,
}

impl Network {
    pub(super) fn new(random: &mut ChaCha8Rng) -> Network {
        let mut pick = |from: &[f64]| from[random.random_range(0..from.len())];
        let (loss, repeated) = (pick(&[0.0, 0.02, 0.1, 0.3, 0.45]), pick(&[0.0, 0.05, 0.3]));
        let (delay, detour) = (pick(&[1.0, 30.0, 300.0]) as u64, pick(&[0.0, 400.0, 3_000.0, 20_000.0]) as u64);
        Network { under_way: BTreeMap::new(), sent: 0, loss, repeated, delay, detour }
    }

    /// Perhaps.
    pub(super) fn carry(&mut self, random: &mut ChaCha8Rng, now: u64, event: &Event) {
        let copies = 1 + usize::from(random.random_bool(self.repeated));
        for _ in 0..copies {
            if !random.random_bool(self.loss) {
                let detour = if random.random_bool(0.1) { random.random_range(0..=self.detour) } else { 0 };
                let delay = random.random_range(1..=self.delay) + detour;
                self.certainly(now + delay, event.clone());
            }
        }
    }

    /// What is no datagram is not lost.
    pub(super) fn certainly(&mut self, at: u64, event: Event) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), event);
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn arrive(&mut self, now: u64) -> Option<Event> {
        let first = self.under_way.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

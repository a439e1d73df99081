//! What became of the connections that were accepted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Every accepted connection ends in exactly one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Fate {
    /// Given to a worker: TURN over TCP.
    TurnTcp,
    /// Given to a worker: TURN over TLS.
    TurnTls,
    /// Given to the HTTP server.
    Http,
    /// There are as many connections as there may be.
    Full,
    /// Its network has as many as it may have.
    NetworkFull,
    /// It did not say in time what it speaks, or closed before it did.
    Silent,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// It speaks what is not spoken here.
    OtherProtocol,
    /// It came from a proxy and not with a header we accept.
    Proxy,
    /// The worker, or the HTTP server, had too many waiting.
    Busy,
}

const FATES: [(Fate, &str); 10] = [
    (Fate::TurnTcp, "turn_tcp"),
    (Fate::TurnTls, "turn_tls"),
    (Fate::Http, "http"),
    (Fate::Full, "full"),
    (Fate::NetworkFull, "network_full"),
    (Fate::Silent, "silent"),
    (Fate::Handshake, "handshake"),
    (Fate::OtherProtocol, "other_protocol"),
    (Fate::Proxy, "proxy"),
    (Fate::Busy, "busy"),
];

#[derive(Debug, Default)]
pub struct Counters {
    fates: [AtomicU64; FATES.len()],
}

impl Counters {
    /// Connections since the start, by what became of them.
    pub fn fates(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        FATES.iter().map(|&(fate, name)| (name, self.fates[fate as usize].load(Relaxed)))
    }

    pub(super) fn count(&self, fate: Fate) {
        self.fates[fate as usize].fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_is_listed_at_its_own_place() {
        for (place, &(fate, _)) in FATES.iter().enumerate() {
            assert_eq!(fate as usize, place);
        }
    }
}

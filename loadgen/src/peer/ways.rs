//! Which way a caller reaches its TURN server, where it tries one after another: UDP, which may be blocked, then TCP, then
//! TLS, as an application does whose users sit behind strict firewalls (RFC 8656 §3.1).

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use super::turn::Credential;
use crate::{scenario::Transport, time::Nanos};

/// A way that has not led to an allocation by then is given up for the next: three requests over UDP have gone unanswered
/// (RFC 8489 §6.2.1: after 0, 0.5 and 1.5 s).
pub const FALL_BACK_AFTER: Duration = Duration::from_secs(2);

/// One way: over what, where to, in whose name.
#[derive(Clone)]
pub struct Way {
    pub transport: Transport,
    pub server: SocketAddr,
    pub credential: Credential,
}

/// The ways that are left, and when the current one has had its time.
#[derive(Default)]
pub struct Ways {
    left: VecDeque<Way>,
    current: Option<Transport>,
    give_up_at: Option<Nanos>,
}

impl Ways {
    pub fn new(ways: impl IntoIterator<Item = Way>) -> Ways {
        Ways { left: ways.into_iter().collect(), ..Ways::default() }
    }

    /// The next way, taken now. The last one has all the time there is.
    pub fn next(&mut self, now: Nanos) -> Option<Way> {
        let way = self.left.pop_front()?;
        self.current = Some(way.transport);
        self.give_up_at = (!self.left.is_empty()).then(|| now.after(FALL_BACK_AFTER));
        Some(way)
    }

    /// Whether the current way has had its time.
    pub fn is_due(&self, now: Nanos) -> bool {
        self.give_up_at.is_some_and(|at| at <= now)
    }

    /// Whether another one is left.
    pub fn has_more(&self) -> bool {
        !self.left.is_empty()
    }

    /// The current way led there; returns what it is.
    pub fn arrive(&mut self) -> Option<Transport> {
        self.left.clear();
        self.give_up_at = None;
        self.current
    }

    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.give_up_at
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ways() -> Ways {
        let way = |transport| Way {
            transport,
            server: "127.0.0.1:1".parse().unwrap(),
            credential: Credential { username: String::new(), password: String::new() },
        };
        Ways::new([Transport::Udp, Transport::Tcp, Transport::Tls].map(way))
    }

    #[test]
    fn each_way_has_its_time_and_the_last_all_there_is() {
        let mut ways = ways();
        for expected in [Transport::Udp, Transport::Tcp] {
            assert_eq!(ways.next(Nanos(5)).unwrap().transport, expected);
            assert!(!ways.is_due(Nanos(6)) && ways.is_due(Nanos(5).after(FALL_BACK_AFTER)));
        }
        assert_eq!(ways.next(Nanos(5)).unwrap().transport, Transport::Tls);
        assert_eq!((ways.poll_timeout(), ways.has_more()), (None, false));
        assert!(ways.next(Nanos(5)).is_none());
    }

    #[test]
    fn who_has_arrived_looks_no_further() {
        let mut ways = ways();
        ways.next(Nanos(5));
        assert_eq!(ways.arrive(), Some(Transport::Udp));
        assert!(!ways.is_due(Nanos(u64::MAX)) && ways.next(Nanos(9)).is_none());
    }
}

//! One connectivity check (RFC 8445 §7): a STUN Binding request to the partner through the relay, and the answer to the
//! partner's. No nomination race: one component, one candidate pair, the offerer controls.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use super::{
    sdp::Access,
    stun::{Builder, Class, Method, TransactionId, View, attribute},
};
use crate::time::Nanos;

/// First wait before a check is sent again; doubles up to [`MAX_RTO`]. Shorter than RFC 8445 §14.3 allows a browser, for
/// the partner may bind its channel a moment later than we do.
pub const RTO: Duration = Duration::from_millis(100);
const MAX_RTO: Duration = Duration::from_millis(800);
/// A peer-reflexive priority as a browser would send it (RFC 8445 §7.1.1).
const PRIORITY: u32 = 0x1EFF_FFFF;

/// Both directions of the check of one call leg.
pub struct Check {
    local: Access,
    remote: Option<Access>,
    controlling: bool,
    /// The partner's relayed address, as it would see ours in a response.
    partner: SocketAddr,
    id: TransactionId,
    running: bool,
    again_at: Option<Nanos>,
    wait: Duration,
    transmit: VecDeque<Vec<u8>>,
    /// When the first request left.
    pub first_sent: Option<Nanos>,
    /// When the answer to ours came.
    pub connected: Option<Nanos>,
    pub retransmissions: u32,
    /// Requests and responses that were not made with the right password.
    pub rejected: u32,
}

impl Check {
    pub fn new(local: Access, controlling: bool, partner: SocketAddr, id: TransactionId) -> Check {
        Check {
            local,
            remote: None,
            controlling,
            partner,
            id,
            running: false,
            again_at: None,
            wait: RTO,
            transmit: VecDeque::new(),
            first_sent: None,
            connected: None,
            retransmissions: 0,
            rejected: 0,
        }
    }

    /// The path is there (channel bound) and the partner's description known: start checking.
    pub fn start(&mut self, now: Nanos, remote: Access) {
        self.remote = Some(remote);
        self.running = true;
        self.send(now);
    }

    /// A STUN message that came from the partner through the channel at `at`.
    pub fn handle_message(&mut self, at: Nanos, now: Nanos, message: &View<'_>) {
        if message.method() != Method::Binding as u16 {
            return;
        }
        match message.class() {
            Class::Request => self.answer(now, message),
            Class::Success if message.transaction() == self.id => self.succeed(at, message),
            _ => {}
        }
    }

    pub fn handle_timeout(&mut self, now: Nanos) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.retransmissions += 1;
            self.wait = (self.wait * 2).min(MAX_RTO);
            self.send(now);
        }
    }

    pub fn poll_timeout(&self) -> Option<Nanos> {
        self.again_at
    }

    /// The next message for the partner, to be wrapped in ChannelData.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmit.pop_front()
    }

    fn send(&mut self, now: Nanos) {
        let Some(remote) = &self.remote else { return };
        let role = if self.controlling { attribute::ICE_CONTROLLING } else { attribute::ICE_CONTROLLED };
        let user = format!("{}:{}", remote.ufrag, self.local.ufrag);
        let request = Builder::new(Class::Request, Method::Binding, self.id)
            .attribute(attribute::USERNAME, user.as_bytes())
            .attribute(attribute::PRIORITY, &PRIORITY.to_be_bytes())
            .attribute(role, &self.id[..8]);
        let request = if self.controlling { request.attribute(attribute::USE_CANDIDATE, &[]) } else { request };
        self.transmit.push_back(request.integrity(remote.password.as_bytes()).fingerprint().finish());
        self.first_sent.get_or_insert(now);
        self.again_at = Some(now.after(self.wait));
    }

    /// Answers the partner's request; one of ours that was lost for want of its channel goes again at once (a triggered
    /// check, RFC 8445 §7.3.1.4).
    fn answer(&mut self, now: Nanos, request: &View<'_>) {
        let ours = request.get(attribute::USERNAME).is_some_and(|user| user.starts_with(self.local.ufrag.as_bytes()));
        if !ours || !request.integrity_matches(self.local.password.as_bytes()) {
            self.rejected += 1;
            return;
        }
        let response = Builder::new(Class::Success, Method::Binding, request.transaction())
            .address(attribute::XOR_MAPPED_ADDRESS, self.partner)
            .integrity(self.local.password.as_bytes())
            .fingerprint();
        self.transmit.push_back(response.finish());
        let waiting_for_a_resend = self.retransmissions == 0 && self.first_sent.is_some_and(|sent| sent != now);
        if self.running && self.connected.is_none() && waiting_for_a_resend {
            self.send(now);
        }
    }

    fn succeed(&mut self, at: Nanos, response: &View<'_>) {
        let Some(remote) = &self.remote else { return };
        if !response.integrity_matches(remote.password.as_bytes()) {
            self.rejected += 1;
            return;
        }
        self.connected.get_or_insert(at);
        self.again_at = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn access(name: &str) -> Access {
        Access { ufrag: name.to_owned(), password: format!("{name}-password-of-22-chars") }
    }

    fn pair() -> (Check, Check) {
        let relayed = "127.0.0.1:50000".parse().unwrap();
        let a = Check::new(access("aaaa"), true, relayed, [1; 12]);
        (a, Check::new(access("bbbb"), false, relayed, [2; 12]))
    }

    fn carry(now: Nanos, from: &mut Check, to: &mut Check) {
        while let Some(bytes) = from.poll_transmit() {
            to.handle_message(now, now, &View::parse(&bytes).unwrap());
        }
    }

    #[test]
    fn both_sides_connect_in_one_round_trip() {
        let (mut a, mut b) = pair();
        let now = Nanos(5);
        a.start(now, access("bbbb"));
        b.start(now, access("aaaa"));
        carry(now, &mut a, &mut b);
        carry(now, &mut b, &mut a);
        carry(now, &mut a, &mut b);
        assert_eq!((a.connected, b.connected), (Some(now), Some(now)));
        assert_eq!((a.poll_timeout(), b.poll_timeout()), (None, None));
    }

    #[test]
    fn a_check_lost_before_the_partner_was_ready_is_triggered_by_the_partners_own() {
        let (mut a, mut b) = pair();
        a.start(Nanos(5), access("bbbb"));
        while a.poll_transmit().is_some() {}
        let later = Nanos(9);
        b.start(later, access("aaaa"));
        carry(later, &mut b, &mut a);
        carry(later, &mut a, &mut b);
        carry(later, &mut b, &mut a);
        assert_eq!((a.connected, b.connected), (Some(later), Some(later)));
        assert_eq!(a.retransmissions, 0);
    }

    #[test]
    fn a_lost_check_is_sent_again() {
        let (mut a, _) = pair();
        a.start(Nanos(5), access("bbbb"));
        a.poll_transmit();
        let again = a.poll_timeout().unwrap();
        assert_eq!(again.since(Nanos(5)), RTO);
        a.handle_timeout(again);
        assert!(a.poll_transmit().is_some());
        assert_eq!(a.retransmissions, 1);
    }

    #[test]
    fn a_strangers_password_connects_nobody() {
        let (mut a, mut b) = pair();
        a.start(Nanos(5), Access { ufrag: "bbbb".into(), password: "guessed".into() });
        carry(Nanos(5), &mut a, &mut b);
        carry(Nanos(5), &mut b, &mut a);
        assert_eq!(a.connected, None);
        assert_eq!(b.rejected, 1);
    }
}

//! `block` and `report`: what one may do about the partner of this call, or of the last one for ten minutes.
//!
//! The other side learns of neither: it hears that the caller hung up.

use std::sync::Arc;

use serde_json::json;

use super::session::{Place, Side};
use super::{Connection, Desk, Dispatch, LAST_CALL_MS, MAX_REPORTS, Output};
use crate::matchmaking::Person;
use crate::signalling::codes::ErrorCode;
use crate::signalling::evidence::Said;
use crate::signalling::ids::{CallRef, Id};
use crate::signalling::limits::Meter;
use crate::signalling::message::{By, Category, Evidence, Reply, Report, Why};
use crate::time::Now;

/// Somebody one talks with, or did lately.
struct Partner {
    person: Person,
    sub: Arc<str>,
    /// The side of the call they have, or had.
    side: Side,
    /// Whether the call goes on.
    current: bool,
}

/// A report on its way to the app's backend.
pub(super) struct Pending {
    /// Session, not connection: the answer may come after a resumption.
    pub(super) sid: Id,
    pub(super) q: Option<u64>,
}

impl Desk {
    pub(super) fn block(&mut self, now: Now, from: Connection, q: Option<u64>, named: CallRef) {
        let Some((id, partner)) = self.partner(now, from, named) else {
            return self.refuse(now, from, q, ErrorCode::Call);
        };
        let Some(caller) = self.sessions.get_mut(&from).and_then(|session| session.caller.as_mut()) else { return };
        self.blocks.note(now.mono, caller.claims.person, partner.person);
        if !caller.claims.blocks.contains(&partner.person) {
            // First, so that the last ones of a list that is full give way.
            caller.claims.blocks.insert(0, partner.person);
            caller.claims.blocks.truncate(crate::matchmaking::MAX_AVOID);
        }
        if partner.current {
            self.turn_from(now, from, id, (partner.side.other(), Why::Block));
        }
        self.avoid_at_once(now, from, partner.person);
        if !self.answers_at_the_end(from, q) {
            self.send(from, &Reply::Blocked { q });
            self.tell_pass(now, from);
        }
    }

    /// A ticket that waits already avoids them from now on.
    fn avoid_at_once(&mut self, now: Now, from: Connection, person: Person) {
        let Some(Place::Queued(waiting)) = self.sessions.get(&from).map(|session| &session.place) else { return };
        if self.queues.avoid(now, waiting.id, person).is_err() {
            self.renew_ticket(now, from);
        }
    }

    pub(super) fn report(&mut self, now: Now, from: Connection, q: Option<u64>, report: &Report) {
        let Some((id, partner)) = self.partner(now, from, report.call) else {
            return self.refuse(now, from, q, ErrorCode::Call);
        };
        let urgent = report.category == Category::MinorSafety;
        if partner.current && (urgent || report.end) {
            self.turn_from(now, from, id, (partner.side.other(), Why::Report));
        }
        let Some(session) = self.sessions.get_mut(&from) else { return };
        if let Err(retry_ms) = session.meters.take(Meter::Report, now.mono) {
            return self.too_often(now, from, q, Some(retry_ms));
        }
        let Some(caller) = session.caller.as_ref() else { return };
        if !self.settings.reports || self.reports.len() >= MAX_REPORTS {
            return self.refuse(now, from, q, ErrorCode::ReportRetry);
        }
        let (sid, reporter) = (caller.sid, Arc::clone(&caller.claims.sub));
        let number = Id::random(&mut self.rng);
        let said = |text: &Evidence| self.verified(now, id, partner.side, text);
        let verified: Vec<_> = report.evidence.iter().filter_map(said).collect();
        let body = json!({
            "v": 1, "report_id": number, "cat": report.category, "at": now.unix.0, "call": id,
            "reporter_sub": &*reporter, "reported_sub": &*partner.sub, "note": report.note,
            "verified": verified, "unverified": report.evidence.len() - verified.len(),
        });
        self.reports.insert(number, Pending { sid, q });
        self.outputs.push_back(Output::Report(Dispatch { id: number, urgent, json: body.to_string() }));
    }

    fn verified(&self, now: Now, call: Id, side: Side, text: &Evidence) -> Option<serde_json::Value> {
        let said = Said { call, side: side.number(), k: text.k, b: &text.b };
        let at = self.tags.verify(now.unix, said, &text.tag)?;
        Some(json!({ "k": text.k, "b": text.b, "at": at.0 }))
    }

    /// What became of a report.
    pub fn handle_reported(&mut self, now: Now, id: Id, delivered: bool) {
        self.clock = now;
        let Some(Pending { sid, q }) = self.reports.remove(&id) else { return };
        let Some(&to) = self.sids.get(&sid) else { return };
        if delivered {
            self.send(to, &Reply::Reported { q });
        } else {
            self.refuse(now, to, q, ErrorCode::ReportRetry);
        }
    }

    /// The partner of the call named, if it is the caller's present or last one.
    fn partner(&self, now: Now, from: Connection, named: CallRef) -> Option<(Id, Partner)> {
        let named = named.0?;
        let session = self.sessions.get(&from)?;
        if let Place::InCall(id, side) = session.place
            && id == named
        {
            let other = self.calls.get(&id)?.seat(side.other());
            let (person, sub) = (other.person, Arc::clone(&other.sub));
            return Some((id, Partner { person, sub, side: side.other(), current: true }));
        }
        if let Some((person, sub, side)) = self.partner_abroad(from, named) {
            return Some((named, Partner { person, sub, side, current: true }));
        }
        let last = session.caller.as_ref()?.last.as_ref()?;
        let recent = last.call == named && now.mono.since(last.ended) < LAST_CALL_MS;
        let partner = Partner { person: last.person, sub: Arc::clone(&last.sub), side: last.side, current: false };
        recent.then_some((named, partner))
    }

    /// Ends a call for a reason that only one side hears, be it here or elsewhere.
    fn turn_from(&mut self, now: Now, from: Connection, id: Id, (side, why): (Side, Why)) {
        if !self.turn_from_abroad(now, from, why) {
            self.hang_up_quietly(id, side, why);
        }
    }

    pub(super) fn hang_up_quietly(&mut self, id: Id, side: Side, why: Why) {
        let Some(call) = self.dissolve(id, why) else { return };
        self.tell_ended(&call, side, None, By::Own, why, false);
        self.tell_ended(&call, side.other(), None, By::Peer, Why::Hangup, false);
    }
}

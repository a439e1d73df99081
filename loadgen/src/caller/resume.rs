//! A signalling session that outlives its connection (pair.v1, "A connection that breaks"): what is needed to have it
//! back. The caller's call, allocation and place in the queue stay as they are meanwhile.

use serde::Deserialize;

use super::{Caller, Output, State, signal};

/// What becomes of a caller whose connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its session can be had again.
    Resumes,
    /// It has none yet, and says hello once more.
    Anew,
    /// It has none yet: whatever it was about to do is lost.
    Lost,
    /// It needs no connection any more.
    Indifferent,
}

/// A session's name, the key that is good once, and the number of the last frame that arrived.
#[derive(Clone, Debug)]
pub(super) struct Session {
    sid: String,
    key: String,
    last: u64,
}

#[derive(Deserialize)]
struct Numbered {
    n: Option<u64>,
}

impl Caller {
    /// `welcome` names the session, or the next key of the same one.
    pub(super) fn keep_session(&mut self, sid: Option<String>, key: Option<String>) {
        let last = self.session.as_ref().map_or(0, |session| session.last);
        if let (Some(sid), Some(key)) = (sid, key) {
            self.session = Some(Session { sid, key, last });
        }
    }

    /// Frames that can be had again are numbered.
    pub(super) fn count_frame(&mut self, text: &str) {
        let Some(session) = &mut self.session else { return };
        let number = serde_json::from_str(text).ok().and_then(|Numbered { n }| n);
        session.last = session.last.max(number.unwrap_or(0));
    }

    /// `asked`: by the server, which has this session somewhere else.
    pub(super) fn cut(&self, asked: bool) -> Cut {
        match self.state {
            State::Opening | State::Greeting if asked => Cut::Anew,
            State::Opening | State::Greeting => Cut::Lost,
            State::Freeing | State::Done => Cut::Indifferent,
            _ if self.session.is_some() && (self.terms.resumes || asked) => Cut::Resumes,
            _ => Cut::Lost,
        }
    }

    /// Asks for the session on a new connection.
    pub(super) fn ask_to_resume(&mut self) {
        if let Some(Session { sid, key, last }) = &self.session {
            let hello = signal::hello_again(sid, key, *last);
            self.outputs.push_back(Output::Signal(hello));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        caller::{Machine, Plan, Terms},
        scenario::{Depth, Scenario, Transport},
        time::{Clock, Nanos},
    };

    fn caller(resumes: bool) -> Caller {
        let Scenario { mix, hold, patience, .. } = Scenario::default();
        let terms = Terms {
            depth: Depth::Signalling,
            setup_timeout: Duration::from_secs(10),
            media: false,
            turn: None,
            transport: Transport::Udp,
            clock: Clock::start(),
            falls_back: false,
            resumes,
            stays: false,
            voice: Default::default(),
        };
        let person = mix.person(1, 0, hold, patience);
        let plan = Plan { number: 0, intended: Nanos(5), person, token: "t".into(), random: [0; 32] };
        Caller::new(plan, terms, Nanos(6))
    }

    fn hear(caller: &mut Caller, frame: Value) {
        caller.handle_frame(Nanos(7), &frame.to_string());
    }

    fn said(caller: &mut Caller) -> Vec<Value> {
        let outputs = std::iter::from_fn(|| caller.poll_output());
        outputs
            .filter_map(|output| match output {
                Output::Signal(frame) => Some(serde_json::from_str(&frame).unwrap()),
                _ => None,
            })
            .collect()
    }

    fn welcome(key: &str) -> Value {
        json!({"t": "welcome", "policy": {"text": true}, "topics": ["a"], "sid": "s", "key": key})
    }

    #[test]
    fn who_is_cut_off_asks_for_its_session_from_the_last_frame_on_with_the_newest_key() {
        let mut caller = caller(true);
        assert_eq!((caller.handle_cut(false), caller.handle_cut(true)), (Cut::Lost, Cut::Anew));
        caller.handle_open();
        let hello = said(&mut caller);
        assert_eq!(hello[0]["token"], "t");
        caller.handle_open();
        assert_eq!(said(&mut caller), hello, "to the other process");
        hear(&mut caller, welcome("k1"));
        hear(&mut caller, json!({"t": "queued", "n": 4}));
        hear(&mut caller, json!({"t": "position", "ahead": 2}));
        said(&mut caller);
        assert_eq!(caller.handle_cut(false), Cut::Resumes);
        caller.handle_reopened();
        assert_eq!(said(&mut caller)[0]["resume"], json!({"sid": "s", "key": "k1", "n": 4}));
        let mut again = welcome("k2");
        again["resumed"] = json!({"state": "queued"});
        hear(&mut caller, again);
        assert_eq!(caller.poll_output(), Some(Output::Resumed), "and it does not queue again");
        assert!(caller.is_waiting() && caller.poll_output().is_none());
        caller.handle_reopened();
        assert_eq!(said(&mut caller)[0]["resume"]["key"], "k2");
    }

    #[test]
    fn a_session_that_is_not_had_again_fails_the_caller() {
        let mut caller = caller(true);
        caller.handle_open();
        hear(&mut caller, welcome("k1"));
        caller.handle_reopened();
        hear(&mut caller, json!({"t": "error", "q": signal::HELLO, "code": "E_TOKEN", "fatal": true}));
        assert!(matches!(caller.cut(true), Cut::Indifferent));
    }

    #[test]
    fn who_does_not_mean_to_come_back_does_if_the_server_asks_for_it() {
        let mut caller = caller(false);
        caller.handle_open();
        hear(&mut caller, welcome("k1"));
        assert_eq!((caller.handle_cut(false), caller.handle_cut(true)), (Cut::Lost, Cut::Resumes));
    }
}

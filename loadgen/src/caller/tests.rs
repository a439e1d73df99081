//! Two callers in a small world without sockets or clocks: a signalling server and a TURN server of a page each.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{record::Step, *};
use crate::{
    peer::stun::{Builder, Class, attribute, long_term_key, parse_channel_data},
    scenario::{Scenario, Transport},
};

const MS: u64 = 1_000_000;

fn terms() -> Terms {
    Terms {
        depth: Depth::Light,
        setup_timeout: Duration::from_secs(10),
        media: true,
        turn: None,
        transport: Transport::Udp,
        clock: crate::time::Clock::start(),
        falls_back: false,
        resumes: false,
        stays: false,
        voice: Default::default(),
    }
}

struct World {
    now: Nanos,
    callers: [Caller; 2],
    /// What each caller was told to do, apart from frames and datagrams.
    done: [Vec<Output>; 2],
    /// Datagrams between the two are lost while this is set.
    deaf: bool,
    in_call: bool,
}

impl World {
    fn new(terms: Terms) -> World {
        let Scenario { mix, hold, patience, .. } = Scenario::default();
        let caller = |number: u32| {
            let plan = Plan {
                number,
                intended: Nanos(5 * MS),
                person: mix.person(1, number, hold, patience),
                token: "t".into(),
                random: [number as u8; 32],
            };
            Caller::new(plan, terms, Nanos(6 * MS))
        };
        let callers = [caller(0), caller(1)];
        World { now: Nanos(6 * MS), callers, done: [vec![], vec![]], deaf: false, in_call: false }
    }

    fn open(&mut self) {
        for caller in &mut self.callers {
            caller.handle_open();
        }
        self.settle();
    }

    fn tell(&mut self, who: usize, frame: Value) {
        self.callers[who].handle_frame(self.now, &frame.to_string());
        self.settle();
    }

    /// Carries everything that anybody wants carried until nobody wants anything.
    fn settle(&mut self) {
        loop {
            let wanted: Vec<(usize, Output)> =
                (0..2).filter_map(|who| Some((who, self.callers[who].poll_output()?))).collect();
            if wanted.is_empty() {
                return;
            }
            for (who, output) in wanted {
                match output {
                    Output::Signal(frame) => self.signal(who, &serde_json::from_str(&frame).unwrap()),
                    Output::Datagram(bytes) => self.datagram(who, &bytes),
                    other => self.done[who].push(other),
                }
            }
        }
    }

    fn ice(who: usize) -> Value {
        json!({"servers": [{"urls": ["turn:127.0.0.1:9?transport=udp"], "username": format!("u{who}"), "credential": "p"}]})
    }

    /// A signalling server that knows two people.
    fn signal(&mut self, who: usize, frame: &Value) {
        let reply = |world: &mut World, who: usize, frame: Value| {
            world.callers[who].handle_frame(world.now, &frame.to_string());
        };
        match frame["t"].as_str().unwrap() {
            "hello" => {
                let welcome =
                    json!({"t": "welcome", "policy": {"text": true}, "topics": ["a", "b"], "ice": World::ice(who)});
                reply(self, who, welcome);
            }
            "queue" => reply(self, who, json!({"t": "queued", "ice": World::ice(who)})),
            "offer" | "answer" | "cand" => reply(self, 1 - who, frame.clone()),
            "text" => reply(self, 1 - who, frame.clone()),
            "ice" if std::mem::replace(&mut self.in_call, true) => {
                reply(self, 0, json!({"t": "connected", "call": "c", "setup_ms": 1}));
                reply(self, 1, json!({"t": "connected", "call": "c", "setup_ms": 1}));
            }
            "leave" => reply(self, who, json!({"t": "left"})),
            "hangup" => {
                reply(self, who, json!({"t": "ended", "call": "c", "by": "self", "why": "hangup"}));
                reply(self, 1 - who, json!({"t": "ended", "call": "c", "by": "peer", "why": "hangup"}));
            }
            _ => {}
        }
    }

    fn match_them(&mut self) {
        for (who, role) in [(0, "offerer"), (1, "answerer")] {
            let frame = json!({"t": "matched", "call": "c", "role": role, "gen": 1,
                "peer": {"lvl": "B1", "topics": [1]}, "ice": World::ice(who)});
            self.callers[who].handle_frame(self.now, &frame.to_string());
        }
        self.settle();
    }

    /// A TURN server for two clients: caller `who` is relayed at port 50000 + `who`.
    fn datagram(&mut self, who: usize, bytes: &[u8]) {
        if let Some((channel, _)) = parse_channel_data(bytes) {
            assert_eq!(channel, CHANNEL);
            if !self.deaf {
                self.callers[1 - who].handle_datagram(self.now, self.now, bytes);
            }
            return;
        }
        let request = View::parse(bytes).unwrap();
        let method = [Method::Allocate, Method::Refresh, Method::CreatePermission, Method::ChannelBind]
            .into_iter()
            .find(|method| *method as u16 == request.method())
            .unwrap();
        let reply = if request.get(attribute::USERNAME).is_none() {
            Builder::new(Class::Error, method, request.transaction())
                .attribute(attribute::ERROR_CODE, &[0, 0, 4, 1])
                .attribute(attribute::REALM, b"r")
                .attribute(attribute::NONCE, b"n")
        } else {
            Builder::new(Class::Success, method, request.transaction())
                .address(attribute::XOR_RELAYED_ADDRESS, SocketAddr::from(([127, 0, 0, 1], 50_000 + who as u16)))
                .attribute(attribute::LIFETIME, &600u32.to_be_bytes())
                .integrity(&long_term_key(&format!("u{who}"), "r", "p"))
        };
        self.callers[who].handle_datagram(self.now, self.now, &reply.finish());
    }

    fn hear_each_other(&mut self) {
        for caller in &mut self.callers {
            caller.handle_first_voice(self.now, self.now);
        }
        self.settle();
    }

    /// Jumps from deadline to deadline until both are done.
    fn run_to_the_end(&mut self) {
        for _ in 0..1000 {
            self.settle();
            for who in 0..2 {
                if self.done[who].contains(&Output::Hush) && self.callers[who].awaiting_account {
                    self.callers[who].handle_account(self.now, Account::default());
                }
            }
            let Some(next) = self.callers.iter().filter_map(Caller::poll_timeout).min() else { break };
            self.now = self.now.max(next);
            for caller in &mut self.callers {
                caller.handle_timeout(self.now);
            }
        }
        self.settle();
    }

    fn records(self) -> [Record; 2] {
        self.callers.map(|caller| {
            assert!(caller.is_done());
            Box::new(caller).into_record()
        })
    }
}

#[test]
fn whose_partner_is_gone_with_its_node_waits_on_and_is_timed_until_it_is_matched_again() {
    for stays in [true, false] {
        let mut world = World::new(Terms { stays, ..terms() });
        world.open();
        world.match_them();
        world.hear_each_other();
        world.now = Nanos(40 * MS);
        world.tell(0, json!({"t": "ended", "call": "c", "by": "server", "why": "lost", "requeued": true}));
        assert_eq!(world.callers[0].is_waiting(), stays);
        world.now = Nanos(55 * MS);
        let ice = World::ice(0);
        world.tell(
            0,
            json!({"t": "matched", "call": "d", "role": "answerer", "gen": 1, "peer": {"lvl": "B1"}, "ice": ice}),
        );
        let again = stays.then(|| Duration::from_millis(15));
        assert_eq!(world.callers[0].record.rematch, again);
        assert!(!world.callers[0].record.double_matched);
        assert_eq!(world.callers[0].state == State::Negotiating, stays);
    }
}

#[test]
fn who_waits_without_its_place_on_the_relay_makes_another_where_it_is_matched() {
    for stays in [true, false] {
        let mut world = World::new(Terms { stays, ..terms() });
        let caller = &mut world.callers[0];
        caller.handle_open();
        let welcome = json!({"t": "welcome", "policy": {"text": true}, "ice": World::ice(0)});
        caller.handle_frame(world.now, &welcome.to_string());
        let datagram = |output| if let Output::Datagram(bytes) = output { Some(bytes) } else { None };
        let asked = std::iter::from_fn(|| caller.poll_output()).find_map(datagram).unwrap();
        let refusal = Builder::new(Class::Error, Method::Allocate, View::parse(&asked).unwrap().transaction());
        let refusal = refusal.attribute(attribute::ERROR_CODE, &[0, 0, 4, 3]).finish();
        caller.handle_datagram(world.now, world.now, &refusal);
        assert_eq!((caller.is_waiting(), caller.turn.is_none()), (stays, true));
        if stays {
            let mut matched = json!({"t": "matched", "call": "c", "role": "offerer", "gen": 1, "peer": {"lvl": "B1"}});
            (matched["ice"], matched["moved"]) = (World::ice(0), json!(true));
            caller.handle_frame(world.now, &matched.to_string());
            assert!(caller.turn.is_some() && caller.state == State::Negotiating);
        }
    }
}

#[test]
fn who_is_moved_to_another_relay_allocates_there_and_who_is_not_stays() {
    let mut world = World::new(terms());
    world.open();
    world.now = Nanos(20 * MS);
    for (who, role, port) in [(0, "offerer", 9), (1, "answerer", 10)] {
        let turn = format!("turn:127.0.0.1:{port}?transport=udp");
        let ice = json!({"servers": [{"urls": [turn], "username": format!("u{who}"), "credential": "p"}]});
        let mut frame = json!({"t": "matched", "call": "c", "role": role, "gen": 1, "peer": {"lvl": "B1"}, "ice": ice});
        if port == 10 {
            frame["moved"] = json!(true);
        }
        world.callers[who].handle_frame(world.now, &frame.to_string());
    }
    world.settle();
    assert!(world.callers.iter().all(|caller| caller.state == State::Talking));
    let attached = |done: &[Output]| -> Vec<u16> {
        let attach = |output: &Output| if let Output::Attach(_, to) = output { Some(to.port()) } else { None };
        done.iter().filter_map(attach).collect()
    };
    assert_eq!([attached(&world.done[0]), attached(&world.done[1])], [vec![9], vec![9, 10]]);
    let [stayed, moved] = [0, 1].map(|who: usize| world.callers[who].record.times);
    assert_eq!((stayed.allocate_sent, stayed.allocated), (Some(Nanos(6 * MS)), Some(Nanos(6 * MS))));
    assert_eq!((moved.ice, moved.allocate_sent, moved.allocated), (moved.matched, moved.matched, moved.matched));
    world.run_to_the_end();
    assert_eq!(world.records().map(|record| record.moved), [false, true]);
}

#[test]
fn two_callers_talk_and_the_one_who_offered_hangs_up() {
    let mut world = World::new(terms());
    world.open();
    world.now = Nanos(20 * MS);
    world.match_them();
    assert!(world.callers.iter().all(|caller| caller.state == State::Talking));
    world.now = Nanos(30 * MS);
    world.hear_each_other();
    world.run_to_the_end();
    let talk = |output: &Output| matches!(output, Output::Talk { .. });
    assert!(world.done.iter().all(|done| done.iter().filter(|o| talk(o)).count() == 1));
    assert!(world.done.iter().all(|done| done.ends_with(&[Output::Hush, Output::Close])));
    let hold = world.callers[0].hold;
    let [offerer, answerer] = world.records();
    for record in [&offerer, &answerer] {
        assert_eq!(record.outcome, Outcome::Completed);
        assert_eq!(record.times.connected, Some(Nanos(20 * MS)));
        assert_eq!(record.told.as_ref().unwrap().common_topics, 0b10);
        assert!(record.times.freed.is_some() && record.times.text.is_some());
    }
    assert_eq!(offerer.times.hung_up, Some(Nanos(30 * MS).after(hold)));
    assert_eq!(answerer.times.hung_up, None);
    assert_eq!(answerer.times.ended, offerer.times.hung_up);
}

#[test]
fn the_allocation_is_made_before_anybody_is_matched() {
    let mut world = World::new(terms());
    world.open();
    assert!(world.callers.iter().all(|caller| caller.record.times.allocated.is_some()));
    assert_eq!(world.done[0], [Output::Attach(Transport::Udp, "127.0.0.1:9".parse().unwrap())]);
}

#[test]
fn each_listens_to_the_other_direction_of_the_same_call() {
    let mut world = World::new(terms());
    world.open();
    world.match_them();
    let stream = |who: usize| {
        let talk =
            world.done[who].iter().find_map(|o| if let Output::Talk { stream, .. } = o { Some(*stream) } else { None });
        let hear =
            world.done[who].iter().find_map(|o| if let Output::Hear { stream, .. } = o { Some(*stream) } else { None });
        (talk.unwrap(), hear.unwrap())
    };
    assert_eq!(stream(0).0, stream(1).1);
    assert_eq!(stream(1).0, stream(0).1);
    assert_ne!(stream(0).0, stream(1).0);
}

#[test]
fn a_relay_that_carries_nothing_is_a_failure_that_names_the_step() {
    let mut world = World::new(terms());
    world.deaf = true;
    world.open();
    world.match_them();
    world.run_to_the_end();
    let [offerer, answerer] = world.records();
    assert_eq!(offerer.outcome, Outcome::Failed(Cause::Timeout(Step::ChannelBound)));
    assert!(offerer.check_retransmissions > 3 && matches!(answerer.outcome, Outcome::Failed(_)));
}

#[test]
fn voice_may_come_before_the_answer_to_ones_own_check() {
    let mut world = World::new(terms());
    world.deaf = true;
    world.open();
    world.match_them();
    world.hear_each_other();
    assert!(world.callers.iter().all(|caller| !caller.is_up()));
    world.deaf = false;
    world.run_to_the_end();
    assert!(world.records().iter().all(|record| record.outcome == Outcome::Completed));
}

#[test]
fn the_hold_begins_when_the_other_side_is_known_to_hear() {
    let mut world = World::new(terms());
    world.open();
    world.match_them();
    world.callers[0].handle_first_voice(world.now, world.now);
    world.settle();
    assert!(world.callers[0].is_up() && world.callers[0].hang_up_at.is_none());
    world.now = Nanos(900 * MS);
    world.callers[1].handle_first_voice(world.now, world.now);
    world.settle();
    assert_eq!(world.callers[0].hang_up_at, Some(world.now.after(world.callers[0].hold)));
}

#[test]
fn who_is_not_heard_fails_although_it_hears() {
    let mut world = World::new(terms());
    world.open();
    world.match_them();
    world.callers[0].handle_first_voice(world.now, world.now);
    world.run_to_the_end();
    let [offerer, _] = world.records();
    assert_eq!(offerer.outcome, Outcome::Failed(Cause::Timeout(Step::Heard)));
}

#[test]
fn a_check_without_voice_is_no_success() {
    let mut world = World::new(terms());
    world.open();
    world.match_them();
    world.run_to_the_end();
    let [offerer, _] = world.records();
    assert_eq!(offerer.outcome, Outcome::Failed(Cause::Timeout(Step::Connected)));
}

#[test]
fn a_caller_nobody_was_found_for_fails_after_its_patience() {
    let mut world = World::new(terms());
    world.open();
    world.run_to_the_end();
    let [one, _] = world.records();
    assert_eq!(one.outcome, Outcome::Failed(Cause::NoPartner));
}

#[test]
fn after_the_last_arrival_nobody_loses_patience() {
    let mut world = World::new(terms());
    world.open();
    world.callers.iter_mut().for_each(Caller::handle_last_call);
    world.run_to_the_end();
    assert!(world.callers.iter().all(Caller::is_waiting));
}

#[test]
fn at_the_end_of_the_run_waiting_is_neither_and_talking_is_cut() {
    let mut waiting = World::new(terms());
    waiting.open();
    waiting.callers.iter_mut().for_each(|caller| caller.handle_leave(Nanos(50 * MS)));
    waiting.run_to_the_end();
    assert!(waiting.records().iter().all(|record| record.outcome == Outcome::Unmatched));

    let mut talking = World::new(terms());
    talking.open();
    talking.match_them();
    talking.hear_each_other();
    talking.callers.iter_mut().for_each(|caller| caller.handle_leave(Nanos(50 * MS)));
    talking.run_to_the_end();
    assert!(talking.records().iter().all(|record| record.outcome == Outcome::Cut));
}

#[test]
fn who_is_put_back_into_the_queue_allocates_anew_and_keeps_its_start() {
    let mut world = World::new(terms());
    world.open();
    world.match_them();
    world.now = Nanos(40 * MS);
    world.tell(0, json!({"t": "ended", "call": "c", "by": "peer", "why": "asleep", "requeued": true}));
    assert!(world.callers[0].is_waiting());
    world.tell(0, json!({"t": "queued", "ice": World::ice(0)}));
    let times = world.callers[0].record.times;
    assert_eq!((times.intended, times.allocated), (Nanos(5 * MS), Some(Nanos(40 * MS))));
    assert_eq!(times.matched, None);
    assert_eq!(world.callers[0].record.requeued, 1);
    assert_eq!(world.callers[0].record.left, ["c"]);
}

#[test]
fn a_refused_hello_names_the_code() {
    let mut world = World::new(terms());
    world.callers[0].handle_open();
    world.callers[0].poll_output();
    world.tell(0, json!({"t": "error", "q": 1, "code": "E_TOKEN", "msg": "", "fatal": true}));
    world.callers[0].handle_closed(world.now);
    assert!(world.callers[0].is_done());
    let [refused, _] = world.callers;
    assert_eq!(Box::new(refused).into_record().outcome, Outcome::Failed(Cause::Refused("E_TOKEN".into())));
}

#[test]
fn a_call_that_ends_without_a_hang_up_was_dropped() {
    let mut world = World::new(terms());
    world.open();
    world.match_them();
    world.hear_each_other();
    world.tell(1, json!({"t": "ended", "call": "c", "by": "server", "why": "lost"}));
    world.run_to_the_end();
    let [_, dropped] = world.records();
    assert_eq!(dropped.outcome, Outcome::Failed(Cause::Dropped("lost".into())));
}

#[test]
fn a_second_match_during_a_call_is_noted() {
    let mut world = World::new(terms());
    world.open();
    world.match_them();
    world.match_them();
    assert!(world.callers[0].record.double_matched);
}

#[test]
fn a_frame_that_is_no_json_fails_the_caller() {
    let mut world = World::new(terms());
    world.open();
    world.callers[0].handle_frame(world.now, "nonsense");
    world.run_to_the_end();
    let [one, _] = world.records();
    assert_eq!(one.outcome, Outcome::Failed(Cause::Protocol));
}

#[test]
fn without_media_the_check_is_enough() {
    let mut world = World::new(Terms { media: false, ..terms() });
    world.open();
    world.match_them();
    assert!(world.callers.iter().all(Caller::is_up));
    world.run_to_the_end();
    assert!(world.done[0].iter().all(|output| !matches!(output, Output::Hear { .. } | Output::Hush)));
    assert!(world.records().iter().all(|record| record.outcome == Outcome::Completed));
}

#[test]
fn without_turn_the_descriptions_are_the_call() {
    let mut world = World::new(Terms { depth: Depth::Signalling, media: false, ..terms() });
    world.open();
    world.match_them();
    assert!(world.callers.iter().all(Caller::is_up));
    world.run_to_the_end();
    assert_eq!(world.done, [vec![Output::Close], vec![Output::Close]]);
    let records = world.records();
    assert!(records.iter().all(|record| record.outcome == Outcome::Completed && record.times.text.is_some()));
    assert!(records.iter().all(|record| record.times.allocated.is_none()));
}

#[test]
fn matching_alone_ends_with_the_match() {
    let mut world = World::new(Terms { depth: Depth::Matching, media: false, ..terms() });
    world.open();
    world.match_them();
    world.run_to_the_end();
    let records = world.records();
    assert!(records.iter().all(|record| record.outcome == Outcome::Completed && record.times.connected.is_none()));
    assert!(records[0].times.hung_up.is_some() && records[1].times.ended.is_some());
}

#[test]
fn who_is_matched_while_asking_to_leave_takes_the_call() {
    let mut world = World::new(terms());
    world.open();
    world.now = world.callers[0].poll_timeout().unwrap();
    world.callers[0].handle_timeout(world.now);
    assert_eq!(world.callers[0].leaving, Some(Outcome::Failed(Cause::NoPartner)));
    while world.callers[0].poll_output().is_some() {} // the request to leave crosses with the match
    world.match_them();
    world.hear_each_other();
    world.run_to_the_end();
    assert!(world.records().iter().all(|record| record.outcome == Outcome::Completed));
}

#[test]
fn at_the_end_of_the_run_who_is_matched_while_leaving_hangs_up() {
    let mut world = World::new(terms());
    world.open();
    world.callers[0].handle_leave(world.now);
    while world.callers[0].poll_output().is_some() {}
    world.match_them();
    world.run_to_the_end();
    let [left, _] = world.records();
    assert_eq!((left.outcome, left.told.is_some()), (Outcome::InFlight, true));
}

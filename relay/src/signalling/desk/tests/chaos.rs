//! Random clients, random times: no panic, bounded tables, and every promise about calls at every step.

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::signalling::desk::session::Side;

const PEOPLE: u64 = 8;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Open(u64),
    Hello(u64, u64),
    /// Comes and waits.
    Enter(u64),
    /// Does what leads on to a call that stands.
    Play(u64),
    Close(u64),
    Cut(u64),
    Resume(u64),
    Slow(u64),
    Say(u64, usize),
    Noise(u64, String),
    Allocate(u64),
    Pass(u64),
    /// Another process takes over; each handle stays with one in that many, none at 0.
    HandOver(u8),
    /// It has what was packed, and does not.
    TakeBack(u8),
    Hold,
    GoOn,
}

/// Frames a client may send; `$call` becomes the call it is in, or one of somebody else.
const FRAMES: &[&str] = &[
    r#"{"t":"queue"}"#,
    r#"{"t":"queue","topics":[1,2],"gender":["x"],"max_dist":1}"#,
    r#"{"t":"queue","offer":{"gen":1,"sdp":"$offer"}}"#,
    r#"{"t":"tune","topics":[1]}"#,
    r#"{"t":"leave"}"#,
    r#"{"t":"ack","call":"$call"}"#,
    r#"{"t":"ack","call":"$other"}"#,
    r#"{"t":"offer","call":"$call","gen":1,"sdp":"$offer"}"#,
    r#"{"t":"answer","call":"$call","gen":1,"sdp":"$answer"}"#,
    r#"{"t":"cand","call":"$call","gen":1,"c":"$line","mid":"0"}"#,
    r#"{"t":"cand","call":"$call","gen":1,"c":null}"#,
    r#"{"t":"ice","call":"$call","s":"connected"}"#,
    r#"{"t":"ice","call":"$call","s":"failed"}"#,
    r#"{"t":"text","call":"$call","k":1,"b":"x"}"#,
    r#"{"t":"text","call":"$other","k":1,"b":"x"}"#,
    r#"{"t":"hangup","call":"$call"}"#,
    r#"{"t":"next","call":"$call"}"#,
    r#"{"t":"ping","p":1}"#,
    r#"{"t":"accept","call":"$call"}"#,
    r#"{"t":"decline","call":"$call"}"#,
    r#"{"t":"restart","call":"$call"}"#,
    r#"{"t":"ice","call":"$call","s":"disconnected"}"#,
    r#"{"t":"block","call":"$call"}"#,
    r#"{"t":"report","call":"$call","cat":"spam"}"#,
    r#"{"t":"report","call":"$call","cat":"minor_safety"}"#,
    r#"{"t":"#,
];

fn step() -> impl Strategy<Value = Step> {
    let who = 0..PEOPLE;
    prop_oneof![
        2 => who.clone().prop_map(Step::Open),
        4 => (who.clone(), 0..PEOPLE).prop_map(|(who, person)| Step::Hello(who, person)),
        6 => who.clone().prop_map(Step::Enter),
        72 => who.clone().prop_map(Step::Play),
        1 => who.clone().prop_map(Step::Close),
        2 => who.clone().prop_map(Step::Cut),
        3 => who.clone().prop_map(Step::Resume),
        1 => who.clone().prop_map(Step::Slow),
        12 => (who.clone(), 0..FRAMES.len()).prop_map(|(who, frame)| Step::Say(who, frame)),
        1 => (who.clone(), "\\PC{0,60}").prop_map(|(who, noise)| Step::Noise(who, noise)),
        2 => who.prop_map(Step::Allocate),
        4 => prop_oneof![0..50u64, 900..1_100u64, 2_000..12_000u64].prop_map(Step::Pass),
        1 => (0..4u8).prop_map(Step::HandOver),
        1 => (0..4u8).prop_map(Step::TakeBack),
        1 => Just(Step::Hold),
        2 => Just(Step::GoOn),
    ]
}

fn chaotic() -> Settings {
    Settings { max_sessions: 7, ..settings() }
}

fn stays(one_in: u8) -> impl Fn(&Handle) -> bool {
    move |handle| handle.0[0].checked_rem(one_in).is_some_and(|rest| rest == 0)
}

/// What the clients of a chaotic world know.
struct Chaos {
    world: World,
    /// Numbers of the connections in use; a slot gets a new one when it opens again.
    slots: Vec<u64>,
    calls: Vec<String>,
    /// Session, key and last number, as each client knows them.
    keys: Vec<Value>,
    rng: ChaCha8Rng,
}

impl Chaos {
    fn new() -> Chaos {
        let world = World::with(chaotic());
        let slots = (0..PEOPLE).collect();
        let calls = vec!["AAAAAAAAAAAAAAAAAAAAAA".to_owned(); PEOPLE as usize];
        let keys = vec![json!({ "sid": "x", "key": "x", "n": 0 }); PEOPLE as usize];
        Chaos { world, slots, calls, keys, rng: ChaCha8Rng::from_seed([1; 32]) }
    }

    /// Nothing comes from a connection that broke.
    fn is_cut(&self, who: u64) -> bool {
        let slot = Connection(self.slots[usize::try_from(who).unwrap()]);
        self.world.desk.sessions.get(&slot).is_some_and(|session| session.away)
    }

    fn run(&mut self, step: Step) {
        if let Step::Hello(who, _) | Step::Play(who) | Step::Say(who, _) | Step::Noise(who, _) | Step::Slow(who) = &step
            && self.is_cut(*who)
        {
            return;
        }
        let (world, slots) = (&mut self.world, &mut self.slots);
        let at = |who: u64| usize::try_from(who).unwrap();
        match step {
            Step::Open(who) => {
                world.leave(slots[at(who)]);
                slots[at(who)] += PEOPLE;
                world.open(slots[at(who)]);
            }
            Step::Hello(who, person) => {
                let token = world.token(&profile(person));
                world.say(slots[at(who)], json!({ "t": "hello", "v": [1], "token": token }));
            }
            Step::Enter(who) => {
                world.leave(slots[at(who)]);
                slots[at(who)] += PEOPLE;
                let token = world.token(&profile(who));
                world.open(slots[at(who)]);
                world.say(slots[at(who)], json!({ "t": "hello", "v": [1], "token": token }));
                world.say(slots[at(who)], json!({ "t": "queue" }));
            }
            Step::Play(who) => self.play(who),
            Step::Close(who) => world.leave(slots[at(who)]),
            Step::Cut(who) => world.cut(slots[at(who)]),
            Step::Resume(who) => {
                let mut key = self.keys[at(who)].clone();
                key["n"] = json!(world.numbers.get(&slots[at(who)]).copied().unwrap_or(0));
                slots[at(who)] += PEOPLE;
                world.numbers.insert(slots[at(who)], key["n"].as_u64().unwrap());
                world.open(slots[at(who)]);
                world.say(slots[at(who)], json!({ "t": "hello", "v": [1], "resume": key }));
            }
            Step::Slow(who) => {
                world.desk.handle_slow(world.now, Connection(slots[at(who)]));
                world.collect();
            }
            Step::Say(who, frame) => self.speak(who, FRAMES[frame]),
            Step::Noise(who, noise) => world.raw(slots[at(who)], &noise),
            Step::Allocate(who) => self.allocate(who),
            Step::Pass(millis) => world.pass(millis),
            Step::HandOver(one_in) => self.hand_over(one_in),
            Step::TakeBack(one_in) => {
                let packed = world.desk.pack(world.now, &stays(one_in)).unwrap();
                world.collect();
                world.desk.take_back(world.now, &packed).unwrap();
            }
            Step::Hold => world.desk.hold(world.now),
            Step::GoOn => world.desk.go_on(world.now),
        }
        self.world.collect();
        self.listen();
        self.check();
    }

    /// What stays is complete, and comes to an end.
    fn hand_over(&mut self, one_in: u8) {
        let mut old = self.world.hand_over(chaotic(), &stays(one_in));
        let in_call = |session: &session::Session| matches!(session.place, Place::InCall(..));
        assert!(old.desk.sessions.values().all(in_call));
        assert_eq!(old.desk.sessions.len(), 2 * old.desk.calls.len());
        assert_eq!(old.open_handles(), 2 * (old.desk.calls.len() + old.desk.bound.len()));
        let open: Vec<u64> = old.desk.sessions.keys().map(|connection| connection.0).collect();
        open.into_iter().for_each(|slot| old.leave(slot));
        old.assert_nothing_left();
    }

    fn speak(&mut self, who: u64, frame: &str) {
        let at = usize::try_from(who).unwrap();
        let other = &self.calls[(at + 1) % self.calls.len()];
        let json = |text: &str| json!(text).to_string().trim_matches('"').to_owned();
        let line = format!("candidate:1 1 udp 1 203.0.113.7 {} typ relay", 50_000 + self.rng.next_u32() % 100);
        let frame = frame
            .replace("$call", &self.calls[at])
            .replace("$other", other)
            .replace("$offer", &json(CHROMIUM))
            .replace("$answer", &json(FIREFOX_ANSWER))
            .replace("$line", &line);
        self.world.raw(self.slots[at], &frame);
    }

    /// What a client that means well would say now.
    fn play(&mut self, who: u64) {
        let slot = Connection(self.slots[usize::try_from(who).unwrap()]);
        let desk = &self.world.desk;
        let frame = match desk.sessions.get(&slot).map(|session| &session.place) {
            Some(Place::Idle) => FRAMES[0],
            Some(Place::InCall(call, side)) => match &desk.calls[call] {
                call if !call.seat(*side).awake => r#"{"t":"ack","call":"$call"}"#,
                call if call.negotiated => r#"{"t":"ice","call":"$call","s":"connected"}"#,
                call if call.owes_description() != Some(*side) => return,
                _ if *side == Side::Waiter => r#"{"t":"offer","call":"$call","gen":1,"sdp":"$offer"}"#,
                _ => r#"{"t":"answer","call":"$call","gen":1,"sdp":"$answer"}"#,
            },
            _ => return,
        };
        self.speak(who, frame);
    }

    fn allocate(&mut self, who: u64) {
        let slot = Connection(self.slots[usize::try_from(who).unwrap()]);
        let desk = &self.world.desk;
        let handle = match desk.sessions.get(&slot).map(|session| &session.place) {
            Some(Place::InCall(call, side)) => desk.calls[call].seat(*side).handle,
            Some(Place::Queued(waiting)) => waiting.handle,
            _ => return,
        };
        self.world.allocate(handle.0);
    }

    /// Clients remember the calls they are told of.
    fn listen(&mut self) {
        for (at, slot) in self.slots.iter().enumerate() {
            for frame in self.world.inbox.remove(slot).unwrap_or_default() {
                if frame["t"] == "welcome" {
                    self.keys[at] = json!({ "sid": frame["sid"], "key": frame["key"], "n": 0 });
                }
                if frame["t"] == "matched" {
                    self.calls[at] = frame["call"].as_str().unwrap().to_owned();
                }
            }
        }
    }

    fn check(&self) {
        let desk = &self.world.desk;
        assert!(desk.sids.len() <= 6, "nine tenths of seven");
        let away = desk.sessions.values().filter(|session| session.away).count();
        assert_eq!(desk.away, away);
        assert!(desk.sessions.len() - away <= 7);
        assert!(desk.people.len() <= desk.sessions.len());
        assert!(desk.timers.len() < 600, "{} timers", desk.timers.len());
        assert_eq!(desk.queues.waiting(), desk.waiting.len());
        assert_eq!(desk.sids.len(), desk.people.len());
        let (mut queued, mut seated, mut warm) = (0, 0, 0);
        for (connection, session) in &desk.sessions {
            warm += usize::from(session.caller.as_ref().is_some_and(|caller| caller.warm.is_some()));
            match &session.place {
                Place::New => assert!(session.caller.is_none()),
                Place::Idle => {}
                Place::Paused(paused) => {
                    assert!(session.away);
                    warm += usize::from(paused.handle.is_some());
                }
                Place::Queued(waiting) => {
                    assert!(!session.away, "nobody is matched with somebody who is not there");
                    queued += 1;
                    assert_eq!(desk.waiting[&waiting.id], *connection);
                }
                Place::Abroad(_) => unreachable!("there is no other node"),
                Place::InCall(call, side) => {
                    seated += 1;
                    assert_eq!(desk.calls[call].seat(*side).connection, *connection);
                }
            }
        }
        assert_eq!((queued, seated), (desk.waiting.len(), 2 * desk.calls.len()));
        let relay = self.world.relay.0.lock().unwrap();
        assert_eq!(relay.open.len(), warm + queued + seated, "no place on the relay without a reason");
        assert_eq!(relay.paired.len(), seated);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_clients_do_the_desk_keeps_its_promises(steps in prop::collection::vec(step(), 1..400)) {
        let mut chaos = Chaos::new();
        for step in steps {
            chaos.run(step);
        }
        let open: Vec<u64> = chaos.world.desk.sessions.keys().map(|connection| connection.0).collect();
        open.into_iter().for_each(|slot| chaos.world.leave(slot));
        chaos.world.pass(RESUME_MS);
        chaos.world.pass(60_000);
        prop_assert_eq!(chaos.world.desk.timers.len(), 0);
    }
}

#[test]
fn the_same_tape_gives_the_same_outputs() {
    let play = || {
        let mut world = World::new();
        let call = world.talking();
        world.say(1, json!({ "t": "next", "call": call }));
        world.pass(5_000);
        let inbox: BTreeMap<_, _> = world.inbox.into_iter().collect();
        format!("{call} {inbox:?}")
    };
    assert_eq!(play(), play());
}

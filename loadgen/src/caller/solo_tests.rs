#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    peer::{
        stun::{Builder, Class, Method, attribute, long_term_key},
        turn::FailureReason,
    },
    scenario::{Depth, Scenario},
    time::Clock,
};

const MS: u64 = 1_000_000;

struct World {
    now: Nanos,
    solo: Solo,
    /// The error code every authenticated Allocate is answered with.
    refuse: Option<u8>,
    seen: Vec<Output>,
}

impl World {
    fn new(media: bool, refuse: Option<u8>) -> World {
        let now = Nanos(6 * MS);
        let person = Scenario::default().person(3);
        let plan = Plan { number: 3, intended: Nanos(5 * MS), person, token: String::new(), random: [3; 32] };
        let (depth, transport) = (Depth::Turn, Transport::Udp);
        let terms = Terms {
            depth,
            setup_timeout: Duration::from_secs(10),
            media,
            turn: None,
            transport,
            clock: Clock::start(),
            falls_back: false,
            resumes: false,
            stays: false,
            voice: Default::default(),
        };
        let credential = Credential { username: "u".into(), password: "p".into() };
        let solo = Solo::new(plan, terms, "127.0.0.1:9".parse().unwrap(), credential, now);
        let mut world = World { now, solo, refuse, seen: Vec::new() };
        world.settle();
        world
    }

    fn settle(&mut self) {
        while let Some(output) = self.solo.poll_output() {
            match output {
                Output::Datagram(request) => {
                    let reply = self.reply(&request);
                    self.solo.handle_datagram(self.now, self.now, &reply);
                }
                other => self.seen.push(other),
            }
        }
    }

    fn reply(&self, request: &[u8]) -> Vec<u8> {
        let request = View::parse(request).unwrap();
        let methods = [Method::Allocate, Method::Refresh, Method::CreatePermission, Method::ChannelBind];
        let method = methods.into_iter().find(|method| *method as u16 == request.method()).unwrap();
        let error = |code: u8| {
            Builder::new(Class::Error, method, request.transaction())
                .attribute(attribute::ERROR_CODE, &[0, 0, 4, code])
                .attribute(attribute::REALM, b"r")
                .attribute(attribute::NONCE, b"n")
                .finish()
        };
        if request.get(attribute::USERNAME).is_none() {
            return error(1);
        }
        if let Some(code) = self.refuse {
            return error(code);
        }
        Builder::new(Class::Success, method, request.transaction())
            .address(attribute::XOR_RELAYED_ADDRESS, "127.0.0.1:50000".parse().unwrap())
            .attribute(attribute::LIFETIME, &600u32.to_be_bytes())
            .integrity(&long_term_key("u", "r", "p"))
            .finish()
    }

    fn wake(&mut self) {
        self.now = self.solo.poll_timeout().unwrap();
        self.solo.handle_timeout(self.now);
        self.settle();
    }

    fn record(self) -> Record {
        assert!(self.solo.is_done());
        Box::new(self.solo).into_record()
    }
}

#[test]
fn an_allocation_is_held_for_its_time_and_given_back() {
    let mut world = World::new(false, None);
    assert!(world.solo.is_up() && world.solo.is_talking());
    let until = world.now.after(world.solo.hold);
    world.wake();
    let record = world.record();
    assert_eq!(record.outcome, Outcome::Completed);
    assert_eq!((record.times.hung_up, record.times.freed), (Some(until), Some(until)));
    assert!(record.times.channel.is_none());
}

#[test]
fn with_media_its_own_voice_must_come_back_before_the_hold_begins() {
    let mut world = World::new(true, None);
    assert!(!world.solo.is_up() && world.seen.iter().any(|output| matches!(output, Output::Talk { .. })));
    world.solo.handle_first_voice(world.now, world.now);
    assert!(world.solo.is_up());
    world.wake();
    assert!(!world.solo.is_done(), "the account is still to come");
    world.solo.handle_account(world.now, Account::default());
    assert_eq!(world.record().outcome, Outcome::Completed);
}

#[test]
fn a_relay_that_carries_nothing_is_a_failure() {
    let mut world = World::new(true, None);
    world.wake();
    world.solo.handle_account(world.now, Account::default());
    assert_eq!(world.record().outcome, Outcome::Failed(Cause::Timeout(Step::ChannelBound)));
}

#[test]
fn a_full_server_blocks_and_leaves_nothing_to_give_back() {
    let record = World::new(false, Some(86)).record();
    assert_eq!(record.outcome, Outcome::Failed(Cause::Allocate(FailureReason::Refused(486))));
    assert!(record.is_blocked() && record.times.hung_up.is_none());
}

#[test]
fn the_end_of_the_run_cuts_a_held_allocation() {
    let mut world = World::new(false, None);
    world.solo.handle_leave(world.now);
    world.settle();
    assert_eq!(world.record().outcome, Outcome::Cut);
}

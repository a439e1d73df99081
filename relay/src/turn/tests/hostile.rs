//! A hostile caller with a call-bound credential: whatever it sends, nothing leaves this server but answers to itself and
//! data to the other side of its own call (issue 2, item 6).

use std::cell::Cell;
use std::net::SocketAddr;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::world::*;
use crate::calls::Handle;
use crate::turn::*;
use crate::wire::{MessageClass, Method, Request};

const HOSTILE: Handle = Handle([0xA1; 12]);
const PARTNER: Handle = Handle([0xB2; 12]);

/// What the hostile caller, its partner, or time does next.
#[derive(Clone, Debug)]
enum Step {
    Request {
        method: Method,
        peers: Vec<Place>,
        channel: u16,
        lifetime: u32,
        family: u8,
        extra: Vec<(u16, Vec<u8>)>,
    },
    OtherClass {
        class: MessageClass,
        method: Method,
        peer: Place,
    },
    Send(Place),
    Channel(u16),
    Junk(Vec<u8>),
    FromSecondFiveTuple(bool),
    PartnerAllocates,
    PartnerFrees,
    PartnerBinds(u16),
    Pair,
    Close,
    /// Signalling gives out a handle once; should it ever do otherwise, nothing of the old call may come back.
    Reopen,
    Wait(u64),
}

/// Where a hostile caller would like to get to.
#[derive(Clone, Copy, Debug)]
enum Place {
    Partner,
    PartnerBound,
    PartnerMapped,
    PartnerClient,
    Own,
    Stranger,
    StrangerClient,
    OrdinaryUser,
    Listener,
    Any(u32, u16),
    Relayed(u16),
    Any6(u128, u16),
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        4 => Just(Place::Partner),
        1 => Just(Place::PartnerBound),
        1 => Just(Place::PartnerMapped),
        1 => Just(Place::PartnerClient),
        1 => Just(Place::Own),
        2 => Just(Place::Stranger),
        1 => Just(Place::StrangerClient),
        2 => Just(Place::OrdinaryUser),
        1 => Just(Place::Listener),
        1 => (any::<u32>(), any::<u16>()).prop_map(|(ip, port)| Place::Any(ip, port)),
        1 => (50_000..50_010_u16).prop_map(Place::Relayed),
        1 => (any::<u128>(), any::<u16>()).prop_map(|(ip, port)| Place::Any6(ip, port)),
    ]
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        1 => Just(Method::Binding),
        4 => Just(Method::Allocate),
        1 => Just(Method::Refresh),
        3 => Just(Method::CreatePermission),
        4 => Just(Method::ChannelBind),
        1 => Just(Method::Connect),
        1 => Just(Method::ConnectionBind),
        1 => (0..0x1000_u16).prop_map(Method::from_number),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let channel = || prop_oneof![4 => 0x4000..0x4003_u16, 1 => any::<u16>()];
    let lifetime = prop_oneof![3 => Just(600_u32), 1 => Just(0), 1 => any::<u32>()];
    let extra = prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..9)), 0..2);
    let request = (method(), prop::collection::vec(place(), 0..3), channel(), lifetime, 0..4_u8, extra).prop_map(
        |(method, peers, channel, lifetime, family, extra)| Step::Request {
            method,
            peers,
            channel,
            lifetime,
            family,
            extra,
        },
    );
    let class = prop_oneof![Just(MessageClass::Indication), Just(MessageClass::Success), Just(MessageClass::Error)];
    prop_oneof![
        8 => request,
        1 => (class, method(), place()).prop_map(|(class, method, peer)| Step::OtherClass { class, method, peer }),
        5 => place().prop_map(Step::Send),
        5 => channel().prop_map(Step::Channel),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Step::Junk),
        1 => any::<bool>().prop_map(Step::FromSecondFiveTuple),
        2 => Just(Step::PartnerAllocates),
        1 => Just(Step::PartnerFrees),
        2 => channel().prop_map(Step::PartnerBinds),
        3 => Just(Step::Pair),
        1 => Just(Step::Close),
        1 => Just(Step::Reopen),
        1 => (0..700_u64).prop_map(Step::Wait),
    ]
}

impl Step {
    fn allocate() -> Step {
        let (method, lifetime) = (Method::Allocate, 3600);
        Step::Request { method, peers: Vec::new(), channel: 0x4000, lifetime, family: 0, extra: Vec::new() }
    }
}

/// A small server full of others worth reaching.
struct Scene {
    world: World,
    hostile: [Client; 2],
    second: bool,
    partner: Client,
    partner_relayed: Option<SocketAddr>,
    paired: bool,
    stranger: (Client, SocketAddr),
    ordinary: SocketAddr,
    reached_partner: u64,
    heard_from_partner: u64,
}

impl Scene {
    fn new() -> Scene {
        let mut world = World::new(Settings { ports: 50_000..=50_009, ..settings() }, 2);
        world.shared.ledger.open(HOSTILE).unwrap();
        world.shared.ledger.open(PARTNER).unwrap();
        let hostile = [world.caller(HOSTILE, 1), world.caller(HOSTILE, 2)];
        let partner = Client { worker: 1, ..world.caller(PARTNER, 3) };
        let (other, another) = world.call();
        let (stranger, friend) = (world.caller(other, 4), world.caller(another, 5));
        let at_stranger = world.allocate(&stranger);
        world.allocate(&friend);
        let alice = world.user_on(1, "alice", 6);
        let ordinary = world.allocate(&alice);
        for peer in (50_000..=50_009).map(|port| SocketAddr::new(ordinary.ip(), port)) {
            world.permit(&alice, peer); // she would let anybody in
        }
        Scene {
            world,
            hostile,
            second: false,
            partner,
            partner_relayed: None,
            paired: false,
            stranger: (stranger, at_stranger),
            ordinary,
            reached_partner: 0,
            heard_from_partner: 0,
        }
    }

    fn address(&self, place: Place) -> SocketAddr {
        let partner = self.partner_relayed.unwrap_or(addr("203.0.113.7:50001"));
        match place {
            Place::Partner => partner,
            Place::PartnerBound => SocketAddr::new("10.0.0.4".parse().unwrap(), partner.port()),
            Place::PartnerMapped => addr(&format!("[::ffff:203.0.113.7]:{}", partner.port())),
            Place::PartnerClient => self.partner.remote(),
            Place::Own => self.world.shared.ledger.relayed(&HOSTILE).first().copied().unwrap_or(partner),
            Place::Stranger => self.stranger.1,
            Place::StrangerClient => self.stranger.0.remote(),
            Place::OrdinaryUser => self.ordinary,
            Place::Listener => addr("203.0.113.7:3478"),
            Place::Any(ip, port) => SocketAddr::new(ip.to_be_bytes().into(), port),
            Place::Relayed(port) => SocketAddr::new(partner.ip(), port),
            Place::Any6(ip, port) => SocketAddr::new(ip.to_be_bytes().into(), port),
        }
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let client = self.hostile[usize::from(self.second)].clone();
        match step {
            Step::Request { method, peers, channel, lifetime, family, extra } => {
                let peers: Vec<_> = peers.iter().map(|&peer| self.address(peer)).collect();
                let datagram = self.world.signed(&client, *method, |mut request| {
                    request = request.requested_transport(UDP).lifetime(*lifetime).channel_number(*channel);
                    if *family > 0 {
                        request = request.requested_address_family(*family);
                    }
                    request = peers.iter().fold(request, |request, &peer| request.xor_peer_address(peer));
                    extra.iter().fold(request, |request, (number, value)| request.raw(*number, value))
                });
                self.hostile_sends(&client, &datagram)
            }
            Step::OtherClass { class, method, peer } => {
                let id = self.world.transaction();
                let message = Request::of_class(*class, *method, id).xor_peer_address(self.address(*peer)).data(b"x");
                self.hostile_sends(&client, &message.finish(None))
            }
            Step::Send(peer) => {
                let id = self.world.transaction();
                let message = Request::indication(Method::Send, id).xor_peer_address(self.address(*peer)).data(b"evil");
                self.hostile_sends(&client, &message.finish(None))
            }
            Step::Channel(number) => self.hostile_sends(&client, &channel_data(*number, b"evil")),
            Step::Junk(bytes) => self.hostile_sends(&client, bytes),
            Step::FromSecondFiveTuple(second) => {
                self.second = *second;
                Ok(())
            }
            _ => self.others(step),
        }
    }

    fn others(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let partner = self.partner.clone();
        match step {
            Step::PartnerAllocates => {
                let response = self.world.ask(&partner, Method::Allocate, |r| r.requested_transport(UDP));
                self.partner_relayed = response.relayed.or(self.partner_relayed);
            }
            Step::PartnerFrees => drop(self.world.refresh(&partner, 0)),
            Step::PartnerBinds(number) => {
                let own = self.address(Place::Own);
                self.world.bind(&partner, *number, own);
                if let Out::Client(to, _) = self.world.send(&partner, own, b"hello") {
                    prop_assert!(self.paired && self.hostile.iter().any(|client| client.remote() == to));
                    self.heard_from_partner += 1;
                }
            }
            Step::Pair => self.paired |= self.world.shared.ledger.pair(HOSTILE, PARTNER).is_ok(),
            Step::Close => {
                self.world.shared.ledger.close(HOSTILE);
                self.paired = false;
            }
            Step::Reopen => {
                let _ = self.world.shared.ledger.open(HOSTILE);
                let _ = self.world.shared.ledger.open(PARTNER);
            }
            Step::Wait(secs) => {
                self.world.wait_secs(*secs);
                self.world.run_timers();
            }
            _ => {}
        }
        Ok(())
    }

    /// The property itself.
    fn hostile_sends(&mut self, client: &Client, datagram: &[u8]) -> Result<(), TestCaseError> {
        let (replies, sockets) = (self.world.replies.len(), self.world.sockets.clone());
        let out = self.world.data(client, datagram);
        for (to, bytes) in &self.world.replies[replies..] {
            prop_assert_eq!(*to, client.from, "answers go to the asker");
            prop_assert!(bytes.len() <= 4 * datagram.len().max(40));
        }
        prop_assert_eq!(&self.world.sockets, &sockets, "no socket is opened or closed");
        match out {
            Out::Nothing => {}
            Out::Peer { .. } => prop_assert!(false, "left the server"),
            Out::Client(to, data) => {
                prop_assert!(self.paired, "reached somebody without a call");
                prop_assert_eq!(to, self.partner.remote());
                if let Data::Indication(source, _) = data {
                    let own = self.world.shared.ledger.relayed(&HOSTILE);
                    prop_assert!(own.contains(&source), "names a relayed address");
                }
                self.reached_partner += 1;
            }
        }
        Ok(())
    }
}

#[test]
fn a_hostile_caller_reaches_its_partner_and_nobody_else() {
    let (reached, heard) = (Cell::new(0), Cell::new(0));
    let cases = 2 * Config::default().cases; // PROPTEST_CASES makes it longer
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let steps = (any::<bool>(), prop::collection::vec(step(), 1..60));
    let result = runner.run(&steps, |(begun, steps)| {
        let mut scene = Scene::new();
        let beginning = begun.then(|| [Step::allocate(), Step::PartnerAllocates, Step::Pair]);
        for step in beginning.iter().flatten().chain(&steps) {
            scene.run(step)?;
        }
        reached.set(reached.get() + scene.reached_partner);
        heard.set(heard.get() + scene.heard_from_partner);
        Ok(())
    });
    if let Err(why) = result {
        panic!("{why}");
    }
    // Otherwise nothing was tested.
    assert!(reached.get() > 100 && heard.get() > 10, "{} there, {} back", reached.get(), heard.get());
}

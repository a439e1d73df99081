//! What holds on every way a packet can take: permission, lifetime, limit, counter. One table, so that no way is forgotten.

use super::world::*;
use crate::turn::*;

/// The ways through `forward`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// ChannelData to the other client of this server.
    Hairpin,
    /// A Send indication to it.
    HairpinBySend,
    /// ChannelData to a peer outside.
    ToPeer,
    /// A Send indication to one.
    ToPeerBySend,
    FromPeer,
}

const ALL: [Way; 5] = [Way::Hairpin, Way::HairpinBySend, Way::ToPeer, Way::ToPeerBySend, Way::FromPeer];
const CHANNEL: u16 = 0x4001;
const PAYLOAD: &[u8] = b"voice";

/// Alice and whom she talks to. What she has is what is tried.
struct Scene {
    world: World,
    way: Way,
    alice: Client,
    bob: Client,
    relayed: std::net::SocketAddr,
    other: std::net::SocketAddr,
}

impl Scene {
    fn new(way: Way, user_limits: Limits) -> Scene {
        let mut world = World::new(Settings { user_limits, ..settings() }, 1);
        let alice = world.user("alice", 1);
        let bob = world.user("bob", 2);
        let (relayed, to_bob) = (world.allocate(&alice), world.allocate(&bob));
        world.refresh(&bob, 3600);
        let other = if way.is_hairpin() { to_bob } else { outside(1) };
        Scene { world, way, alice, bob, relayed, other }
    }

    /// What a packet on this way needs of Alice, and of Bob if he is to hear her.
    fn admit(&mut self) {
        assert_eq!(self.world.bind(&self.bob, CHANNEL, self.relayed), 0);
        let code = match self.way {
            Way::Hairpin | Way::ToPeer => self.world.bind(&self.alice, CHANNEL, self.other),
            _ => self.world.permit(&self.alice, self.other),
        };
        assert_eq!(code, 0);
    }

    fn passes(&mut self) -> bool {
        let Scene { world, way, alice, relayed, other, .. } = self;
        let out = match way {
            Way::Hairpin | Way::ToPeer => world.channel(alice, CHANNEL, PAYLOAD),
            Way::HairpinBySend | Way::ToPeerBySend => world.send(alice, *other, PAYLOAD),
            Way::FromPeer => world.peer_sends(0, *relayed, *other, PAYLOAD),
        };
        out != Out::Nothing
    }

    fn counted(&self) -> Relayed {
        self.world.workers[0].counters().relayed_along(self.way.path())
    }
}

impl Way {
    fn is_hairpin(self) -> bool {
        matches!(self, Way::Hairpin | Way::HairpinBySend)
    }

    fn path(self) -> Path {
        match self {
            Way::Hairpin | Way::HairpinBySend => Path::Hairpin,
            Way::ToPeer | Way::ToPeerBySend => Path::ClientToPeer,
            Way::FromPeer => Path::PeerToClient,
        }
    }

    /// A channel that is not bound hides that there is no permission either.
    fn without_leave(self) -> Reason {
        if matches!(self, Way::Hairpin | Way::ToPeer) { Reason::UnboundChannel } else { Reason::NoPermission }
    }
}

#[test]
fn no_way_is_open_without_a_permission_or_after_it_has_ended() {
    for way in ALL {
        let mut scene = Scene::new(way, Limits::NONE);
        assert!(!scene.passes(), "{way:?}");
        assert_eq!(scene.world.dropped(way.without_leave()), 1, "{way:?}");
        scene.admit();
        assert!(scene.passes(), "{way:?}");
        scene.world.wait_secs(299);
        assert!(scene.passes(), "{way:?}");
        let before = scene.world.dropped(Reason::NoPermission);
        scene.world.wait_secs(1);
        assert!(!scene.passes(), "{way:?}: a channel outlives its permission and leads nowhere");
        assert_eq!(scene.world.dropped(Reason::NoPermission), before + 1, "{way:?}");
    }
}

#[test]
fn no_way_outlives_the_allocation_even_before_a_timer_runs() {
    for way in ALL {
        let mut scene = Scene::new(way, Limits::NONE);
        scene.world.wait_secs(400);
        scene.admit();
        scene.world.wait_secs(199);
        assert!(scene.passes(), "{way:?}");
        scene.world.wait_secs(1);
        assert!(!scene.passes(), "{way:?}");
        assert_eq!(scene.world.dropped(Reason::NoAllocation), 1, "{way:?}");
    }
}

#[test]
fn every_way_counts_against_the_limits_and_what_is_too_much_is_counted() {
    let packets = Limits { packets_per_second: 7, bits_per_second: 0 };
    // The least a bucket holds is the longest payload: 65 535 bytes, and a little for the time that stands still.
    let bits = Limits { packets_per_second: 0, bits_per_second: 1 };
    for way in ALL {
        let mut scene = Scene::new(way, packets);
        scene.admit();
        assert_eq!((0..100).filter(|_| scene.passes()).count(), 7, "{way:?}");
        assert_eq!(scene.world.dropped(Reason::PacketRate), 93, "{way:?}");
        assert_eq!(scene.counted().packets, 7, "{way:?}");

        let mut scene = Scene::new(way, bits);
        scene.admit();
        let fit = 65_535 / PAYLOAD.len();
        assert_eq!((0..fit + 50).filter(|_| scene.passes()).count(), fit, "{way:?}");
        assert_eq!(scene.world.dropped(Reason::Bandwidth), 50, "{way:?}");
    }
}

#[test]
fn every_way_counts_its_packets_and_payload_bytes_once_and_under_its_name() {
    for way in ALL {
        let mut scene = Scene::new(way, Limits::NONE);
        scene.admit();
        (0..10).for_each(|_| assert!(scene.passes(), "{way:?}"));
        assert_eq!(scene.counted(), Relayed { packets: 10, bytes: 10 * PAYLOAD.len() as u64 }, "{way:?}");
        let all: u64 = scene.world.workers[0].counters().relayed().map(|(_, relayed)| relayed.packets).sum();
        assert_eq!(all, 10, "{way:?}");
    }
}

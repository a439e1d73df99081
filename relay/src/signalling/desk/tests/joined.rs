//! Desks of one cluster, each with a relay of its own, and the bus between them as a plain queue.

use super::*;
use crate::cluster::{self, Load, NodeId, Peer};

/// The nth node of the cluster.
pub(super) fn peer(node: u64) -> Peer {
    Peer { node: NodeId(node), incarnation: 1 }
}

/// Of a desk that is one of several.
pub(super) fn joined(me: Peer) -> Settings {
    let load = Load { room: 100, ..Load::default() };
    let joined = Joined { me, pepper: [3; 32], load, counters: Arc::default() };
    Settings { joined: Some(joined), tag_secret: Some([4; 32]), ..settings() }
}

#[test]
fn two_people_of_one_node_are_matched_as_if_there_were_no_other() {
    let mut world = World::with(joined(peer(1)));
    let call = world.talking();
    world.say(1, json!({ "t": "hangup", "call": call }));
    assert_eq!(world.hear(1, "ended")["by"], "self");
    assert_eq!(world.hear(2, "ended")["by"], "peer");
    [1, 2].iter().for_each(|who| world.leave(*who));
    world.assert_nothing_left();
    let bodies = world.said.iter().map(|(_, payload)| cluster::Envelope::decode(payload).unwrap().body);
    assert!(bodies.into_iter().all(|body| matches!(body, cluster::Body::Heartbeat(_))), "there is nobody to tell");
}

//! `relay upgrade` of one of several.

use super::*;
use crate::signalling::desk::hand_on::Handing;

const NOBODY: &dyn Fn(&Handle) -> bool = &|_| false;

impl Nodes {
    /// Another process takes this node over, in another life.
    fn upgrade(&mut self, node: usize) {
        self.lives[node] += 1;
        let settings = joined(peer(node, self.lives[node]));
        let world = &mut self.worlds[node];
        world.desk.hold(world.now);
        let packed = world.desk.pack(world.now, NOBODY).unwrap();
        world.desk.dismiss(world.now);
        world.collect();
        self.deliver();
        let world = &mut self.worlds[node];
        let (relay, counters) = (FakeRelay::default(), Arc::new(Counters::default()));
        let (own, known) = (Box::new(relay.clone()), Arc::clone(&counters));
        let desk = Desk::unpack(settings, own, [99; 32], known, &packed, world.now).unwrap();
        (world.desk, world.relay, world.counters) = (desk, relay, counters);
        self.pass(600);
    }

    fn resume(&mut self, node: usize, old: u64, new: u64, welcome: &Value) -> Value {
        let n = self.worlds[node].numbers.get(&old).copied().unwrap_or(0);
        self.worlds[node].numbers.insert(new, n);
        let key = json!({ "sid": welcome["sid"], "key": welcome["key"], "n": n });
        self.worlds[node].open(new);
        self.say(node, new, json!({ "t": "hello", "v": [1], "resume": key }));
        self.hear(node, new, "welcome")
    }
}

#[test]
fn who_waits_at_a_node_that_is_upgraded_keeps_their_seniority_and_is_matched_with_another_node() {
    for upgraded in 0..2 {
        let mut nodes = Nodes::new(2);
        let welcome = nodes.enter(upgraded, 1);
        nodes.queue(upgraded, 1, false);
        let since = nodes.worlds[upgraded].desk.waiting_of(Connection(1)).unwrap().since;
        nodes.pass(2_000);
        nodes.upgrade(upgraded);
        assert_eq!(nodes.worlds[upgraded].closed[&1], 1012);
        assert_eq!(nodes.resume(upgraded, 1, 11, &welcome)["resumed"]["state"], "queued");
        nodes.hear(upgraded, 11, "queued");
        assert_eq!(nodes.worlds[upgraded].desk.waiting_of(Connection(11)).unwrap().since, since);
        nodes.enter(1 - upgraded, 2);
        nodes.queue(1 - upgraded, 2, false);
        nodes.hear(upgraded, 11, "matched");
        nodes.hear(1 - upgraded, 2, "matched");
        nodes.assert_nothing_left();
    }
}

#[test]
fn calls_with_another_node_end_for_both_when_either_is_upgraded() {
    for upgraded in 0..2 {
        for host in 0..2 {
            let mut nodes = Nodes::new(2);
            if host == 1 {
                nodes.set_room(0, 0);
            }
            let call = nodes.talking();
            nodes.upgrade(upgraded);
            for (node, who) in [(0, 1), (1, 2)] {
                let ended = nodes.hear(node, who, "ended");
                assert_eq!(
                    (&ended["call"], &ended["why"], ended.get("requeued")),
                    (&json!(call), &json!("lost"), None)
                );
            }
            nodes.judge_together();
            nodes.assert_nothing_left();
        }
    }
}

#[test]
fn a_set_up_with_another_node_that_an_upgrade_finds_costs_nobody_their_seniority() {
    for upgraded in 0..2 {
        for host in 0..2 {
            let mut nodes = Nodes::new(2);
            if host == 1 {
                nodes.set_room(0, 0);
            }
            let mut welcomes = Vec::new();
            for (node, who) in [(0, 1), (1, 2)] {
                welcomes.push(nodes.enter(node, who));
                nodes.queue(node, who, false);
            }
            [(0, 1), (1, 2)].iter().for_each(|&(node, who)| _ = nodes.hear(node, who, "matched"));
            assert_eq!(
                nodes.worlds[0].desk.calls_in_set_up() + nodes.worlds[1].desk.calls_in_set_up(),
                2,
                "both wait for it"
            );
            nodes.upgrade(upgraded);
            for (node, who) in [(0, 1), (1, 2)] {
                assert_eq!(nodes.hear(node, who, "ended")["requeued"], true);
            }
            let back = nodes.resume(upgraded, upgraded as u64 + 1, 11, &welcomes[upgraded]);
            assert_eq!(back["resumed"]["state"], "queued");
            nodes.hear(1 - upgraded, 2 - upgraded as u64, "queued");
            nodes.judge_together();
            nodes.assert_nothing_left();
        }
    }
}

#[test]
fn while_a_node_is_held_nobody_of_it_is_matched_and_others_own_its_queues() {
    for owner in 0..3 {
        let mut nodes = Nodes::new(3).owned_by(owner);
        nodes.enter(0, 1);
        nodes.queue(0, 1, false);
        let world = &mut nodes.worlds[0];
        world.desk.hold(world.now);
        world.collect();
        nodes.deliver();
        nodes.enter(0, 3);
        nodes.queue(0, 3, false);
        nodes.enter(1, 2);
        nodes.queue(1, 2, false);
        nodes.pass(5_000);
        assert!(!nodes.worlds[1].heard(2, "matched") && !nodes.worlds[0].heard(1, "matched"));
        nodes.enter(2, 4);
        nodes.queue(2, 4, false);
        assert!(nodes.worlds[1].heard(2, "matched"), "others go on");
        let world = &mut nodes.worlds[0];
        assert!(world.desk.handing == Handing::Held);
        world.desk.go_on(world.now);
        world.collect();
        nodes.pass(1_500);
        assert!(nodes.worlds[0].heard(1, "matched") && nodes.worlds[0].heard(3, "matched"));
        nodes.judge_together();
        nodes.assert_nothing_left();
    }
}

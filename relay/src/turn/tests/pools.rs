//! What the calls of a pool have relayed.

use super::world::*;

#[test]
fn what_a_pools_calls_relayed_is_told_ten_calls_at_a_time() {
    let mut world = World::new(settings(), 2);
    for number in 0..10 {
        assert_eq!(world.shared.ledger.pool_traffic(), [], "after {number} calls");
        let (a, b) = world.call();
        world.shared.ledger.count_for(&a, "general");
        let (one, other) = (world.caller(a, 2 * number + 1), world.caller(b, 2 * number + 2));
        let (at, bt) = (world.allocate(&one), world.allocate(&other));
        assert_ne!(world.send(&one, bt, b"hello"), Out::Nothing);
        assert_ne!(world.send(&other, at, b"to you"), Out::Nothing);
        if number % 2 == 0 {
            // Some let go before their call ends.
            assert_eq!((world.refresh(&one, 0).code, world.refresh(&other, 0).code), (0, 0));
        }
        world.close(a);
    }
    let traffic = world.shared.ledger.pool_traffic();
    let told: Vec<_> = traffic.iter().map(|pool| (pool.name.as_str(), pool.packets, pool.bytes)).collect();
    assert_eq!(told, [("general", 20, 110)]);
    let (alice, bob) = (world.user("alice", 1), world.user("bob", 2));
    let (at, bt) = (world.allocate(&alice), world.allocate(&bob));
    assert_eq!((world.permit(&alice, bt), world.permit(&bob, at)), (0, 0));
    assert_ne!(world.send(&alice, bt, b"no call"), Out::Nothing);
    assert_eq!(world.refresh(&alice, 0).code, 0);
    assert_eq!(world.shared.ledger.pool_traffic(), traffic, "other allocations are nobody's pool");
}

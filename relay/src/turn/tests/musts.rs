//! Sentences of the RFCs that nothing else here says; `docs/rfc-musts.md` names them.

use super::world::*;
use crate::turn::*;
use crate::wire::Method;

/// RFC 8656 §7.2 step 8.
#[test]
fn an_even_port_that_is_not_to_be_had_gets_508() {
    let mut world = World::new(Settings { ports: 50_001..=50_002, ..settings() }, 1);
    let (first, second, third) = (world.user("alice", 1), world.user("bob", 2), world.user("carol", 3));
    let pair = world.ask(&first, Method::Allocate, |request| request.requested_transport(UDP).even_port(true));
    assert_eq!((pair.code, pair.token), (508, None), "50002 is even and has no port above it");
    let even = world.ask(&first, Method::Allocate, |request| request.requested_transport(UDP).even_port(false));
    assert_eq!((even.code, even.relayed.map(|relayed| relayed.port())), (0, Some(50_002)));
    let none = world.ask(&second, Method::Allocate, |request| request.requested_transport(UDP).even_port(false));
    assert_eq!((none.code, none.relayed), (508, None));
    assert_eq!(world.allocate(&third).port(), 50_001, "an odd one is left");
}

//! Two real browsers on two nodes.

use e2e::browser::{Driver, Microphone};

use super::*;
use crate::people::{meet_across, one_test_at_a_time};

#[test]
fn two_browsers_on_two_nodes_talk_over_one_relay() {
    let _turn = one_test_at_a_time();
    let (broker, driver) = (Broker::start(), Driver::start());
    let (a, b) = two(&broker);
    let chromium = || driver.browser(Microphone::Allowed);
    let (ana, ben) = meet_across([&a, &b], &chromium, &chromium);
    for person in [&ana, &ben] {
        let before = person.media();
        assert_eq!((&before["local"], &before["remote"]), (&json!("relay"), &json!("relay")), "{}", person.name);
        person.hears_more_than(&before);
    }
    assert_eq!((ana.page.text("#partner").as_str(), ben.page.text("#partner").as_str()), ("Ben", "Ana"));
    ana.types("hello over there");
    ben.reads("hello over there");
    ben.types("and hello back");
    ana.reads("and hello back");
    assert!(allocations(&a) >= 2, "the node that relays has both");
    ana.page.click("#hangup");
    ben.page.until("!document.querySelector('#screen-wish').hidden");
    assert_eq!(ben.page.text("#ended-note"), "Your partner hung up.");
}

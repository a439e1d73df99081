//! Nobody is passed over for ever: who comes more than P = 5 A + B = 19 s later is never preferred.

use super::{enqueue, man, steady, wait_until, woman};
use crate::matchmaking::{Level, Matchmaker, Ticket, TopicSet};

const P: u64 = 19_000;

/// Better-scored latecomers arrive for ever, one before every man; the old ticket is as far off as can be.
#[test]
fn a_stream_of_better_latecomers_delays_an_old_ticket_by_no_more_than_p() {
    let mut engine = Matchmaker::new(steady());
    let far = Ticket { level: Level::A1, topics: TopicSet(1), ..woman(0, 0) };
    assert_eq!(enqueue(&mut engine, 0, far), []);
    assert_eq!(wait_until(&mut engine, 10_000), []);
    let mut taken = None;
    for round in 1_u64..1000 {
        let now = 10_000 + round * 700;
        let better = Ticket { level: Level::C2, topics: TopicSet(2), ..woman(2 * round, now) };
        assert_eq!(enqueue(&mut engine, now, better), []);
        let man = Ticket { level: Level::C2, topics: TopicSet(2), ..man(2 * round + 1, now + 300) };
        let [(chosen, _)] = enqueue(&mut engine, now + 300, man)[..] else { panic!("everybody finds somebody") };
        if chosen == 0 {
            taken = Some(now);
            break;
        }
        assert!(now < P, "somebody {} ms younger was preferred", now);
    }
    assert!(taken.is_some_and(|now| (P..P + 700).contains(&now)), "{taken:?}");
}

/// The bound is exact: at P the older goes first, a millisecond earlier the better one does.
#[test]
fn the_bound_on_overtaking_is_exact() {
    for (younger_by, expected) in [(P - 1, 2), (P, 1), (P + 1, 1)] {
        let mut engine = Matchmaker::new(steady());
        enqueue(&mut engine, 0, Ticket { level: Level::A1, topics: TopicSet(1), ..woman(1, 0) });
        wait_until(&mut engine, younger_by);
        enqueue(&mut engine, younger_by, Ticket { level: Level::C2, topics: TopicSet(2), ..woman(2, younger_by) });
        let man = Ticket { level: Level::C2, topics: TopicSet(2), ..man(3, younger_by) };
        assert_eq!(enqueue(&mut engine, younger_by, man), [(expected, 3)], "younger by {younger_by}");
    }
}

#[test]
fn among_equals_the_older_goes_first_and_at_the_same_moment_the_earlier() {
    let mut engine = Matchmaker::new(steady());
    for (number, since) in [(1, 500), (2, 400), (3, 400), (4, 450)] {
        enqueue(&mut engine, 500, woman(number, since));
    }
    let order: Vec<u64> = (10..14).map(|number| enqueue(&mut engine, 500, man(number, 500))[0].0).collect();
    assert_eq!(order, [2, 3, 4, 1]);
}

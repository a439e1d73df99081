//! Every pair of two tickets in a small world: what the index decides is what the formula says.

use super::oracle::{Conjunct, Oracle, Waiting};
use super::{AGES, bucket_groups, pairs, steady, ticket};
use crate::matchmaking::arena::{Arena, Entry, Rank};
use crate::matchmaking::bucket::{Bucket, Masks};
use crate::matchmaking::index::Index;
use crate::matchmaking::policy::Avoided;
use crate::matchmaking::region::Region;
use crate::matchmaking::search::{Field, Found, Seeker, price, search};
use crate::matchmaking::{Band, Level, Matchmaker, Policy, Recent, Ticket, TopicMode, TopicSet, compatible};
use crate::time::Millis;

/// Genders and wishes, three levels, limits, modes, stages and topics: everything that buckets and lists distinguish.
fn world() -> Vec<Waiting> {
    let mut world = Vec::new();
    for (gender, wants) in bucket_groups() {
        for level in [Level::A1, Level::A2, Level::B1] {
            for max_distance in [0, 1, 2] {
                for topics in [TopicSet(0), TopicSet(1), TopicSet(1 << 63)] {
                    for topic_mode in [TopicMode::Prefer, TopicMode::Require] {
                        for stage in 0..4 {
                            let ticket =
                                Ticket { gender, wants, level, max_distance, topics, topic_mode, ..ticket(0, 0) };
                            world.push(Waiting { ticket, pool: 0, stage, order: 0 });
                        }
                    }
                }
            }
        }
    }
    world
}

fn bucket(waiting: &Waiting) -> Bucket {
    Bucket::new(waiting.ticket.gender, &waiting.ticket.criteria(), waiting.stage)
}

#[test]
fn every_two_tickets_are_compatible_if_and_only_if_the_formula_says_so() {
    let policy = Policy::default();
    let (masks, index, oracle) = (Masks::new(&policy), Index::default(), Oracle::new(policy.clone()));
    let world = world();
    let mut arena = Arena::default();
    for (at, waiting) in world.iter().enumerate() {
        let person = super::person(at as u64);
        let (id, topics, bucket) = (waiting.ticket.id, waiting.ticket.topics, bucket(waiting));
        arena.insert(Entry {
            rank: Rank::new(Millis(0), 0),
            person,
            id,
            topics,
            avoid: Box::default(),
            recent: 0,
            rule: Recent::Avoid,
            region: Region::default(),
            bucket,
        });
    }
    let field = Field { arena: &arena, index: &index, masks: &masks, policy: &policy };
    let mut fitting = 0;
    for (at, x) in world.iter().enumerate() {
        let x = Waiting { ticket: Ticket { person: super::person(9_999_999), ..x.ticket.clone() }, ..*x };
        let seeker = Seeker {
            bucket: bucket(&x),
            person: x.ticket.person,
            topics: x.ticket.topics,
            region: Region::default(),
            avoid: Avoided::default(),
        };
        for (other, y) in world.iter().enumerate().skip(at) {
            let ok = oracle.ok(&x, y);
            fitting += u64::from(ok);
            let price = price(field, &seeker, other as u32);
            let expected = ok.then(|| oracle.price(&x, y).0);
            assert_eq!(price.map(|(price, _)| price), expected, "{:?} {:?}", x.ticket, y.ticket);
            assert_eq!(compatible(&x.ticket, x.stage, &y.ticket, y.stage, &policy), ok);
        }
    }
    assert!(fitting > 100_000, "{fitting}");
}

#[test]
fn the_search_through_the_lists_finds_whom_the_formula_allows() {
    let policy = Policy::default();
    let (masks, oracle, world) = (Masks::new(&policy), Oracle::new(policy.clone()), world());
    // One waits, everybody else looks: each hundred-and-first waits in turn.
    for waiter in world.iter().step_by(101) {
        let (mut arena, mut index) = (Arena::default(), Index::default());
        let (id, person, topics, bucket) = (waiter.ticket.id, super::person(1), waiter.ticket.topics, bucket(waiter));
        let at = arena.insert(Entry {
            rank: Rank::new(Millis(0), 0),
            person,
            id,
            topics,
            avoid: Box::default(),
            recent: 0,
            rule: Recent::Avoid,
            region: Region::default(),
            bucket,
        });
        index.link(&mut arena, at);
        let field = Field { arena: &arena, index: &index, masks: &masks, policy: &policy };
        for x in &world {
            let seeker = Seeker {
                bucket: self::bucket(x),
                person: x.ticket.person,
                topics: x.ticket.topics,
                region: Region::default(),
                avoid: Avoided::default(),
            };
            let y = Waiting { ticket: Ticket { person, ..waiter.ticket.clone() }, ..*waiter };
            let expected = if oracle.ok(x, &y) { Found::Partner(at) } else { Found::Nobody };
            assert_eq!(search(field, &seeker, 10).0, expected, "{:?} {:?}", x.ticket, y.ticket);
        }
        index.unlink(&mut arena, at);
        assert_eq!(index.groups(), 0, "an empty index is empty");
    }
}

#[test]
fn two_tickets_in_a_queue_are_paired_if_and_only_if_the_formula_says_so() {
    let (now, oracle, world) = (100_000, Oracle::new(steady()), world());
    let mut engine = Matchmaker::new(steady());
    let aged = |waiting: &Waiting, number| {
        let Ticket { id, person, since, .. } = ticket(number, now - AGES[usize::from(waiting.stage)]);
        Waiting { ticket: Ticket { id, person, since, ..waiting.ticket.clone() }, ..*waiting }
    };
    for (at, y) in world.iter().enumerate() {
        // A different stride each time, so that in the end all kinds have met all kinds.
        for x in world.iter().skip(at % 199).step_by(199) {
            let (x, y) = (aged(x, 1), aged(y, 2));
            let ok = oracle.ok(&x, &y);
            for waiting in [&y, &x] {
                engine.enqueue(Millis(now), "general", waiting.ticket.clone()).unwrap();
            }
            assert_eq!(pairs(&mut engine), if ok { vec![(2, 1)] } else { vec![] }, "{:?} {:?}", x.ticket, y.ticket);
            engine.cancel(x.ticket.id);
            engine.cancel(y.ticket.id);
        }
    }
}

#[test]
fn bands_and_blocks_decide_in_the_formula_as_they_do_in_the_oracle() {
    let bands = [Band::B13_15, Band::B16_17, Band::Adult];
    for minor_bands_meet in [false, true] {
        let policy = Policy { minor_bands_meet, ..Policy::default() };
        let oracle = Oracle::new(policy.clone());
        for case in 0..36_usize {
            let (x_blocks, y_blocks) = (case / 9 % 2 == 1, case / 18 == 1);
            let one = |number: u64, band, blocks: bool| {
                let avoid =
                    if blocks { vec![super::person(3 - number), super::person(9)] } else { vec![super::person(9)] };
                Waiting { ticket: Ticket { band, avoid, ..ticket(number, 0) }, pool: 0, stage: 3, order: number }
            };
            let (x, y) = (one(1, bands[case % 3], x_blocks), one(2, bands[case / 3 % 3], y_blocks));
            let expected = oracle.ok(&x, &y);
            assert_eq!(compatible(&x.ticket, 3, &y.ticket, 3, &policy), expected, "{:?} {:?}", x.ticket, y.ticket);
            let mixed = (x.ticket.band == Band::Adult) != (y.ticket.band == Band::Adult);
            assert!(!(expected && (mixed || x_blocks || y_blocks)));
        }
    }
}

#[test]
fn nobody_meets_themselves() {
    let mut oracle = Oracle::new(Policy::default());
    let me = Waiting { ticket: ticket(1, 0), pool: 0, stage: 3, order: 0 };
    assert!(!oracle.ok(&me, &me) && !compatible(&me.ticket, 3, &me.ticket, 3, &oracle.policy));
    oracle.without = Some(Conjunct::DifferentPeople);
    assert!(oracle.ok(&me, &me), "nothing but that term says so");
    let mut engine = Matchmaker::new(steady());
    engine.enqueue(Millis(0), "general", ticket(1, 0)).unwrap();
    let twin = Ticket { id: crate::matchmaking::TicketId(2), ..ticket(1, 0) };
    for pool in ["general", "another"] {
        assert_eq!(engine.enqueue(Millis(0), pool, twin.clone()), Err(crate::matchmaking::Refused::DuplicatePerson));
    }
    assert_eq!(pairs(&mut engine), []);
}

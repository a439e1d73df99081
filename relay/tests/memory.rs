//! What an allocation costs in memory, and that the memory comes back. Kernel sockets are no part of it.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a test, which says what it measured

mod support;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use relay::matchmaking::{Band, Policy, Recent};
use relay::signalling::desk::{Connection, Desk};
use relay::signalling::token::{self, Key, Minter, Profile};
use relay::signalling::{Counters, NoRelay, desk};
use relay::time::{Millis, Now, Unix};
use support::{Client, Counting, World, live_bytes, resident_bytes};

#[global_allocator]
static HEAP: Counting = Counting;

/// One test at a time: the heap is everybody's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn fifty_thousand_idle_callers_with_their_channels_take_a_kibibyte_each_and_give_it_back() {
    const CALLS: u32 = 25_000;
    let _alone = alone();
    let mut world = World::new();
    world.call(CALLS); // what the first one needs is not what each one needs
    let (heap, resident) = (live_bytes(), resident_bytes());
    // Only the server's part of the clients is to be counted: they are made anew when they go.
    for number in 0..CALLS {
        drop(world.call(number));
    }
    let each = (live_bytes() - heap) / u64::from(2 * CALLS);
    let each_resident = (resident_bytes().saturating_sub(resident)) / u64::from(2 * CALLS);
    println!("a caller with a channel: {each} B of the heap, {each_resident} B resident");
    assert!(each <= 1024 && each_resident <= 1024, "{each} B of the heap, {each_resident} B resident");

    let handles: Vec<_> = (0..2 * CALLS).map(|number| handle_of(&world, number)).collect();
    for handle in handles {
        for (_, port) in world.shared.ledger.close(handle) {
            world.turn.handle_command(support::NOW, relay::turn::Command::Close(port));
        }
    }
    world.shared.routes.give_memory_back();
    relay::dataplane::give_heap_back();
    let (left, resident_left) = (live_bytes().saturating_sub(heap), resident_bytes().saturating_sub(resident));
    println!("after all are gone: {left} B of the heap, {resident_left} B resident");
    // The table of routes stays, since no reader of it takes a lock, but its pages do not.
    let routes = 65_536 * 192;
    assert!(left <= routes + (1 << 20), "{left} B of the heap");
    assert!(resident_left <= 8 << 20, "{resident_left} B resident");
}

fn handle_of(world: &World, number: u32) -> relay::calls::Handle {
    world.caller(number).handle // opening an open handle changes nothing
}

#[test]
fn ordinary_allocations_with_a_channel_take_less_than_three_kibibytes() {
    const USERS: u32 = 10_000;
    let _alone = alone();
    let mut world = World::new();
    let peer = "93.184.216.34:9000".parse().unwrap();
    let mut admit = |number| {
        let mut client = world.user(number);
        world.allocate(&mut client);
        world.bind(&client, peer);
    };
    admit(USERS);
    let (heap, resident) = (live_bytes(), resident_bytes());
    (0..USERS).for_each(admit);
    let each = (live_bytes() - heap) / u64::from(USERS);
    let each_resident = resident_bytes().saturating_sub(resident) / u64::from(USERS);
    println!("an ordinary allocation with a channel: {each} B of the heap, {each_resident} B resident");
    assert!(each <= 3072 && each_resident <= 3072, "{each} B of the heap, {each_resident} B resident");
}

/// 20 000 cycles, with LONG=1 a million. Each client's five-tuple is taken again the moment Refresh 0 is answered.
#[test]
fn coming_and_going_takes_no_memory() {
    let cycles = if std::env::var_os("LONG").is_some() { 1_000_000 } else { 20_000 };
    let _alone = alone();
    let mut world = World::new();
    let mut clients: Vec<Client> = (0..8).map(|number| world.caller(number)).collect();
    clients.extend((8..16).map(|number| world.user(number)));
    let mut cycle = |world: &mut World, n: usize| {
        let client = &mut clients[n % 16];
        world.allocate(client);
        world.free(client);
    };
    (0..6_000).for_each(|n| cycle(&mut world, n));
    let (heap, free) = (live_bytes(), world.shared.ports.free(relay::turn::AddressId(0)));
    (0..cycles).for_each(|n| cycle(&mut world, n));
    let now = live_bytes();
    println!("heap after 6 000 cycles {heap} B, after {cycles} more {now} B");
    // A few chunks of the route table are left to be made, when one of their ports is drawn first by a user; nothing else may grow.
    assert!(now <= heap + (1 << 20), "{heap} B before, {now} B after");
    assert_eq!(world.shared.ports.free(relay::turn::AddressId(0)), free, "ports in are ports out");
    assert_eq!(world.turn.counters().allocations(), 0);
}

#[test]
fn the_last_port_can_be_had_again_the_moment_refresh_0_is_answered() {
    let _alone = alone();
    let mut world = World::with_ports(50_000..=50_000);
    let (mut one, mut other) = (world.user(1), world.user(2));
    for _ in 0..3 {
        world.allocate(&mut one);
        world.free(&one);
        world.allocate(&mut other);
        assert_eq!(one.relayed, other.relayed, "there is no other port");
        world.free(&other);
    }
}

/// Two people every 150 ms who meet and leave, ever new ones, in virtual time. Recent partners are kept for half an hour, used tokens for
/// ten minutes; a table that takes more room for the holes of those who went does so within the three hours.
#[test]
fn with_ever_new_people_a_desk_holds_after_three_hours_what_it_held_after_forty_minutes() {
    const STEP_MS: u64 = 150;
    const HOUR: u64 = 3_600_000 / STEP_MS;
    let _alone = alone();
    let secret = b"thirty-two bytes or more for this";
    let token = token::Settings {
        issuer: "i".into(),
        audience: "a".into(),
        keys: vec![("k".into(), Key::hs256(secret).unwrap())],
        min_band: Band::Adult,
    };
    let settings = desk::Settings {
        matching: Policy { recent: Recent::Avoid, ..Policy::default() },
        ..desk::Settings::for_tokens(token)
    };
    let minter = Minter::hs256("k", secret, "i", "a");
    let counters = Arc::new(Counters::default());
    let mut desk = Desk::new(settings, Box::<NoRelay>::default(), [7; 32], Arc::clone(&counters));
    let (empty, mut held) = (live_bytes(), Vec::new());
    for step in 0..3 * HOUR {
        let mono = Millis(1_000 + step * STEP_MS);
        let now = Now { mono, unix: Unix(1_800_000_000 + mono.0 / 1_000), micros: 0 };
        for number in [2 * step, 2 * step + 1] {
            let token =
                minter.mint(now.unix, 300, &number.to_string(), &Profile::adult(format!("pseudonym-{number:08}")));
            desk.handle_open(now, Connection(number));
            desk.handle_frame(now, Connection(number), &format!(r#"{{"t":"hello","v":[1],"token":"{token}"}}"#));
            desk.handle_frame(now, Connection(number), r#"{"t":"queue"}"#);
        }
        for number in [2 * step, 2 * step + 1] {
            desk.handle_close(now, Connection(number));
        }
        while desk.poll_timeout().is_some_and(|at| at <= mono) {
            desk.handle_timeout(now);
        }
        while desk.poll_output().is_some() {}
        if (step + 1) % (HOUR / 12) == 0 {
            held.push((live_bytes() - empty) / 1024);
        }
    }
    assert_eq!(counters.matched(), 3 * HOUR);
    println!("KiB of the heap more than when empty, every five minutes: {held:?}");
    let (full, later) = held.split_at(8);
    let (before, most) = (full[7], later.iter().max().unwrap());
    assert!(*most <= before + before / 10, "from {before} KiB to {most} KiB");
}

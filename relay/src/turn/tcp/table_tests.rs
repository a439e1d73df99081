#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::auth::PersonHash;
use crate::routes::{AddressId, Connection, Transport};

const START: Millis = Millis(1_000);

fn table(seed: u8) -> Connections {
    Connections::new(Arc::new(Routes::new(&[])), [seed; 32])
}

fn port(n: u8) -> RelayedPort {
    RelayedPort { address: AddressId(0), port: 50_000 + u16::from(n) }
}

fn owner(n: u8) -> Identity {
    Identity::User(PersonHash(n.into()))
}

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([93, 184, 216, n], 80))
}

fn client() -> FiveTuple {
    let (local, remote) = (SocketAddr::from(([203, 0, 113, 7], 3478)), SocketAddr::from(([198, 51, 100, 1], 4000)));
    FiveTuple { listener: 0, transport: Transport::Tcp(Connection { worker: 0, number: 1 }), local, remote }
}

#[test]
fn each_worker_hears_of_its_own_overdue_connections_in_order() {
    let table = table(1);
    table.listen(port(0), 0, client(), owner(0));
    table.listen(port(1), 1, client(), owner(1));
    let late = table.begin(START.after(10), port(0), peer(2)).unwrap();
    let early = table.begin(START, port(0), peer(1)).unwrap();
    let other = table.begin(START, port(1), peer(1)).unwrap();
    let end = START.after(CONNECT_MILLIS);
    assert_eq!((table.next_end(0), table.next_end(1), table.next_end(2)), (Some(end), Some(end), None));
    assert_eq!(table.pop_overdue(0, Millis(end.0 - 1)), None);
    assert_eq!(table.pop_overdue(0, end).map(|it| it.id), Some(early));
    assert_eq!(table.pop_overdue(0, end), None);
    assert_eq!(table.pop_overdue(0, end.after(10)).map(|it| it.id), Some(late));
    assert_eq!(table.pop_overdue(1, end).map(|it| it.id), Some(other));
    assert!(table.is_empty());
}

#[test]
fn ids_are_not_to_be_guessed_from_one_another() {
    let table = table(2);
    table.listen(port(0), 0, client(), owner(0));
    let ids: Vec<u32> = (0..16).map(|n| table.begin(START, port(0), peer(n)).unwrap().0).collect();
    let steps: std::collections::BTreeSet<u32> = ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert_eq!(steps.len(), 15, "no two steps are alike");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: the bounds hold, the lists agree, nobody binds what is not theirs or twice, and
    /// in the end nothing is left.
    #[test]
    fn the_table_keeps_its_word(steps in prop::collection::vec((0..8u8, 0..3u8, any::<u8>()), 0..200)) {
        let table = table(3);
        let (mut now, mut known, mut bound) = (START, Vec::new(), std::collections::BTreeSet::new());
        for n in 0..3 {
            table.listen(port(n), 0, client(), owner(n));
        }
        for (step, n, any) in steps {
            let chosen: Option<(ConnectionId, u8)> = known.get(usize::from(any)).copied();
            match step {
                0 | 1 => known.extend(table.begin(now, port(n), peer(any)).ok().map(|id| (id, n))),
                2 => table.permit(port(n), peer(any).ip(), now.after(60_000), 4, now),
                3 => known.extend(table.admit(now, port(n), peer(any)).map(|(_, id)| (id, n))),
                4 => drop(chosen.and_then(|(id, _)| table.connected(now, id))),
                5 => if let Some((id, its)) = chosen && let Some(port_bound) = table.bind(id, owner(n)) {
                    prop_assert_eq!((its, port_bound), (n, port(n)));
                    prop_assert!(bound.insert(id), "bound twice");
                },
                6 => if let Some((id, _)) = chosen { table.ended(id) },
                _ => {
                    now = now.after(u64::from(any) * 200);
                    while table.pop_overdue(0, now).is_some() {}
                    prop_assert!(table.next_end(0).is_none_or(|end| end > now));
                }
            }
            prop_assert!(table.waiting() <= 3 * WAITING_OF_ONE_ALLOCATION);
            prop_assert!(table.len() <= 3 * CONNECTIONS_OF_ONE_ALLOCATION);
        }
        for n in 0..3 {
            table.close(port(n));
        }
        prop_assert_eq!((table.len(), table.waiting(), table.next_end(0)), (0, 0, None));
    }
}

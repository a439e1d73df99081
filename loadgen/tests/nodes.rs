//! A run over several nodes: callers go to each in turn, and past one where nobody is.
#![allow(clippy::unwrap_used)]

mod measure;
mod published;
mod small_server;

use std::net::TcpListener;

use loadgen::{report::json, runner::Address, verdict::judge};
use measure::ALIKE;
use small_server::{Faults, SmallServer};

const SHORT: &str = "[arrivals]\ncalls_per_second = 60\nwarmup = \"0s\"\nfor = \"1s\"\ndrain = \"1s\"\nspread = \"constant\"\n\
                     [hold]\nlength = \"exp:200ms\"\n[peer]\ndepth = \"signalling\"\n";

#[test]
fn callers_are_spread_over_the_nodes_that_answer_and_counted_where_they_are() {
    let second = SmallServer::start(Faults::default());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let others = vec![Address::parse(&second.url).unwrap(), Address::usual(nobody)];
    let scenario = format!("{SHORT}{ALIKE}block_share = 0\ntopics_share = 0\n");
    let run = measure::run_over(Faults::default(), &scenario, None, others);
    let nodes = run.book.by_node.as_ref().unwrap();
    let connected: Vec<u64> = nodes.rows.iter().map(|row| row.connected).collect();
    assert!(connected[0].abs_diff(connected[1]) <= 2 && connected[2] == 0, "{connected:?}");
    assert_eq!(nodes.total().connected, run.book.counts.callers);
    assert_eq!(nodes.rows[2].refused, 1, "nobody goes there again for a while");
    assert_eq!((nodes.total().lost, nodes.total().came_over), (0, 0));
    assert_eq!((nodes.same.calls_up, nodes.across.calls_up), (run.book.counts.calls_up, 0));
    assert_eq!(nodes.total().sides_up, 2 * run.book.counts.calls_up);
    assert!(run.book.counts.calls_up > 20 && run.book.violations.is_empty(), "{:?}", run.book.violations);

    assert!(
        measure::run(Faults::default(), &scenario, None).book.by_node.is_none(),
        "of one there is nothing to tell apart"
    );

    let result = json::render(&run, &judge(&run));
    assert_eq!(published::faults(json::PUBLISHED, &result), Vec::<String>::new());
    assert_eq!(result["nodes"]["rows"][0]["connected"], connected[0]);
    assert_eq!(result["nodes"]["same_node"]["setup"]["n"], run.book.counts.calls_up);
}

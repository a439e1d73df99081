//! A whole run in this process, against the small server. Tests make theirs beside each other: loads are small, and what
//! a busy machine may change no test asserts.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use loadgen::{
    report::Run,
    runner::{self, Address, Aim},
    scenario::Scenario,
    token::{Key, Minter},
};

use crate::small_server::{Faults, SmallServer};

/// People whom anybody may meet, so that first come, first matched breaks no rule.
pub(crate) const ALIKE: &str = "[peer.mix]\nlevels = [0, 0, 1, 0, 0, 0]\nbands = [0, 0, 1]\npicky_share = 0\n";

/// Runs `scenario`; `admin` is a metrics page that passes for that of a relay of our own.
pub(crate) fn run(faults: Faults, scenario: &str, admin: Option<SocketAddr>) -> Run {
    run_over(faults, scenario, admin, Vec::new())
}

/// The same where the server is the first of several.
pub(crate) fn run_over(faults: Faults, scenario: &str, admin: Option<SocketAddr>, others: Vec<Address>) -> Run {
    let server = SmallServer::start(faults);
    let scenario = Scenario::resolve(scenario, &[]).unwrap();
    let minter = Minter {
        kid: "k".into(),
        issuer: "i".into(),
        audience: "a".into(),
        key: Key::Hs256(vec![1; 32]),
        run: [7; 16],
    };
    let address = Address::parse(&server.url).unwrap();
    let (own, admin) = (admin.is_some(), admin.into_iter().collect());
    let aim = Aim { address, others, minter, turn: None, turn_only: None, server_pid: None, admin, own };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(runner::run(scenario, aim, false, |_| {})).unwrap()
}

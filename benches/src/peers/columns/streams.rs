//! Callers over TCP and TLS, each server beside itself over UDP in the same round.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::peers::bench::{Bench, Ready};
use crate::peers::callers_on_streams::certificate;
use crate::peers::servers::{Kind, Plan};

pub(super) fn tcp(bench: &mut Bench) -> Result<(), String> {
    let plan = bench.plan.clone();
    both(bench, &plan, None, ["tcp-paced", "tcp-limit"])
}

pub(super) fn tls(bench: &mut Bench) -> Result<(), String> {
    let (plan, config) = certificate(&bench.plan, bench.scratch)?;
    both(bench, &plan, Some(&config), ["tls-paced", "tls-limit"])
}

fn both(
    bench: &mut Bench,
    plan: &Plan,
    tls: Option<&Arc<ClientConfig>>,
    columns: [&'static str; 2],
) -> Result<(), String> {
    bench.column = columns[0];
    let over = if tls.is_some() { "TLS" } else { "TCP" };
    let fit = |kind: &&Kind| match kind {
        Kind::Relay | Kind::Coturn => true,
        Kind::TurnRs | Kind::External(_) => tls.is_none(),
        _ => false,
    };
    let kinds: Vec<Kind> = bench.kinds.iter().filter(fit).cloned().collect();
    let mut servers: Vec<Ready> = Vec::new();
    for kind in &kinds {
        let udp = bench.note(kind.name(), |bench| bench.prepare(kind, plan));
        let streams = bench.note(kind.name(), |bench| bench.prepare_streams(kind, plan, tls));
        for (ready, over) in [(udp, "UDP"), (streams, over)] {
            if let Some(mut ready) = ready {
                ready.name = format!("{}, {over}", kind.name());
                servers.push(ready);
            }
        }
    }
    super::paced::measure(bench, &mut servers, "")?;
    if !bench.arguments.quick {
        bench.column = columns[1];
        super::limit::measure(bench, &mut servers, "");
    }
    for kind in &kinds {
        let [udp, streams] = ["UDP", over].map(|over| format!("{}, {over}", kind.name()));
        for column in columns {
            bench.book.compare_one(column, &streams, "µs/packet", &udp, "ratio");
        }
    }
    Ok(())
}

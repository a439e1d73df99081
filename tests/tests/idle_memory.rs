//! What a connection that says nothing costs the daemon.

use e2e::vitals::memory_kib;
use e2e::{Caller, Claims, Daemon, report};

/// As many as descriptors of a test allow without asking for more, in the daemon and here.
const CONNECTIONS: usize = 2_000;
/// The bound of the design, per idle connection, in KiB.
const MOST_KIB: f64 = 16.0;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_caller_costs_at_most_sixteen_kib() {
    let daemon = Daemon::local().start();
    let enter =
        async |number: usize| Caller::connect(&daemon, &Claims::adult(&format!("idle{number}")).token()).await.0;
    let mut callers = Vec::new();
    // The first ones pay for what all of them share.
    for number in 0..100 {
        callers.push(enter(number).await);
    }
    let before = memory_kib(&daemon);
    for number in 0..CONNECTIONS {
        callers.push(enter(100 + number).await);
    }
    let each = memory_kib(&daemon).saturating_sub(before) as f64 / CONNECTIONS as f64;
    report("idle-memory.txt", &format!("an idle caller costs the daemon {each:.1} KiB ({CONNECTIONS} of them)"));
    assert!(each <= MOST_KIB, "{each:.1} KiB each");
}

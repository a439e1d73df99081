//! A proof for people to read.

use std::fmt::Write as _;

use super::checks::{Holds, Proof};

pub fn text(proof: &Proof) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(proof, &mut page);
    page
}

fn write_page(proof: &Proof, page: &mut String) -> std::fmt::Result {
    let daemon = &proof.daemon;
    let mode = &daemon.facts.sandbox;
    writeln!(
        page,
        "relay {}, process {}, sandbox.mode = \"{mode}\"\n\nWhat the kernel says",
        daemon.version, daemon.pid
    )?;
    for check in &proof.checks {
        let holds = match check.holds {
            Holds::Yes => "yes",
            Holds::No => "NO",
            Holds::Unknown => "?",
        };
        writeln!(page, "  {holds:<4} {}: {}", check.promise, check.seen)?;
    }
    if let Some(kept) = &daemon.kept {
        for missing in &kept.missing {
            writeln!(page, "  note this system has no {missing}")?;
        }
    }
    if proof.kernel.tasks.iter().any(|task| task.user == Some(0)) {
        writeln!(page, "  note it runs as root, without any capability; [sandbox] user names somebody else")?;
    }
    writeln!(page, "\nWhere each datum lives, and how long")?;
    for row in &proof.data {
        writeln!(
            page,
            "  {}\n      where     {}\n      how long  {}\n      told      {}",
            row.what, row.lives, row.how_long, row.told
        )?;
    }
    writeln!(page, "\nWhat may be said to users")?;
    for paragraph in &proof.privacy {
        writeln!(page, "  {paragraph}\n")?;
    }
    writeln!(
        page,
        "What this does not show: that the daemon is the program it says it is. A modified one could swap the keys callers\n\
         exchange; the safety code in both callers' apps reveals that, and nothing on this machine does.\n"
    )?;
    writeln!(
        page,
        "{}",
        if proof.proven { "proven: everything holds" } else { "NOT PROVEN: see the lines above that do not say yes" }
    )
}

//! The machine: its clock, its socket buffers, how many descriptors there may be.

use std::path::Path;
use std::process::Command;

use relay::config::Settings;

use super::Findings;

/// What listeners ask for, in bytes.
const WANTED_BUFFER: u64 = 4 << 20;
/// Beside sockets for clients: files, epolls, mailboxes.
const OWN_DESCRIPTORS: u64 = 256;
/// Descriptors that a server of many should have.
const COMFORTABLE: u64 = 65_536;

/// `proc` is where the system's numbers are: `/proc`.
pub(super) fn check(settings: &Settings, proc: &Path, found: &mut Findings) {
    clock(found);
    buffers(proc, found);
    descriptors(settings, proc, found);
}

fn clock(found: &mut Findings) {
    let said = Command::new("timedatectl").args(["show", "--property", "NTPSynchronized", "--value"]).output();
    let said = said.ok().filter(|output| output.status.success());
    match said.as_ref().map(|output| output.stdout.trim_ascii()) {
        Some(b"yes") => found.good("clock", "is kept right over the network"),
        Some(b"no") => found.bad(
            "clock",
            "nobody keeps this machine's clock right: time-limited credentials and tokens are refused too early or too late",
            "timedatectl set-ntp true, or install chrony",
        ),
        _ => found.unknown("clock", "there is no timedatectl to ask; compare `date -u` with another machine"),
    }
}

fn buffers(proc: &Path, found: &mut Findings) {
    const CHECK: &str = "socket buffers";
    let Some(most) =
        std::fs::read_to_string(proc.join("sys/net/core/rmem_max")).ok().and_then(|it| it.trim().parse::<u64>().ok())
    else {
        return found.unknown(CHECK, "net.core.rmem_max cannot be read");
    };
    if most >= WANTED_BUFFER {
        found.good(CHECK, format!("net.core.rmem_max is {most}, enough for bursts"));
    } else {
        found.warn(
            CHECK,
            format!(
                "net.core.rmem_max is {most}: a burst of some milliseconds fills the receive buffer and voice is lost"
            ),
            format!("sysctl -w net.core.rmem_max={WANTED_BUFFER} (and in /etc/sysctl.d), or grant CAP_NET_ADMIN"),
        );
    }
}

fn descriptors(settings: &Settings, proc: &Path, found: &mut Findings) {
    const CHECK: &str = "descriptor limit";
    let limits = std::fs::read_to_string(proc.join("self/limits")).unwrap_or_default();
    let hard = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().nth(1)?.parse::<u64>().ok());
    let Some(hard) = hard else { return found.unknown(CHECK, "cannot be read, or is unlimited") };
    // Each allocation of a user has a socket of its own; those of calls have none.
    let users = !settings.auth.users.is_empty() || !settings.auth.rest_secrets.is_empty();
    let most = u64::from(settings.limits.total_allocations) + OWN_DESCRIPTORS;
    let fix = "systemd: LimitNOFILE=1048576; elsewhere ulimit -Hn";
    if hard < 4 * OWN_DESCRIPTORS {
        found.bad(CHECK, format!("at most {hard} descriptors: a few hundred clients and it is over"), fix);
    } else if hard < COMFORTABLE.min(most) && users {
        found.warn(
            CHECK,
            format!("at most {hard} descriptors, and limits.total_allocations allows {most} sockets: clients beyond are refused (508)"),
            fix,
        );
    } else {
        found.good(CHECK, format!("{hard} descriptors"));
    }
}

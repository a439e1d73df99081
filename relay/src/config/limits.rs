//! The `[limits]` section: how much anybody gets. What is not written has its default; a rate of zero is no limit.

use ipnet::IpNet;

use super::file::Strings;
use super::problems::Collector;
use super::table::{At, Table};
use super::values::prefixes;

/// How much anybody gets. A rate of zero is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Prefixes without per-source limits.
    pub exempt: Vec<IpNet>,
    /// Answers to those who have not proved who they are, for each network and worker.
    pub unauthenticated_per_second: u32,
    /// Of them, at once after a pause.
    pub unauthenticated_burst: u32,
    /// What each side of a call may send.
    pub call: Rates,
    /// What each allocation of a user may send, and as much again may reach it from outside.
    pub user: Rates,
    /// Permissions of one allocation.
    pub allocation_permissions: u16,
    /// Channels of one allocation.
    pub allocation_channels: u16,
    /// Allocations of everybody together.
    pub total_allocations: u32,
    /// What everybody together may relay.
    pub total: Rates,
}

/// Packets, and bits of payload. Zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub packets_per_second: u32,
    pub bits_per_second: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            exempt: Vec::new(),
            unauthenticated_per_second: 200,
            unauthenticated_burst: 800,
            call: Rates { packets_per_second: 400, bits_per_second: 512_000 },
            user: Rates::default(),
            allocation_permissions: 1024,
            allocation_channels: 1024,
            total_allocations: 100_000,
            total: Rates::default(),
        }
    }
}

type Number = Option<At<u64>>;

#[derive(Debug, Default)]
pub(super) struct Written {
    exempt: Strings,
    unauthenticated_per_second: Number,
    unauthenticated_burst: Number,
    call: (Number, Number),
    user: (Number, Number),
    allocation_permissions: Number,
    allocation_channels: Number,
    total_allocations: Number,
    total: (Number, Number),
}

pub(super) fn read(table: &Table<'_>, found: &mut Collector) -> Written {
    let mut number = |key| table.number(key, found);
    let (per_second, burst) = (number("unauthenticated_per_second"), number("unauthenticated_burst"));
    let mut rates = |packets, bits| (number(packets), number(bits));
    let call = rates("call_packets_per_second", "call_bits_per_second");
    let user = rates("user_packets_per_second", "user_bits_per_second");
    let total = rates("total_packets_per_second", "total_bits_per_second");
    Written {
        unauthenticated_per_second: per_second,
        unauthenticated_burst: burst,
        call,
        user,
        total,
        allocation_permissions: table.number("allocation_permissions", found),
        allocation_channels: table.number("allocation_channels", found),
        total_allocations: table.number("total_allocations", found),
        exempt: table.strings("exempt", found),
    }
}

pub(super) fn limits(written: &Written, found: &mut Collector) -> Limits {
    let default = Limits::default();
    for (key, number) in
        [("total_allocations", &written.total_allocations), ("allocation_permissions", &written.allocation_permissions)]
    {
        if let Some(At { at, value: 0 }) = number {
            found.value(*at, format!("limits.{key} is 0: nobody could relay anything"));
        }
    }
    Limits {
        exempt: prefixes("limits.exempt", written.exempt.as_deref(), found),
        unauthenticated_per_second: number(&written.unauthenticated_per_second, default.unauthenticated_per_second),
        unauthenticated_burst: number(&written.unauthenticated_burst, default.unauthenticated_burst),
        call: rates(&written.call, default.call),
        user: rates(&written.user, default.user),
        allocation_permissions: number(&written.allocation_permissions, default.allocation_permissions),
        allocation_channels: number(&written.allocation_channels, default.allocation_channels),
        total_allocations: number(&written.total_allocations, default.total_allocations),
        total: rates(&written.total, default.total),
    }
}

fn rates((packets, bits): &(Number, Number), default: Rates) -> Rates {
    Rates {
        packets_per_second: number(packets, default.packets_per_second),
        bits_per_second: number(bits, default.bits_per_second),
    }
}

/// The bounds in [`read`] fit their types.
fn number<T: TryFrom<u64>>(written: &Number, default: T) -> T {
    written.as_ref().and_then(|it| T::try_from(it.value).ok()).unwrap_or(default)
}

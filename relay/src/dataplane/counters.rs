//! What a worker's sockets did, counted: one writer, any number of readers, no ordering between numbers.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread counts up and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Only the owning worker calls this, so a load and a store do instead of a locked instruction.
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// For what somebody else counts.
    pub(super) fn raise_to(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// For the few numbers that go down again.
    pub(super) fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $group:ident $name:ident),* $(,)?) => {
        /// Input and output of one worker, in datagrams unless the name says otherwise.
        /// Aligned so that two workers never share a cache line.
        #[repr(align(128))]
        #[derive(Debug, Default)]
        pub struct IoCounters {
            $($(#[$doc])* pub $name: Count,)*
        }

        impl IoCounters {
            /// Every datagram this worker's sockets lost, by reason. With the machine's own drops: all there are.
            pub fn drops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                self.group("drop")
            }

            /// Everything else, by name.
            pub fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                self.group("total")
            }

            fn group(&self, group: &'static str) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($group), stringify!($name), &self.$name)),*]
                    .into_iter()
                    .filter(move |(of, _, _)| *of == group)
                    .map(|(_, name, count)| (name, count.get()))
            }
        }
    };
}

counters! {
    /// Received from clients.
    total from_clients,
    /// Received by relayed sockets.
    total from_peers,
    /// Sent: relayed datagrams and replies.
    total sent,
    /// Times the worker went to sleep and woke up.
    total waits,
    /// recvmmsg calls.
    total receive_calls,
    /// sendmmsg calls.
    total send_calls,
    /// Naps taken to gather larger batches.
    total naps,
    /// Processor time the worker has used, as of its last look.
    total busy_micros,
    /// Relayed sockets open now.
    total relayed_sockets,
    /// Relayed sockets that could not be opened.
    total open_failures,
    /// Commands taken from the mailbox.
    total commands,
    /// Stream clients connected now.
    total streams,
    /// Read calls on streams.
    total stream_reads,
    /// Write calls on streams.
    total stream_writes,
    /// Relayed datagrams handed to the worker that owns the receiver's stream.
    total parcels,
    /// Streams closed because they were silent and had no allocation.
    total streams_idle,
    /// Streams closed because what they sent was neither STUN nor ChannelData.
    total streams_garbage,
    /// Streams closed because they did not read the answers to what they asked.
    total streams_unread,
    /// ICMP errors about datagrams that relayed sockets sent.
    total icmp_errors,
    /// Times a relayed socket was made deaf to ICMP errors because they were too many.
    total icmp_floods,
    /// Errors of receive calls. They lose nothing by themselves.
    total receive_errors,

    /// Lost by the kernel: the socket's receive buffer was full.
    drop receive_buffer_full,
    /// Longer than [`super::MAX_DATAGRAM_BYTES`].
    drop too_long,
    /// From an address family we never asked for.
    drop unknown_source,
    /// Send buffer or device queue full (EAGAIN, ENOBUFS, ENOMEM).
    drop send_buffer_full,
    /// ICMP said that nobody listens there (ECONNREFUSED).
    drop send_refused,
    /// No route (ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL and their like).
    drop send_unreachable,
    /// Larger than the path carries unfragmented (EMSGSIZE).
    drop send_too_large,
    /// A firewall of this machine or a missing right forbade it (EPERM, EACCES).
    drop send_forbidden,
    /// Any other error of a send call.
    drop send_failed,
    /// From newcomers, to a listener that a reload has taken away.
    drop listener_gone,
    /// The machine named a socket that this worker does not have.
    drop no_socket,
    /// The receiver's stream reads too slowly: the oldest data had to go.
    drop stream_slow,
    /// The receiver's stream was closed meanwhile.
    drop stream_gone,
    /// The worker that owns the receiver's stream has too much waiting.
    drop parcels_full,
}

impl IoCounters {
    /// Counts one datagram that a send call refused.
    pub(super) fn send_error(&self, error: &io::Error) {
        let count = match error.raw_os_error().unwrap_or(0) {
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => &self.send_buffer_full,
            libc::ECONNREFUSED => &self.send_refused,
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EADDRNOTAVAIL | libc::ENETDOWN | libc::EAFNOSUPPORT => {
                &self.send_unreachable
            }
            libc::EMSGSIZE => &self.send_too_large,
            libc::EPERM | libc::EACCES => &self.send_forbidden,
            _ => &self.send_failed,
        };
        count.add(1);
    }
}

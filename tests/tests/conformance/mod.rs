//! The conformance suite: every hostile case a TURN server meets, against the real daemon, over every transport where it
//! makes sense. A row is one function of a daemon and a transport; [`rows!`] makes a test of it for each transport, and
//! `aftermath` runs all of them twice on one daemon and looks at what is left.
//!
//! U, T, L: UDP, TCP, TLS over IPv4; 6: the same over IPv6. "own" is a test with a daemon of its own.
//!
//! | row | test | over |
//! |---|---|---|
//! | 1 P01 | `parsing::p01_runts_meet_silence` | U U6 |
//! | 2 P02 | `parsing::p02_wrong_lead_bits_meet_silence_or_the_end` | U T L U6 |
//! | 2, CVE-2020-6061 | `parsing::p02_http_in_a_datagram_meets_silence` | U U6 |
//! | 3 P03 | `parsing::p03_messages_without_the_cookie_meet_silence_or_the_end` | U T L U6 |
//! | 4 P04–P06 | `parsing::p04_p05_p06_lengths_that_lie_never_succeed` | U T L U6 |
//! | 5 P07, P10 | `parsing::p07_p10_attributes_that_overrun_never_succeed` | U T L U6 |
//! | 6 P08, P09 | `parsing::p08_p09_giants_are_survived` | U T L U6 |
//! | 7 P11 | `mutations::p11_mutations_are_survived_and_answered_with_less_than_four_times_their_size` | U T L U6 |
//! | 8 P12 | `parsing::p12_unknown_methods_do_not_succeed` | U T L U6 |
//! | 9 P13 | `parsing::p13_responses_meet_silence` | U T L U6 |
//! | 10 P14 | `parsing::p14_stray_indications_meet_silence` | U T L U6 |
//! | 11 P15, P16 | `parsing::p15_p16_unknown_required_attributes_are_listed_in_a_420` | U T L U6 |
//! | 12 P17 | `parsing::p17_unknown_optional_attributes_are_ignored` | U T L U6 |
//! | 13 P18 | `parsing::p18_a_send_with_an_unknown_required_attribute_is_not_relayed` | U T L |
//! | 14 P19 | `parsing::p19_a_wrong_fingerprint_meets_silence` | U T L U6 |
//! | 15 P20 | `parsing::p20_attributes_after_the_integrity_are_ignored` | U T L U6 |
//! | 16 P21 | `parsing::p21_of_two_peers_in_a_send_only_the_first_is_reached` | U T L |
//! | 17 P22, P23 | `parsing::p22_p23_malformed_values_are_400` | U T L U6 |
//! | 18 A01 | `authentication::a01_without_credentials_there_is_a_401_and_nothing_else` | all |
//! | 19 A02 | `authentication::a02_a_wrong_password_and_an_unknown_user_look_the_same` | U T L |
//! | 20 A03, A04 | `authentication::a03_a04_a_false_nonce_is_stale` | U T L U6 |
//! | 21 A05, A06 | `authentication::a05_a06_a_false_integrity_is_refused` | U T L |
//! | 22 A07, A08 | `authentication::a07_a08_missing_or_foreign_names_are_refused` | U T L |
//! | 23 A09, A10 | `authentication::a09_a10_hostile_strings_get_nowhere`, the log in `aftermath` | U T L |
//! | 24 A11, A12 | `authentication::a11_a12_a_replay_from_elsewhere_touches_nobody` | all |
//! | 25 A13 | `authentication::a13_another_account_on_the_same_five_tuple_is_441` | U T L |
//! | 26 A14 | `credentials::a14_a_bid_down_does_not_succeed` | U T L |
//! | 27 A15 | `authentication::a15_every_success_is_signed` | U T L U6 |
//! | 28 A16 | `credentials::a16_time_limited_credentials_are_checked_in_every_part` | U T L |
//! | 29 A17 | `credentials::a17_nonces_are_distinct_and_no_counter` | U T L |
//! | 30 L01 | `allocation::l01_a_transport_must_be_named_and_known` | U T L U6 |
//! | 31 L02, L03 | `allocation::l02_l03_a_second_allocate_is_437_and_a_repeated_one_gets_its_answer_again` | U T L U6 |
//! | 32 L04, L05 | `allocation::l04_l05_tokens_and_families_that_do_not_fit_are_refused` | U T L U6 |
//! | 33 L06 | `allocation::l06_lifetimes_are_clamped_both_ways` | U T L U6 |
//! | 34 L07, L08 | `allocation::l07_l08_without_an_allocation_there_is_437_and_refresh_zero_ends_one_at_once` | U T L U6 |
//! | 35 L09 | `allocation::l09_beyond_the_quota_of_a_user_there_is_486_and_freed_places_return` | own: U T L |
//! | 36 L10 | `allocation::l10_relayed_ports_are_random_and_in_range` | U T L U6 |
//! | 37 L11 | `allocation::l11_even_port_reserves_the_next_one_for_one_token` | U T L U6 |
//! | 38 L12, T14 | `allocation::l12_t14_clients_that_vanish_over_tcp_and_tls_leak_nothing` | own: T L |
//! | 39 D01–D11 | `policy::d01_d11_denied_ipv4_ranges_are_403_by_every_method` | U T L |
//! | 40 D12–D30 | `policy::d12_d30_…` on IPv6 and on IPv4 allocations | all |
//! | 41 D40 | `policy::d40_one_denied_peer_in_a_request_lets_none_of_them_in` | U T L |
//! | 42 D41 | `policy::d41_a_peer_of_the_other_family_is_443` | U T L U6 |
//! | 43 D42, D43 | `policy::d42_own_listeners_are_never_peers`, `policy::d43_a_live_relayed_address_…` | all |
//! | 44 D44 | `policy::d44_connect_and_connection_bind_reach_nobody` | U T L |
//! | 44 D44 | `policy::d44_connect_on_a_tcp_allocation_is_403_for_every_denied_address` | own: T L T6 L6 |
//! | 45 C01, C02 | `channels::c01_c02_numbers_out_of_range_are_400` | U T L U6 |
//! | 46 C03, C04 | `channels::c03_c04_a_number_keeps_its_peer_and_a_peer_its_number` | U T L |
//! | 47 C05–C08 | `channels::c05_…`, `channels::c06_c07_c08_…` of datagrams and of streams | U T L |
//! | 48 C09, C10 | `channels::c09_c10_every_length_is_framed_right_and_padded_with_zeros` | U T L |
//! | 49 M01–M04 | `permissions::m01_m02_…`, `permissions::m03_…`, `permissions::m04_…` | U T L |
//! | 50 M05 | `permissions::m05_permissions_and_channels_are_capped_and_do_not_slow_each_other_down` | U T L |
//! | 51 X01–X03 | `reflection::x01_…` (all), `reflection::x02_…` (U T L), `reflection::x03_…` (own: U) | |
//! | 52 X04, X05 | `floods::x04_…`, `floods::x05_…`; honest clients over all | own: U |
//! | 53 T01, T02, T13 | `streams::t01_t02_…`, `streams::t13_…` | T L T6 L6 |
//! | 54 T03, T04, T10 | `streams::t03_t04_t10_other_protocols_are_shown_out` | T L T6 L6 |
//! | 55 T05, T06, T12 | `streams::t05_t06_t12_half_open_connections_are_closed_…`; `--long`: `streams::t05_a_silent_…` | own: T L |
//! | 56 T07 | `streams::t07_a_client_that_breaks_off_is_freed` | T L T6 L6 |
//! | 57 T08 | `streams::t08_forty_megabytes_to_a_dead_reader_are_bounded_and_it_may_come_back` | own: T L |
//! | 58–60 | `--long`: `expiry::permissions_end_after_301_s_…`; with a fake clock: `relay/src/turn/tests` | own: U T L |
//! | F1 | `faults::crash::f01_after_kill_nine_under_load_it_is_back_and_nobody_reaches_a_wrong_peer` | own: U T L |
//! | F3 | `faults::crash::f03_a_full_disk_under_the_log_hinders_no_relaying` | own: all |
//! | F4 | `faults::exhaustion::f04_without_descriptors_there_is_508_old_sessions_live_and_nothing_spins` | own: U T L |
//! | F5 | `faults::exhaustion::f05_with_ten_ports_the_eleventh_is_508_and_a_freed_one_is_given_again` | own: U T L |
//! | F7 | `--long`: `faults::clock::f07_…`; with a fake clock: `relay/src/auth/tests` | own: U |
//! | F8 | beside this suite: `relay/tests/daemon.rs` (`check_names_every_problem_…`, `a_broken_file_starts_nothing`) | |
//! | F9 | beside this suite: `streams::sighup_reads_the_certificate_again_and_connections_that_exist_go_on` | L |
//! | F10 | `--long`, root: `faults::memory::f10_in_64_megabytes_a_flood_meets_the_caps_and_not_the_oom_killer` | own: all |
//! | F11 | `faults::network::f11_through_loss_…` (U), `faults::network::f11_over_an_mtu_of_1280_…` (all) | own |
//! | F12 | `faults::network::f12_a_storm_of_icmp_…` (U T L), `faults::network::f12_an_address_that_disappears_…` (U) | own |
//! | all | `aftermath::the_whole_pack_twice_leaves_a_daemon_that_serves_is_no_larger_and_has_written_nothing_personal` | own: all |

/// The transport of that name.
macro_rules! transport {
    (udp) => {
        e2e::raw::Transport::Udp
    };
    (tcp) => {
        e2e::raw::Transport::Tcp
    };
    (tls) => {
        e2e::raw::Transport::Tls
    };
    (udp6) => {
        e2e::raw::Transport::Udp6
    };
    (tcp6) => {
        e2e::raw::Transport::Tcp6
    };
    (tls6) => {
        e2e::raw::Transport::Tls6
    };
}

/// `rows! { name on udp tcp; … }` makes the tests `name::udp` and `name::tcp` of `fn name(&Daemon, Transport)`, and the list
/// `ROWS` that `aftermath` runs on one daemon.
macro_rules! rows {
    ($($name:ident on $($transport:ident)+;)+) => {
        $(
            mod $name {
                $(
                    #[test]
                    fn $transport() {
                        super::$name(&super::super::daemon(), transport!($transport));
                    }
                )+
            }
        )+
        pub(super) const ROWS: &[super::Row] =
            &[$(super::Row { name: stringify!($name), run: $name, on: &[$(transport!($transport)),+] }),+];
    };
}

mod aftermath;
mod allocation;
mod authentication;
mod channels;
mod credentials;
mod expiry;
mod faults;
mod floods;
mod mutations;
mod parsing;
mod permissions;
mod policy;
mod reflection;
mod streams;

use e2e::Daemon;
use e2e::daemon::Builder;
use e2e::raw::Transport;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One case of the table.
struct Row {
    name: &'static str,
    run: fn(&Daemon, Transport),
    on: &'static [Transport],
}

/// The network of peers that the policy allows; the rest of loopback is denied as everywhere.
const PEERS: &str = "127.9.0.1";

/// Every transport, two users, two kinds of time-limited credentials; peers only in the network of [`PEERS`].
const SETTINGS: &str = "
listen = { udp = ['127.0.0.1:0', '[::1]:0'], tcp = ['127.0.0.1:0', '[::1]:0'], tls = ['127.0.0.1:0', '[::1]:0'] }
relay = { addresses = ['127.0.0.1', '::1'], workers = 2 }
auth = { users = { bob = 'quite another secret' }, rest_secrets = ['the newest rest secret', 'the rest secret before it'] }
access = { allow_peers = ['127.9.0.0/16'], user_allocations = 10000 }
";

fn settings() -> Builder {
    Daemon::local().set(SETTINGS).with_certificate()
}

/// The daemon that rows share while at least one of them is running.
fn daemon() -> Arc<Daemon> {
    static SHARED: Mutex<Weak<Daemon>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let daemon = Arc::new(settings().start());
        *shared = Arc::downgrade(&daemon);
        daemon
    })
}

/// A peer outside the relay that it may reach, and its address.
fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((PEERS, 0)).unwrap();
    socket.set_read_timeout(Some(e2e::PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next datagram at a peer, and where it came from.
fn heard(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65536];
    let (length, from) = peer.recv_from(&mut buffer).expect("a datagram at the peer");
    (buffer[..length].to_vec(), from)
}

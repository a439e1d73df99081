//! F1 and F3: the process is killed; nothing can be written.

use super::{heard, peer, settings};
use e2e::daemon::Builder;
use e2e::raw::client::channel_data;
use e2e::raw::{Client, Got, Transport};
use e2e::vitals::metric;
use e2e::{Daemon, eventually};
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

/// Fixed ports below those the kernel gives away, so that the relay comes back where it was.
fn at_fixed_ports() -> Builder {
    let free = |port: &u16| {
        UdpSocket::bind(("127.0.0.1", *port)).is_ok()
            && (0..3).all(|n| TcpListener::bind(("127.0.0.1", *port + n)).is_ok())
    };
    let port = (20_000..30_000).step_by(10).find(free).expect("three free ports");
    settings().set(&format!(
        "listen = {{ udp = ['127.0.0.1:{port}'], tcp = ['127.0.0.1:{}'], tls = ['127.0.0.1:{}'] }}",
        port + 1,
        port + 2
    ))
}

fn signal(daemon: &Daemon, signal: &str) {
    assert!(Command::new("kill").args([signal, &daemon.id().to_string()]).status().unwrap().success());
}

#[test]
fn f01_after_kill_nine_under_load_it_is_back_and_nobody_reaches_a_wrong_peer() {
    let settings = at_fixed_ports();
    let mut daemon = settings.clone().start();
    let (outside, outside_at) = peer();
    let mut clients: Vec<Client> = [Transport::Udp, Transport::Tcp, Transport::Tls]
        .map(|on| {
            let (mut client, _) = Client::allocated(&daemon, on);
            assert_eq!(client.bind(0x4000, outside_at), 0);
            client
        })
        .into();
    let load = |clients: &mut [Client]| {
        for client in clients {
            client.send_on(0x4000, b"load");
        }
    };
    (0..200).for_each(|_| load(&mut clients));
    heard(&outside);
    signal(&daemon, "-KILL");
    (0..200).for_each(|_| load(&mut clients));
    eventually("the end of the process", || (!daemon.process().is_running()).then_some(()));
    drop(daemon);
    outside.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    while outside.recv(&mut [0; 16]).is_ok() {}

    let start = Instant::now();
    let daemon = settings.start();
    eprintln!("ready again after {:?}", start.elapsed());
    let (_, streams) = clients.split_first_mut().unwrap();
    for client in streams {
        assert_eq!(client.link.receive(e2e::PATIENCE), Got::Closed, "a connection ends with the process");
    }
    // Somebody else is there now, with the same channel number.
    let (theirs, theirs_at) = peer();
    let (mut newcomer, _) = Client::allocated(&daemon, Transport::Udp);
    assert_eq!(newcomer.bind(0x4000, theirs_at), 0);
    let survivor = &mut clients[0];
    survivor.say(&channel_data(0x4000, b"for whom?", false)).is_silence("data for an allocation that is gone");
    assert!(outside.recv(&mut [0; 16]).is_err(), "data of an allocation that is gone reached its old peer");
    // It finds out, and starts anew: 438 for the nonce, 437 for the allocation.
    assert_eq!(survivor.refresh(600), 438);
    survivor.fetch_challenge();
    assert_eq!(survivor.refresh(600), 437);
    survivor.allocate(1);
    assert_eq!(survivor.bind(0x4000, outside_at), 0);
    survivor.send_on(0x4000, b"again");
    newcomer.send_on(0x4000, b"newcomer");
    assert_eq!((heard(&outside).0, heard(&theirs).0), (b"again".to_vec(), b"newcomer".to_vec()));
}

/// `/dev/full` is a disk without room for a byte; a pipe nobody reads any more is the other way to lose a log.
#[test]
fn f03_a_full_disk_under_the_log_hinders_no_relaying() {
    for (what, shell) in
        [("full", "exec \"$@\" 2>/dev/full"), ("closed", "exec \"$@\" 2>&-"), ("broken", "exec \"$@\" 2> >(exec true)")]
    {
        let mut daemon = settings().argument("--log=trace").under(&["bash", "-c", shell, "bash"]).start();
        let (outside, outside_at) = peer();
        let (mut client, _) = Client::allocated(&daemon, Transport::Udp);
        assert_eq!(client.bind(0x4000, outside_at), 0);
        for round in 0..3 {
            // The certificate is read again, and the log has something to say about it.
            signal(&daemon, "-HUP");
            std::thread::sleep(Duration::from_millis(50));
            client.send_on(0x4000, what.as_bytes());
            assert_eq!(heard(&outside).0, what.as_bytes(), "round {round}");
        }
        super::super::floods::honest_clients_are_served(&daemon, &format!("with a {what} log"));
        assert!(daemon.process().is_running());
        let lost = metric(&daemon, "relay_log_lines_lost_total", "");
        assert_eq!(lost > 0, what != "closed", "{lost} lines lost on a {what} log");
        assert_eq!(client.refresh(0), 0);
        assert_eq!(daemon.process().stop(), Some(0), "a {what} log is no reason to end badly");
    }
}

//! F10: little memory and a flood. Root only: it takes a control group.

use super::super::floods::honest_clients_are_served;
use super::settings;
use e2e::raw::Transport;
use e2e::raw::client::UDP;
use e2e::raw::message::method;
use e2e::raw::{Ask, Client};
use e2e::vitals::memory_kib;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};

const LIMIT_BYTES: &str = "67108864";

/// A control group of our own, removed when dropped.
struct Group(PathBuf);

impl Group {
    /// Of whichever version the machine has.
    fn make() -> Group {
        let (root, limit) = if Path::new("/sys/fs/cgroup/memory").exists() {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            ("/sys/fs/cgroup", "memory.max")
        };
        let path = Path::new(root).join(format!("e2e-hostile-{}", std::process::id()));
        let fix = "run as root on a machine with memory control groups";
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("no control group: {error}. Fix: {fix}"));
        let group = Group(path);
        std::fs::write(group.0.join(limit), LIMIT_BYTES).unwrap_or_else(|error| panic!("{error}. Fix: {fix}"));
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "needs root; tests/run.sh --long"]
fn f10_in_64_megabytes_a_flood_meets_the_caps_and_not_the_oom_killer() {
    let group = Group::make();
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", group.0.display());
    let daemon =
        settings().set("limits.exempt = ['127.0.0.0/16', '::1/128']").under(&["sh", "-c", &enter, "sh"]).start();
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", daemon.id())).unwrap();
    assert!(groups.contains("e2e-hostile-"), "it runs outside its control group: {groups}");
    let to = Transport::Udp.listener(&daemon);
    let mut memory = Vec::new();
    for round in 0..3 {
        let strangers: Vec<UdpSocket> = (0..500u16)
            .map(|n| UdpSocket::bind((Ipv4Addr::new(127, 5, round, 1 + n as u8 % 200), 0)).unwrap())
            .collect();
        let connections: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(daemon.tcp()).unwrap()).collect();
        // As much as an account can ask for: allocations with their sockets, full of permissions.
        let mut members: Vec<Client> = (0..500).map(|_| Client::challenged(&daemon, Transport::Udp)).collect();
        for member in &mut members {
            member.allocate(1);
            let many = (0..100u8)
                .fold(Ask::request(method::CREATE_PERMISSION), |ask, n| ask.peer(([8, 8, round, n], 9).into()));
            assert_eq!(member.code(many), 0);
        }
        for _ in 0..20 {
            for socket in &strangers {
                socket.send_to(&Ask::request(method::ALLOCATE).transport(UDP).bytes(), to).unwrap();
            }
        }
        honest_clients_are_served(&daemon, "in 64 MB");
        memory.push(memory_kib(&daemon));
        drop((connections, members));
    }
    eprintln!("memory after each round: {memory:?} KiB");
    assert!(memory.iter().all(|kib| *kib < 60 * 1024));
    drop(daemon);
}

//! Our TURN client, sockets and media thread against coturn: allocate, permit, bind, fifty packets a second each way
//! between two allocations, refresh to zero. Needs coturn's `turnserver`.
#![allow(clippy::unwrap_used)]

use std::{
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use loadgen::{
    media::{Mail, Media, Window, packet::StreamId, sockets::Source},
    peer::{
        stun::View,
        turn::{Credential, Event, TurnClient},
    },
    time::{Clock, Nanos},
};
use tokio::sync::mpsc::{self, Receiver};

const CHANNEL: u16 = 0x4000;

struct Coturn {
    child: Child,
    address: SocketAddr,
}

impl Coturn {
    fn start() -> Coturn {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = address.port().to_string();
        let child = Command::new("turnserver")
            .args(["-n", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli", "--log-file", "stdout", "--lt-cred-mech"])
            .args(["--listening-ip", "127.0.0.1", "--listening-port", &port, "--relay-ip", "127.0.0.1"])
            .args(["--realm", "r", "--user", "u:p", "--allow-loopback-peers", "--pidfile", ""])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("turnserver, of Debian's package coturn, is needed");
        Coturn { child, address }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A caller reduced to its TURN client.
struct Client<'a> {
    media: &'a Media,
    clock: Clock,
    server: SocketAddr,
    source: Source,
    letters: Receiver<Mail>,
    turn: TurnClient,
}

impl<'a> Client<'a> {
    fn new(media: &'a Media, clock: Clock, server: SocketAddr, number: u32) -> Client<'a> {
        let (mailbox, letters) = mpsc::channel(32);
        let source = media.attach(number, server, mailbox).unwrap();
        let credential = Credential { username: "u".into(), password: "p".into() };
        Client { media, clock, server, source, letters, turn: TurnClient::new(credential, [number as u8; 12]) }
    }

    /// Runs the machine until it has something to say.
    fn event(&mut self) -> Event {
        loop {
            while let Some(bytes) = self.turn.poll_transmit() {
                let _ = self.media.send(&self.source, &bytes, self.server);
            }
            if let Some(event) = self.turn.poll_event() {
                return event;
            }
            match self.letters.try_recv() {
                Ok(Mail::Datagram { at, bytes }) => self.turn.handle_message(at, &View::parse(&bytes).unwrap()),
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            self.turn.handle_timeout(self.clock.now());
        }
    }
}

#[test]
fn two_clients_talk_through_coturn_without_loss() {
    let coturn = Coturn::start();
    let clock = Clock::start();
    let media = Media::start(clock, Window { from: Nanos::ZERO, until: Nanos(u64::MAX) }, false).unwrap();
    let mut clients = [1, 2].map(|number| Client::new(&media, clock, coturn.address, number));
    let relayed = [0, 1].map(|who| {
        let client = &mut clients[who];
        client.turn.allocate(clock.now());
        let Event::Allocated { relayed, .. } = client.event() else { panic!("no allocation") };
        relayed
    });
    for who in 0..2 {
        let client = &mut clients[who];
        client.turn.permit(clock.now(), relayed[1 - who]);
        assert!(matches!(client.event(), Event::Permitted { .. }));
        client.turn.bind(clock.now(), CHANNEL, relayed[1 - who]);
        assert!(matches!(client.event(), Event::Bound { channel: CHANNEL, .. }));
        let stream = StreamId { call: 77, side: who as u8 };
        media.hear(client.source.key(), CHANNEL, stream.partner());
    }
    for (who, client) in clients.iter().enumerate() {
        media.talk(client.source.key(), client.server, CHANNEL, StreamId { call: 77, side: who as u8 });
    }
    std::thread::sleep(Duration::from_secs(2));
    for client in &clients {
        media.hush(client.source.key());
    }
    for client in &mut clients {
        assert!(matches!(client.letters.blocking_recv(), Some(Mail::FirstVoice { .. })));
        let Some(Mail::Account(account)) = client.letters.blocking_recv() else { panic!("no account") };
        assert!((90..=110).contains(&account.sent), "{account:?}");
        assert_eq!(account.summary.lost + account.summary.duplicates, 0, "{account:?}");
        assert!(u64::from(account.sent).abs_diff(account.heard_up_to) <= 2, "{account:?}");
        client.turn.free(clock.now());
        assert_eq!(client.event(), Event::Freed);
    }
    assert_eq!(media.counters().foreign.load(Ordering::Relaxed), 0);
    assert_eq!(media.counters().corrupt.load(Ordering::Relaxed), 0);
    let measured = media.stop().unwrap();
    eprintln!(
        "lateness p90 {:?} ms, one-way p50 {:?} ms",
        measured.lateness.percentile_millis(90.0),
        measured.delay.percentile_millis(50.0)
    );
}

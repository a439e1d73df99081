//! The media thread beside an echo.
#![allow(clippy::unwrap_used)]
use std::net::SocketAddr;

use tokio::sync::mpsc;

use super::{
    super::{MAILBOX, Media, packet::StreamId},
    *,
};

/// Returns every datagram to its sender, which a caller hears as its partner if the streams are swapped.
fn echo() -> (SocketAddr, thread::JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if length == 4 {
                return;
            }
            socket.send_to(&buffer[..length], from).unwrap();
        }
    });
    (address, thread)
}

#[test]
fn fifty_packets_a_second_leave_and_come_back_whole() {
    let (server, thread) = echo();
    let everything = Window { from: Nanos::ZERO, until: Nanos(u64::MAX) };
    let media = Media::start(Clock::start(), everything, false).unwrap();
    let (mailbox, mut letters) = mpsc::channel(MAILBOX);
    let source = media.attach(1, server, mailbox).unwrap();
    let stream = StreamId { call: 5, side: 0 };
    media.hear(source.key(), 0x4000, stream);
    media.talk(source.key(), server, 0x4000, stream);
    thread::sleep(Duration::from_millis(400));
    media.hush(source.key());
    assert!(matches!(letters.blocking_recv(), Some(Mail::FirstVoice { .. })));
    let Some(Mail::Account(account)) = letters.blocking_recv() else { panic!("no account") };
    assert!((10..=30).contains(&account.sent), "{account:?}");
    assert!(account.summary.received + 1 >= u64::from(account.sent), "{account:?}");
    media.send(&source, b"stop", server).unwrap();
    thread.join().unwrap();
    let measured = media.stop().unwrap();
    assert_eq!(measured.lateness.len(), u64::from(account.sent));
    assert_eq!(media.counters().foreign.load(Ordering::Relaxed), 0);
}

#[test]
fn control_datagrams_reach_their_caller_and_foreign_media_is_counted() {
    let (server, thread) = echo();
    let everything = Window { from: Nanos::ZERO, until: Nanos(u64::MAX) };
    let media = Media::start(Clock::start(), everything, false).unwrap();
    let (mailbox, mut letters) = mpsc::channel(MAILBOX);
    let source = media.attach(2, server, mailbox).unwrap();
    media.hear(source.key(), 0x4000, StreamId { call: 5, side: 1 });
    let mut foreign = [0; packet::LEN];
    packet::write(&mut foreign, 0x4000, StreamId { call: 6, side: 1 }, 0, 0);
    media.send(&source, &foreign, server).unwrap();
    media.send(&source, b"\x01\x01 control", server).unwrap();
    let Some(Mail::Datagram { bytes, .. }) = letters.blocking_recv() else { panic!("no datagram") };
    assert_eq!(&*bytes, b"\x01\x01 control");
    media.send(&source, b"stop", server).unwrap();
    thread.join().unwrap();
    media.stop();
    assert_eq!(media.counters().foreign.load(Ordering::Relaxed), 1);
}

#[test]
fn an_answer_that_overtakes_its_attachment_is_not_lost() {
    let (server, thread) = echo();
    let media = Media::start(Clock::start(), Window { from: Nanos::ZERO, until: Nanos(u64::MAX) }, false).unwrap();
    let mut waiting = Vec::new();
    for number in 0..2_000 {
        let (mailbox, letters) = mpsc::channel(MAILBOX);
        let source = media.attach(number, server, mailbox).unwrap();
        if number < 40 {
            // Busy sending, the thread looks at its commands once a step.
            media.talk(source.key(), server, 0x4000, StreamId { call: u64::from(number), side: 0 });
        }
        media.send(&source, b"\x01\x01 request", server).unwrap();
        waiting.push((source, letters));
        if number % 10 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    thread::sleep(Duration::from_millis(200));
    let unanswered = waiting.iter_mut().filter_map(|(_, letters)| letters.try_recv().err()).count();
    media.send(&waiting[0].0, b"stop", server).unwrap();
    thread.join().unwrap();
    media.stop();
    assert_eq!(unanswered, 0);
}

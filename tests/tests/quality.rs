//! What the relay says of the streams of calls, against what was really sent: impaired by `loadgen`'s own network, counted and timed by
//! its own receiver.

use e2e::vitals::metric;
use e2e::voice::{CHANNEL, Voice, rtp, talk};
use e2e::{Caller, Daemon, eventually, report};
use loadgen::media::impair::{Impairment, Profile};
use loadgen::stats::reception::{Reception, Summary};
use loadgen::time::Nanos;
use serde_json::{Value, json};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_millis(20);
const PACKETS: u16 = 1_000;
/// Jitter that is not the sender's: the relay reads its clock once for all packets that one wake-up finds, and this machine's threads wake up
/// when they can. In milliseconds.
const FLOOR_MS: f64 = 1.5;

/// When which packets come out of a network like that.
fn schedule(profile: &str, seed: u64) -> Vec<(Nanos, u16)> {
    let mut network = Impairment::new(profile.parse::<Profile>().unwrap(), seed, 1);
    let mut arrivals: Vec<_> = (0..PACKETS)
        .flat_map(|number| {
            let sent = Nanos(FRAME.as_nanos() as u64 * u64::from(number));
            network.arrivals(sent, 92).into_iter().flatten().map(move |at| (at, number))
        })
        .collect();
    arrivals.sort_by_key(|(at, _)| *at);
    arrivals
}

/// What a receiver makes of packets that come then.
fn received(packets: impl Iterator<Item = (Nanos, u16)>) -> Summary {
    let mut reception = Reception::default();
    for (at, number) in packets {
        reception.handle(number, FRAME.as_nanos() as u64 * u64::from(number), at.0);
    }
    reception.summary()
}

/// Sends them then; what a receiver next to the sender would have made of it.
fn send(mut voice: e2e::raw::Client, schedule: Vec<(Nanos, u16)>) -> JoinHandle<Summary> {
    thread::spawn(move || {
        let start = Instant::now();
        received(schedule.into_iter().map(|(at, number)| {
            thread::sleep(Duration::from_nanos(at.0).saturating_sub(start.elapsed()));
            voice.send_on(CHANNEL, &rtp(number));
            (Nanos(start.elapsed().as_nanos() as u64), number)
        }))
    })
}

/// The word of quality that knows of so many packets of this side and of its partner's.
async fn told(caller: &mut Caller, your: &Summary, their: &Summary) -> Value {
    loop {
        let said = caller.at_last("quality").await;
        let knows = |side: &str, sent: &Summary| said[side]["up"]["packets"] == json!(sent.expected);
        if knows("your", your) && knows("their", their) {
            return said;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_the_uplink_are_those_of_what_was_sent_and_the_side_is_named_right() {
    let daemon = Daemon::local().start();
    let grid = ["0", "1%", "3%", "10%"]
        .into_iter()
        .flat_map(|loss| ["0ms", "20ms", "80ms"].into_iter().map(move |jitter| format!("loss={loss},jitter={jitter}")));
    let profiles: Vec<_> = grid.chain(["loss=3%,jitter=20ms,reorder=2%,dup=2%".to_owned()]).collect();
    let mut calls = Vec::new();
    for (profile, seed) in profiles.iter().zip(1..) {
        let (mut ana, mut ben) =
            (Voice::enter(&daemon, &format!("ana{seed}")).await, Voice::enter(&daemon, &format!("ben{seed}")).await);
        let call = talk(&mut ana, &mut ben).await;
        let schedules = [schedule(profile, seed), schedule("loss=0", 0)];
        let counts = schedules.each_ref().map(|schedule| received(schedule.iter().copied()));
        let [bad, good] = schedules;
        let senders = [send(ana.turn, bad), send(ben.turn, good)];
        let told = tokio::spawn(async move {
            let (mut ana, mut ben) = (ana.caller, ben.caller);
            let said = tokio::join!(told(&mut ana, &counts[0], &counts[1]), told(&mut ben, &counts[1], &counts[0]));
            ana.request(json!({ "t": "hangup", "call": call })).await;
            said
        });
        calls.push((profile, senders, told));
    }
    let mut table =
        String::from("network of one side: lost of sent, jitter in ms as sent and as told; of the other side\n");
    let count = calls.len() as u64;
    for (profile, senders, told) in calls {
        let (ana, ben) = told.await.unwrap();
        let [bad, good] = senders.map(|sender| sender.join().unwrap());
        assert_eq!((&ana["your"], &ana["their"]), (&ben["their"], &ben["your"]), "both are told the same");
        let line = |sent: &Summary, up: &Value| {
            let (jitter, heard) = (sent.jitter.as_secs_f64() * 1e3, up["jitter_ms"].as_f64().unwrap());
            (
                format!("{}/{} {jitter:.1} {heard:.1}", up["missing"], up["packets"]),
                (jitter - heard).abs() <= jitter * 0.1 + FLOOR_MS,
            )
        };
        let ((first, near), (second, also_near)) = (line(&bad, &ana["your"]["up"]), line(&good, &ana["their"]["up"]));
        table += &format!("{profile}: {first}; {second}\n");
        for (sent, up) in [(&bad, &ana["your"]["up"]), (&good, &ana["their"]["up"])] {
            let counts = [&up["packets"], &up["missing"], &up["reordered"]];
            assert_eq!(counts, [&json!(sent.expected), &json!(sent.lost), &json!(sent.reordered)], "{table}");
        }
        assert!(near && also_near, "{table}");
    }
    report("quality.txt", &table);
    eventually("each side to be counted", || {
        (metric(&daemon, "relay_call_uplink_loss_ratio_count", "") == 2 * count).then_some(())
    });
    assert_eq!(metric(&daemon, "relay_call_leg_rtt_seconds_count", ""), 0, "nobody checked anything");
}

/// A connectivity check by its looks.
fn check(class: u8, transaction: u8) -> Vec<u8> {
    let mut message = vec![class, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    message.extend([transaction; 12]);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn the_round_trip_is_that_of_the_leg_whose_end_answers_and_the_downlink_is_what_its_end_reports() {
    const AWAY: Duration = Duration::from_millis(80);
    let daemon = Daemon::local().start();
    let (mut ana, mut ben) = (Voice::enter(&daemon, "ana").await, Voice::enter(&daemon, "ben").await);
    let call = talk(&mut ana, &mut ben).await;
    ana.turn.send_on(CHANNEL, &check(0, 7));
    assert_eq!(ben.turn.expect_data().payload, check(0, 7));
    thread::sleep(AWAY);
    ana.turn.send_on(CHANNEL, &check(0, 7)); // sent again, and not counted from here
    ben.turn.send_on(CHANNEL, &check(1, 7));
    ben.turn.send_on(CHANNEL, &check(1, 8)); // nobody asked
    for number in 0..100 {
        ana.speak(number);
        ben.speak(number);
        thread::sleep(FRAME);
    }
    ben.caller.request(json!({ "t": "heard", "call": call, "lost": 2.5, "jitter_ms": 9 })).await;
    let said = loop {
        let said = ana.caller.at_last("quality").await;
        if said["their"]["down"].is_object() {
            break said;
        }
    };
    let (your, their) = (&said["your"]["up"], &said["their"]["up"]);
    assert_eq!(
        (&your["rtt_ms"], &your["mos"], &said["your"]["down"]),
        (&Value::Null, &Value::Null, &Value::Null),
        "{said}"
    );
    let round_trip = their["rtt_ms"].as_u64().unwrap();
    assert!((80..80 + 60).contains(&round_trip), "{said}");
    assert_eq!(their["profile"], "g711-plc");
    assert_eq!(said["their"]["down"], json!({ "lost": 2.5, "jitter_ms": 9 }));
    ana.caller.request(json!({ "t": "hangup", "call": call })).await;
    eventually("the leg to be counted", || {
        (metric(&daemon, "relay_call_leg_rtt_seconds_count", "") == 1).then_some(())
    });
    assert_eq!(metric(&daemon, "relay_call_mos_count", ""), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_quality_off_the_first_voice_is_noticed_and_nothing_else() {
    let daemon = Daemon::local().set("[calls]\nquality = false").start();
    let (mut ana, mut ben) = (Voice::enter(&daemon, "ana").await, Voice::enter(&daemon, "ben").await);
    let call = talk(&mut ana, &mut ben).await;
    for number in 0..400 {
        ana.speak(number);
        ben.speak(number);
        thread::sleep(FRAME);
    }
    ana.caller.request(json!({ "t": "hangup", "call": call })).await;
    loop {
        let said = ana.caller.next().await.unwrap();
        assert_ne!(said["t"], "quality", "{said}");
        if said["t"] == "ended" {
            break;
        }
    }
    assert_eq!(metric(&daemon, "relay_call_audible_seconds_count", ""), 1);
    for family in ["uplink_loss_ratio", "uplink_jitter_seconds", "leg_rtt_seconds", "mos"] {
        assert_eq!(metric(&daemon, &format!("relay_call_{family}_count"), ""), 0, "{family}");
    }
}

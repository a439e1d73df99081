//! People who are matched and talk over a broker leave nothing in it: neither in its memory nor on its disk.

use e2e::memory;
use e2e::raw::Login;
use e2e::voice::{Voice, Ways};

use super::*;

/// Calls, so that much of what was said is there to be found.
const CALLS: usize = 5;

/// Root may read the broker's memory.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_people_of_two_nodes_is_in_the_memory_or_on_the_disk_of_the_broker() {
    let broker = Broker::start();
    let (a, b) = two(&broker);
    let (mut marks, mut met) = (vec![b"CANARY".to_vec(), KEY.as_bytes().to_vec()], Vec::new());
    for number in 0..CALLS {
        let names = ["ana", "ben"].map(|name| format!("CANARY{name}{number:06}"));
        let enter = |daemon: &Daemon, name: &str| {
            let (ways, claims) = (Ways::straight(daemon), Claims::adult(name));
            async move { Voice::enter_by(ways, &claims).await }
        };
        let (mut ana, mut ben) = (enter(&a, &names[0]).await, enter(&b, &names[1]).await);
        let call = if number % 2 == 0 { talk(&mut ana, &mut ben).await } else { talk(&mut ben, &mut ana).await };
        hear_each_other(&mut ana, &mut ben);
        for (from, says, hears) in [(0, &mut ana, &mut ben)] {
            let words = format!("CANARYwords{from}{number:06}");
            says.caller.send(json!({ "t": "text", "call": call.id, "k": 1, "b": words })).await;
            let text = hears.caller.at_last("text").await;
            assert_eq!(text["b"], words.as_str());
            marks.push(text["tag"].as_str().unwrap().as_bytes().to_vec());
        }
        for voice in [&ana, &ben] {
            let Login { user, password } = &voice.turn.login;
            marks.extend([user, password].map(|it| it.as_bytes().to_vec()));
            marks.extend(
                [&voice.welcome["sid"], &voice.welcome["key"]].map(|it| it.as_str().unwrap().as_bytes().to_vec()),
            );
            marks.push(voice.relayed.to_string().into_bytes());
        }
        marks.push(call.id.clone().into_bytes());
        // What a description has in it.
        marks.extend([b"a=ice-ufrag".to_vec(), b"a=fingerprint".to_vec()]);
        marks.extend(names.iter().map(|name| relay::matchmaking::entry(&format!("{name:_<16}")).to_vec()));
        ana.caller.send(json!({ "t": "block", "call": call.id })).await;
        ended(&mut ben).await;
        met.push((ana, ben));
    }
    // What is looked for can be found: subjects are there to be read.
    match memory::search(broker.id(), &[b"relay.v1.match".to_vec()]) {
        Ok(found) => assert_eq!(found.len(), 1, "the search looks in the wrong place"),
        Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    let found = memory::search(broker.id(), &marks).unwrap();
    assert!(found.is_empty(), "in the broker's memory: {found:?}");
    let files: Vec<_> = std::fs::read_dir(broker.directory()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(files, ["nats.conf"], "it wrote nothing");
    for log in [broker.log(), a.log(), b.log()] {
        assert!(!log.contains("CANARY"), "{log}");
    }
    for daemon in [&a, &b] {
        let (page, seen) = (http::get(daemon.admin(), "/metrics").body, http::get(daemon.admin(), "/v1/cluster").body);
        assert!(!page.contains("CANARY") && !seen.contains("CANARY"));
    }
}

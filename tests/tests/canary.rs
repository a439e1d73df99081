//! Marked people call each other on a daemon that logs all it can; then everything it leaves behind is searched for the marks.

use e2e::raw::message::method;
use e2e::raw::{Ask, Client, Link, Login, Transport};
use e2e::voice::{ANSWER, OFFER, Voice, Ways, rtp};
use e2e::{Caller, Claims, Daemon, eventually, http, memory};
use serde_json::json;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where marked datagrams come from.
const HOME: Ipv4Addr = Ipv4Addr::new(127, 113, 201, 77);

/// Allocations of others, enough for every worker.
const OTHERS: usize = 16;

/// What was said to the daemon, and must not be found again.
#[derive(Default)]
struct Marks(Vec<(&'static str, String)>);

impl Marks {
    fn add(&mut self, what: &'static str, mark: impl ToString) -> String {
        let mark = mark.to_string();
        self.0.push((what, mark.clone()));
        mark
    }

    /// As they lie in memory, last the address in binary, in both orders of bytes.
    fn bytes(&self) -> Vec<Vec<u8>> {
        let words = self.0.iter().map(|(_, mark)| mark.as_bytes().to_vec());
        words.chain([HOME.octets().to_vec(), HOME.to_bits().to_le_bytes().to_vec()]).collect()
    }

    fn name(&self, index: usize) -> &'static str {
        self.0.get(index).map_or("an address in binary", |(what, _)| what)
    }

    fn are_absent_from(&self, place: &str, text: &str) {
        for (what, mark) in &self.0 {
            assert!(!text.contains(mark.as_str()), "{what} in {place}: …{}…", around(text, mark));
        }
    }
}

fn around<'t>(text: &'t str, mark: &str) -> &'t str {
    let at = text.find(mark).unwrap_or(0);
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    text[line..].lines().next().unwrap_or_default()
}

fn marked_sdp(sdp: &str, mark: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some(("a=ice-ufrag", _)) => format!("a=ice-ufrag:{mark}\r\n"),
        _ if line.starts_with("o=") => format!("o={mark} 1 1 IN IP4 {HOME}\r\n"),
        _ if line.starts_with("s=") => format!("s={mark}\r\n"),
        _ => format!("{line}\r\n"),
    };
    sdp.lines().map(line).collect()
}

async fn marked(daemon: &Daemon, name: &'static str, marks: &mut Marks) -> Voice {
    let claims = Claims::adult(&marks.add("a pseudonym and a card", format!("CANARY{name}")));
    let claims = claims.with("jti", marks.add("a token's number", format!("CANARYjti{name}")).into());
    marks.add("a token", claims.token());
    let ways = Ways { source: HOME.into(), ..Ways::straight(daemon) };
    let voice = Voice::enter_by(ways, &claims).await;
    for (what, key) in [("a session", "sid"), ("a resume key", "key")] {
        marks.add(what, voice.welcome[key].as_str().unwrap());
    }
    marks.add("a TURN user", &voice.turn.login.user);
    marks.add("a TURN password", &voice.turn.login.password);
    marks.add("a client's port", format!("{HOME}:{}", voice.turn.link.local().port()));
    voice
}

/// A call with everything in it that a call can have.
async fn call(daemon: &Daemon, marks: &mut Marks) {
    let (mut ana, mut ben) = (marked(daemon, "ana", marks).await, marked(daemon, "ben", marks).await);
    let (offer, answer) = (marks.add("an offer", "CANARYoffer"), marks.add("an answer", "CANARYanswer"));
    let offer = json!({ "gen": 1, "sdp": marked_sdp(OFFER, &offer) });
    ana.caller.send(json!({ "t": "queue", "topics": [1], "offer": offer })).await;
    ana.caller.expect("queued").await;
    ben.caller.send(json!({ "t": "queue" })).await;
    let matched = ben.caller.matched().await;
    ana.caller.matched().await;
    let call = marks.add("a call", matched["call"].as_str().unwrap());
    ben.caller.send(json!({ "t": "answer", "call": call, "gen": 1, "sdp": marked_sdp(ANSWER, &answer) })).await;
    ana.caller.expect("answer").await;
    let (at, port) = (ana.relayed, ana.turn.link.local().port());
    let line = format!("candidate:1 1 udp 1 {} {} typ relay raddr {HOME} rport {port}", at.ip(), at.port());
    ana.caller.send(json!({ "t": "cand", "call": call, "gen": 1, "c": line })).await;
    let bad = format!("candidate:{} 1 udp 1 {HOME} 5 typ host", marks.add("a candidate", "CANARYcand"));
    ana.caller.send(json!({ "t": "cand", "call": call, "gen": 1, "c": bad })).await;
    assert_eq!(ana.caller.at_last("error").await["code"], "E_CAND");
    let payload = marks.add("media", "CANARYmedia");
    let packet = [&rtp(0)[..12], payload.as_bytes()].concat();
    ana.turn.send_to(ben.relayed, &packet);
    assert_eq!(ben.turn.expect_data().payload, packet);
    for voice in [&mut ana, &mut ben] {
        voice.caller.send(json!({ "t": "ice", "call": call, "s": "connected" })).await;
    }
    ana.caller.at_last("connected").await;
    let words = marks.add("a text", "CANARYwords");
    ana.caller.send(json!({ "t": "text", "call": call, "k": 1, "b": words })).await;
    let tag = ben.caller.at_last("text").await["tag"].clone();
    marks.add("a tag", tag.as_str().unwrap());
    let note = marks.add("a note", "CANARYnote");
    let evidence = json!([{ "k": 1, "b": words, "tag": tag }]);
    ben.caller.send(json!({ "t": "report", "call": call, "cat": "other", "note": note, "ev": evidence })).await;
    assert_eq!(ben.caller.at_last("error").await["code"], "E_REPORT_RETRY", "nobody takes it here");
    ben.caller.send(json!({ "t": "block", "call": call })).await;
    ana.caller.at_last("ended").await;
    // One says goodbye, the other one breaks off.
    ben.caller.close().await;
}

/// What an idle moment leaves on stacks and in buffers is overwritten by the next who come: allocations, and a call.
async fn others(daemon: &Daemon, round: u64) {
    for _ in 0..OTHERS {
        let (mut client, relayed) = Client::allocated(daemon, Transport::Udp);
        assert_eq!(client.bind(0x4000, relayed), 0);
        client.send_on(0x4000, b"not marked");
        client.expect_data();
        assert_eq!(client.refresh(0), 0);
    }
    let mut pair = Vec::new();
    for name in ["one", "two"] {
        // Somebody new each time: who has just talked does not meet again.
        let claims = Claims::adult(&format!("other-{name}-{round}"));
        pair.push(Voice::enter_by(Ways::straight(daemon), &claims).await);
        pair.last_mut().unwrap().caller.send(json!({ "t": "queue" })).await;
    }
    for voice in &mut pair {
        voice.caller.matched().await;
    }
    for voice in pair {
        voice.caller.close().await;
    }
}

/// Everything that is answered with an error; the answers.
async fn errors(daemon: &Daemon, marks: &mut Marks) -> Vec<String> {
    let mut answers = Vec::new();
    let paths = ["/CANARYpath", "/v1/ws?token=CANARYquery", "/v1/CANARYpath/x", "/v1/subjects/CANARYwho"];
    marks.add("a path", "CANARYpath");
    marks.add("a query", "CANARYquery");
    marks.add("a subject", "CANARYwho");
    for server in [daemon.signalling(), daemon.admin()] {
        answers.extend(paths.map(|path| http::get(server, path).body));
        let mark = marks.add("a body", "CANARYbody");
        for path in ["/v1/revoke", "/v1/calls", "/v1/drain", "/demo/token"] {
            answers.push(http::post(server, path, &json!({ "unknown": mark, "sub": 5 })).body);
        }
    }
    http::post(daemon.admin(), "/v1/revoke", &json!({ "sub": marks.add("a revoked one", "CANARYrevoked") }));
    marks.add("an origin", "CANARYorigin");
    let foreign = Caller::open(daemon, Some("https://CANARYorigin.example")).await;
    answers.push(format!("{}", foreign.err().unwrap()));
    for frame in ["CANARYgarbage", r#"{"t":"CANARYgarbage"}"#, r#"{"t":"hello","v":[1],"token":"CANARYgarbage"}"#] {
        let mut caller = Caller::open(daemon, None).await.unwrap();
        caller.send_text(frame).await;
        answers.push(caller.next().await.unwrap().to_string());
    }
    marks.add("garbage", "CANARYgarbage");
    let stranger = Login::new(&marks.add("an unknown user", "CANARYuser"), &marks.add("a password", "CANARYpass"));
    let mut client = Client::over(Link::udp_from(HOME.into(), daemon.turn()), stranger);
    client.fetch_challenge();
    let answer = client.ask(Ask::request(method::ALLOCATE).transport(17));
    assert_eq!(answer.code(), 401);
    answers.push(String::from_utf8_lossy(answer.bytes()).into_owned());
    client.link.send(b"CANARYgarbage that is no STUN");
    answers
}

/// Files that the process may write to, and bytes it has sent towards a disk.
fn disk(daemon: &Daemon) -> (Vec<String>, u64) {
    let process = format!("/proc/{}", daemon.id());
    let descriptors = std::fs::read_dir(format!("{process}/fd")).unwrap();
    let targets = descriptors.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let files = targets.map(|target| target.display().to_string()).filter(|target| target.starts_with('/'));
    let io = std::fs::read_to_string(format!("{process}/io")).unwrap();
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    // The gauges of its own pressure are read-only.
    let kept = files.filter(|file| file != "/dev/null" && !file.starts_with("/proc/"));
    (kept.collect(), written.parse().unwrap())
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Sessions that broke off are held for 15 seconds, in case somebody comes back.
async fn the_memory_forgets(daemon: &Daemon, marks: &Marks) {
    let bytes = marks.bytes();
    let (mut found, start) = (Vec::new(), Instant::now());
    while start.elapsed() < Duration::from_secs(40) {
        found = match memory::search(daemon.id(), &bytes) {
            Ok(found) => found,
            // Another user is refused by the kernel: that is what keeps the memory from everybody but root.
            Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        };
        if found.is_empty() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
            assert!(status.contains("VmSwap:\t       0 kB"), "{status}");
            return;
        }
        others(daemon, start.elapsed().as_secs()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let found: Vec<_> = found.iter().map(|(index, place)| format!("{}: {place}", marks.name(*index))).collect();
    panic!("still in memory:\n{}", found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_people_say_or_are_is_found_in_logs_metrics_error_pages_memory_or_on_the_disk() {
    let mut daemon = Daemon::local().argument("--log=trace").env("RUST_LOG", "trace").start();
    let directory = daemon.authority().parent().unwrap().to_owned();
    let before = names_in(&directory);
    // Reading a file that is new writes down when it was read, which the kernel counts for who read it: its configuration, at the start.
    let (_, at_start) = disk(&daemon);
    let mut marks = Marks::default();
    marks.add("an address", HOME);
    let in_binary = marks.bytes();
    if let Ok(found) = memory::search(daemon.id(), &in_binary) {
        assert!(found.is_empty(), "the address is there by chance: {found:?}");
    }
    call(&daemon, &mut marks).await;
    let answers = errors(&daemon, &mut marks).await;
    for answer in &answers {
        marks.are_absent_from("an error", answer);
    }
    marks.are_absent_from("the metrics", &http::get(daemon.admin(), "/metrics").body);
    let (files, written) = disk(&daemon);
    assert!(files.is_empty(), "open files: {files:?}");
    assert_eq!(written, at_start, "bytes sent to a disk");
    assert_eq!(names_in(&directory), before);
    the_memory_forgets(&daemon, &marks).await;
    // What would make a core file of any other process, or wake a handler of such.
    daemon.signal(libc::SIGABRT);
    eventually("the end", || (!daemon.process().is_running()).then_some(()));
    assert!(names_in(Path::new(".")).iter().all(|name| !name.starts_with("core")), "a core file");
    assert_eq!(names_in(&directory), before);
    let log = daemon.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG") || log.contains("INFO"), "it does log: {log}");
    marks.are_absent_from("the log", &log);
}

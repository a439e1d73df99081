//! Two generators, one run: each takes its share of the schedule, and the merge is what one generator would have measured.
#![allow(clippy::unwrap_used)]

mod small_server;

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use loadgen::{
    book::Timed,
    merge,
    report::{Run, json, table},
    rules::Violation,
    runner::{self, Address, Aim, Manner},
    scenario::Scenario,
    slice::{Moment, Share},
    stats::latency::Distribution,
    token::{Key, Minter},
    verdict::{Word, judge},
};
use serde_json::{Value, json};
use small_server::{Faults, SmallServer};

const SCENARIO: &str = "[arrivals]\ncalls_per_second = 25\nwarmup = \"500ms\"\nfor = \"3s\"\ndrain = \"2s\"\n\
    [hold]\nlength = \"exp:400ms\"\n[peer.mix]\nlevels = [0, 0, 1, 0, 0, 0]\nbands = [0, 0, 1]\n\
    picky_share = 0\ntopics_share = 0\nblock_share = 0\n";

fn generate(url: &str, share: Share) -> Run {
    let minter = Minter {
        kid: "k".into(),
        issuer: "i".into(),
        audience: "a".into(),
        key: Key::Hs256(vec![1; 32]),
        run: [share.slice.number as u8; 16],
    };
    let address = Address::parse(url).unwrap();
    let aim = Aim {
        address,
        minter,
        turn: None,
        turn_only: None,
        server_pid: None,
        admin: Vec::new(),
        others: Vec::new(),
        own: false,
    };
    let manner = Manner { share: Some(share), ..Manner::default() };
    let scenario = Scenario::resolve(SCENARIO, &[]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(runner::run_as(scenario, aim, manner, false, |_| {})).unwrap()
}

/// Two generators at the same time against one server.
fn two_slices() -> [Run; 2] {
    let server = SmallServer::start(Faults::default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start_at = Moment((now + Duration::from_millis(1500)).as_millis() as u64);
    let threads = [1, 2].map(|number| {
        let url = server.url.clone();
        thread::spawn(move || generate(&url, Share { slice: format!("{number}/2").parse().unwrap(), start_at }))
    });
    threads.map(|thread| thread.join().unwrap())
}

fn as_json(run: &Run) -> Value {
    let text = json::render(run, &judge(run)).to_string();
    serde_json::from_str(&text).unwrap()
}

fn join(slices: &[Value]) -> Result<Run, Vec<String>> {
    let read = |(index, value): (usize, &Value)| merge::read(&format!("file {index}"), &value.to_string());
    let read: Result<Vec<_>, String> = slices.iter().enumerate().map(read).collect();
    merge::join(read.map_err(|problem| vec![problem])?)
}

fn n(run: &Run, timed: Timed) -> u64 {
    run.book.phase(timed).corrected.len()
}

#[test]
fn two_slices_make_the_whole_run() {
    let slices = two_slices();
    let whole = Scenario::resolve(SCENARIO, &[]).unwrap().schedule().unwrap();
    let files = slices.each_ref().map(as_json);
    let merged = join(&files).unwrap();
    eprintln!("{}", table::render(&merged, &judge(&merged)));

    // Everybody of the one schedule came, exactly once.
    let [a, b] = &slices;
    assert_eq!((&a.schedule_hash, &b.schedule_hash), (&whole.hash(), &whole.hash()));
    let counts = |run: &Run| run.book.counts;
    assert_eq!(counts(a).callers + counts(b).callers, counts(&merged).callers);
    let all = counts(&merged).callers + counts(&merged).outside_callers;
    assert_eq!(all, whole.starts().len() as u64);
    // About half of the calls had their sides in two generators; each is one call of the whole.
    let halves = a.book.halves();
    assert_eq!(halves, b.book.halves());
    assert!(halves > 20, "{halves}");
    let calls = |run: &Run| run.book.calls_seen;
    assert_eq!(calls(&merged), calls(a) + calls(b) + halves as u64);
    assert_eq!(counts(&merged).success(), Some(1.0), "{:?}", merged.book.causes);
    assert!(merged.book.violations.is_empty(), "{:?}", merged.book.violations);
    assert!(counts(&merged).calls_up > counts(a).calls_up + counts(b).calls_up);
    assert_eq!(merged.book.voice.streams, counts(&merged).calls_up * 2);
    // Histograms are added sample by sample.
    for timed in [Timed::Start, Timed::Register, Timed::MatchWait, Timed::Allocate] {
        assert_eq!(n(&merged, timed), n(a, timed) + n(b, timed), "{timed:?}");
    }
    assert_eq!(n(&merged, Timed::Setup), counts(&merged).calls_up);
    let mut delay = Distribution::default();
    delay.merge(&a.media.delay);
    delay.merge(&b.media.delay);
    assert_eq!(merged.media.delay.encode(), delay.encode());
    assert!((merged.offered_cps() - a.offered_cps() - b.offered_cps()).abs() < 1e-9);
    // One clock: across two generators nothing arrives before it was sent, nor a second late.
    let text = merged.book.phase(Timed::Text).corrected.max_millis().unwrap();
    assert!(text > 0.0 && text < 1000.0, "{text}");
    assert!(matches!(judge(&merged).word, Word::Pass | Word::Invalid), "{:?}", judge(&merged));
    refuses_what_is_not_all_of_one_run(&files);
    notices_a_call_that_nobody_has_the_other_side_of(&files);
}

fn refuses_what_is_not_all_of_one_run([a, b]: &[Value; 2]) {
    let problems = |slices: &[Value]| join(slices).map(|_| ()).unwrap_err().join("\n");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut other = b.clone();
        change(&mut other);
        problems(&[a.clone(), other])
    };
    assert_eq!(problems(std::slice::from_ref(a)), "slice 2/2 is missing");
    assert!(problems(&[a.clone(), b.clone(), b.clone()]).contains("slice 2/2 again, file 1 is it already"));
    assert!(changed(&|json| json["scenario"]["seed"] = json!(43)).contains("seed 43, but file 0 has 42"));
    assert!(changed(&|json| json["schedule_hash"] = json!("0")).contains("schedule 0"));
    assert!(changed(&|json| json["loadgen"] = json!("9.9")).contains("loadgen 9.9"));
    assert!(changed(&|json| json["slice"]["start_at_ms"] = json!(5)).contains("start 0.005"));
    assert!(changed(&|json| json["scenario"]["hold"]["length"] = json!("exp:1s")).contains("another scenario"));
    assert!(changed(&|json| json["slice"]["of"] = json!(3)).contains("number of slices 3"));
    assert!(changed(&|json| json["interrupted"] = json!(true)).contains("was interrupted"));
    assert!(changed(&|json| json["schema"] = json!("loadgen.run/2")).contains("schema"));
    assert!(changed(&|json| json["slice"] = Value::Null).contains("not a slice"));
    assert!(changed(&|json| json["phases"]["setup"]["corrected"]["hdr"] = json!("AAAA")).contains("damaged"));
}

fn notices_a_call_that_nobody_has_the_other_side_of([a, b]: &[Value; 2]) {
    let mut lacking = b.clone();
    lacking["slice"]["part"]["book"]["halves"].as_array_mut().unwrap().pop();
    let merged = join(&[a.clone(), lacking]).unwrap();
    assert_eq!(merged.book.violations.get(&Violation::Orphan), Some(&1));
}

#[test]
fn a_slice_with_a_bad_generator_makes_the_whole_invalid() {
    let mut files = two_slices().each_ref().map(as_json);
    files[1]["verdict"]["generator_faults"] = json!(["start lag p99 99.0 ms > 10 ms"]);
    let verdict = judge(&join(&files).unwrap());
    assert_eq!(verdict.word, Word::Invalid);
    assert!(verdict.reasons.iter().any(|reason| reason.starts_with("slice 2/2: start lag")), "{verdict:?}");
}

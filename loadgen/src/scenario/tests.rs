#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn the_defaults_resolve_and_a_file_changes_only_what_it_names() {
    let plain = Scenario::default();
    let changed = Scenario::resolve("[arrivals]\ncalls_per_second = 7\n", &[]).unwrap();
    assert_eq!(changed.calls_per_second, 7.0);
    assert_eq!(changed.measured, plain.measured);
    assert_eq!(changed.mix, plain.mix);
}

#[test]
fn a_flag_overrides_the_file() {
    let scenario =
        Scenario::resolve("[hold]\nlength = \"fixed:9s\"\n", &[("hold.length", Value::from("exp:1s"))]).unwrap();
    assert_eq!(scenario.hold, Length::Exponential(Duration::from_secs(1)));
}

#[test]
fn every_unknown_key_is_named_with_a_suggestion() {
    let Problems(problems) =
        Scenario::resolve("sed = 1\n[arrivals]\ncalls_per_secnd = 1.0\n[peer.mix]\nhats = 3\n", &[]).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("arrivals.calls_per_secnd: did you mean calls_per_second?")));
    assert!(problems.iter().any(|p| p.contains("sed: did you mean seed?")));
    assert!(problems.iter().any(|p| p.contains("peer.mix.hats")));
}

#[test]
fn all_bad_values_are_reported_at_once() {
    let file = "[arrivals]\ncalls_per_second = -1\nspread = \"even\"\n[hold]\nlength = \"3s\"\n\
                [peer.mix]\nblock_share = 2.0\n[slo]\nrequire = [\"sucess>1\"]\n";
    let Problems(problems) = Scenario::resolve(file, &[]).unwrap_err();
    assert_eq!(problems.len(), 5, "{problems:?}");
}

#[test]
fn shapes_make_schedules_and_a_closed_population_has_none() {
    let schedule = |file: &str| Scenario::resolve(file, &[]).unwrap().schedule();
    let steady = schedule("").unwrap();
    let ramp = schedule("[arrivals]\nshape = \"ramp:1..60/20s\"").unwrap();
    assert!(ramp.starts().len() < steady.starts().len() && ramp.hash() != steady.hash());
    assert_eq!(schedule("[arrivals]\nusers = 30").unwrap().starts().len(), 30);
    assert!(schedule("[arrivals]\nshape = \"trace:no-such-file\"").unwrap_err().contains("no-such-file"));
    let both = "[arrivals]\nusers = 30\nshape = \"ramp:1..60/20s\"";
    assert!(Scenario::resolve(both, &[]).unwrap_err().to_string().contains("closed population"));
}

#[test]
fn only_light_callers_have_media() {
    for (depth, media) in [("light", true), ("signalling", false), ("matching", false)] {
        let scenario = Scenario::resolve(&format!("[peer]\ndepth = \"{depth}\""), &[]).unwrap();
        assert_eq!((scenario.media, scenario.depth.name()), (media, depth));
    }
}

#[test]
fn the_default_run_loads_for_fifteen_seconds_and_offers_more_than_a_thousand_calls() {
    let scenario = Scenario::default();
    assert_eq!(scenario.arrivals_length(), Duration::from_secs(15));
    assert!(scenario.calls_per_second * scenario.measured.as_secs_f64() >= 1100.0);
}

#[test]
fn spans_need_a_unit() {
    assert_eq!(parse_span("1.5s").unwrap(), Duration::from_millis(1500));
    assert_eq!(parse_span("2m").unwrap(), Duration::from_secs(120));
    assert!(parse_span("20").is_err());
    assert!(parse_span("s").is_err());
}

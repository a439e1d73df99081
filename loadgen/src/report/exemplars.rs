//! The waterfall of single calls as JSON: every stamp of loadtest.md §5.1 in milliseconds from its side's intended start.

use serde_json::{Map, Value, json};

use super::Run;
use crate::{
    book::{Exemplar, Timed},
    caller::record::{Record, Times},
    population::LEVELS,
    time::{Nanos, millis},
};

/// Every exemplar of a run, slowest first, each with the part of the distribution it stands for.
pub fn render(run: &Run) -> Value {
    run.book.exemplars.all().map(|exemplar| one(run, exemplar)).collect()
}

fn one(run: &Run, exemplar: &Exemplar) -> Value {
    json!({
        "band": band(run, exemplar),
        "setup_ms": exemplar.setup.map(millis),
        "cause": exemplar.cause,
        "sides": exemplar.sides.iter().map(side).collect::<Vec<_>>(),
    })
}

/// The highest percentile the call lies at or above, or what else it is an example of.
fn band(run: &Run, exemplar: &Exemplar) -> &'static str {
    let Some(setup) = exemplar.setup.map(millis) else { return "failed" };
    let distribution = &run.book.phase(Timed::Setup).corrected;
    let reached = |percent| distribution.percentile_millis(percent).is_some_and(|limit| setup >= limit * 0.999);
    let bands = [(99.9, "p99.9"), (99.0, "p99"), (90.0, "p90"), (50.0, "p50")];
    bands.into_iter().find(|(percent, _)| reached(*percent)).map_or("below p50", |(_, name)| name)
}

fn side(record: &Record) -> Value {
    let role = record.told.as_ref().map(|told| format!("{:?}", told.role).to_lowercase());
    json!({
        "caller": record.number,
        "role": role,
        "level": LEVELS[usize::from(record.criteria.level).min(5)],
        "intended_secs": record.times.intended.since(Nanos::ZERO).as_secs_f64(),
        "requeued": record.requeued,
        "turn_retransmissions": record.turn_retransmissions,
        "check_retransmissions": record.check_retransmissions,
        "steps": steps(&record.times).into_iter().map(|(name, at)| json!({ "step": name, "at_ms": at })).collect::<Vec<_>>(),
        "media": record.account.map(|account| {
            let summary = account.summary;
            json!({
                "sent": account.sent,
                "received": summary.received,
                "lost": summary.lost,
                "late": summary.late,
                "jitter_ms": millis(summary.jitter),
                "delay_ms": millis(summary.delay),
            })
        }),
    })
}

/// Stamps in the order they came, from the side's intended start.
pub fn steps(times: &Times) -> Vec<(&'static str, f64)> {
    let (permit, channel) = (times.permit.unzip(), times.channel.unzip());
    let stamps = [
        ("started", Some(times.started)),
        ("welcome", times.registered),
        ("queue sent", times.queue_sent),
        ("queued", times.queued),
        ("matched", times.matched),
        ("credential", times.ice),
        ("allocate sent", times.allocate_sent),
        ("allocated", times.allocated),
        ("permission sent", permit.0),
        ("permitted", permit.1),
        ("channel sent", channel.0),
        ("channel bound", channel.1),
        ("check sent", times.check_sent),
        ("connected", times.connected),
        ("first media", times.first_voice),
        ("hang-up sent", times.hung_up),
        ("ended", times.ended),
        ("freed", times.freed),
    ];
    let mut steps: Vec<(&str, f64)> =
        stamps.into_iter().filter_map(|(name, at)| Some((name, millis(at?.since(times.intended))))).collect();
    steps.sort_by(|a, b| a.1.total_cmp(&b.1));
    steps
}

/// The calls a result carries, without the rest of it.
pub fn of(result: &Value) -> Vec<&Map<String, Value>> {
    result["exemplars"].as_array().into_iter().flatten().filter_map(Value::as_object).collect()
}

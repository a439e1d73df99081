//! What GitHub shows of a step: a summary (Markdown, appended to `$GITHUB_STEP_SUMMARY`) and annotations (workflow commands).

use std::fmt::Write;

use super::{
    markup::cell,
    recorded::{Numbers, Recorded},
};

/// The most causes of failure in a summary, which GitHub bounds to a mebibyte.
const MAX_CAUSES: usize = 30;

pub fn summary(result: &Recorded) -> String {
    let (load, outcomes) = (&result.load, &result.outcomes);
    let mut out = format!("## loadgen: {}\n\n", cell(&result.verdict.word));
    for (mark, lines) in [("❗", &result.verdict.reasons), ("ℹ️", &result.remarks())] {
        for line in lines {
            let _ = writeln!(out, "- {mark} {}", cell(line));
        }
    }
    let success = outcomes.success.map_or_else(|| "—".to_owned(), |success| format!("{:.2} %", success * 100.0));
    let _ = writeln!(
        out,
        "\nOffered **{:.1} calls/s** ({:.0} BHCA), achieved **{:.1}**, success **{success}** ({} of {}), peak {} calls, generator headroom {:.0} %.\n",
        load.offered_cps,
        load.offered_bhca,
        load.achieved_cps,
        outcomes.calls_up,
        outcomes.calls_up + outcomes.failed(),
        load.calls_peak,
        result.generator_headroom * 100.0,
    );
    phases(&mut out, result);
    objectives(&mut out, result);
    causes(&mut out, result);
    let _ = writeln!(
        out,
        "Seed {} · schedule `{}` · loadgen {}. Latencies count from the intended start; — is too few samples.\n",
        result.seed,
        cell(&result.schedule_hash),
        cell(&result.loadgen)
    );
    out
}

fn phases(out: &mut String, result: &Recorded) {
    out.push_str("| ms | p50 | p90 | p99 | p99.9 | max | from-send p99 | n |\n|---|--:|--:|--:|--:|--:|--:|--:|\n");
    let number = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), super::number);
    for phase in result.phases() {
        let Numbers { p50, p90, p99, p99_9, max, n, .. } = phase.corrected;
        let cells = [*p50, *p90, *p99, *p99_9, *max, phase.uncorrected.p99].map(number);
        let _ = writeln!(out, "| {} | {} | {n} |", phase.name, cells.join(" | "));
    }
    out.push('\n');
}

fn objectives(out: &mut String, result: &Recorded) {
    if result.objectives.is_empty() {
        return;
    }
    out.push_str("| objective | measured | held |\n|---|--:|---|\n");
    for objective in &result.objectives {
        let measured = objective.measured.map_or_else(|| "—".to_owned(), |value| format!("{value:.4}"));
        let _ = writeln!(out, "| {} | {measured} | {} |", cell(&objective.require), cell(&objective.held));
    }
    out.push('\n');
}

fn causes(out: &mut String, result: &Recorded) {
    let all = result.outcomes.causes.iter().chain(&result.violations);
    let mut rows = all.take(MAX_CAUSES).peekable();
    if rows.peek().is_none() {
        return;
    }
    out.push_str("| failed | times |\n|---|--:|\n");
    for (cause, times) in rows {
        let _ = writeln!(out, "| {} | {times} |", cell(cause));
    }
    out.push('\n');
}

/// One line each; a verdict that says nothing about the target is a warning, not an error.
pub fn annotations(result: &Recorded) -> Vec<String> {
    let kind = match result.verdict.exit_code {
        0 => "notice",
        5 | 8 => "warning",
        _ => "error",
    };
    let mut reasons = result.verdict.reasons.clone();
    if result.interrupted {
        reasons.push("interrupted".to_owned());
    }
    let success =
        result.outcomes.success.map_or_else(String::new, |success| format!(", success {:.2} %", success * 100.0));
    let setup = result.main_phase().and_then(|phase| Some((phase.name, phase.corrected.p99?)));
    let setup = setup.map_or_else(String::new, |(name, p99)| format!(", {name} p99 {} ms", super::number(p99)));
    let said = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
    let line = format!("{:.1} calls/s{success}{setup}{said}", result.load.achieved_cps);
    let verdict = command(kind, &format!("loadgen: {}", result.verdict.word), &line);
    let remarks = result.remarks().into_iter().map(|remark| command("warning", "loadgen", &remark));
    std::iter::once(verdict).chain(remarks).collect()
}

/// Messages and properties may hold anything once it is escaped.
fn command(kind: &str, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let title = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{kind} title={title}::{}", data(message))
}

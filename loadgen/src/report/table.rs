//! The screen at the end of a run.

use std::fmt::Write;

use super::{OneCaller, Run, callers};
use crate::{
    arrival::Shape,
    book::Timed,
    media::stream::PERIOD,
    scenario::Scenario,
    slo::Held,
    stats::latency::{Distribution, Phase},
    time::millis,
    verdict::Verdict,
};

/// The whole table.
pub fn render(run: &Run, verdict: &Verdict) -> String {
    let mut out = String::new();
    heading(&mut out, run, verdict);
    offered(&mut out, run);
    phases(&mut out, run);
    quality(&mut out, run);
    resources(&mut out, run);
    adversity(&mut out, run);
    failures(&mut out, run);
    objectives(&mut out, run);
    summary(&mut out, run);
    for warning in &verdict.warnings {
        line(&mut out, &format!("  ~ {warning}"));
    }
    for reason in &verdict.reasons {
        line(&mut out, &format!("  ! {reason}"));
    }
    line(&mut out, &format!("VERDICT  {}", verdict.word.name()));
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn heading(out: &mut String, run: &Run, verdict: &Verdict) {
    let scenario = &run.scenario;
    let arrivals = arrivals(scenario);
    let interrupted = match (run.interrupted, &run.aborted) {
        (true, _) => "  INTERRUPTED",
        (_, Some(_)) => "  ENDED EARLY",
        _ => "",
    };
    line(out, "");
    line(
        out,
        &format!(
            "loadgen {}  seed {}  schedule {}  {arrivals} × {:.0} s (+{:.0} s warm-up){interrupted}   VERDICT  {}   generator headroom {:.0} %",
            env!("CARGO_PKG_VERSION"),
            scenario.seed,
            run.schedule_hash,
            run.length().as_secs_f64(),
            scenario.warmup.as_secs_f64(),
            verdict.word.name(),
            run.headroom() * 100.0,
        ),
    );
    let place = if run.target.address.ip().is_loopback() { "loopback" } else { "network" };
    let whose = if run.target.own { "a relay of its own" } else { run.target.url.as_str() };
    line(out, &format!("{} · {place} · target: {whose}", callers(scenario)));
    if let (Some(_), Some(media)) = (scenario.network, scenario.resolved.get("media")) {
        let network = media.get("impair").and_then(toml::Value::as_str).unwrap_or_default();
        line(out, &format!("behind an impaired network: {network}; its delays and losses are in the numbers below"));
    }
    if let Some(share) = &run.share {
        let halves = run.book.halves();
        line(
            out,
            &format!(
                "slice {} of one run: {halves} calls with callers of other slices wait for loadgen merge",
                share.slice
            ),
        );
    }
    if !run.slices.is_empty() {
        line(out, &format!("merged from {} slices", run.slices.len()));
    }
    if scenario.mixed.is_some() {
        let parts = scenario.depths().into_iter();
        let parts: Vec<String> = parts.map(|(depth, part)| format!("{} {:.0} %", depth.name(), part * 100.0)).collect();
        line(out, &format!("shares: {}", parts.join(", ")));
    }
    if scenario.users > 0 {
        line(
            out,
            "closed population: callers come when the server lets them go, so a stall lowers the load instead of showing in latencies",
        );
    }
}

/// How callers came, with the mean rate where it is known beforehand.
fn arrivals(scenario: &Scenario) -> String {
    let spread = format!("{:?}", scenario.spread).to_lowercase();
    match scenario.shape {
        _ if scenario.users > 0 => format!("closed, {} callers, think {}", scenario.users, scenario.think),
        Shape::Trace(_) => "trace replayed".to_owned(),
        Shape::Steady => format!("{spread} {:.1} calls/s", scenario.calls_per_second),
        ref shape => format!("{spread} {shape} mean {:.1} calls/s", scenario.mean_rate()),
    }
}

fn offered(out: &mut String, run: &Run) {
    let counts = &run.book.counts;
    let success = counts.success().map_or_else(|| "—".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0));
    let attempts = counts.calls_up + counts.failed();
    let little = run.little_error().map_or_else(
        || "Little — (too few calls)".to_owned(),
        |error| {
            format!(
                "Little {} {:.1} %",
                if error > crate::verdict::MAX_LITTLE_ERROR { "✗" } else { "✓" },
                error * 100.0
            )
        },
    );
    line(
        out,
        &format!(
            "offered {:.1} cps ({:.0} BHCA)  achieved {:.1} cps  success {success} ({}/{attempts})  peak {} calls, {:.0} callers  {:.0} E  {little}",
            run.offered_cps(),
            run.offered_cps() * 3600.0,
            run.achieved_cps(),
            counts.calls_up,
            run.sampled.calls_peak,
            run.peak_callers(),
            run.sampled.calls_mean,
        ),
    );
    if let Some((measured, expected)) = run.blocking() {
        line(
            out,
            &format!(
                "blocked {} for want of room, {:.2} % of all; Erlang B({}, {:.1}) = {:.2} %",
                counts.blocked,
                measured * 100.0,
                run.scenario.lines,
                run.offered_cps() * run.scenario.hold.mean().as_secs_f64(),
                expected * 100.0,
            ),
        );
    }
    line(
        out,
        &format!(
            "gave up waiting {} · at the end, neither success nor failure: {} callers unmatched, {} calls setting up; {} calls up were cut short · outside the window: {} callers, {} calls up, {} failed",
            counts.abandoned,
            counts.unmatched,
            counts.in_flight,
            counts.cut,
            counts.outside_callers,
            counts.outside_calls_up,
            counts.outside_failed,
        ),
    );
}

fn phases(out: &mut String, run: &Run) {
    line(out, "");
    line(
        out,
        &format!(
            "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8}  │ from-send p99 {:>8}",
            "ms, from intended start", "p50", "p90", "p99", "p99.9", "max", "n"
        ),
    );
    for timed in Timed::ALL {
        let phase = run.book.phase(timed);
        let note = match timed {
            Timed::MatchWait => run
                .match_floor_p99()
                .map_or_else(String::new, |floor| format!("floor set by arrivals alone: p99 {floor:.1}")),
            _ if phase.corrected.is_empty() => continue,
            Timed::MatchDecision if run.book.counts.widened_early > 0 => {
                format!("{} pairs joined before the documented widening left out", run.book.counts.widened_early)
            }
            _ => String::new(),
        };
        phase_line(out, timed.name(), phase, &note);
    }
    let alone = |distribution: &Distribution| Phase { corrected: distribution.clone(), ..Phase::default() };
    if run.scenario.media {
        phase_line(out, "media one-way delay", &alone(&run.media.delay), "");
        phase_line(out, "media delay variation", &alone(&run.media.variation), "beyond each stream's fastest");
        phase_line(out, "media send lateness", &alone(&run.media.lateness), "generator");
    }
    line(out, "                       percentiles with too few samples are shown as \"—\"");
}

fn phase_line(out: &mut String, name: &str, phase: &Phase, note: &str) {
    let cell = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), number);
    let at = |percent| cell(phase.corrected.percentile_millis(percent));
    line(
        out,
        &format!(
            "{name:<22} {:>8} {:>8} {:>8} {:>8} {:>8}  │ {:>13} {:>8}   {note}",
            at(50.0),
            at(90.0),
            at(99.0),
            at(99.9),
            cell(phase.corrected.max_millis()),
            cell(phase.uncorrected.percentile_millis(99.0)),
            phase.corrected.len(),
        ),
    );
}

/// Three digits are what a histogram keeps and a reader wants.
fn number(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

fn quality(out: &mut String, run: &Run) {
    let voice = &run.book.voice;
    if voice.streams == 0 {
        return line(out, "media: none measured, so no jitter, loss or MOS");
    }
    let share = |part: u64| part as f64 * 100.0 / voice.expected.max(1) as f64;
    let streams = voice.streams as f64;
    let worst = run.book.mos.percentile(5.0).map_or_else(|| "—".to_owned(), |mos| format!("{mos:.2}"));
    line(
        out,
        &format!(
            "media {} packets sent in {} streams  loss {:.3} % ({})  late {:.3} %  reordered {}  duplicates {}  jitter {:.2} ms mean, {:.2} worst",
            voice.sent,
            voice.streams,
            share(voice.lost),
            voice.lost,
            share(voice.late),
            voice.reordered,
            voice.duplicates,
            millis(voice.jitter) / streams,
            millis(voice.worst_jitter),
        ),
    );
    line(
        out,
        &format!(
            "bursts (RFC 3611) {}, density {:.1} %, {:.0} ms mean; outside them {:.3} % bad, gaps {:.0} ms mean",
            voice.bursts.bursts,
            voice.bursts.burst_density() * 100.0,
            millis(voice.bursts.burst_length(PERIOD)),
            voice.bursts.gap_density() * 100.0,
            millis(voice.bursts.gap_length(PERIOD)),
        ),
    );
    line(
        out,
        &format!(
            "R {:.1}  MOS-CQE {} mean, p5 {worst} (E-model estimate, g711-plc, 60 ms jitter buffer)",
            voice.rating / streams,
            run.book.mos.mean().map_or_else(|| "—".to_owned(), |mos| format!("{mos:.2}")),
        ),
    );
}

fn resources(out: &mut String, run: &Run) {
    let length = run.sampled.elapsed.as_secs_f64();
    let share = |cpu: std::time::Duration| cpu.as_secs_f64() * 100.0 / length;
    let mut text = String::new();
    if let Some(cpu) = run.sampled.used.server_cpu {
        let per_call = run.cpu_per_call().map(|cpu| format!(", {:.2} ms per call", millis(cpu)));
        let each = |bytes: u64, what: String| format!("{:.1} kB per {what}", bytes as f64 / 1e3);
        let caller =
            run.bytes_per_caller().map(|bytes| each(bytes, format!("caller of {}", run.sampled.callers_at_peak)));
        let allocation = run.bytes_per_allocation().map(|bytes| each(bytes, "allocation".to_owned()));
        let parts: Vec<String> = [caller, allocation].into_iter().flatten().collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        let _ = write!(
            text,
            "server {:.0} % CPU{}, {:.1} MB peak{parts} · ",
            share(cpu),
            per_call.unwrap_or_default(),
            run.sampled.server_bytes_peak as f64 / 1e6,
        );
    }
    let (thread, busiest) = &run.sampled.used.busiest;
    let generator = run.sampled.generator_bytes as f64 / 1e6;
    let _ = write!(
        text,
        "generator {:.0} % CPU (busiest thread {thread} {:.0} %), {generator:.1} MB{} · machine {:.0} % busy, {:.0} % stolen{}",
        share(run.sampled.used.generator_cpu),
        busiest * 100.0,
        generator_per_caller(run),
        run.sampled.used.machine_busy * 100.0,
        run.sampled.used.machine_stolen * 100.0,
        if run.generator.priority_raised { " · priority raised" } else { "" },
    );
    line(out, &text);
    let counts = &run.book.counts;
    let left = run.server_metrics.as_ref().and_then(|metrics| metrics.allocations);
    let left = left.map_or_else(String::new, |left| format!(", {left} left at the relay"));
    let relays = run.scenario.depths().iter().any(|(depth, _)| depth.relays()) && counts.calls_up > 0;
    let direct = if relays { counts.direct as f64 * 100.0 / counts.calls_up as f64 } else { 0.0 };
    let ways =
        if relays { format!(" · calls relayed {:.1} %, direct {direct:.1} %", 100.0 - direct) } else { String::new() };
    if run.scenario.falls_back {
        let [udp, tcp, tls] = counts.allocated_over;
        line(out, &format!("UDP first, then TCP, then TLS: allocated over UDP {udp}, TCP {tcp}, TLS {tls}"));
    }
    line(
        out,
        &format!(
            "retransmissions: TURN {}, checks {} · requeued {} · allocations {} made, {} seen freed{left}{ways}",
            counts.turn_retransmissions, counts.check_retransmissions, counts.requeued, counts.allocated, counts.freed,
        ),
    );
}

/// What one caller costs the generator.
fn generator_per_caller(run: &Run) -> String {
    let Some(OneCaller { callers, bytes, cpu_millis }) = run.one_caller() else { return String::new() };
    let cpu = cpu_millis.map_or_else(String::new, |cpu| format!(", {cpu:.2} ms CPU a second talking"));
    format!(" ({:.1} KiB per caller of {callers}{cpu})", bytes / 1024.0)
}

/// What was done to the server or the callers on purpose.
fn adversity(out: &mut String, run: &Run) {
    if let Some(storm) = &run.storm {
        let at = storm.at.since(run.window.from).as_secs_f64();
        let recovered =
            storm.recovered().map_or_else(|| "never".to_owned(), |after| format!("{:.0} ms", millis(after)));
        let cell = |percent| storm.greeted.percentile_millis(percent).map_or_else(|| "—".to_owned(), number);
        line(
            out,
            &format!(
                "reconnect storm {at:.1} s into the window: {} cut off, {} back ({} of them in the session they had), 95 % of them after {recovered} (spread over {:?}); greeted p50 {} p99 {} ms after each came",
                storm.severed,
                storm.back,
                storm.resumed,
                run.scenario.return_within,
                cell(50.0),
                cell(99.0),
            ),
        );
    }
    if let Some(attack) = &run.attack {
        line(
            out,
            &format!(
                "attack: garbage {}, unauthenticated {}, allocations asked {}; answered 401 {}, granted {}, refused {}; slow connections {}, closed by the server {} · honest goodput is what stands above",
                attack.garbage_sent,
                attack.challenges_sent,
                attack.allocations_asked,
                attack.challenged,
                attack.granted,
                attack.refused,
                attack.slow_opened,
                attack.slow_closed,
            ),
        );
    }
}

fn failures(out: &mut String, run: &Run) {
    for (cause, times) in &run.book.causes {
        line(out, &format!("failed {times:>6}  {}", cause.name()));
    }
}

fn objectives(out: &mut String, run: &Run) {
    let mut text = String::from("SLO");
    for objective in &run.scenario.objectives {
        let mark = match objective.judge(run.measured(objective)) {
            Held::Yes => "✓",
            Held::No => "✗",
            Held::Unknown => "—",
        };
        let _ = write!(text, "  {mark} {objective}");
    }
    if !run.scenario.objectives.is_empty() {
        line(out, &text);
    }
}

/// The line to remember.
fn summary(out: &mut String, run: &Run) {
    let both = |name: &str, timed: Timed| {
        let phase = &run.book.phase(timed).corrected;
        let cell = |percent| phase.percentile_millis(percent).map_or_else(|| "—".to_owned(), number);
        (!phase.is_empty()).then(|| format!("{name} p50 {} p99 {} ms", cell(50.0), cell(99.0)))
    };
    let with = |first: Option<String>, second: Option<String>| {
        first.map(|first| first + &second.map_or_else(String::new, |second| format!(" ({second})")))
    };
    let parts = [
        with(both("matching latency", Timed::MatchWait), both("decision", Timed::MatchDecision)),
        with(both("call set-up time", Timed::Setup), both("after match", Timed::SetupAfterMatch)),
        Some(format!("{:.1} calls per second", run.achieved_cps())),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    line(out, &format!("{} calls set up: {}", run.book.counts.calls_up, parts.join(" · ")));
}

//! Lines of the table about media, resources, and what was done to anybody on purpose.

use std::fmt::Write;

use super::line;
use crate::{
    media::stream::PERIOD,
    report::{OneCaller, Run, number},
    time::millis,
};

pub(super) fn quality(out: &mut String, run: &Run) {
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

pub(super) fn resources(out: &mut String, run: &Run) {
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
pub(super) fn adversity(out: &mut String, run: &Run) {
    if let Some(storm) = &run.storm {
        let at = storm.at.since(run.window.from).as_secs_f64();
        let recovered =
            storm.recovered().map_or_else(|| "never".to_owned(), |after| format!("{:.0} ms", millis(after)));
        let spread = match run.scenario.sever_at {
            Some(_) => format!("spread over {:?}", run.scenario.return_within),
            None => "asked to by the server".to_owned(),
        };
        let cell = |percent| storm.greeted.percentile_millis(percent).map_or_else(|| "—".to_owned(), number);
        line(
            out,
            &format!(
                "reconnect storm {at:.1} s into the window: {} cut off, {} back ({} of them in the session they had), 95 % of them after {recovered} ({spread}); greeted p50 {} p99 {} ms after each came",
                storm.severed,
                storm.back,
                storm.resumed,
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

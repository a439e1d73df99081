//! One frame: what is done, how it goes, and the ladder, the phases or the histogram of it; all three where there is room.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph},
};

use crate::{
    book::Timed,
    report::{
        live::{PhaseNow, Scene},
        number,
    },
    time::millis,
};

/// From this size on everything is shown at once.
const ROOMY: (u16, u16) = (110, 38);
/// Of a bar, beside its words.
const WORDS: u16 = 46;

/// What fills a small screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    #[default]
    Ladder,
    Phases,
    Histogram,
}

pub fn draw(frame: &mut Frame<'_>, scene: &Scene, tab: Tab) {
    let area = frame.area();
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(6), Constraint::Min(0), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(heading(scene, area.width)), head);
    if area.width >= ROOMY.0 && area.height >= ROOMY.1 {
        let [above, below] = Layout::vertical([Constraint::Percentage(42), Constraint::Percentage(58)]).areas(body);
        let [left, right] = Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(below);
        panel(frame, above, scene, Tab::Ladder);
        panel(frame, left, scene, Tab::Phases);
        panel(frame, right, scene, Tab::Histogram);
    } else {
        panel(frame, body, scene, tab);
    }
    frame.render_widget(Paragraph::new(keys(scene)).style(Style::new().add_modifier(Modifier::DIM)), foot);
}

fn heading(scene: &Scene, width: u16) -> Vec<Line<'static>> {
    let (now, before) = (&scene.now, &scene.before);
    let passed = now.second.saturating_sub(before.second).max(1) as f64;
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / passed;
    let cpu = |now: std::time::Duration, before| millis(now.saturating_sub(before)) / 10.0 / passed;
    let server = now
        .server_cpu
        .zip(before.server_cpu)
        .map_or_else(|| "—".to_owned(), |(now, before)| format!("{:.0} %", cpu(now, before)));
    let offered = rate(now.arrived, before.arrived) / scene.callers_per_call.max(1.0);
    let success = match scene.up + scene.failed {
        0 => "—".to_owned(),
        attempts => format!("{:.2} %", scene.up as f64 * 100.0 / attempts as f64),
    };
    let altered = match scene.factor {
        Some(0.0) => Span::styled("  PAUSED", Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD)),
        Some(factor) if factor != 1.0 => Span::styled(
            format!("  ALTERED to {:.0} %", factor * 100.0),
            Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD),
        ),
        _ => Span::raw(""),
    };
    let stage = match scene.stage {
        "" => "starting".to_owned(),
        "arriving" if (now.second as f64) < scene.warmup => "warm-up (not counted)".to_owned(),
        "arriving" => "measuring".to_owned(),
        stage => stage.to_owned(),
    };
    vec![
        Line::styled(
            format!("loadgen {}  {}", env!("CARGO_PKG_VERSION"), scene.title),
            Style::new().add_modifier(Modifier::BOLD),
        ),
        Line::from(progress(now.second as f64, scene.length, width)),
        Line::from(vec![
            Span::raw(format!("{} of {:.0} s  {stage}  success {success}", now.second, scene.length)),
            altered,
        ]),
        Line::from(format!(
            "offered {offered:>7.1}/s   up {:>7.1}/s   calls {:<6} waiting {:<5} failed {}",
            rate(now.calls_up, before.calls_up),
            now.calls,
            now.waiting,
            now.failed,
        )),
        Line::from(format!(
            "media {:>6.0}/s out {:>6.0}/s in   server {server} CPU   loadgen {:.0} % CPU",
            rate(now.sent, before.sent),
            rate(now.received, before.received),
            cpu(now.generator_cpu, before.generator_cpu),
        )),
    ]
}

fn progress(at: f64, length: f64, width: u16) -> String {
    let cells = usize::from(width);
    let full = ((at / length.max(1e-9)).clamp(0.0, 1.0) * cells as f64) as usize;
    format!("{}{}", "━".repeat(full), "─".repeat(cells - full))
}

fn keys(scene: &Scene) -> String {
    let rate = if scene.factor.is_some() { "+ - 10 %  * / double, halve  p pause  " } else { "" };
    format!("{rate}q end  1 ladder  2 phases  3 histogram")
}

fn panel(frame: &mut Frame<'_>, area: Rect, scene: &Scene, tab: Tab) {
    let (title, lines) = match tab {
        Tab::Ladder => (" ladder: medians from the intended start ", ladder(scene, area.width)),
        Tab::Phases => (" phases, ms from the intended start ", phases(scene)),
        Tab::Histogram => (" call set-up, ms ", histogram(scene, area.width)),
    };
    let lines = if lines.is_empty() {
        vec![Line::from("nothing has ended yet: latencies are counted when callers leave")]
    } else {
        lines
    };
    frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::TOP).title(title)), area);
}

/// What a caller passes, one below the other, each bar from where the one above ended; and beneath it what took time by
/// itself on the way, and what failed.
fn ladder(scene: &Scene, width: u16) -> Vec<Line<'static>> {
    let milestones = [Timed::Register, Timed::MatchWait, Timed::Setup, Timed::FirstMedia];
    let spans =
        [Timed::Allocate, Timed::MatchDecision, Timed::Permission, Timed::Channel, Timed::Check, Timed::Release];
    let known = |timed: &Timed| scene.phase(*timed).and_then(|phase| Some((phase, phase.p50?)));
    let reached: Vec<(&PhaseNow, f64)> = milestones.iter().filter_map(known).collect();
    let alone: Vec<(&PhaseNow, f64)> = spans.iter().filter_map(known).collect();
    let end = reached.iter().chain(&alone).map(|(_, at)| *at).fold(1e-6, f64::max);
    let room = f64::from(width.saturating_sub(WORDS));
    let bar = |from: f64, to: f64, cell: &str| {
        let start = (from / end * room) as usize;
        let length = ((to - from).max(0.0) / end * room).ceil() as usize;
        format!("{}{}", " ".repeat(start), cell.repeat(length.min(room as usize - start.min(room as usize))))
    };
    let line = |phase: &PhaseNow, at: f64, bar: String, color: Color| {
        let words = format!("{:<22} {:>8}  {:>8} ms  ", phase.timed.name(), phase.n, number(at));
        Line::from(vec![Span::raw(words), Span::styled(bar, Style::new().fg(color))])
    };
    let mut before = 0.0;
    let mut lines = Vec::new();
    for (phase, at) in reached {
        lines.push(line(phase, at, bar(before, at, "█"), Color::Cyan));
        before = at;
    }
    lines.extend(alone.into_iter().map(|(phase, at)| line(phase, at, bar(0.0, at, "▒"), Color::Blue)));
    let failed = scene.causes.iter().map(|(cause, times)| {
        Line::styled(format!("failed {times:>6}  {}", printable(cause)), Style::new().fg(Color::Red))
    });
    lines.extend(failed);
    lines
}

fn phases(scene: &Scene) -> Vec<Line<'static>> {
    if scene.phases.is_empty() {
        return Vec::new();
    }
    let cell = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), number);
    let head = format!("{:<22} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p90", "p99", "max", "n");
    let row = |phase: &PhaseNow| {
        let PhaseNow { timed, n, p50, p90, p99, max } = *phase;
        let cells = [p50, p90, p99, max].map(cell);
        Line::from(format!(
            "{:<22} {:>8} {:>8} {:>8} {:>8} {n:>8}",
            timed.name(),
            cells[0],
            cells[1],
            cells[2],
            cells[3]
        ))
    };
    let head = Line::styled(head, Style::new().add_modifier(Modifier::DIM));
    std::iter::once(head).chain(scene.phases.iter().map(row)).collect()
}

fn histogram(scene: &Scene, width: u16) -> Vec<Line<'static>> {
    let most = scene.histogram.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
    let room = f64::from(width.saturating_sub(22));
    let row = |(from, count): &(f64, u64)| {
        let bar = "█".repeat((*count as f64 / most * room).ceil() as usize);
        Line::from(vec![
            Span::raw(format!("≥{:>9} {count:>8}  ", number(*from))),
            Span::styled(bar, Style::new().fg(Color::Cyan)),
        ])
    };
    scene.histogram.iter().map(row).collect()
}

/// A server's words must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#![allow(clippy::unwrap_used)]
use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::{
    book::Timed,
    report::{
        Second,
        live::{PhaseNow, Scene},
    },
};

fn scene() -> Scene {
    let second = |second: u64| Second {
        second,
        arrived: second * 120,
        waiting: 3,
        calls: 180,
        calls_up: second * 60,
        failed: 2,
        sent: second * 18_000,
        received: second * 17_990,
        server_cpu: Some(Duration::from_millis(second * 400)),
        generator_cpu: Duration::from_millis(second * 500),
        ..Second::default()
    };
    let phase =
        |timed, at: f64| PhaseNow { timed, n: 600, p50: Some(at), p90: Some(at * 2.0), p99: None, max: Some(at * 9.0) };
    Scene {
        title: "seed 42  schedule 9c1f00aa11bb22cc  poisson 60.0 calls/s".to_owned(),
        stage: "arriving",
        now: second(12),
        before: second(11),
        warmup: 2.0,
        length: 22.0,
        callers_per_call: 2.0,
        factor: Some(1.0),
        phases: vec![
            phase(Timed::Register, 1.25),
            phase(Timed::Allocate, 0.5),
            phase(Timed::MatchWait, 10.0),
            phase(Timed::Setup, 25.0),
        ],
        histogram: vec![(5.62, 10), (10.0, 400), (17.8, 190)],
        up: 600,
        failed: 2,
        causes: vec![("ended: \u{1b}[2J busy".to_owned(), 2)],
    }
}

fn drawn(scene: &Scene, tab: Tab, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, scene, tab)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn everything_that_matters_fits_on_eighty_by_twenty_four() {
    let text = drawn(&scene(), Tab::Ladder, 80, 24);
    for wanted in [
        "seed 42",
        "12 of 22 s  measuring  success 99.67 %",
        "offered    60.0/s",
        "up    60.0/s",
        "server 40 % CPU",
        "loadgen 50 % CPU",
        "signalling ready",
        "call set-up",
        "25.0 ms",
        "failed      2",
        "+ - 10 %",
        "q end",
    ] {
        assert!(text.contains(wanted), "{wanted}:\n{text}");
    }
    let phases = drawn(&scene(), Tab::Phases, 80, 24);
    let line = phases.lines().find(|line| line.contains("call set-up")).unwrap();
    assert_eq!(line.split_whitespace().skip(2).collect::<Vec<_>>(), ["25.0", "50.0", "—", "225", "600"]);
    assert!(drawn(&scene(), Tab::Histogram, 80, 24).contains("≥     10.0      400  █"));
}

#[test]
fn the_ladder_begins_each_bar_where_the_one_above_ended() {
    let text = drawn(&scene(), Tab::Ladder, 120, 24);
    let bar = |name: &str| {
        let line: Vec<char> = text.lines().find(|line| line.starts_with(name)).unwrap().chars().collect();
        let full = |c: &char| *c == '█';
        (line.iter().position(full).unwrap(), line.iter().rposition(full).unwrap() + 1)
    };
    let (ready, matched, setup) = (bar("signalling ready"), bar("match wait"), bar("call set-up"));
    assert!(matched.0.abs_diff(ready.1) <= 1 && setup.0.abs_diff(matched.1) <= 1, "{text}");
    assert_eq!(setup.1, 120, "the longest ends at the edge:\n{text}");
}

#[test]
fn a_roomy_screen_shows_all_at_once_and_a_tiny_one_does_not_panic() {
    let text = drawn(&scene(), Tab::Ladder, 140, 44);
    assert!(["ladder:", "phases, ms", "call set-up, ms"].iter().all(|title| text.contains(title)), "{text}");
    for (width, height) in [(1, 1), (10, 3), (30, 7), (46, 12), (300, 100)] {
        for tab in [Tab::Ladder, Tab::Phases, Tab::Histogram] {
            drawn(&scene(), tab, width, height);
            drawn(&Scene::default(), tab, width, height);
        }
    }
}

#[test]
fn a_changed_rate_and_a_pause_cannot_be_overlooked_and_a_rate_that_cannot_be_changed_has_no_keys() {
    let with = |factor| drawn(&Scene { factor, ..scene() }, Tab::Ladder, 80, 24);
    assert!(with(Some(1.1)).contains("ALTERED to 110 %"));
    assert!(with(Some(0.0)).contains("PAUSED"));
    assert!(!with(Some(1.0)).contains("ALTERED") && !with(None).contains("10 %  *"));
}

#[test]
fn nothing_a_server_said_reaches_the_terminal_as_a_command() {
    assert!(!drawn(&scene(), Tab::Ladder, 80, 24).contains('\u{1b}'));
}

#[test]
fn keys_mean_what_the_last_line_says() {
    let pressed = |code, modifiers| match meaning(KeyEvent::new(code, modifiers)) {
        Some(Key::Command(command)) => Some(command),
        _ => None,
    };
    let plain = |c| pressed(KeyCode::Char(c), KeyModifiers::NONE);
    assert_eq!((plain('q'), plain('p')), (Some(Command::End), Some(Command::Pause)));
    assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Command::End), "Ctrl-C is a key here");
    assert_eq!(
        (plain('+'), plain('*'), plain('c'), plain('x')),
        (Some(Command::Times(1.1)), Some(Command::Times(2.0)), None, None)
    );
}

//! A screen while a run lasts: a thread of its own draws what [`Live`] shows and passes on what is pressed, so that the run
//! waits for no terminal. The terminal is as it was when the screen goes, however it goes.

mod view;

#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal},
    panic,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

use super::live::{Command, Live};
pub use view::{Tab, draw};

/// Between drawings, and looks at the keys.
const FRAME: Duration = Duration::from_millis(250);
/// What a press of + and of * does to the rate.
const STEP: f64 = 1.1;
const LEAP: f64 = 2.0;

/// Somebody has panicked: what that says is not drawn over, by no screen any more.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The terminal, taken; dropping it gives it back.
pub struct Screen {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Whether there is somebody to look and to press keys.
pub fn is_possible() -> bool {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb" || term.is_empty());
    io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb
}

impl Screen {
    pub fn start(live: Arc<Live>) -> io::Result<Screen> {
        restore_on_panic();
        enable_raw_mode()?;
        let taken = execute!(io::stdout(), EnterAlternateScreen, Hide);
        let terminal = taken.and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = terminal.and_then(|terminal| {
            thread::Builder::new().name("screen".to_owned()).spawn(move || show(terminal, &live, &stopped))
        });
        match thread {
            Ok(thread) => Ok(Screen { stop, thread: Some(thread) }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        restore();
    }
}

/// As it was; harmless if it already is.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// A panic of any thread is told on a terminal that can show it; the run goes on without a screen if it goes on.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICKED.store(true, Ordering::Relaxed);
            restore();
            before(info);
        }));
    });
}

fn show(mut terminal: Terminal<CrosstermBackend<io::Stdout>>, live: &Live, stop: &AtomicBool) {
    let mut tab = Tab::default();
    while !stop.load(Ordering::Relaxed) && !PANICKED.load(Ordering::Relaxed) {
        let scene = live.scene();
        // A terminal that went away is no reason to end the run.
        if terminal.draw(|frame| draw(frame, &scene, tab)).is_err() {
            return;
        }
        if !event::poll(FRAME).unwrap_or(false) {
            continue;
        }
        match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => match meaning(key) {
                Some(Key::Command(command)) => live.press(command),
                Some(Key::Tab(wanted)) => tab = wanted,
                None => {}
            },
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

enum Key {
    Command(Command),
    Tab(Tab),
}

fn meaning(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        // The terminal sends no signal for it while it is ours.
        KeyCode::Char('c') if control => Key::Command(Command::End),
        KeyCode::Char('q') => Key::Command(Command::End),
        KeyCode::Char('p') => Key::Command(Command::Pause),
        KeyCode::Char('+' | '=') => Key::Command(Command::Times(STEP)),
        KeyCode::Char('-') => Key::Command(Command::Times(1.0 / STEP)),
        KeyCode::Char('*') => Key::Command(Command::Times(LEAP)),
        KeyCode::Char('/') => Key::Command(Command::Times(1.0 / LEAP)),
        KeyCode::Char('1') => Key::Tab(Tab::Ladder),
        KeyCode::Char('2') => Key::Tab(Tab::Phases),
        KeyCode::Char('3') => Key::Tab(Tab::Histogram),
        _ => return None,
    })
}

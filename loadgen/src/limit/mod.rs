//! The search for the most calls a second a server carries: doubled until something gives, halved in between, and then both
//! ends confirmed, so that the answer is an interval: carried every time, and never.
//!
//! It measures nothing itself: `measure` is asked for a point, `elapsed` for the time.

pub mod json;
pub mod probe;

use std::{io, time::Duration};

/// More calls a second than anybody offers from one process.
const MOST: f64 = 20_000.0;
/// Below this nothing is looked for.
const LEAST: f64 = 1.0;
/// A point at which the generator was at fault is measured again so often before it is believed the first time.
const RETRIES: u32 = 2;
/// A point while which somebody else had the machine's processors is measured again so often: such bursts last for seconds, at times
/// for a minute.
const MOST_DISTURBED: u32 = 8;
/// How often an end that is not confirmed may be moved.
const MOVES: u32 = 6;

/// What became of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Carried,
    /// An objective was missed, or a rule broken, and it was the server's doing.
    Missed,
    /// The generator, or the machine under it.
    Generator,
    /// Not carried, but too much of the machine's time was stolen to say by whose fault.
    Disturbed,
}

impl Held {
    pub fn name(self) -> &'static str {
        match self {
            Held::Carried => "carried",
            Held::Missed => "missed",
            Held::Generator => "generator",
            Held::Disturbed => "disturbed",
        }
    }
}

/// Who gave out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Generator,
    ServerCpu,
    /// Refused for want of ports, or by a quota.
    Capacity,
    Objective,
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Who::Generator => "the generator",
            Who::ServerCpu => "the server's processors",
            Who::Capacity => "the server's ports or quota",
            Who::Objective => "an objective",
        }
    }
}

/// One load, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Why it was measured.
    pub purpose: &'static str,
    /// Calls a second that were asked for, and that came up.
    pub offered: f64,
    pub carried: f64,
    pub success: f64,
    /// Milliseconds of call set-up.
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub held: Held,
    /// Whose fault, where it was not carried, and in words.
    pub who: Option<Who>,
    pub reasons: Vec<String>,
    /// Processors the server was busy on.
    pub server_processors: Option<f64>,
    pub headroom: f64,
    /// Share of the machine's time that its host gave to others.
    pub stolen: f64,
}

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    pub from: f64,
    /// The ends of the interval come this near, before they are confirmed.
    pub resolution: f64,
    /// Windows in a row that must agree at each end.
    pub confirm: u32,
    /// No point is begun after so long.
    pub at_most: Duration,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Found {
    /// Calls a second carried every time; none if not even the least was.
    pub low: Option<f64>,
    /// Not carried, whosever fault it was; none if nothing gave out.
    pub high: Option<f64>,
    /// Whether both ends were confirmed before the time was up.
    pub confirmed: bool,
    pub who: Option<Who>,
    pub reasons: Vec<String>,
    pub points: Vec<Point>,
}

impl Found {
    /// What the server did not carry. Where the generator gave out nobody knows what that is.
    pub fn servers_high(&self) -> Option<f64> {
        self.high.filter(|_| self.who != Some(Who::Generator))
    }

    /// What the generator could not offer, where it gave out.
    pub fn generators_high(&self) -> Option<f64> {
        self.high.filter(|_| self.who == Some(Who::Generator))
    }
}

struct Running<'a> {
    search: Search,
    measure: &'a mut dyn FnMut(&'static str, f64) -> io::Result<Point>,
    elapsed: &'a dyn Fn() -> Duration,
    points: Vec<Point>,
    /// The least rate at which the generator was at fault every time.
    too_much_for_us: f64,
}

/// Searches; a point that is begun is finished.
pub fn search(
    search: Search,
    elapsed: &dyn Fn() -> Duration,
    measure: &mut dyn FnMut(&'static str, f64) -> io::Result<Point>,
) -> io::Result<Found> {
    let mut running = Running { search, measure, elapsed, points: Vec::new(), too_much_for_us: f64::INFINITY };
    let (low, high) = running.bracket()?;
    let (low, high) = running.narrow(low, high)?;
    let (low, low_confirmed) = running.confirm_low(low)?;
    let (high, high_confirmed) = running.confirm_high(high)?;
    let confirmed = low_confirmed && high_confirmed;
    let (who, reasons) = blame(&running.points, low);
    Ok(Found { low, high, confirmed, who, reasons, points: running.points })
}

impl Running<'_> {
    fn time_is_up(&self) -> bool {
        (self.elapsed)() >= self.search.at_most
    }

    /// Whether the load was carried; none if the time is up. A fault of the generator's may be chance and is looked at again, unless
    /// it has had it every time at no higher a rate. What was disturbed is looked at again in any case.
    fn carried(&mut self, purpose: &'static str, rate: f64) -> io::Result<Option<bool>> {
        let mut doubts = if rate < self.too_much_for_us { RETRIES } else { 0 };
        let mut disturbed = MOST_DISTURBED;
        while !self.time_is_up() {
            let point = (self.measure)(purpose, rate)?;
            let held = point.held;
            self.points.push(point);
            match held {
                Held::Carried => return Ok(Some(true)),
                Held::Missed => return Ok(Some(false)),
                Held::Generator if doubts > 0 => doubts -= 1,
                Held::Disturbed if disturbed > 0 => disturbed -= 1,
                Held::Generator => {
                    self.too_much_for_us = self.too_much_for_us.min(rate);
                    return Ok(Some(false));
                }
                Held::Disturbed => return Ok(Some(false)),
            }
        }
        Ok(None)
    }

    /// Doubled from the start until it is too much; or halved until it is not.
    fn bracket(&mut self) -> io::Result<(Option<f64>, Option<f64>)> {
        let (mut rate, mut low, mut high) = (self.search.from.clamp(LEAST, MOST), None, None);
        loop {
            let carried = self.carried("up", rate)?;
            match carried {
                Some(true) => low = Some(rate),
                Some(false) => high = Some(rate),
                None => {}
            }
            let next = match (carried, low, high) {
                (Some(true), _, None) if rate < MOST => (rate * 2.0).min(MOST),
                (Some(false), None, _) if rate > LEAST => (rate / 2.0).max(LEAST),
                _ => return Ok((low, high)),
            };
            rate = next;
        }
    }

    fn narrow(&mut self, low: Option<f64>, high: Option<f64>) -> io::Result<(Option<f64>, Option<f64>)> {
        let (Some(mut carried), Some(mut too_much)) = (low, high) else { return Ok((low, high)) };
        while too_much / carried > 1.0 + self.search.resolution {
            let middle = (carried * too_much).sqrt();
            match self.carried("between", middle)? {
                Some(true) => carried = middle,
                Some(false) => too_much = middle,
                None => break,
            }
        }
        Ok((Some(carried), Some(too_much)))
    }

    /// Lowered, by more each time, until as many windows as are asked for are carried in a row.
    fn confirm_low(&mut self, low: Option<f64>) -> io::Result<(Option<f64>, bool)> {
        let Some(mut low) = low else { return Ok((None, false)) };
        let mut step = self.search.resolution;
        for _ in 0..MOVES {
            match self.all("confirm low", low, true)? {
                Some(true) => return Ok((Some(low), true)),
                None => return Ok((Some(low), false)),
                Some(false) => {
                    low = (low / (1.0 + step)).max(LEAST);
                    step *= 2.0;
                }
            }
        }
        Ok((Some(low), false))
    }

    /// Raised likewise until none of them is.
    fn confirm_high(&mut self, high: Option<f64>) -> io::Result<(Option<f64>, bool)> {
        let Some(mut high) = high else { return Ok((None, true)) };
        let mut step = self.search.resolution;
        for _ in 0..MOVES {
            match self.all("confirm high", high, false)? {
                Some(true) => return Ok((Some(high), true)),
                None => return Ok((Some(high), false)),
                Some(false) => {
                    high *= 1.0 + step;
                    step *= 2.0;
                }
            }
        }
        Ok((Some(high), false))
    }

    fn all(&mut self, purpose: &'static str, rate: f64, wanted: bool) -> io::Result<Option<bool>> {
        for _ in 0..self.search.confirm {
            match self.carried(purpose, rate)? {
                None => return Ok(None),
                Some(carried) if carried != wanted => return Ok(Some(false)),
                Some(_) => {}
            }
        }
        Ok(Some(true))
    }
}

/// Who is named by most points that were too much, of those nearest above what is carried, disturbed ones left out.
fn blame(points: &[Point], low: Option<f64>) -> (Option<Who>, Vec<String>) {
    let mut too_much: Vec<&Point> = points
        .iter()
        .filter(|point| {
            matches!(point.held, Held::Missed | Held::Generator) && low.is_none_or(|low| point.offered > low)
        })
        .collect();
    too_much.sort_by(|a, b| a.offered.total_cmp(&b.offered));
    too_much.truncate(NEAREST);
    let votes = |who: Who| too_much.iter().filter(|point| point.who == Some(who)).count();
    let all = [Who::Generator, Who::Capacity, Who::ServerCpu, Who::Objective];
    let most = all.into_iter().rev().max_by_key(|who| votes(*who)).filter(|who| votes(*who) > 0);
    let reasons = too_much.iter().rev().find(|point| point.who == most).map(|point| point.reasons.clone());
    (most, reasons.unwrap_or_default())
}

/// Points that are heard about who gave out.
const NEAREST: usize = 5;

#[cfg(test)]
mod tests;

//! How the arrival rate runs over time: pieces whose rate changes linearly, so that the moment at which its integral
//! reaches any value is exact.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use crate::scenario::parse_span;

/// The course of the arrivals. Rates are calls a second; time counts from the first arrival, warm-up included.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// `arrivals.calls_per_second` all the time.
    Steady,
    /// From one rate to another, and then on at that.
    Ramp { from: f64, to: f64, over: Duration },
    /// Each rate for the same time; the last stays.
    Steps { rates: Vec<f64>, each: Duration },
    /// One rate, but another from `at` on for `lasting`.
    Spike { base: f64, top: f64, at: Duration, lasting: Duration },
    /// Callers at the moments a file lists.
    Trace(PathBuf),
}

/// A stretch of time at whose ends the rate is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Seconds; the last piece of a course is endless.
    pub length: f64,
    pub from: f64,
    pub to: f64,
}

impl Shape {
    /// The course in pieces; `steady` is the rate where the shape names none. Nothing for a trace.
    pub fn pieces(&self, steady: f64) -> Vec<Piece> {
        let flat = |length: f64, rate: f64| Piece { length, from: rate, to: rate };
        let forever = |rate: f64| flat(f64::INFINITY, rate);
        match self {
            Shape::Steady => vec![forever(steady)],
            Shape::Ramp { from, to, over } => {
                vec![Piece { length: over.as_secs_f64(), from: *from, to: *to }, forever(*to)]
            }
            Shape::Steps { rates, each } => {
                let last = rates.last().copied().unwrap_or(steady);
                rates.iter().map(|rate| flat(each.as_secs_f64(), *rate)).chain([forever(last)]).collect()
            }
            Shape::Spike { base, top, at, lasting } => {
                vec![flat(at.as_secs_f64(), *base), flat(lasting.as_secs_f64(), *top), forever(*base)]
            }
            Shape::Trace(_) => Vec::new(),
        }
    }

    /// The highest rate it reaches within `length`, and the mean over it; calls a second.
    pub fn peak_and_mean(&self, steady: f64, length: Duration) -> (f64, f64) {
        let end = length.as_secs_f64().max(1e-9);
        let (mut begun, mut peak, mut area) = (0.0, 0.0f64, 0.0);
        for piece in self.pieces(steady) {
            let span = piece.length.min(end - begun);
            if span <= 0.0 {
                break;
            }
            peak = peak.max(piece.from).max(piece.rate_after(span));
            area += (piece.from + piece.rate_after(span)) / 2.0 * span;
            begun += span;
        }
        (peak, area / end)
    }
}

impl Piece {
    fn slope(&self) -> f64 {
        if self.from == self.to { 0.0 } else { (self.to - self.from) / self.length }
    }

    pub(super) fn rate_after(&self, seconds: f64) -> f64 {
        self.from + self.slope() * seconds
    }

    /// Arrivals expected in the whole piece.
    pub fn area(&self) -> f64 {
        if self.from == 0.0 && self.to == 0.0 { 0.0 } else { (self.from + self.to) / 2.0 * self.length }
    }

    /// Seconds into the piece at which `area` arrivals are expected: the positive root of s/2·t² + r·t = area, in the
    /// form that does not cancel.
    pub fn time_of(&self, area: f64) -> f64 {
        let slope = self.slope();
        if slope == 0.0 {
            return area / self.from;
        }
        let root = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        2.0 * area / (self.from + root)
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        const EXPECTED: &str =
            "expected steady, ramp:10..200/60s, steps:50,100,200x30s, spike:10..200@30s+5s or trace:FILE";
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let shape = match kind {
            "steady" if rest.is_empty() => Some(Shape::Steady),
            "ramp" => ramp(rest)?,
            "steps" => steps(rest)?,
            "spike" => spike(rest)?,
            "trace" if !rest.is_empty() => Some(Shape::Trace(PathBuf::from(rest))),
            _ => None,
        };
        shape.ok_or_else(|| EXPECTED.to_owned())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Steady => write!(out, "steady"),
            Shape::Ramp { from, to, over } => write!(out, "ramp {from}..{to} in {over:?},"),
            Shape::Steps { rates, each } => {
                let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
                write!(out, "steps {} of {each:?},", rates.join(", "))
            }
            Shape::Spike { base, top, at, lasting } => {
                write!(out, "spike {base}..{top} at {at:?} for {lasting:?},")
            }
            Shape::Trace(_) => write!(out, "trace"),
        }
    }
}

fn ramp(text: &str) -> Result<Option<Shape>, String> {
    let Some((rates, over)) = text.split_once('/') else { return Ok(None) };
    let Some((from, to)) = rates.split_once("..") else { return Ok(None) };
    Ok(Some(Shape::Ramp { from: rate(from)?, to: rate(to)?, over: positive(over)? }))
}

fn steps(text: &str) -> Result<Option<Shape>, String> {
    let Some((rates, each)) = text.split_once('x') else { return Ok(None) };
    let rates = rates.split(',').map(rate).collect::<Result<Vec<f64>, String>>()?;
    Ok(Some(Shape::Steps { rates, each: positive(each)? }))
}

fn spike(text: &str) -> Result<Option<Shape>, String> {
    let Some((rates, when)) = text.split_once('@') else { return Ok(None) };
    let (Some((base, top)), Some((at, lasting))) = (rates.split_once(".."), when.split_once('+')) else {
        return Ok(None);
    };
    Ok(Some(Shape::Spike { base: rate(base)?, top: rate(top)?, at: parse_span(at)?, lasting: positive(lasting)? }))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.trim().parse().map_err(|_| format!("{text:?} is no rate"))?;
    if (0.0..=super::MAX_RATE).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("{text}: a rate lies between 0 and {}", super::MAX_RATE))
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    let span = parse_span(text)?;
    if span.is_zero() { Err(format!("{text}: needs some time")) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape(text: &str) -> Shape {
        text.parse().unwrap()
    }

    #[test]
    fn shapes_are_read_as_the_help_writes_them() {
        let minute = Duration::from_secs(60);
        assert_eq!(shape("ramp:10..200/60s"), Shape::Ramp { from: 10.0, to: 200.0, over: minute });
        assert_eq!(shape("steps:50,100x1m"), Shape::Steps { rates: vec![50.0, 100.0], each: minute });
        let spike = Shape::Spike { base: 1.0, top: 9.5, at: minute, lasting: Duration::from_secs(5) };
        assert_eq!(shape("spike:1..9.5@60s+5s"), spike);
        assert_eq!(shape("trace:a:b.txt"), Shape::Trace("a:b.txt".into()));
        for wrong in ["", "ramp:10..200", "ramp:10..-1/5s", "steps:5,x3s", "steps:5x0s", "trace:", "sine:3", "steady:1"]
        {
            assert!(wrong.parse::<Shape>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_inverse_of_the_integral_is_exact() {
        for (from, to) in [(10.0, 200.0), (200.0, 10.0), (0.0, 50.0), (50.0, 0.0), (7.0, 7.0)] {
            let piece = Piece { length: 8.0, from, to };
            for step in 1..=32 {
                let seconds = f64::from(step) / 4.0;
                let slope = (to - from) / 8.0;
                let area = from * seconds + slope / 2.0 * seconds * seconds;
                let error = (piece.time_of(area) - seconds).abs();
                // At rate 0 the integral is flat and its inverse as steep as can be.
                assert!(error < 1e-6, "{from}..{to} at {seconds}: off by {error}");
            }
        }
    }

    #[test]
    fn peak_and_mean_are_those_of_the_time_that_is_run() {
        let (peak, mean) = shape("ramp:0..100/10s").peak_and_mean(0.0, Duration::from_secs(5));
        assert!((peak - 50.0).abs() < 1e-9 && (mean - 25.0).abs() < 1e-9);
        let (peak, mean) = shape("spike:10..100@2s+1s").peak_and_mean(0.0, Duration::from_secs(9));
        assert!((peak - 100.0).abs() < 1e-9 && (mean - 20.0).abs() < 1e-9);
    }
}

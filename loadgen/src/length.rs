//! Lengths of time as people have them: how long a call is held, how long somebody waits before giving up.

use std::{fmt, str::FromStr, time::Duration};

use rand::RngCore;

use crate::{
    arrival::{unit, unit_exponential},
    scenario::parse_span,
};

/// A distribution of lengths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    Fixed(Duration),
    /// Exponential with this mean.
    Exponential(Duration),
    /// Log-normal with this mean; `sigma` is the standard deviation of the logarithm.
    LogNormal {
        mean: Duration,
        sigma: f64,
    },
}

/// The most a logarithm may vary: already a thousandfold between one standard deviation below and above.
const MAX_SIGMA: f64 = 3.5;

impl Length {
    pub fn draw(self, random: &mut impl RngCore) -> Duration {
        match self {
            Length::Fixed(length) => length,
            Length::Exponential(mean) => mean.mul_f64(unit_exponential(random)),
            Length::LogNormal { mean, sigma } => {
                // exp(μ + σZ) has the mean exp(μ + σ²/2).
                mean.mul_f64((sigma * standard_normal(random) - sigma * sigma / 2.0).exp().min(1e6))
            }
        }
    }

    pub fn mean(self) -> Duration {
        match self {
            Length::Fixed(mean) | Length::Exponential(mean) | Length::LogNormal { mean, .. } => mean,
        }
    }
}

/// Box and Muller's transform of two uniform draws.
fn standard_normal(random: &mut impl RngCore) -> f64 {
    let radius = (-2.0 * (1.0 - unit(random)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(random)).cos()
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Length, String> {
        match text.split_once(':') {
            Some(("fixed", length)) => Ok(Length::Fixed(parse_span(length)?)),
            Some(("exp", mean)) => Ok(Length::Exponential(parse_span(mean)?)),
            Some(("lognormal", rest)) => {
                let (mean, sigma) = rest.split_once(',').ok_or("expected \"lognormal:MEAN,SIGMA\"")?;
                let sigma = sigma.trim().parse().ok().filter(|sigma| (0.0..=MAX_SIGMA).contains(sigma));
                let sigma = sigma.ok_or_else(|| format!("sigma lies between 0 and {MAX_SIGMA}"))?;
                Ok(Length::LogNormal { mean: parse_span(mean)?, sigma })
            }
            _ => Err("expected \"fixed:10s\", \"exp:3s\" or \"lognormal:30s,1.2\"".to_owned()),
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Length::Fixed(length) => write!(out, "{length:?}"),
            Length::Exponential(mean) => write!(out, "exponential, mean {mean:?}"),
            Length::LogNormal { mean, sigma } => write!(out, "log-normal, mean {mean:?}, sigma {sigma}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};

    use super::*;

    fn draws(text: &str) -> Vec<f64> {
        let length: Length = text.parse().unwrap();
        let mut random = ChaCha12Rng::seed_from_u64(4);
        (0..40_000).map(|_| length.draw(&mut random).as_secs_f64()).collect()
    }

    fn mean(of: impl Iterator<Item = f64>) -> f64 {
        let all: Vec<f64> = of.collect();
        all.iter().sum::<f64>() / all.len() as f64
    }

    #[test]
    fn every_distribution_has_the_mean_it_names() {
        for text in ["fixed:10s", "exp:10s", "lognormal:10s,0.8"] {
            let mean = mean(draws(text).into_iter());
            assert!((mean - 10.0).abs() < 0.25, "{text}: {mean}");
        }
    }

    #[test]
    fn a_log_normal_is_normal_in_its_logarithm() {
        let logs: Vec<f64> = draws("lognormal:10s,0.8").into_iter().map(f64::ln).collect();
        let centre = mean(logs.iter().copied());
        let spread = mean(logs.iter().map(|log| (log - centre).powi(2))).sqrt();
        assert!((centre - (10f64.ln() - 0.32)).abs() < 0.02 && (spread - 0.8).abs() < 0.02, "{centre} ± {spread}");
        let within = logs.iter().filter(|log| (**log - centre).abs() < spread).count() as f64 / logs.len() as f64;
        assert!((within - 0.6827).abs() < 0.01, "{within}");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10s", "exp:", "exp:10", "lognormal:10s", "lognormal:10s,9", "lognormal:10s,-1", "gamma:3s"] {
            assert!(text.parse::<Length>().is_err(), "{text}");
        }
    }
}

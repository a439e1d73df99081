//! Whether a series of measurements has a slope: Theil–Sen, with a confidence interval that no outlier moves.

/// The slope in units a second, and the bounds between which it lies with 95 % certainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    pub slope: f64,
    pub low: f64,
    pub high: f64,
    /// The middle of the values.
    pub level: f64,
}

impl Trend {
    /// The median of the slopes of all pairs; bounds by Sen (1968), from the variance of Kendall's S. `None` below eight points.
    pub fn of(points: &[(f64, f64)]) -> Option<Trend> {
        const FEWEST: usize = 8;
        if points.len() < FEWEST {
            return None;
        }
        let pairs = points.iter().enumerate().flat_map(|(i, a)| points[..i].iter().map(move |b| (a, b)));
        let mut slopes: Vec<f64> = pairs.map(|((t, v), (before, was))| (v - was) / (t - before)).collect();
        slopes.sort_unstable_by(f64::total_cmp);
        let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let count = points.len() as f64;
        let spread = 1.96 * (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
        let at = |rank: f64| slopes[(rank.round().max(0.0) as usize).min(slopes.len() - 1)];
        let middle = slopes.len() as f64 / 2.0;
        Some(Trend {
            slope: at(middle),
            low: at(middle - spread / 2.0),
            high: at(middle + spread / 2.0),
            level: values[values.len() / 2],
        })
    }

    /// Whether it certainly grows, by more in so many seconds than this share of its level or this much.
    pub fn grows(&self, seconds: f64, share: f64, least: f64) -> bool {
        self.low > 0.0 && self.slope * seconds > (self.level * share).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic and irregular, between -1 and 1.
    fn noise(step: u32) -> f64 {
        f64::from(step.wrapping_mul(2_654_435_761) >> 16) / 32_768.0 - 1.0
    }

    fn series(slope: f64) -> Vec<(f64, f64)> {
        (0..60).map(|step| (f64::from(step), 1_000.0 + slope * f64::from(step) + 20.0 * noise(step))).collect()
    }

    #[test]
    fn noise_is_flat_and_a_leak_is_not() {
        let flat = Trend::of(&series(0.0)).unwrap();
        assert!(flat.low < 0.0 && flat.high > 0.0 && !flat.grows(60.0, 0.02, 0.0), "{flat:?}");
        let leak = Trend::of(&series(2.0)).unwrap();
        assert!((leak.slope - 2.0).abs() < 0.5 && leak.grows(60.0, 0.05, 0.0), "{leak:?}");
    }

    #[test]
    fn one_wild_value_changes_nothing() {
        let mut points = series(0.0);
        points[59].1 = 1e9;
        assert!(!Trend::of(&points).unwrap().grows(60.0, 0.02, 0.0));
        assert_eq!(Trend::of(&points[..7]), None);
    }
}

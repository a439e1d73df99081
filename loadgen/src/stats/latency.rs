//! One phase's latencies: from the intended moment (corrected) and from the actual one (uncorrected), with percentiles
//! that are only shown where there are samples enough.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as HdrReader, Serializer, V2DeflateSerializer, V2Serializer},
};
use serde::{Deserialize, Serialize};

/// Longest latency kept apart, µs; longer ones count as this.
const MAX_MICROS: u64 = 600_000_000;

/// A distribution of durations in microseconds, three significant digits.
#[derive(Clone, Debug)]
pub struct Distribution {
    histogram: Histogram<u64>,
}

impl Default for Distribution {
    fn default() -> Distribution {
        let histogram = Histogram::new_with_bounds(1, MAX_MICROS, 3);
        Distribution { histogram: histogram.unwrap_or_else(|error| unreachable!("constant bounds: {error:?}")) }
    }
}

impl Distribution {
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(MAX_MICROS);
        self.histogram.saturating_record(micros.clamp(1, MAX_MICROS));
    }

    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    pub fn merge(&mut self, other: &Distribution) {
        self.histogram += &other.histogram;
    }

    pub fn max_millis(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.histogram.max() as f64 / 1e3)
    }

    pub fn mean_millis(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.histogram.mean() / 1e3)
    }

    /// Jain's index of how evenly all fared, (Σx)² / (n·Σx²): 1 if alike, 1/n if one bore everything; none with too few
    /// samples for a p99. Exponential waits have 1/2.
    pub fn fairness(&self) -> Option<f64> {
        let (mean, deviation) = (self.histogram.mean(), self.histogram.stdev());
        (self.len() >= samples_needed(99.0)).then(|| mean * mean / (mean * mean + deviation * deviation))
    }

    /// The percentile in milliseconds, or none with fewer samples than [`samples_needed`].
    pub fn percentile_millis(&self, percent: f64) -> Option<f64> {
        let enough = self.len() >= samples_needed(percent);
        enough.then(|| self.histogram.value_at_percentile(percent) as f64 / 1e3)
    }

    /// The value at a percentile, however few samples there are.
    pub fn value(&self, percent: f64) -> Duration {
        Duration::from_micros(self.histogram.value_at_percentile(percent))
    }

    /// Between what the percentile lies with 95 % confidence, by order statistics (normal approximation of the binomial);
    /// none where the upper end would lie beyond the last sample.
    pub fn interval_millis(&self, percent: f64) -> Option<(f64, f64)> {
        let (n, q) = (self.len() as f64, percent / 100.0);
        let spread = 1.96 * (n * q * (1.0 - q)).sqrt();
        let (lower, upper) = ((n * q - spread).max(1.0), n * q + spread);
        let at = |rank: f64| self.histogram.value_at_quantile(rank / n) as f64 / 1e3;
        (n > 0.0 && upper <= n).then(|| (at(lower), at(upper)))
    }

    /// As the library knows it, for formats of its own.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Kolmogorov and Smirnov's D: the most by which the shares below any one value differ; none where one is empty.
    pub fn distance(&self, other: &Distribution) -> Option<f64> {
        if self.is_empty() || other.is_empty() {
            return None;
        }
        let values =
            [self, other].into_iter().flat_map(|of| of.histogram.iter_recorded().map(|step| step.value_iterated_to()));
        let below = |of: &Distribution, value| of.histogram.count_between(0, value) as f64 / of.len() as f64;
        Some(values.map(|value| (below(self, value) - below(other, value)).abs()).fold(0.0, f64::max))
    }

    /// HDR V2 (deflate where possible), base64: mergeable without loss.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        let deflated = V2DeflateSerializer::new().serialize(&self.histogram, &mut bytes).is_ok();
        if !deflated {
            bytes.clear();
            let _ = V2Serializer::new().serialize(&self.histogram, &mut bytes);
        }
        STANDARD.encode(bytes)
    }

    /// What [`Distribution::encode`] wrote; none if it is anything else.
    pub fn decode(text: &str) -> Option<Distribution> {
        let bytes = STANDARD.decode(text).ok()?;
        let read: Histogram<u64> = HdrReader::new().deserialize(&mut bytes.as_slice()).ok()?;
        let mut distribution = Distribution::default();
        distribution.histogram.add(&read).ok()?;
        Some(distribution)
    }
}

/// Samples below which a percentile has no upper 95 % bound: ln 0.05 / ln q, and the mirror image below the median.
pub fn samples_needed(percent: f64) -> u64 {
    let q = (percent / 100.0).max(1.0 - percent / 100.0);
    (0.05f64.ln() / q.ln()).ceil() as u64
}

/// A phase on both clocks.
#[derive(Clone, Debug, Default)]
pub struct Phase {
    /// From the intended moment.
    pub corrected: Distribution,
    /// From the moment it was actually sent or started.
    pub uncorrected: Distribution,
}

impl Phase {
    pub fn record(&mut self, corrected: Duration, uncorrected: Duration) {
        self.corrected.record(corrected);
        self.uncorrected.record(uncorrected);
    }
}

/// Scores such as MOS: few enough to keep, sorted when asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Counts per hundredth, 0.00 to 5.00.
    hundredths: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Scores {
    pub fn record(&mut self, score: f64) {
        let index = (score.clamp(0.0, 5.0) * 100.0).floor() as usize;
        if self.hundredths.is_empty() {
            self.hundredths.resize(501, 0);
        }
        self.hundredths[index] += 1;
        self.sum += score;
        self.count += 1;
    }

    pub fn merge(&mut self, other: &Scores) {
        self.hundredths.resize(self.hundredths.len().max(other.hundredths.len()), 0);
        for (ours, theirs) in self.hundredths.iter_mut().zip(&other.hundredths) {
            *ours += theirs;
        }
        self.sum += other.sum;
        self.count += other.count;
    }

    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// The percentile, rounded down to a hundredth, or none with too few samples.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        if self.count < samples_needed(percent) {
            return None;
        }
        let rank = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.hundredths
            .iter()
            .position(|count| {
                seen += count;
                seen >= rank
            })
            .map(|index| index as f64 / 100.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_needed_are_those_of_the_order_statistics() {
        assert_eq!(samples_needed(95.0), 59);
        assert_eq!(samples_needed(99.0), 299);
        assert_eq!(samples_needed(99.9), 2995);
        assert_eq!(samples_needed(99.99), 29_956);
        assert_eq!(samples_needed(5.0), 59);
        assert_eq!(samples_needed(50.0), 5);
    }

    #[test]
    fn a_percentile_is_silent_until_there_are_samples_enough() {
        let mut distribution = Distribution::default();
        for _ in 0..298 {
            distribution.record(Duration::from_millis(1));
        }
        assert_eq!(distribution.percentile_millis(99.0), None);
        assert!(distribution.percentile_millis(50.0).is_some());
        distribution.record(Duration::from_millis(1));
        assert!(distribution.percentile_millis(99.0).is_some());
    }

    #[test]
    fn a_percentile_lies_between_its_order_statistics() {
        let mut distribution = Distribution::default();
        (1..=1000u64).for_each(|millis| distribution.record(Duration::from_millis(millis)));
        let (lower, upper) = distribution.interval_millis(50.0).unwrap();
        assert!((lower - 469.0).abs() < 2.0 && (upper - 531.0).abs() < 2.0, "{lower} {upper}");
        assert_eq!(distribution.interval_millis(99.9), None, "the upper end is not among the samples");
        assert_eq!(Distribution::default().interval_millis(50.0), None);
    }

    #[test]
    fn fairness_is_jains_index() {
        let fairness = |micros: &dyn Fn(u64) -> u64| {
            let mut distribution = Distribution::default();
            (0..1000).for_each(|i| distribution.record(Duration::from_micros(micros(i))));
            distribution.fairness().unwrap()
        };
        assert!((fairness(&|_| 500) - 1.0).abs() < 1e-9);
        // Half wait 1000, half next to nothing: (n/2)² / (n · n/2).
        assert!((fairness(&|i| if i % 2 == 0 { 100_000 } else { 1 }) - 0.5).abs() < 0.01);
        assert_eq!(Distribution::default().fairness(), None);
    }

    #[test]
    fn values_keep_three_digits_and_the_longest_are_not_lost() {
        let mut distribution = Distribution::default();
        for micros in 1..=10_000u64 {
            distribution.record(Duration::from_micros(micros));
        }
        let median = distribution.percentile_millis(50.0).unwrap();
        assert!((median - 5.0).abs() < 0.01, "{median}");
        distribution.record(Duration::from_secs(100_000));
        assert!(distribution.max_millis().unwrap() >= 599_000.0);
    }

    #[test]
    fn scores_give_their_low_percentile() {
        let mut scores = Scores::default();
        for _ in 0..95 {
            scores.record(4.4);
        }
        for _ in 0..5 {
            scores.record(2.0);
        }
        assert_eq!(scores.percentile(5.0), Some(2.0));
        assert_eq!(scores.percentile(50.0), Some(4.4));
        assert!((scores.mean().unwrap() - 4.28).abs() < 1e-9);
    }
}

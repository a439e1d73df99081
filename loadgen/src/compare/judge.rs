//! From rounds to a verdict (loadtest.md §4.3): for each metric the median of ln(head / base) over pairs or sides, a bootstrap
//! interval, an exact rank test beside it, Holm over the gated ones.

use super::{
    bootstrap::{Resampled, median},
    holm,
    metric::Metric,
    power, ranks,
};

/// One-sided; the interval that is shown is its two-sided sibling of 90 %.
pub const ALPHA: f64 = 0.05;
/// A round is flagged, never dropped, when it lies this many quartile distances outside the quartiles (Tukey's far out).
const FAR_OUT: f64 = 3.0;

/// What a metric is judged by.
#[derive(Clone, Copy)]
pub struct Asked {
    pub metric: &'static Metric,
    pub margin: f64,
    pub gated: bool,
}

/// Rounds of one metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Rounds {
    /// The i-th of base and the i-th of head belong together.
    Pairs(Vec<(f64, f64)>),
    Sides {
        base: Vec<f64>,
        head: Vec<f64>,
    },
}

/// What is said of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Worse by more than the margin.
    Regressed,
    /// Better by more than the margin.
    Improved,
    /// The whole interval lies within the margin.
    Equivalent,
    /// Perhaps better, surely not worse by more than the margin.
    NotWorse,
    /// Too few rounds, or too noisy.
    Unclear,
}

impl Finding {
    pub fn name(self) -> &'static str {
        match self {
            Finding::Regressed => "REGRESSED",
            Finding::Improved => "improved",
            Finding::Equivalent => "equivalent",
            Finding::NotWorse => "not worse",
            Finding::Unclear => "inconclusive",
        }
    }
}

/// One metric, compared.
pub struct Compared {
    pub asked: Asked,
    pub finding: Finding,
    /// Medians of the rounds.
    pub base: f64,
    pub head: f64,
    /// Head over base: the estimate, and the bounds of its 90 % interval, the lower one first.
    pub ratio: f64,
    pub interval: (f64, f64),
    /// Of "not worse than the margin": as it is, and after Holm.
    pub p: f64,
    pub p_holm: Option<f64>,
    /// Standard deviation of the logarithm of one pair's ratio.
    pub deviation: Option<f64>,
    /// The smallest change for the worse that so many rounds find eight times of ten.
    pub detectable: Option<f64>,
    /// Rounds a side.
    pub rounds: usize,
    /// Pairs, from nought, that lie far out.
    pub far_out: Vec<usize>,
}

/// Compares every metric that was measured; Holm's correction is over the gated ones among them.
pub fn judge(asked: &[(Asked, Rounds)], seed: u64) -> Vec<Compared> {
    let gated = asked.iter().filter(|(asked, _)| asked.gated).count().max(1);
    let mut compared: Vec<(Compared, (f64, f64))> =
        asked.iter().filter_map(|(asked, rounds)| one(*asked, rounds, seed, ALPHA / gated as f64)).collect();
    let p: Vec<f64> = compared.iter().filter(|(of, _)| of.asked.gated).map(|(of, _)| of.p).collect();
    let mut corrected = holm::adjusted(&p).into_iter();
    for (compared, worse) in &mut compared {
        compared.p_holm = if compared.asked.gated { corrected.next() } else { None };
        compared.finding = find(compared.p_holm.unwrap_or(compared.p), *worse, compared.asked.margin);
    }
    compared.into_iter().map(|(compared, _)| compared).collect()
}

/// `worse`: bounds of how much worse head is, as logarithms.
fn find(p: f64, (low, high): (f64, f64), margin: f64) -> Finding {
    let margin = margin.ln_1p();
    if p <= ALPHA && low > margin {
        Finding::Regressed
    } else if high < -margin {
        Finding::Improved
    } else if low > -margin && high < margin {
        Finding::Equivalent
    } else if high < margin {
        Finding::NotWorse
    } else {
        Finding::Unclear
    }
}

fn one(asked: Asked, rounds: &Rounds, seed: u64, alpha: f64) -> Option<(Compared, (f64, f64))> {
    let metric = asked.metric;
    let limit = asked.margin.ln_1p();
    let (mut base, mut head) = rounds.sides();
    let (resampled, rank_p, differences) = match rounds {
        Rounds::Pairs(pairs) => {
            let differences: Vec<f64> = pairs.iter().map(|(base, head)| metric.worse_by(*base, *head)).collect();
            let beyond: Vec<f64> = differences.iter().map(|difference| difference - limit).collect();
            (Resampled::of_pairs(&differences, seed)?, ranks::signed_rank(&beyond), differences)
        }
        Rounds::Sides { base, head } => {
            let worse = |values: &[f64], more: f64| -> Vec<f64> {
                values.iter().map(|value| metric.worse_by(1.0, *value) + more).collect()
            };
            let resampled = Resampled::of_sides(&worse(base, 0.0), &worse(head, 0.0), seed)?;
            (resampled, ranks::mann_whitney(&worse(base, limit), &worse(head, 0.0)), deviations(metric, base, head))
        }
    };
    // A single round shows no noise: anything may be true.
    let few = base.len().min(head.len()) < 2;
    let worse = if few {
        (f64::NEG_INFINITY, f64::INFINITY)
    } else {
        (resampled.quantile(ALPHA), resampled.quantile(1.0 - ALPHA))
    };
    let bounds = [metric.ratio(worse.0), metric.ratio(worse.1)];
    let deviation = power::deviation(&differences);
    let count = base.len().min(head.len());
    let compared = Compared {
        finding: Finding::Unclear,
        ratio: metric.ratio(resampled.quantile(0.5)),
        interval: (bounds[0].min(bounds[1]), bounds[0].max(bounds[1])),
        p: if few { 1.0 } else { resampled.not_above(limit).max(rank_p) },
        p_holm: None,
        deviation,
        detectable: deviation.map(|deviation| power::detectable(deviation, count, asked.margin, alpha)),
        rounds: count,
        far_out: if matches!(rounds, Rounds::Pairs(_)) { far_out(&differences) } else { Vec::new() },
        base: median(&mut base),
        head: median(&mut head),
        asked,
    };
    Some((compared, worse))
}

impl Rounds {
    fn sides(&self) -> (Vec<f64>, Vec<f64>) {
        match self {
            Rounds::Pairs(pairs) => pairs.iter().copied().unzip(),
            Rounds::Sides { base, head } => (base.clone(), head.clone()),
        }
    }
}

/// Sides that are not paired scatter by themselves: each round from its own side's median, widened by √2 to what a difference
/// of two has.
fn deviations(metric: &Metric, base: &[f64], head: &[f64]) -> Vec<f64> {
    let around = |values: &[f64]| -> Vec<f64> {
        let middle = median(&mut values.to_vec());
        values.iter().map(|value| metric.worse_by(middle, *value) * std::f64::consts::SQRT_2).collect()
    };
    [around(base), around(head)].concat()
}

fn far_out(differences: &[f64]) -> Vec<usize> {
    let mut sorted = differences.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.len() < 4 {
        return Vec::new();
    }
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let (first, third) = (at(0.25), at(0.75));
    let reach = FAR_OUT * (third - first);
    let outside = |difference: &f64| *difference < first - reach || *difference > third + reach;
    differences.iter().enumerate().filter(|(_, difference)| outside(difference)).map(|(index, _)| index).collect()
}

/// The fewest pairs that can call anything a regression, with so many gated metrics: the rank test's smallest p is 2⁻ⁿ.
pub fn fewest_pairs(gated: usize) -> usize {
    let needed = (gated.max(1) as f64 / ALPHA).log2().ceil();
    needed as usize
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;

//! Two builds, or two sets of results, compared: what changed for the worse by more than chance and more than a margin.
//!
//! `metric` says what, `round` which rounds count, `judge` decides one metric (with `bootstrap`, `ranks`, `holm`, `power`),
//! this file the whole, `ci` what a build server makes of it. `stored` reads results; `table`, `json` and `annotate` write.

pub mod annotate;
pub mod bootstrap;
pub mod ci;
pub mod holm;
pub mod json;
pub mod judge;
pub mod metric;
pub mod power;
pub mod ranks;
pub mod round;
pub mod stored;
pub mod table;

use judge::{Asked, Compared, Finding, Rounds};
use metric::{ALL, Metric};
use round::{Pair, Round};

/// The most metrics that may be gated: with more, Holm asks too much of each (loadtest.md §4.3).
pub const MOST_GATED: usize = 6;
/// Of the bootstrap, unless a seed is given.
pub const SEED: u64 = 42;

/// How the rounds came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Both sides of a pair at the same moment.
    Together,
    /// One after the other, ABBA.
    Apart,
    /// From files, the i-th of each side a pair.
    StoredPairs,
    /// From files.
    Stored,
}

impl How {
    pub fn words(self) -> &'static str {
        match self {
            How::Together => "pairs of rounds at the same moment",
            How::Apart => "pairs of rounds one after the other, ABBA",
            How::StoredPairs => "stored rounds, paired",
            How::Stored => "stored rounds, not paired",
        }
    }
}

/// The one word, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A side did what no server may.
    Violated,
    Regressed,
    /// Too few rounds in which the generator was sound.
    Invalid,
    Inconclusive,
    Pass,
}

impl Word {
    pub const ALL: [Word; 5] = [Word::Pass, Word::Regressed, Word::Invalid, Word::Inconclusive, Word::Violated];

    pub fn name(self) -> &'static str {
        match self {
            Word::Violated => "FAIL (correctness)",
            Word::Regressed => "REGRESSED",
            Word::Invalid => "INVALID (generator)",
            Word::Inconclusive => "INCONCLUSIVE",
            Word::Pass => "PASS",
        }
    }

    /// The process's exit code (loadtest.md §6).
    pub fn exit_code(self) -> u8 {
        match self {
            Word::Pass => 0,
            Word::Regressed => 4,
            Word::Invalid => 5,
            Word::Violated => 7,
            Word::Inconclusive => 8,
        }
    }
}

/// A finished comparison.
pub struct Comparison {
    pub how: How,
    pub base: String,
    pub head: String,
    pub compared: Vec<Compared>,
    /// Gated metrics with too few rounds that count, and how many those are.
    pub lacking: Vec<(&'static str, usize)>,
    /// Fewest rounds a side with which anything can be called a regression.
    pub fewest: usize,
    /// Rounds with a fault of the generator, of all.
    pub unsound: usize,
    pub of_rounds: usize,
    pub violations: Vec<String>,
    /// Distributions whose shape changed.
    pub spread: Vec<String>,
    /// What to keep in mind.
    pub notes: Vec<String>,
    /// What was measured, for the record; none of stored results.
    pub pairs: Vec<Pair>,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// What was compared, before it is judged.
pub enum Material {
    Pairs(Vec<Pair>),
    Sides { base: Vec<Round>, head: Vec<Round> },
}

impl Comparison {
    pub fn of(how: How, names: (String, String), asked: &[Asked], material: Material, seed: u64) -> Comparison {
        let together = how == How::Together;
        let (rounds, every) = match &material {
            Material::Pairs(pairs) => (
                round::of_pairs(asked, pairs, together),
                pairs.iter().flat_map(|pair| [("base", &pair.base), ("head", &pair.head)]).collect::<Vec<_>>(),
            ),
            Material::Sides { base, head } => {
                let (bases, heads) =
                    (base.iter().map(|round| ("base", round)), head.iter().map(|round| ("head", round)));
                (round::of_sides(asked, base, head), bases.chain(heads).collect())
            }
        };
        let gated = asked.iter().filter(|asked| asked.gated).count();
        let fewest = if matches!(material, Material::Pairs(_)) { judge::fewest_pairs(gated) } else { FEWEST_STORED };
        let lacking = rounds.iter().filter(|(asked, _)| asked.gated);
        let lacking = lacking.map(|(asked, rounds)| (asked.metric.key, rounds.count())).filter(|(_, n)| *n < fewest);
        let said = |(side, round): &(&str, &Round)| {
            let side = (*side).to_owned();
            round.violations.iter().map(move |violation| format!("{side}: {violation}")).collect::<Vec<_>>()
        };
        let mut violations: Vec<String> = every.iter().flat_map(said).collect();
        violations.sort();
        violations.dedup();
        Comparison {
            how,
            base: names.0,
            head: names.1,
            compared: judge::judge(&rounds, seed),
            lacking: lacking.collect(),
            fewest,
            unsound: every.iter().filter(|(_, round)| !round.faults.is_empty()).count(),
            of_rounds: every.len(),
            violations,
            spread: Vec::new(),
            notes: Vec::new(),
            pairs: match material {
                Material::Pairs(pairs) => pairs,
                Material::Sides { .. } => Vec::new(),
            },
            seed,
        }
    }

    /// The word, and what led to it.
    pub fn verdict(&self) -> (Word, Vec<String>) {
        let gated = || self.compared.iter().filter(|compared| compared.asked.gated);
        let regressed: Vec<String> =
            gated().filter(|of| of.finding == Finding::Regressed).map(Compared::sentence).collect();
        let lacking: Vec<String> = self.lacking.iter().map(|(key, n)| self.lacks(key, *n)).collect();
        let unclear: Vec<String> =
            gated().filter(|of| of.finding == Finding::Unclear).map(Compared::sentence).collect();
        // Without unsound rounds what is lacking was never asked for, or never happened: nobody's fault.
        let (invalid, lacking) = if self.unsound > 0 { (lacking, Vec::new()) } else { (Vec::new(), lacking) };
        let unclear = if gated().next().is_none() && lacking.is_empty() {
            vec!["no gated metric was measured".to_owned()]
        } else {
            [lacking, unclear].concat()
        };
        let ladder = [
            (Word::Violated, self.violations.clone()),
            (Word::Regressed, regressed),
            (Word::Invalid, invalid),
            (Word::Inconclusive, unclear),
        ];
        ladder.into_iter().find(|(_, reasons)| !reasons.is_empty()).unwrap_or((Word::Pass, Vec::new()))
    }

    fn lacks(&self, key: &str, n: usize) -> String {
        let Comparison { fewest, unsound, of_rounds, .. } = self;
        format!(
            "{key}: {n} rounds a side count, {fewest} are needed; in {unsound} of {of_rounds} the generator was unsound"
        )
    }
}

/// Mann and Whitney's smallest p with so many a side is below one in twenty.
const FEWEST_STORED: usize = 4;

impl Compared {
    /// `cpu/packet ×1.102 (1.081–1.119), margin 3 %`.
    pub fn sentence(&self) -> String {
        let Compared { asked, ratio, interval: (low, high), .. } = self;
        let margin = asked.margin * 100.0;
        format!("{} ×{ratio:.3} ({low:.3}–{high:.3}), margin {margin} %", asked.metric.key)
    }
}

impl Rounds {
    /// Of the side that has fewer.
    pub fn count(&self) -> usize {
        match self {
            Rounds::Pairs(pairs) => pairs.len(),
            Rounds::Sides { base, head } => base.len().min(head.len()),
        }
    }
}

/// What is judged: all metrics are shown, `gated` stop a change; without any named the usual ones. `margins` are written `3%`,
/// for every gated metric, or `setup.p50=10%`.
pub fn asked(gated: &[String], margins: &[String]) -> Result<Vec<Asked>, String> {
    let named = gated.iter().map(|key| Metric::find(key).map(|metric| metric.key)).collect::<Result<Vec<_>, _>>()?;
    if named.len() > MOST_GATED {
        return Err(format!("{} metrics gated: at most {MOST_GATED}, or each needs too many rounds", named.len()));
    }
    let is_gated = |metric: &Metric| if named.is_empty() { metric.gated } else { named.contains(&metric.key) };
    let all = ALL.iter().map(|metric| Asked { metric, margin: metric.margin, gated: is_gated(metric) });
    let mut asked: Vec<Asked> = all.collect();
    for text in margins {
        let (key, share) = text.split_once('=').map_or((None, text.as_str()), |(key, share)| (Some(key), share));
        let share = parse_share(share)?;
        key.map(Metric::find).transpose()?;
        let meant = |of: &Asked| key.map_or(of.gated, |key| of.metric.key == key);
        asked.iter_mut().filter(|of| meant(of)).for_each(|of| of.margin = share);
    }
    Ok(asked)
}

/// `3%` or `0.03`.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / scale);
    share.filter(|share| (0.0..1.0).contains(share)).ok_or_else(|| format!("{text:?} is no share such as 3%"))
}

#[cfg(test)]
mod tests;

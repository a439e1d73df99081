//! Many comparisons of the same two sides: of one build with itself, to count false alarms; of a build that is slower on
//! purpose, to count how often it is found.

use serde_json::{Value, json};

use crate::compare::{Comparison, Word, json};

/// Name and version of the shape.
pub const SCHEMA: &str = "loadgen.proof/1";

/// The published schema (JSON Schema, draft 2020-12) of that shape.
pub const PUBLISHED: &str = include_str!("../../docs/loadgen.proof.1.schema.json");

/// What became of them, one after another.
#[derive(Default)]
pub struct Proof {
    words: Vec<Word>,
    kept: Vec<Value>,
    /// Ratio and deviation of the first gated metric.
    first: Vec<(f64, Option<f64>)>,
}

impl Proof {
    pub fn add(&mut self, of: &Comparison) {
        self.words.push(of.verdict().0);
        let mut kept = json::render(of);
        if let Some(table) = kept.as_object_mut() {
            // Hundreds of comparisons: what can be computed from the rest, or is the same in all, is left out.
            for key in ["environment", "schema", "loadgen", "notes", "base", "head"] {
                table.remove(key);
            }
        }
        self.kept.push(kept);
        let gated = of.compared.iter().find(|compared| compared.asked.gated);
        self.first.extend(gated.map(|compared| (compared.ratio, compared.deviation)));
    }

    pub fn count(&self, word: Word) -> usize {
        self.words.iter().filter(|found| **found == word).count()
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// `REGRESSED 1 of 149 · PASS 140 · …`, with the range of the first gated metric's ratio.
    pub fn summary(&self, against_itself: bool) -> String {
        let counts: Vec<String> = Word::ALL
            .into_iter()
            .filter(|word| self.count(*word) > 0)
            .map(|word| format!("{} {}", word.name(), self.count(word)))
            .collect();
        let (alarms, all) = (self.count(Word::Regressed), self.len());
        let what = if against_itself { "false alarms" } else { "found" };
        let mut ratios: Vec<f64> = self.first.iter().map(|(ratio, _)| *ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let range = ratios.first().zip(ratios.last()).map_or_else(String::new, |(least, most)| {
            format!("; ratio of the first gated metric {least:.3} to {most:.3}, median {:.3}", ratios[ratios.len() / 2])
        });
        format!("{what}: {alarms} of {all} comparisons ({}){range}", counts.join(", "))
    }

    /// As JSON, complete after every comparison, so that an interrupted proof is not lost.
    pub fn render(&self, base: &str, head: &str, against_itself: bool) -> Value {
        let counts = Word::ALL.into_iter().map(|word| (word.name().to_owned(), json!(self.count(word))));
        json!({
            "schema": SCHEMA,
            "loadgen": env!("CARGO_PKG_VERSION"),
            "base": base,
            "head": head,
            "against_itself": against_itself,
            "comparisons": self.len(),
            "regressed": self.count(Word::Regressed),
            "words": counts.collect::<serde_json::Map<_, _>>(),
            "environment": crate::host::environment().into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)))
                .collect::<serde_json::Map<_, _>>(),
            "each": self.kept,
        })
    }
}

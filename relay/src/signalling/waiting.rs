//! `GET /v1/waiting`: who waits, for an operator to see, in numbers that name nobody ([`crate::matchmaking::Census`]).
//!
//! The desk takes the census slice by slice and serves everybody else in between; whoever asks while one is fresh gets the same again, so
//! that asking often costs nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::message::{BandWord, GenderWord, HintWord, LevelWord};
use crate::matchmaking::{Census, Gender, Group, Starved, TOLD_TOGETHER, Waiting};

/// A census is told for so long.
const FRESH: Duration = Duration::from_secs(5);
/// Between two slices: of a fraction of a millisecond each, so that a census takes a tenth of the desk's time at most.
pub(super) const PAUSE: Duration = Duration::from_millis(3);

/// The census that was told last.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Option<(Instant, Value)>>>);

impl Told {
    /// What was told a moment ago, or what `take` finds. One is taken at a time; others wait for it.
    pub(super) async fn or<E>(&self, take: impl Future<Output = Result<Census, E>>) -> Result<Value, E> {
        let mut told = self.0.lock().await;
        if let Some((at, value)) = told.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(value.clone());
        }
        let value = page(take.await?);
        *told = Some((Instant::now(), value.clone()));
        Ok(value)
    }
}

/// One group, in the words of the protocol. What its people differ in is left out.
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    cohort: Option<Vec<BandWord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lvl: Option<LevelWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<Vec<GenderWord>>,
    people: u32,
    longest_secs: u64,
    /// "wish", "people", or nothing: nobody in it has waited for long.
    #[serde(skip_serializing_if = "Option::is_none")]
    starved_of: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<HintWord>,
}

fn page(census: Census) -> Value {
    let appointments = census.appointments();
    let groups: Vec<Row> = census.told().into_iter().map(row).collect();
    json!({ "together": TOLD_TOGETHER, "groups": groups, "appointments": appointments })
}

fn row(Waiting { group: Group { bands, level, wants }, people, longest_ms, starved }: Waiting) -> Row {
    let (starved_of, hint) = match starved {
        Starved::No => (None, None),
        Starved::By(hint) => (Some("wish"), Some(hint.into())),
        Starved::OfPeople => (Some("people"), None),
    };
    Row {
        cohort: bands.map(|bands| bands.iter().map(|band| BandWord::from(*band)).collect()),
        lvl: level.map(LevelWord::from),
        gender: wants
            .map(|wants| Gender::ALL.into_iter().filter(|it| wants.contains(*it)).map(GenderWord::from).collect()),
        people,
        longest_secs: longest_ms / 1_000,
        starved_of,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matchmaking::{Band, GenderSet, Hint, Level, Relax};

    #[test]
    fn a_group_is_told_in_the_words_of_the_protocol() {
        let group = Group {
            bands: Some(&[Band::B13_15, Band::B16_17]),
            level: Some(Level::B1),
            wants: Some(GenderSet::NONE.with(Gender::F).with(Gender::X)),
        };
        let starved = Starved::By(Hint { relax: Relax::Topics, would_match: 20 });
        let told = |group, starved| json!(row(Waiting { group, people: 30, longest_ms: 15_000, starved }));
        assert_eq!(
            told(group, starved),
            json!({
                "cohort": ["13-15", "16-17"], "lvl": "B1", "gender": ["f", "x"], "people": 30, "longest_secs": 15,
                "starved_of": "wish", "hint": { "relax": "topics", "would_match": 20 }
            })
        );
        let everybody = Group { bands: None, level: None, wants: None };
        assert_eq!(told(everybody, Starved::No), json!({ "people": 30, "longest_secs": 15 }));
        assert_eq!(told(everybody, Starved::OfPeople)["starved_of"], "people");
    }

    #[tokio::test]
    async fn a_census_is_told_again_while_it_is_fresh() {
        let told = Told::default();
        let taken = async |told: &Told| {
            let mut taken = 0;
            let take = async {
                taken += 1;
                Ok::<_, ()>(Census::default())
            };
            assert!(told.or(take).await.is_ok());
            taken
        };
        assert_eq!(taken(&told).await, 1);
        assert_eq!(taken(&told).await, 0);
        let failed = Told::default();
        assert_eq!(failed.or(async { Err(7) }).await, Err(7));
        assert_eq!(taken(&failed).await, 1, "what failed is not remembered");
    }
}

//! What a token says. Strict: a claim of the wrong shape makes the whole token worthless.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{MAX_LIFE_SECS, SKEW_SECS, Settings};
use crate::matchmaking::{Band, Country, Gender, GenderSet, Level, Meeting, Pepper, Person};
use crate::signalling::message::{BandWord, GenderWord, LevelWord};
use crate::time::Unix;

/// Lasting blocks in one token.
const MAX_BLOCKS: usize = 512;
/// Longest card, in bytes of compact JSON.
const MAX_CARD_BYTES: usize = 512;
/// Longest pool name, in bytes.
const MAX_POOL_BYTES: usize = 32;
/// Where people wait whose token names no pool.
const DEFAULT_POOL: &str = "general";
const MAX_JTI_BYTES: usize = 128;
/// Longest name of an appointment, in bytes.
const MAX_MEETING_BYTES: usize = 64;

/// A caller as the app vouches for them. Held until the connection ends.
#[derive(Serialize, Deserialize)]
pub struct Claims {
    pub person: Person,
    /// The pseudonym itself: only a report to the app names it.
    pub sub: Arc<str>,
    /// Digest of `jti`.
    pub token: u128,
    pub band: Band,
    pub gender: Gender,
    pub level: Level,
    /// `queue.level` may say something else than [`Claims::level`].
    pub level_free: bool,
    /// Genders this caller may ask for.
    pub entitled: GenderSet,
    pub blocks: Vec<Person>,
    pub pool: Box<str>,
    /// Where the caller is, as the app says.
    pub country: Country,
    /// An appointment: this caller meets the other one whose token names it, and nobody else.
    pub meeting: Option<Meeting>,
    /// Shown to the partner, never looked into.
    #[serde(with = "packed_card")]
    pub card: Option<Box<RawValue>>,
    /// This caller's calls are relayed whatever the operator allows.
    pub relay_only: bool,
    pub may_text: bool,
    pub may_next: bool,
    pub expires: Unix,
}

/// The registered claims (RFC 7519 §4.1), all required.
pub(super) struct Dated {
    pub(super) jti: String,
    pub(super) expires: Unix,
}

#[derive(Deserialize)]
struct WireDated {
    iss: String,
    aud: Audience,
    exp: u64,
    iat: u64,
    nbf: u64,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Dated {
    pub(super) fn read(json: &str, now: Unix, settings: &Settings) -> Option<Dated> {
        let wire: WireDated = serde_json::from_str(json).ok()?;
        let addressed = match &wire.aud {
            Audience::One(one) => *one == settings.audience,
            Audience::Many(many) => many.contains(&settings.audience),
        };
        let early = now.0.saturating_add(SKEW_SECS);
        let late = now.0.saturating_sub(SKEW_SECS);
        let in_time = wire.nbf <= early && wire.iat <= early && late < wire.exp;
        let life = wire.exp.checked_sub(wire.iat.min(wire.nbf))?;
        let good = wire.iss == settings.issuer
            && addressed
            && in_time
            && life <= MAX_LIFE_SECS
            && (1..=MAX_JTI_BYTES).contains(&wire.jti.len());
        good.then_some(Dated { jti: wire.jti, expires: Unix(wire.exp) })
    }
}

/// The confirmed age band, if it is old enough. Everything else, however it is wrong, is the closed gate.
pub(super) fn age_gate(json: &str, min_band: Band) -> Option<Band> {
    #[derive(Deserialize)]
    struct Gate<'a> {
        #[serde(borrow)]
        age: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Age {
        ok: bool,
        band: BandWord,
    }
    let gate: Gate<'_> = serde_json::from_str(json).ok()?;
    // serde would read a structure from an array as well.
    let object = gate.age.get().starts_with('{').then_some(gate.age.get())?;
    let age: Age = serde_json::from_str(object).ok()?;
    let band = Band::from(age.band);
    (age.ok && band >= min_band).then_some(band)
}

#[derive(Deserialize)]
struct Wire {
    sub: String,
    g: GenderWord,
    lvl: LevelWord,
    #[serde(default)]
    lvl_free: bool,
    #[serde(default)]
    gp: Option<Vec<GenderWord>>,
    #[serde(default)]
    blk: Vec<Block>,
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    country: Option<String>,
    #[serde(default)]
    with: Option<String>,
    #[serde(default)]
    card: Option<Value>,
    #[serde(default)]
    relay: Option<Relay>,
    #[serde(default)]
    cap: Capabilities,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Relay {
    Always,
    MayDirect,
}

#[derive(Deserialize)]
struct Capabilities {
    #[serde(default = "yes")]
    text: bool,
    #[serde(default = "yes")]
    next: bool,
}

impl Default for Capabilities {
    fn default() -> Capabilities {
        Capabilities { text: true, next: true }
    }
}

const fn yes() -> bool {
    true
}

/// The first 8 bytes of SHA-256 of a pseudonym, in base64 of either alphabet, padded or not.
struct Block([u8; 8]);

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Block, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).or_else(|_| STANDARD.decode(&text));
        let eight = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        eight.map(Block).ok_or_else(|| serde::de::Error::custom("not eight bytes of base64"))
    }
}

pub(super) fn read(json: &str, band: Band, dated: &Dated, pepper: &Pepper) -> Option<Claims> {
    let wire: Wire = serde_json::from_str(json).ok()?;
    let entitled = match wire.gp {
        None => GenderSet::ANY,
        Some(words) => words.into_iter().map(Gender::from).collect(),
    };
    let pool = wire.pool.as_deref().unwrap_or(DEFAULT_POOL);
    let country = wire.country.as_deref().map_or(Some(Country::UNKNOWN), Country::parse)?;
    if wire.with.as_deref().is_some_and(|with| !(1..=MAX_MEETING_BYTES).contains(&with.len())) {
        return None;
    }
    let shaped = is_pseudonym(&wire.sub) && is_pool(pool) && !entitled.is_empty() && wire.blk.len() <= MAX_BLOCKS;
    if !shaped {
        return None;
    }
    let card = wire.card.as_ref().map(card).transpose().ok()?;
    Some(Claims {
        person: pepper.person(&wire.sub),
        sub: wire.sub.as_str().into(),
        token: super::token_digest(&dated.jti),
        band,
        gender: wire.g.into(),
        level: wire.lvl.into(),
        level_free: wire.lvl_free,
        entitled,
        blocks: wire.blk.iter().map(|block| pepper.blocked(block.0)).collect(),
        pool: pool.into(),
        country,
        meeting: wire.with.as_deref().map(|with| pepper.meeting(pool, with)),
        card,
        relay_only: wire.relay == Some(Relay::Always),
        may_text: wire.cap.text,
        may_next: wire.cap.next,
        expires: dated.expires,
    })
}

impl Claims {
    /// What another node needs to know of who talks there: nobody they block, and no appointment.
    pub fn of_a_guest(&self) -> Claims {
        let (sub, pool, card) = (Arc::clone(&self.sub), self.pool.clone(), self.card.clone());
        Claims { sub, pool, card, blocks: Vec::new(), meeting: None, ..*self }
    }

    /// Whether [`Claims::of_a_guest`] may have made them.
    pub fn is_of_a_guest(&self) -> bool {
        let card = self.card.as_ref().is_none_or(|card| card.get().len() <= MAX_CARD_BYTES);
        card && is_pseudonym(&self.sub) && is_pool(&self.pool) && self.blocks.is_empty()
    }
}

/// A card as its text: only JSON's own serializer knows what raw JSON is.
mod packed_card {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};
    use serde_json::value::RawValue;

    pub(super) fn serialize<S: Serializer>(card: &Option<Box<RawValue>>, serializer: S) -> Result<S::Ok, S::Error> {
        card.as_deref().map(RawValue::get).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(RawValue::from_string).transpose().map_err(|_| D::Error::custom("not a card"))
    }
}

struct BadCard;

fn card(value: &Value) -> Result<Box<RawValue>, BadCard> {
    let raw = serde_json::value::to_raw_value(value).map_err(|_| BadCard)?;
    if raw.get().len() > MAX_CARD_BYTES { Err(BadCard) } else { Ok(raw) }
}

/// 16 to 43 base64url characters: a hash of something, never an e-mail address.
fn is_pseudonym(sub: &str) -> bool {
    (16..=43).contains(&sub.len()) && sub.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_pool(pool: &str) -> bool {
    (1..=MAX_POOL_BYTES).contains(&pool.len())
        && pool.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims[redacted]")
    }
}

//! Tokens for the demo page. In production they come from the app's backend; this stands in for one on loopback, with a
//! secret made for this run.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::gate::is_loopback_host;
use super::ids::Id;
use super::message::{BandWord, GenderWord, LevelWord};
use super::token::{Minter, Profile};
use crate::time::Unix;

/// Longest request body, in bytes.
pub(super) const MAX_BODY_BYTES: usize = 1024;
/// Life of a demo token, in seconds.
const LIFE_SECS: u64 = 60;
/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 32;

/// What the page asks for.
#[derive(Deserialize)]
pub(super) struct Wish {
    lvl: LevelWord,
    g: GenderWord,
    band: BandWord,
    #[serde(default)]
    gp: Option<Vec<GenderWord>>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Minted {
    token: String,
}

/// A token for a new pseudonym.
pub(super) fn mint(
    minter: &Minter,
    now: Unix,
    headers: &HeaderMap,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Result<Json<Minted>, StatusCode> {
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    if !host.is_some_and(is_loopback_host) {
        return Err(StatusCode::FORBIDDEN);
    }
    // Not JSON is 415, so that no form of another page's can post here without asking first.
    let Json(wish) = wish.map_err(|rejection| rejection.status())?;
    let profile = profile(wish).ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    let token = minter.mint(now, LIFE_SECS, &random_name(), &profile);
    Ok(Json(Minted { token }))
}

fn profile(wish: Wish) -> Option<Profile> {
    let mut profile = Profile::adult(random_name());
    profile.band = wish.band.into();
    profile.gender = wish.g.into();
    profile.level = wish.lvl.into();
    if let Some(entitled) = wish.gp {
        profile.entitled = entitled.into_iter().map(Into::into).collect();
    }
    if let Some(name) = wish.name.filter(|name| !name.is_empty()) {
        if name.chars().count() > MAX_NAME_CHARS {
            return None;
        }
        profile.card = Some(json!({ "n": name }));
    }
    (1..=3).contains(&profile.entitled.len()).then_some(profile)
}

/// 128 random bits in 22 characters: a pseudonym, a token's number.
fn random_name() -> String {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    Id(bytes).to_base64url()
}

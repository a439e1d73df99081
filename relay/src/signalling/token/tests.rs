#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use sha2::Digest as _;

use super::*;

const NOW: Unix = Unix(1_800_000_000);
const SECRET: &[u8] = b"a shared secret of thirty-two b.";
const SUB: &str = "pseudonym-of-somebody";

fn hs() -> Minter {
    Minter::hs256("dev", SECRET, "https://app.example", "voice")
}

fn ed() -> Minter {
    Minter::ed25519("app-1", &[3; 32], "https://app.example", "voice")
}

fn verifier() -> Verifier {
    let keys = vec![
        ("app-1".to_owned(), Key::ed25519(&ed().public_key().unwrap()).unwrap()),
        ("dev".to_owned(), Key::hs256(SECRET).unwrap()),
    ];
    let settings =
        Settings { issuer: "https://app.example".into(), audience: "voice".into(), keys, min_band: Band::B13_15 };
    Verifier::new(settings, Pepper::new([9; 32]))
}

fn claims() -> Value {
    hs().claims(NOW, 300, "jti-1", &Profile::adult(SUB))
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn verdict(claims: &Value) -> Result<Claims, Rejected> {
    verifier().verify(NOW, &hs().sign(claims))
}

#[test]
fn a_token_of_either_algorithm_says_who_is_calling() {
    for minter in [hs(), ed()] {
        let mut profile = Profile::adult(SUB);
        profile.card = Some(json!({ "n": "Linh" }));
        profile.pool = Some("oet-nurse".into());
        profile.relay_only = true;
        let claims = verifier().verify(NOW, &minter.mint(NOW, 300, "j", &profile)).unwrap();
        assert_eq!(claims.person, Pepper::new([9; 32]).person(SUB));
        assert_eq!((claims.band, &*claims.pool, claims.relay_only), (Band::Adult, "oet-nurse", true));
        assert_eq!(claims.card.as_ref().unwrap().get(), r#"{"n":"Linh"}"#);
        assert!(claims.may_text && claims.may_next && !claims.level_free);
        assert_eq!(claims.expires, NOW.saturating_plus(300));
        assert_eq!(format!("{claims:?}"), "Claims[redacted]");
    }
}

trait Plus {
    fn saturating_plus(self, secs: u64) -> Unix;
}

impl Plus for Unix {
    fn saturating_plus(self, secs: u64) -> Unix {
        Unix(self.0.saturating_add(secs))
    }
}

#[test]
fn a_token_opens_one_door_once() {
    let mut verifier = verifier();
    let token = hs().mint(NOW, 300, "once", &Profile::adult(SUB));
    assert!(verifier.verify(NOW, &token).is_ok());
    assert_eq!(verifier.verify(NOW, &token).unwrap_err(), Rejected::Token);
    // The last second in which it would otherwise be good.
    assert_eq!(verifier.verify(NOW.saturating_plus(329), &token).unwrap_err(), Rejected::Token);
}

#[test]
fn used_tokens_are_remembered_no_longer_than_they_could_be_used() {
    let mut verifier = verifier();
    for number in 0..100 {
        let token = hs().mint(NOW, 10 + number, &number.to_string(), &Profile::adult(SUB));
        verifier.verify(NOW, &token).unwrap();
    }
    assert_eq!(verifier.replay.len(), 100);
    verifier.forget_expired(NOW.saturating_plus(60 + SKEW_SECS));
    assert_eq!(verifier.replay.len(), 50);
    verifier.forget_expired(NOW.saturating_plus(1_000));
    assert_eq!(verifier.replay.len(), 0);
}

#[test]
fn missing_false_or_unknown_age_is_the_age_gate() {
    let closed = [
        without("age"),
        with("age", json!(null)),
        with("age", json!(true)),
        with("age", json!({ "ok": false, "band": "18+" })),
        with("age", json!({ "ok": "true", "band": "18+" })),
        with("age", json!({ "ok": 1, "band": "18+" })),
        with("age", json!({ "ok": true })),
        with("age", json!({ "ok": true, "band": "21+" })),
        with("age", json!({ "ok": true, "band": null })),
        with("age", json!({ "band": "18+" })),
    ];
    for claims in closed {
        assert_eq!(verdict(&claims).unwrap_err(), Rejected::Age, "{claims}");
    }
}

#[test]
fn the_age_gate_comes_before_every_claim_about_the_person_and_keeps_nothing() {
    let mut claims = without("age");
    for name in ["sub", "g", "lvl", "gp", "blk", "pool", "card"] {
        claims[name] = json!([{ "nonsense": 1 }]);
    }
    let mut verifier = verifier();
    assert_eq!(verifier.verify(NOW, &hs().sign(&claims)).unwrap_err(), Rejected::Age);
    assert_eq!(verifier.replay.len(), 0);
}

#[test]
fn the_operator_may_ask_for_more_years() {
    let mut strict = verifier();
    strict.settings.min_band = Band::B16_17;
    let young = with("age", json!({ "ok": true, "band": "13-15" }));
    assert_eq!(strict.verify(NOW, &hs().sign(&young)).unwrap_err(), Rejected::Age);
    let older = with("age", json!({ "ok": true, "band": "16-17" }));
    assert!(strict.verify(NOW, &hs().sign(&older)).is_ok());
}

#[test]
fn every_registered_claim_is_required_and_must_fit() {
    for name in ["iss", "aud", "exp", "iat", "nbf", "jti", "sub", "g", "lvl"] {
        assert_eq!(verdict(&without(name)).unwrap_err(), Rejected::Token, "{name}");
    }
    let wrong = [
        ("iss", json!("https://other.example")),
        ("aud", json!("video")),
        ("aud", json!([])),
        ("exp", json!(NOW.0 - 30)),
        ("exp", json!(NOW.0 + 601)),
        ("exp", json!("soon")),
        ("exp", json!(1.8e18)),
        ("exp", json!(-1)),
        ("iat", json!(NOW.0 + 31)),
        ("nbf", json!(NOW.0 + 31)),
        ("nbf", json!(0)),
        ("jti", json!("")),
        ("jti", json!("x".repeat(129))),
        ("sub", json!("too-short")),
        ("sub", json!("somebody@mail.example.org")),
        ("sub", json!("x".repeat(44))),
        ("g", json!("w")),
        ("lvl", json!("B3")),
        ("gp", json!([])),
        ("gp", json!("f")),
        ("blk", json!(["short"])),
        ("blk", json!(vec!["AAAAAAAAAAA"; 513])),
        ("pool", json!("")),
        ("pool", json!("a/b")),
        ("pool", json!("x".repeat(33))),
        ("card", json!("x".repeat(511))),
        ("relay", json!("never")),
        ("cap", json!({ "text": "yes" })),
    ];
    for (name, value) in wrong {
        assert_eq!(verdict(&with(name, value.clone())).unwrap_err(), Rejected::Token, "{name}: {value}");
    }
}

#[test]
fn clocks_may_differ_by_half_a_minute() {
    assert!(verdict(&with("exp", json!(NOW.0 - 29))).is_err(), "a life below zero");
    let token = hs().mint(NOW, 60, "j", &Profile::adult(SUB));
    assert!(verifier().verify(Unix(NOW.0 - 30), &token).is_ok());
    assert!(verifier().verify(Unix(NOW.0 - 31), &token).is_err());
    assert!(verifier().verify(Unix(NOW.0 + 89), &token).is_ok());
    assert!(verifier().verify(Unix(NOW.0 + 90), &token).is_err());
}

#[test]
fn an_audience_may_be_one_of_a_list() {
    assert!(verdict(&with("aud", json!(["chat", "voice"]))).is_ok());
    assert!(verdict(&with("aud", json!(["chat"]))).is_err());
}

#[test]
fn capabilities_default_to_yes() {
    let claims = verdict(&with("cap", json!({ "text": false }))).unwrap();
    assert!(!claims.may_text && claims.may_next);
}

#[test]
fn blocks_name_people_in_either_base64() {
    let digest = Sha256::digest(b"blocked-pseudonym-x");
    let mut entry = [0; 8];
    entry.copy_from_slice(&digest[..8]);
    let standard = base64::engine::general_purpose::STANDARD.encode(entry);
    let claims = verdict(&with("blk", json!([URL_SAFE_NO_PAD.encode(entry), standard]))).unwrap();
    let person = Pepper::new([9; 32]).person("blocked-pseudonym-x");
    assert_eq!(claims.blocks, [person, person]);
}

fn forged(header: &Value, signature: &[u8]) -> String {
    format!(
        "{}.{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims().to_string()),
        URL_SAFE_NO_PAD.encode(signature)
    )
}

#[test]
fn what_the_token_says_of_its_algorithm_changes_nothing() {
    for alg in ["none", "None", "", "HS256", "ES256", "HS512"] {
        for kid in ["app-1", "dev", "", "../dev"] {
            assert!(verifier().verify(NOW, &forged(&json!({ "alg": alg, "kid": kid }), b"")).is_err());
        }
    }
    // The classic confusion: HMAC keyed with the bytes of the public key, under the kid of the public key.
    let public = ed().public_key().unwrap();
    let confused = Minter::hs256("app-1", &public, "https://app.example", "voice");
    assert!(verifier().verify(NOW, &confused.sign(&claims())).is_err());
    // A good signature under another key's name.
    let crossed = Minter::hs256("app-1", SECRET, "https://app.example", "voice");
    assert!(verifier().verify(NOW, &crossed.sign(&claims())).is_err());
    let stranger = Minter::ed25519("app-1", &[4; 32], "https://app.example", "voice");
    assert!(verifier().verify(NOW, &stranger.sign(&claims())).is_err());
}

/// A token with any header, under a good HMAC.
fn signed_under(header: &Value) -> String {
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims().to_string()));
    let mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap().chain_update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[test]
fn a_header_that_contradicts_its_key_or_must_be_understood_is_refused() {
    assert!(verifier().verify(NOW, &signed_under(&json!({ "alg": "HS256", "kid": "dev", "typ": "any" }))).is_ok());
    for header in [
        json!({ "alg": "none", "kid": "dev" }),
        json!({ "alg": "EdDSA", "kid": "dev" }),
        json!({ "alg": "hs256", "kid": "dev" }),
        json!({ "kid": "dev" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "HS256", "kid": "dev", "crit": ["b64"], "b64": false }),
    ] {
        assert_eq!(verifier().verify(NOW, &signed_under(&header)).unwrap_err(), Rejected::Token, "{header}");
    }
}

#[test]
fn every_flipped_character_breaks_the_token() {
    let token = hs().sign(&claims());
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        assert!(verifier().verify(NOW, &forged).is_err(), "position {at}");
    }
}

#[test]
fn odd_shapes_and_sizes_are_refused() {
    let token = hs().sign(&claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let odd = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        signed.to_owned(),
        format!("{token}."),
        format!("{token}="),
        format!(" {token}"),
        format!("{signed}..{signature}"),
        format!("{token}.{signature}"),
    ];
    for token in odd {
        assert!(verifier().verify(NOW, &token).is_err(), "{token}");
    }
    let big = hs().sign(&with("later", json!("x".repeat(MAX_TOKEN_BYTES))));
    assert!(verifier().verify(NOW, &big).is_err());
    let deep = format!("{}1{}", "[".repeat(9), "]".repeat(9));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    assert!(verifier().verify(NOW, &hs().sign(&with("later", deep))).is_err());
}

#[test]
fn the_largest_honest_token_fits() {
    let mut profile = Profile::adult("x".repeat(43));
    profile.blocks = vec![[0xFF; 8]; 512];
    profile.card = Some(json!("x".repeat(510)));
    let token = hs().mint(NOW, 600, "j", &profile);
    assert!(token.len() < MAX_TOKEN_BYTES, "{}", token.len());
    assert!(verifier().verify(NOW, &token).is_ok());
}

#[test]
fn weak_keys_and_short_secrets_are_refused_at_start() {
    assert_eq!(Key::hs256(&[1; 31]).unwrap_err(), BadKey::TooShort);
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(Key::ed25519(&identity).unwrap_err(), BadKey::NotAKey);
    assert_eq!(format!("{:?}", Key::hs256(SECRET).unwrap()), "HS256[redacted]");
}

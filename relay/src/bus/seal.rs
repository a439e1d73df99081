//! Every payload is sealed between nodes: the broker, and whoever reads its memory, sees subjects and lengths.
//!
//! ```text
//! 1 byte    version, 1
//! 4 bytes   id of the key
//! 1 + n     node that sends
//! 8 + 8     its incarnation: when it started (Unix time in milliseconds), and chance
//! 8 bytes   number of the message in that incarnation
//! 8 bytes   when it was sealed (Unix time in milliseconds)
//! rest      ChaCha20-Poly1305 (RFC 8439): payload and tag
//! ```
//!
//! All that stands before the payload, and the subject, are its associated data: a message moved to another subject, or put into another
//! mouth, does not open. Each incarnation seals with a key of its own, HMAC-SHA256 of the cluster's key over the incarnation, and its numbers are
//! the nonces: none is used twice, however many nodes there are and however long they run.
//!
//! A message is taken once: of each incarnation, and of each [`Lane`] it comes by, the newest number and which of the [`WINDOW`] before it were
//! there are remembered. A receiver that has just started remembers nothing, so a message older than [`MAX_AGE_MS`] is not taken either.

use std::collections::HashMap;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
/// Version, key, length of the name; then, after the name: incarnation, number, time.
const HEAD: usize = 1 + KEY_ID + 1;
const REST: usize = 16 + 8 + 8;
const TAG: usize = 16;
/// What sealing adds to a payload at most, in bytes.
pub const OVERHEAD: usize = HEAD + 255 + REST + TAG;
/// Numbers before the newest that may still come.
pub const WINDOW: u64 = 128;
/// Older messages are replayed, or the two clocks differ too much; as far as tokens are bound to them.
pub const MAX_AGE_MS: u64 = 30_000;
/// Incarnations remembered; beyond, who was heard longest ago is forgotten.
const MAX_SENDERS: usize = 512;

/// Subjects that are read one after the other, as the broker sends them. What comes by another lane may be far behind, where more is said; and
/// a message opens in one lane only, because its subject is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane(pub u8);

/// One run of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    /// Unix time in milliseconds: a later run of the same node is the greater one.
    pub started_ms: u64,
    pub chance: u64,
}

impl Incarnation {
    fn bytes(self) -> [u8; 16] {
        (u128::from(self.started_ms) << 64 | u128::from(self.chance)).to_be_bytes()
    }

    fn read(bytes: [u8; 16]) -> Incarnation {
        let both = u128::from_be_bytes(bytes);
        Incarnation { started_ms: (both >> 64) as u64, chance: both as u64 }
    }
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsealed {
    /// Not one of ours, or a later version.
    Unreadable,
    /// Of a key this node does not have.
    ForeignKey,
    /// Changed on its way, moved to another subject, or made without the key.
    Forged,
    /// Too old, or of a node whose clock is elsewhere.
    Stale,
    /// Was here before.
    Replayed,
}

/// A message that only a holder of the key can have sent.
#[derive(PartialEq, Eq)]
pub struct Opened {
    pub node: String,
    pub incarnation: Incarnation,
    pub payload: Vec<u8>,
}

/// The cluster's keys, at work.
pub struct Seals {
    keys: Vec<Key>,
    node: String,
    own: Incarnation,
    sealer: Option<LessSafeKey>,
    next: u64,
    senders: HashMap<([u8; KEY_ID], Incarnation), Sender>,
}

struct Key {
    id: [u8; KEY_ID],
    master: [u8; 32],
}

struct Sender {
    key: LessSafeKey,
    /// By number, as many as were heard by.
    lanes: Vec<Numbers>,
    heard_ms: u64,
}

/// What has come.
#[derive(Clone, Copy, Default)]
struct Numbers {
    /// The greatest number so far.
    newest: u64,
    /// Bit n: `newest - n` was here.
    seen: u128,
}

impl Seals {
    /// `keys`: the first seals, each opens. `node`: at most 255 bytes.
    pub fn new(keys: &[&[u8]], node: &str, own: Incarnation) -> Seals {
        let mut seals =
            Seals { keys: Vec::new(), node: node.to_owned(), own, sealer: None, next: 0, senders: HashMap::new() };
        seals.adopt(keys);
        seals
    }

    /// Other keys from now on. Numbers go on, so that a key that comes back meets none it has seen.
    pub fn adopt(&mut self, keys: &[&[u8]]) {
        self.keys = keys.iter().map(|key| Key::new(key)).collect();
        self.sealer = self.keys.first().and_then(|key| key.of(self.own));
        let known: Vec<_> = self.keys.iter().map(|key| key.id).collect();
        self.senders.retain(|(id, _), _| known.contains(id));
    }

    pub fn incarnation(&self) -> Incarnation {
        self.own
    }

    /// `None` cannot be with a key; then nothing is to be sent.
    pub fn seal(&mut self, now_ms: u64, subject: &str, payload: &[u8]) -> Option<Vec<u8>> {
        let (key, sealer) = (self.keys.first()?, self.sealer.as_ref()?);
        let name = self.node.as_bytes();
        let length = u8::try_from(name.len()).ok()?;
        let number = self.next;
        self.next += 1;
        let mut sealed = Vec::with_capacity(OVERHEAD + payload.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id);
        sealed.push(length);
        sealed.extend_from_slice(name);
        sealed.extend_from_slice(&self.own.bytes());
        sealed.extend_from_slice(&number.to_be_bytes());
        sealed.extend_from_slice(&now_ms.to_be_bytes());
        let aad = Aad::from([&sealed, subject.as_bytes()].concat());
        let begin = sealed.len();
        sealed.extend_from_slice(payload);
        let tag = sealer.seal_in_place_separate_tag(nonce(number), aad, &mut sealed[begin..]).ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// # Errors
    /// Why it is not taken; nothing of it is remembered then.
    pub fn open(&mut self, now_ms: u64, lane: Lane, subject: &str, sealed: &[u8]) -> Result<Opened, Unsealed> {
        let Head { id, node, incarnation, number, at_ms, length } = Head::read(sealed).ok_or(Unsealed::Unreadable)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(Unsealed::ForeignKey)?;
        let (known, mut fresh) = ((id, incarnation), None);
        let opener = match self.senders.get(&known) {
            Some(sender) => &sender.key,
            None => fresh.insert(key.of(incarnation).ok_or(Unsealed::Unreadable)?),
        };
        let (head, body) = sealed.split_at(length);
        let mut payload = body.to_vec();
        let aad = Aad::from([head, subject.as_bytes()].concat());
        let plain = opener.open_in_place(nonce(number), aad, &mut payload).map_err(|_| Unsealed::Forged)?.len();
        payload.truncate(plain);
        // From here on it is a holder of the key that speaks.
        if now_ms.abs_diff(at_ms) > MAX_AGE_MS {
            return Err(Unsealed::Stale);
        }
        let node = node.to_owned();
        if let Some(key) = fresh {
            self.forget_one();
            self.senders.insert(known, Sender { key, lanes: Vec::new(), heard_ms: now_ms });
        }
        let sender = self.senders.get_mut(&known).ok_or(Unsealed::Unreadable)?;
        sender.heard_ms = now_ms;
        if !sender.takes(lane, number) {
            return Err(Unsealed::Replayed);
        }
        Ok(Opened { node, incarnation, payload })
    }

    /// Makes room for one more.
    fn forget_one(&mut self) {
        if self.senders.len() >= MAX_SENDERS {
            let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.heard_ms).map(|(known, _)| *known);
            if let Some(oldest) = oldest {
                self.senders.remove(&oldest);
            }
        }
    }
}

impl Key {
    fn new(text: &[u8]) -> Key {
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&derive(text, b"relay bus 1 id", &[])[..KEY_ID]);
        Key { id, master: derive(text, b"relay bus 1 master", &[]) }
    }

    fn of(&self, incarnation: Incarnation) -> Option<LessSafeKey> {
        let key = derive(&self.master, b"relay bus 1 seal", &incarnation.bytes());
        UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
    }
}

impl Sender {
    /// Whether this number comes for the first time.
    fn takes(&mut self, Lane(lane): Lane, number: u64) -> bool {
        let lane = usize::from(lane);
        if self.lanes.len() <= lane {
            self.lanes.resize(lane + 1, Numbers::default());
        }
        self.lanes.get_mut(lane).is_some_and(|numbers| numbers.take(number))
    }
}

impl Numbers {
    fn take(&mut self, number: u64) -> bool {
        if number > self.newest {
            let shift = number - self.newest;
            self.seen = if shift < WINDOW { self.seen << shift } else { 0 };
            self.newest = number;
        }
        let back = self.newest - number;
        if back >= WINDOW || self.seen >> back & 1 == 1 {
            return false;
        }
        self.seen |= 1 << back;
        true
    }
}

struct Head<'a> {
    id: [u8; KEY_ID],
    node: &'a str,
    incarnation: Incarnation,
    number: u64,
    at_ms: u64,
    length: usize,
}

impl Head<'_> {
    fn read(sealed: &[u8]) -> Option<Head<'_>> {
        let (&[version, a, b, c, d, name], _) = sealed.split_first_chunk::<HEAD>()?;
        let length = HEAD + usize::from(name) + REST;
        if version != VERSION || sealed.len() < length + TAG {
            return None;
        }
        let (node, rest) = sealed[HEAD..length].split_at(usize::from(name));
        let (incarnation, rest) = rest.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        Some(Head {
            id: [a, b, c, d],
            node: std::str::from_utf8(node).ok()?,
            incarnation: Incarnation::read(*incarnation),
            number: u64::from_be_bytes(*number),
            at_ms: u64::from_be_bytes(rest.try_into().ok()?),
            length,
        })
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

pub(super) fn derive(key: &[u8], what: &[u8], of: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(what);
    mac.update(of);
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened[redacted]")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LANE: Lane = Lane(3);

    const KEY: &[u8] = b"thirty-two bytes or more of your own";
    const OTHER: &[u8] = b"another thirty-two bytes or more of it";
    const NOW: u64 = 1_800_000_000_000;

    fn seals(keys: &[&[u8]], node: &str, chance: u64) -> Seals {
        Seals::new(keys, node, Incarnation { started_ms: NOW, chance })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Made with Python's `hmac` and `cryptography` by the description above.
    #[test]
    fn a_message_looks_like_this() {
        let mut a = seals(&[KEY], "a", 0x0102_0304_0506_0708);
        let _ = a.seal(NOW, "relay.v1.alive", b"the number before");
        let sealed = a.seal(NOW + 5, "relay.v1.alive", b"hello").unwrap();
        assert_eq!(hex(&sealed), GOLDEN);
        assert_eq!(sealed.len(), HEAD + 1 + REST + 5 + TAG);
    }

    const GOLDEN: &str = "018aab81d60161000001a3185c500001020304050607080000000000000001000001a3185c5005\
                          ad2fe4677d488e66fcda36d95f9313e14e297b6a85";

    #[test]
    fn what_one_node_seals_another_opens_once() {
        let (mut a, mut b) = (seals(&[KEY], "a", 1), seals(&[KEY], "b", 2));
        let sealed = a.seal(NOW, "relay.v1.alive", b"hello").unwrap();
        assert!(!sealed.windows(5).any(|bytes| bytes == b"hello"));
        let opened = b.open(NOW + 10, LANE, "relay.v1.alive", &sealed).unwrap();
        assert_eq!(
            (opened.node.as_str(), opened.incarnation, &opened.payload[..]),
            ("a", a.incarnation(), &b"hello"[..])
        );
        assert_eq!(b.open(NOW + 10, LANE, "relay.v1.alive", &sealed), Err(Unsealed::Replayed));
        let empty = a.seal(NOW, "relay.v1.alive", b"").unwrap();
        assert!(b.open(NOW, LANE, "relay.v1.alive", &empty).unwrap().payload.is_empty());
    }

    #[test]
    fn nothing_that_was_changed_cut_or_moved_opens() {
        let (mut a, mut b) = (seals(&[KEY], "a", 1), seals(&[KEY], "b", 2));
        let sealed = a.seal(NOW, "relay.v1.alive", b"hello").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(b.open(NOW, LANE, "relay.v1.alive", &changed).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(b.open(NOW, LANE, "relay.v1.alive", &sealed[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(b.open(NOW, LANE, "relay.v1.revoked", &sealed), Err(Unsealed::Forged));
        assert_eq!(b.open(NOW, LANE, "relay.v1.alive.b", &sealed), Err(Unsealed::Forged));
        assert!(b.open(NOW, LANE, "relay.v1.alive", &sealed).is_ok(), "none of that has used it up");
    }

    #[test]
    fn a_node_without_the_key_is_not_heard() {
        let (mut a, mut b) = (seals(&[KEY], "a", 1), seals(&[OTHER], "b", 2));
        let sealed = a.seal(NOW, "s", b"hello").unwrap();
        assert_eq!(b.open(NOW, LANE, "s", &sealed), Err(Unsealed::ForeignKey));
        // Even if it guesses the id.
        let mut guessed = sealed;
        guessed[1..5].copy_from_slice(&b.seal(NOW, "s", b"").unwrap()[1..5]);
        assert_eq!(b.open(NOW, LANE, "s", &guessed), Err(Unsealed::Forged));
    }

    #[test]
    fn a_key_is_changed_while_all_hear_each_other() {
        let (mut a, mut b) = (seals(&[KEY], "a", 1), seals(&[KEY], "b", 2));
        type Keys<'a> = &'a [&'a [u8]];
        let steps: [(Keys<'_>, Keys<'_>); 5] = [
            (&[KEY, OTHER], &[KEY]),
            (&[KEY, OTHER], &[KEY, OTHER]),
            (&[OTHER, KEY], &[KEY, OTHER]),
            (&[OTHER, KEY], &[OTHER, KEY]),
            (&[OTHER], &[OTHER, KEY]),
        ];
        for (of_a, of_b) in steps {
            a.adopt(of_a);
            b.adopt(of_b);
            let (to_b, to_a) = (a.seal(NOW, "s", b"x").unwrap(), b.seal(NOW, "s", b"y").unwrap());
            assert!(b.open(NOW, LANE, "s", &to_b).is_ok() && a.open(NOW, LANE, "s", &to_a).is_ok());
        }
        b.adopt(&[OTHER]);
        a.adopt(&[KEY]);
        assert_eq!(b.open(NOW, LANE, "s", &a.seal(NOW, "s", b"x").unwrap()), Err(Unsealed::ForeignKey));
    }

    #[test]
    fn what_is_old_is_not_taken_even_by_who_has_just_started() {
        let mut a = seals(&[KEY], "a", 1);
        let sealed = a.seal(NOW, "s", b"x").unwrap();
        for (later, taken) in [(MAX_AGE_MS, true), (MAX_AGE_MS + 1, false)] {
            assert_eq!(seals(&[KEY], "b", 2).open(NOW + later, LANE, "s", &sealed).is_ok(), taken);
            assert_eq!(seals(&[KEY], "b", 2).open(NOW - later, LANE, "s", &sealed).is_ok(), taken, "a clock that lags");
        }
    }

    #[test]
    fn messages_that_overtake_each_other_are_taken_within_the_window() {
        let (mut a, mut b) = (seals(&[KEY], "a", 1), seals(&[KEY], "b", 2));
        let all: Vec<_> = (0..=WINDOW).map(|_| a.seal(NOW, "s", b"x").unwrap()).collect();
        assert!(b.open(NOW, LANE, "s", &all[WINDOW as usize]).is_ok());
        assert_eq!(b.open(NOW, LANE, "s", &all[0]), Err(Unsealed::Replayed), "too far back to know");
        assert!(b.open(NOW, LANE, "s", &all[1]).is_ok() && b.open(NOW, LANE, "s", &all[5]).is_ok());
        for seen in [1, 5, WINDOW as usize] {
            assert_eq!(b.open(NOW, LANE, "s", &all[seen]), Err(Unsealed::Replayed));
        }
        assert!(b.open(NOW, LANE, "s", &all[2]).is_ok());
    }

    #[test]
    fn a_lane_that_is_behind_loses_nothing_to_one_that_is_ahead() {
        let (mut a, mut b) = (seals(&[KEY], "a", 1), seals(&[KEY], "b", 2));
        let slow: Vec<_> = (0..3 * WINDOW).map(|_| a.seal(NOW, "slow", b"x").unwrap()).collect();
        let ahead = a.seal(NOW, "fast", b"x").unwrap();
        assert!(b.open(NOW, Lane(0), "fast", &ahead).is_ok());
        for sealed in &slow {
            assert!(b.open(NOW, Lane(1), "slow", sealed).is_ok());
        }
        for sealed in &slow {
            assert_eq!(b.open(NOW, Lane(1), "slow", sealed), Err(Unsealed::Replayed));
        }
    }

    #[test]
    fn of_very_many_senders_the_one_heard_longest_ago_is_forgotten() {
        let mut b = seals(&[KEY], "b", 0);
        for chance in 1..=MAX_SENDERS as u64 + 1 {
            let sealed = seals(&[KEY], "a", chance).seal(NOW, "s", b"x").unwrap();
            assert!(b.open(NOW + chance, LANE, "s", &sealed).is_ok());
        }
        assert_eq!(b.senders.len(), MAX_SENDERS);
        assert!(!b.senders.keys().any(|(_, sender)| sender.chance == 1));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(0u8.., 0..200)) {
            let _ = seals(&[KEY], "b", 2).open(NOW, LANE, "s", &bytes);
        }
    }
}

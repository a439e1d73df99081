//! What a client takes along for the case that its node dies: a sealed paper with which any other node of the cluster lets it in, and back
//! into the queue with its seniority (matching.md §4.13). No node keeps anything for it, and nobody but a node can read it.
//!
//! A pass is good only once the life of the node that gave it is over, and for [`GOOD_FOR_MS`] from then: as long as that node lives, the
//! session is there. What it says is what that node knew when it gave it.
//!
//! ```text
//! 1 byte     version, 1
//! 16 bytes   salt
//! rest       ChaCha20-Poly1305 (RFC 8439) of the contents, by a key of its own: HMAC-SHA256 of the cluster's over the salt
//! ```
//!
//! in base64url. A key seals one pass, so the nonce is zero.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

use super::evidence::hmac;
use super::token::Claims;
use crate::cluster::Peer;
use crate::matchmaking::Criteria;
use crate::time::Unix;

/// After its node has fallen silent: as long as a session may be resumed.
pub const GOOD_FOR_MS: u64 = super::desk::RESUME_MS;
/// In base64url. Claims of a token, whose length has its own bound, are the most of it.
pub const MAX_PASS_CHARS: usize = 12 * 1024;

const VERSION: u8 = 1;
const SALT: usize = 16;

/// What a pass says.
#[derive(Deserialize)]
pub struct Papers {
    /// Which life of which node gave it.
    pub by: Peer,
    pub given: Unix,
    pub claims: Claims,
    /// Of who waits.
    pub wait: Option<Wait>,
}

/// The same, written down; field by field as it is read.
#[derive(Serialize)]
pub struct Written<'a> {
    pub by: Peer,
    pub given: Unix,
    pub claims: &'a Claims,
    pub wait: Option<Wait>,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// t0, to the second: nodes have no other clock in common.
    pub since: Unix,
    pub criteria: Criteria,
}

/// Gives and reads passes.
pub struct Passes {
    key: [u8; 32],
}

impl Passes {
    /// `secret`: the same on all nodes, and known to nobody else.
    pub fn new(secret: &[u8; 32]) -> Passes {
        Passes { key: hmac(secret, &[b"relay travel pass"]) }
    }

    /// `salt`: random. `None` if it would be too long to be read.
    pub fn seal(&self, salt: [u8; SALT], papers: &Written<'_>) -> Option<String> {
        let mut sealed = postcard::to_allocvec(papers).ok()?;
        let tag = self.of(&salt)?.seal_in_place_separate_tag(nonce(), Aad::from([VERSION]), &mut sealed).ok()?;
        let bytes = [&[VERSION], &salt[..], &sealed, tag.as_ref()].concat();
        let pass = URL_SAFE_NO_PAD.encode(bytes);
        (pass.len() <= MAX_PASS_CHARS).then_some(pass)
    }

    /// Nothing but what a node has sealed is read.
    pub fn open(&self, pass: &str) -> Option<Papers> {
        if pass.len() > MAX_PASS_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(pass).ok()?;
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        let mut sealed = sealed.to_vec();
        let opened = self.of(salt)?.open_in_place(nonce(), Aad::from([VERSION]), &mut sealed).ok()?;
        let (papers, left) = postcard::take_from_bytes(opened).ok()?;
        left.is_empty().then_some(papers)
    }

    fn of(&self, salt: &[u8; SALT]) -> Option<LessSafeKey> {
        UnboundKey::new(&CHACHA20_POLY1305, &hmac(&self.key, &[salt])).ok().map(LessSafeKey::new)
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

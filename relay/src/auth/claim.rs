//! What a request says about its sender: the steps of RFC 8489 §9.2.4 that need no secret.

use super::authenticator::Refusal;
use super::nonce;
use crate::wire::{BadAttribute, Message, PasswordAlgorithm, USERHASH};

/// What every challenge lists in PASSWORD-ALGORITHMS, the preferred one first (RFC 8489 §14.11).
pub(super) const OFFERED: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];

/// What a request says about its sender, not yet believed.
pub(super) struct Claim<'a> {
    pub(super) name: Name<'a>,
    pub(super) realm: &'a [u8],
    pub(super) nonce: &'a [u8],
    /// How the sender made its key.
    pub(super) algorithm: PasswordAlgorithm,
    /// The sender knows the mechanism of RFC 8489: it said which algorithm, or repeated the list.
    pub(super) negotiated: bool,
}

/// Who, in USERNAME or in USERHASH.
pub(super) enum Name<'a> {
    Plain(&'a [u8]),
    Hidden([u8; USERHASH]),
}

impl<'a> Claim<'a> {
    /// # Errors
    /// 401 without integrity; 400 if what belongs to it is missing, cannot be, or has been tampered with.
    pub(super) fn read(request: &Message<'a>) -> Result<Claim<'a>, Refusal> {
        // "If the message does not contain a MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 attribute": 401.
        if !request.has_integrity() {
            return Err(Refusal::Challenge);
        }
        // "… but is missing either the USERNAME or USERHASH, REALM, or NONCE attribute": 400. Both names are no name.
        let name = match (request.username()?, request.userhash()?) {
            (Some(name), None) => Name::Plain(name),
            (None, Some(hash)) => Name::Hidden(hash),
            (None, None) | (Some(_), Some(_)) => return Err(Refusal::BadRequest),
        };
        let (Some(realm), Some(nonce)) = (request.realm()?, request.nonce()?) else { return Err(Refusal::BadRequest) };
        let (algorithm, negotiated) = algorithm(request, nonce)?;
        Ok(Claim { name, realm, nonce, algorithm, negotiated })
    }
}

/// Bid-down protection (RFC 8489 §9.2.1, §9.2.4). An attacker on the path who shortens the list of a challenge, or says that
/// it offered none, gets a client to sign what it saw: the list here, the feature bits in the nonce.
fn algorithm(request: &Message<'_>, nonce: &[u8]) -> Result<(PasswordAlgorithm, bool), Refusal> {
    let (used, repeated) = (request.password_algorithm()?, request.repeats_password_algorithms(&OFFERED));
    match (used, repeated) {
        // "If the request contains neither …, then the request is processed as though PASSWORD-ALGORITHM were MD5."
        (None, None) => Ok((PasswordAlgorithm::Md5, false)),
        // "… unless (1) PASSWORD-ALGORITHM and PASSWORD-ALGORITHMS are both present, (2) PASSWORD-ALGORITHMS matches the
        // value sent …, and (3) PASSWORD-ALGORITHM matches one of the entries": 400. What we can read is an entry.
        (Some(used), Some(true)) => Ok((used, true)),
        _ if nonce::says_algorithms_were_offered(nonce) => Err(Refusal::BadRequest),
        // No nonce of ours says otherwise, so this one is stale: 438, if the password is right.
        (used, _) => Ok((used.unwrap_or(PasswordAlgorithm::Md5), true)),
    }
}

impl From<BadAttribute> for Refusal {
    fn from(_: BadAttribute) -> Refusal {
        Refusal::BadRequest
    }
}

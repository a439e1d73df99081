//! Identifiers the server draws: 128 random bits, so that knowing one tells nothing of another (W18).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_chacha::rand_core::RngCore;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 128 random bits, 22 base64url characters on the wire. Names a call, a session, a ticket or a resume key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 16]);

impl Id {
    pub fn random(rng: &mut impl RngCore) -> Id {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Id(bytes)
    }

    /// 22 characters.
    pub fn to_base64url(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_base64url())
        } else {
            self.0.serialize(serializer)
        }
    }
}

/// As it is packed for another process; from a client it is a [`CallRef`].
impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        <[u8; 16]>::deserialize(deserializer).map(Id)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id[redacted]")
    }
}

/// A call as a client named it. What cannot be a call of ours reads as `None` and is refused exactly like a call that
/// is over or somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRef(pub Option<Id>);

impl<'de> Deserialize<'de> for CallRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CallRef, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
        Ok(CallRef((length == Ok(16)).then_some(Id(bytes))))
    }
}

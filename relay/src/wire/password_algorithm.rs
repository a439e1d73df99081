//! PASSWORD-ALGORITHMS and PASSWORD-ALGORITHM (RFC 8489 §14.11, §14.12, §18.5).

use super::attribute as attr;
use super::malformed::BadAttribute;
use super::message::Message;

/// How the key of a long-term credential is made from its password (RFC 8489 §18.5.1). Both have no parameters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[repr(u16)]
pub enum PasswordAlgorithm {
    /// For clients that know nothing else.
    Md5 = 1,
    Sha256 = 2,
}

impl PasswordAlgorithm {
    /// Bytes of one entry: the number, and the length of parameters there are none of.
    pub const ENTRY: usize = 4;

    const ALL: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256];

    /// As it stands in either attribute.
    pub const fn entry(self) -> [u8; Self::ENTRY] {
        let [high, low] = (self as u16).to_be_bytes();
        [high, low, 0, 0]
    }

    fn from_entry(entry: &[u8]) -> Option<PasswordAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.entry() == entry)
    }
}

/// The value of a PASSWORD-ALGORITHMS attribute, the preferred one first.
pub(super) fn list(algorithms: &[PasswordAlgorithm]) -> Vec<u8> {
    algorithms.iter().flat_map(|algorithm| algorithm.entry()).collect()
}

impl<'a> Message<'a> {
    /// PASSWORD-ALGORITHM. One this server does not know, or with parameters, is bad: it was not offered.
    pub fn password_algorithm(&self) -> Result<Option<PasswordAlgorithm>, BadAttribute> {
        let Some(entry) = self.value(attr::PASSWORD_ALGORITHM) else { return Ok(None) };
        PasswordAlgorithm::from_entry(entry).map(Some).ok_or(BadAttribute(attr::PASSWORD_ALGORITHM))
    }

    /// Whether PASSWORD-ALGORITHMS is there, and then whether it is this very list: other entries, another order or further
    /// bytes make it another one (RFC 8489 §9.2.5: "with the same content").
    pub fn repeats_password_algorithms(&self, offered: &[PasswordAlgorithm]) -> Option<bool> {
        self.value(attr::PASSWORD_ALGORITHMS).map(|value| {
            let same_length = value.len() == offered.len() * PasswordAlgorithm::ENTRY;
            same_length && value.chunks(PasswordAlgorithm::ENTRY).zip(offered).all(|(entry, one)| entry == one.entry())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Method, Reply, Request, TransactionId};
    use super::PasswordAlgorithm::{Md5, Sha256};
    use super::*;

    fn request() -> Request {
        Request::new(Method::Allocate, TransactionId([1; 12]))
    }

    #[test]
    fn a_list_of_two_takes_twelve_bytes_of_a_reply() {
        let bytes = request().finish(None);
        let message = Message::parse(&bytes).unwrap();
        let reply = Reply::success(&message).password_algorithms(&[Sha256, Md5]).finish(None);
        assert_eq!(reply[20..], [0x80, 0x02, 0, 8, 0, 2, 0, 0, 0, 1, 0, 0]);
        assert_eq!(Message::parse(&reply).unwrap().repeats_password_algorithms(&[Sha256, Md5]), Some(true));
    }

    #[test]
    fn only_the_very_same_list_repeats_it() {
        let repeats = |value: &[u8]| {
            let bytes = request().raw(attr::PASSWORD_ALGORITHMS, value).finish(None);
            Message::parse(&bytes).unwrap().repeats_password_algorithms(&[Sha256, Md5])
        };
        assert_eq!(repeats(&[0, 2, 0, 0, 0, 1, 0, 0]), Some(true));
        for other in [
            &[][..],
            &[0, 2, 0, 0],
            &[0, 1, 0, 0],
            &[0, 1, 0, 0, 0, 2, 0, 0],
            &[0, 2, 0, 0, 0, 1, 0],
            &[0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0],
            &[0, 2, 0, 0, 0, 1, 0, 0, 0],
            &[0, 2, 0, 4, 0, 1, 0, 0],
        ] {
            assert_eq!(repeats(other), Some(false), "{other:?}");
        }
        let without = request().finish(None);
        assert_eq!(Message::parse(&without).unwrap().repeats_password_algorithms(&[Sha256]), None);
    }

    #[test]
    fn an_algorithm_nobody_offered_is_bad_and_not_absent() {
        let read = |value: &[u8]| {
            let bytes = request().raw(attr::PASSWORD_ALGORITHM, value).finish(None);
            Message::parse(&bytes).unwrap().password_algorithm()
        };
        assert_eq!(read(&[0, 1, 0, 0]), Ok(Some(Md5)));
        assert_eq!(read(&[0, 2, 0, 0]), Ok(Some(Sha256)));
        for bad in
            [&[][..], &[0, 2], &[0, 0, 0, 0], &[0, 3, 0, 0], &[1, 2, 0, 0], &[0, 2, 0, 1], &[0, 2, 0, 0, 0, 1, 0, 0]]
        {
            assert_eq!(read(bad), Err(BadAttribute(attr::PASSWORD_ALGORITHM)), "{bad:?}");
        }
        let without = request().finish(None);
        assert_eq!(Message::parse(&without).unwrap().password_algorithm(), Ok(None));
    }
}

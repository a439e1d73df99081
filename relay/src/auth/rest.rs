//! Time-limited credentials (draft-uberti-behave-turn-rest §2.2): the user name carries its expiry and the password signs it.

use super::{Credential, mac};
use crate::time::Unix;

/// What a user name of the form `<expiry>:<user>` says. The user part may hold anything, further colons included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RestName<'a> {
    pub(super) expires: Unix,
    pub(super) user: &'a [u8],
}

/// Reads a user name; `None` if it is of another kind. The expiry is plain digits, no sign, at most 64 bits.
pub(super) fn parse(username: &[u8]) -> Option<RestName<'_>> {
    let colon = username.iter().position(|&byte| byte == b':')?;
    let (digits, user) = (&username[..colon], &username[colon + 1..]);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let expires = digits.iter().try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    Some(RestName { expires: Unix(expires), user })
}

/// Every password that may belong to this user name: each secret with HMAC-SHA-1, then with HMAC-SHA-256.
pub(super) fn passwords<'a>(secrets: &'a [String], username: &'a [u8]) -> impl Iterator<Item = String> + 'a {
    secrets.iter().flat_map(move |secret| {
        let secret = secret.as_bytes();
        [mac::password_sha1(secret, username), mac::password_sha256(secret, username)]
    })
}

/// A credential as an application's backend would make it, with HMAC-SHA-1. For tests and for the command line.
pub fn rest_credential(secret: &str, expires: Unix, user: &str) -> Credential {
    let username = format!("{}:{user}", expires.0);
    let password = mac::password_sha1(secret.as_bytes(), username.as_bytes());
    Credential { username, password }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_part_may_be_anything() {
        for user in ["bob", "", "a:b:c", "%n%s'; --", "\0"] {
            let name = format!("1700000000:{user}");
            assert_eq!(parse(name.as_bytes()), Some(RestName { expires: Unix(1_700_000_000), user: user.as_bytes() }));
        }
    }

    #[test]
    fn names_without_a_plain_expiry_are_of_another_kind() {
        for name in ["bob", ":bob", "-1:bob", "+1:bob", " 1:bob", "0x10:bob", "1e9:bob", "18446744073709551616:bob"] {
            assert_eq!(parse(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn the_password_is_that_of_other_implementations() {
        // printf '1700000000:bob' | openssl dgst -sha1 -hmac north -binary | base64, likewise with -sha256
        let credential = rest_credential("north", Unix(1_700_000_000), "bob");
        assert_eq!(credential.username, "1700000000:bob");
        assert_eq!(credential.password, "7tNSWpJ3gOxGfEgOjt+kaWhBC20=");
        let secrets = ["north".to_owned()];
        let all: Vec<_> = passwords(&secrets, b"1700000000:bob").collect();
        assert_eq!(all, ["7tNSWpJ3gOxGfEgOjt+kaWhBC20=", "YZuHw4E5LbQ85ww0TqV7zCNUb2+dmGdGeotl/n33V+U="]);
    }
}

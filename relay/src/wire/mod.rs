//! Bytes to types and back: no state at all.
//!
//! Stages, in the order a datagram meets them:
//!
//! 0. [`framing`] finds the messages in a stream; a UDP datagram is one already.
//! 1. [`classify`] looks at the first bytes and the length.
//! 2. [`channel_data`] and [`indication`] are the data path: no allocation, written in place. [`demultiplex`] tells what a WebRTC call
//!    carries in them, by the first header of the payload.
//! 3. [`Message`] is the control path: a strictly checked view, then typed getters.
//! 4. [`Reply`] answers; [`Request`] is the client's side, for tests and the load generator.
//!
//! The `stun` and `turn` crates encode and authenticate control messages in here; nothing outside this folder imports them.
//!
//! Not supported: RFC 3489 messages (no magic cookie).

pub mod attribute;
pub mod channel_data;
pub mod framing;
pub mod icmp;
pub mod indication;

mod address;
mod attempt;
mod encoder;
mod error_code;
mod fingerprint;
mod getters;
mod header;
mod integrity;
mod key;
mod malformed;
mod message;
mod multiplexed;
mod password_algorithm;
mod reply;
mod request;
mod unknown;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod rfc5769;
#[cfg(test)]
mod rfc8489;

pub use attempt::connection_attempt;
pub use error_code::ErrorCode;
pub use header::{MessageClass, Method, TransactionId};
pub use icmp::Icmp;
pub use integrity::Integrity;
pub use key::{Key, USERHASH, userhash};
pub use malformed::{BadAttribute, Malformed};
pub use message::Message;
pub use multiplexed::{Multiplexed, demultiplex};
pub use password_algorithm::PasswordAlgorithm;
pub use reply::Reply;
pub use request::Request;
pub use unknown::UnknownAttributes;

/// Length of a STUN header in bytes (RFC 8489 §5).
pub const STUN_HEADER: usize = 20;

/// The fixed third and fourth 16-bit words of every message (RFC 8489 §5).
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// What a datagram from a client is, seen from its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// A whole ChannelData message; [`channel_data::parse`] succeeds.
    ChannelData,
    /// Has a STUN header that tells the truth about the length; attributes are not yet looked at.
    Stun,
    /// Neither: drop it in silence.
    Other,
}

/// Tells the kinds apart by the first two bits (RFC 8489 §5, RFC 8656 §12) and refuses lengths that cannot be.
pub fn classify(datagram: &[u8]) -> Class {
    match datagram.first() {
        Some(0..=0x3F) if header::check(datagram).is_ok() => Class::Stun,
        Some(0x40..=0x7F) if channel_data::parse(datagram).is_some() => Class::ChannelData,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    #[test]
    fn a_bare_binding_request_is_stun() {
        assert_eq!(classify(&BINDING), Class::Stun);
    }

    #[test]
    fn runts_and_other_lead_bits_are_neither() {
        for length in 0..20 {
            assert_eq!(classify(&BINDING[..length]), Class::Other, "{length} bytes");
        }
        for first in [0x80, 0xC0, 0xFF] {
            let mut datagram = BINDING;
            datagram[0] = first;
            assert_eq!(classify(&datagram), Class::Other, "first byte {first:#x}");
        }
    }

    #[test]
    fn a_message_without_the_cookie_is_not_stun() {
        let mut datagram = BINDING;
        datagram[4] = 0;
        assert_eq!(classify(&datagram), Class::Other);
    }

    #[test]
    fn a_length_that_lies_is_not_stun() {
        for length in [1u8, 2, 3, 4, 8] {
            let mut datagram = BINDING;
            datagram[3] = length;
            assert_eq!(classify(&datagram), Class::Other, "claims {length}");
        }
        let mut trailing = BINDING.to_vec();
        trailing.extend_from_slice(&[0; 4]);
        assert_eq!(classify(&trailing), Class::Other, "four bytes too many");
    }

    #[test]
    fn channel_data_is_told_by_its_first_bits_over_the_whole_legacy_range() {
        for first in [0x40, 0x4F, 0x50, 0x7F] {
            assert_eq!(classify(&[first, 0, 0, 1, 9]), Class::ChannelData);
            assert_eq!(classify(&[first, 0, 0, 2, 9]), Class::Other, "shorter than it says");
        }
    }
}

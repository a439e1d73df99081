//! Every way to be refused after authentication, with the sentence of the RFC that asks for it. What comes before (401,
//! 438, and 400 for broken credentials) is `auth`'s to say.

use std::fmt;
use std::net::SocketAddr;

use crate::wire::{BadAttribute, ErrorCode, UnknownAttributes};

/// Why a verified request is not granted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reject {
    /// This server takes no new allocations and knows another one, at an address of the client's family (RFC 8489 §10,
    /// §14.15).
    TryAlternate(SocketAddr),
    /// An attribute is missing, malformed or excluded by another (RFC 8489 §6.3.1; RFC 8656 §7.2, §10.2, §12.2).
    BadRequest,
    /// The policy denies the peer (RFC 8656 §10.2, §12.2), or the call behind the credential is over. The same for every
    /// denied address.
    Forbidden,
    /// Comprehension-required attributes we do not know (RFC 8489 §6.3.1).
    UnknownAttribute(UnknownAttributes),
    /// The five-tuple has no allocation (RFC 8656 §5), or, for Allocate, has one already (§7.2 step 2).
    Mismatch,
    /// The address family has no relayed address here (RFC 8656 §7.2 step 7).
    FamilyNotSupported,
    /// The allocation was made by somebody else (RFC 8656 §5).
    WrongCredentials,
    /// REQUESTED-TRANSPORT names a protocol we do not relay (RFC 8656 §7.2 step 3).
    UnsupportedTransport,
    /// The peer's, or the requested, family is not the allocation's (RFC 8656 §8.2, §10.2, §12.2).
    PeerFamilyMismatch,
    /// The allocation has a connection to that peer, or is opening one (RFC 6062 §5.2).
    ConnectionExists,
    /// The peer did not answer, in time or at all (RFC 6062 §5.2).
    ConnectionFailed,
    /// The user has as many allocations as allowed (RFC 8656 §7.2 step 10).
    QuotaReached,
    /// No port, no reservation behind the token, or a table is full (RFC 8656 §7.2 steps 5, 8, 9; §10.2, §12.2).
    NoCapacity,
}

impl Reject {
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Reject::TryAlternate(_) => ErrorCode::TryAlternate,
            Reject::BadRequest => ErrorCode::BadRequest,
            Reject::Forbidden => ErrorCode::Forbidden,
            Reject::UnknownAttribute(_) => ErrorCode::UnknownAttribute,
            Reject::Mismatch => ErrorCode::AllocationMismatch,
            Reject::FamilyNotSupported => ErrorCode::AddressFamilyNotSupported,
            Reject::WrongCredentials => ErrorCode::WrongCredentials,
            Reject::UnsupportedTransport => ErrorCode::UnsupportedTransport,
            Reject::PeerFamilyMismatch => ErrorCode::PeerAddressFamilyMismatch,
            Reject::ConnectionExists => ErrorCode::ConnectionAlreadyExists,
            Reject::ConnectionFailed => ErrorCode::ConnectionTimeoutOrFailure,
            Reject::QuotaReached => ErrorCode::AllocationQuotaReached,
            Reject::NoCapacity => ErrorCode::InsufficientCapacity,
        }
    }
}

impl fmt::Debug for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reject({})", self.code().code())
    }
}

impl From<BadAttribute> for Reject {
    fn from(_: BadAttribute) -> Reject {
        Reject::BadRequest
    }
}

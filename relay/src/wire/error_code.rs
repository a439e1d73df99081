//! Error codes and their registered meaning (RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3).

/// What an error response says. The reason phrase stays empty: it is for humans, and every byte of an answer to the
/// unauthenticated is a byte for a reflector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[repr(u16)]
pub enum ErrorCode {
    TryAlternate = 300,
    BadRequest = 400,
    Unauthenticated = 401,
    Forbidden = 403,
    UnknownAttribute = 420,
    AllocationMismatch = 437,
    StaleNonce = 438,
    AddressFamilyNotSupported = 440,
    WrongCredentials = 441,
    UnsupportedTransport = 442,
    PeerAddressFamilyMismatch = 443,
    ConnectionAlreadyExists = 446,
    ConnectionTimeoutOrFailure = 447,
    AllocationQuotaReached = 486,
    ServerError = 500,
    InsufficientCapacity = 508,
}

impl ErrorCode {
    /// Every code this server sends, for tables of counters.
    pub const ALL: [ErrorCode; 16] = [
        ErrorCode::TryAlternate,
        ErrorCode::BadRequest,
        ErrorCode::Unauthenticated,
        ErrorCode::Forbidden,
        ErrorCode::UnknownAttribute,
        ErrorCode::AllocationMismatch,
        ErrorCode::StaleNonce,
        ErrorCode::AddressFamilyNotSupported,
        ErrorCode::WrongCredentials,
        ErrorCode::UnsupportedTransport,
        ErrorCode::PeerAddressFamilyMismatch,
        ErrorCode::ConnectionAlreadyExists,
        ErrorCode::ConnectionTimeoutOrFailure,
        ErrorCode::AllocationQuotaReached,
        ErrorCode::ServerError,
        ErrorCode::InsufficientCapacity,
    ];

    /// The number on the wire, 300 to 699.
    pub const fn code(self) -> u16 {
        self as u16
    }
}

//! Why bytes were refused: as a whole (silence) or for one attribute (400).

/// The datagram is no STUN message this server will answer. Drop it in silence (RFC 8489 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Fewer bytes than a header.
    Short,
    /// The first two bits are not zero.
    LeadBits,
    /// No magic cookie: RFC 3489 or something else.
    Cookie,
    /// The length is no multiple of four, or not that of the datagram.
    Length,
    /// An attribute reaches beyond the end of the message.
    Attribute,
    /// More attributes than [`super::attribute::MAX_ATTRIBUTES`].
    TooMany,
    /// FINGERPRINT is wrong, has the wrong size, or is not the last attribute.
    Fingerprint,
    /// A Send indication without usable XOR-PEER-ADDRESS or DATA, or with an attribute that must be understood and is not.
    Indication,
}

impl Malformed {
    /// Every reason, for tables of counters.
    pub const ALL: [Malformed; 8] = [
        Malformed::Short,
        Malformed::LeadBits,
        Malformed::Cookie,
        Malformed::Length,
        Malformed::Attribute,
        Malformed::TooMany,
        Malformed::Fingerprint,
        Malformed::Indication,
    ];

    /// A short name for counters.
    pub const fn reason(self) -> &'static str {
        match self {
            Malformed::Short => "stun_short",
            Malformed::LeadBits => "stun_lead_bits",
            Malformed::Cookie => "stun_cookie",
            Malformed::Length => "stun_length",
            Malformed::Attribute => "stun_attribute_overrun",
            Malformed::TooMany => "stun_too_many_attributes",
            Malformed::Fingerprint => "stun_fingerprint",
            Malformed::Indication => "stun_indication",
        }
    }
}

/// The attribute of this number is there but cannot be what it says: 400 (Bad Request), once the sender is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadAttribute(pub u16);

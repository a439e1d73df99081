//! A description as the few things that may pass.

/// One audio call.
pub(super) struct Description<'a> {
    /// In the order of their lines.
    pub(super) sections: Vec<Section<'a>>,
    /// `a=group:BUNDLE`: mids that share one transport.
    pub(super) bundle: Vec<&'a str>,
    /// `a=extmap-allow-mixed`, of the session or the audio line.
    pub(super) mixed: bool,
}

pub(super) enum Section<'a> {
    Audio(Audio<'a>),
    Data(Data<'a>),
}

pub(super) struct Audio<'a> {
    pub(super) mid: &'a str,
    pub(super) transport: Transport<'a>,
    pub(super) direction: Direction,
    pub(super) codecs: Vec<Codec>,
    pub(super) extensions: Vec<Extension>,
    pub(super) reduced_size: bool,
    pub(super) packet_ms: Option<u16>,
    pub(super) max_packet_ms: Option<u16>,
}

pub(super) struct Data<'a> {
    pub(super) mid: &'a str,
    pub(super) state: DataState<'a>,
}

pub(super) enum DataState<'a> {
    /// Port 0 without `bundle-only`: refused or stopped. The line must stay, so that offer and answer line up.
    Rejected,
    Open {
        transport: Transport<'a>,
        bundle_only: bool,
        sctp_port: u16,
        max_message_bytes: Option<u64>,
    },
}

/// ICE and DTLS, per line or from the session.
#[derive(Clone)]
pub(super) struct Transport<'a> {
    pub(super) ufrag: &'a str,
    pub(super) pwd: &'a str,
    pub(super) trickle: bool,
    pub(super) fingerprints: Vec<Fingerprint>,
    pub(super) setup: Setup,
}

/// RFC 8122. SHA-1 and MD5 have no place here.
#[derive(Clone)]
pub(super) struct Fingerprint {
    pub(super) hash: Hash,
    pub(super) digest: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// RFC 5763 §5.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Actpass,
    Active,
    Passive,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

pub(super) struct Codec {
    pub(super) payload_type: u8,
    pub(super) encoding: &'static Encoding,
    pub(super) clock: u32,
    /// Written after `a=fmtp:<payload type>`; empty for none.
    pub(super) parameters: String,
    pub(super) feedback: Vec<&'static str>,
}

/// An audio encoding that may pass. Written as here, whatever its spelling was.
pub(super) struct Encoding {
    pub(super) name: &'static str,
    pub(super) clocks: &'static [u32],
    /// Written after the clock if above one.
    pub(super) channels: u8,
    /// Payload type that needs no `rtpmap` (RFC 3551).
    pub(super) fixed: Option<u8>,
    pub(super) parameters: Parameters,
}

/// What may stand in `a=fmtp`. Never free text: that would be a way to tell the partner an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameters {
    None,
    /// RFC 7587 §6.1: known names with small numbers.
    Opus,
    /// RFC 2198 §5: payload types of the audio line, `111/111`.
    Redundancy,
    /// RFC 4733 §2.4.1: the sixteen keys of a telephone.
    Events,
}

pub(super) const OPUS_PARAMETERS: [&str; 11] = [
    "cbr",
    "maxaveragebitrate",
    "maxplaybackrate",
    "maxptime",
    "minptime",
    "ptime",
    "sprop-maxcapturerate",
    "sprop-stereo",
    "stereo",
    "usedtx",
    "useinbandfec",
];

const fn encoding(
    name: &'static str,
    clocks: &'static [u32],
    channels: u8,
    fixed: Option<u8>,
    parameters: Parameters,
) -> Encoding {
    Encoding { name, clocks, channels, fixed, parameters }
}

const EVERY_CLOCK: &[u32] = &[8_000, 16_000, 32_000, 48_000];

pub(super) const ENCODINGS: [Encoding; 7] = [
    encoding("opus", &[48_000], 2, None, Parameters::Opus),
    encoding("red", &[48_000], 2, None, Parameters::Redundancy),
    encoding("G722", &[8_000], 1, Some(9), Parameters::None),
    encoding("PCMU", &[8_000], 1, Some(0), Parameters::None),
    encoding("PCMA", &[8_000], 1, Some(8), Parameters::None),
    encoding("CN", EVERY_CLOCK, 1, Some(13), Parameters::None),
    encoding("telephone-event", EVERY_CLOCK, 1, None, Parameters::Events),
];

/// RTCP feedback that may pass.
pub(super) const FEEDBACK: [&str; 2] = ["transport-cc", "nack"];

/// RTP header extensions travel unencrypted, so only those that say nothing of the speaker pass: not the loudness of the
/// voice (RFC 6464, RFC 6465).
pub(super) const EXTENSIONS: [&str; 3] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
];

pub(super) struct Extension {
    pub(super) id: u8,
    pub(super) direction: Option<Direction>,
    pub(super) uri: &'static str,
}

impl Hash {
    pub(super) const ALL: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        }
    }

    pub(super) const fn bytes(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }
}

impl Setup {
    pub(super) const ALL: [Setup; 3] = [Setup::Actpass, Setup::Active, Setup::Passive];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Setup::Actpass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        }
    }
}

impl Direction {
    pub(super) const ALL: [Direction; 4] =
        [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    pub(super) fn named(name: &str) -> Option<Direction> {
        Direction::ALL.into_iter().find(|direction| direction.name() == name)
    }

    pub(super) const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }
}

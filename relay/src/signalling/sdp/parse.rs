//! Reads what may pass, and nothing else, out of a description.

use super::media::{
    Audio, Codec, Data, DataState, Description, Direction, ENCODINGS, EXTENSIONS, Encoding, Extension, FEEDBACK,
    Fingerprint, Hash, OPUS_PARAMETERS, Parameters, Section, Setup, Transport,
};
use super::text;
use super::{Kind, MAX_SDP_BYTES};

/// Payload types on the audio line; Chromium's has 8.
const MAX_FORMATS: usize = 32;
const MAX_EXTENSIONS: usize = 16;
const MAX_FINGERPRINTS: usize = 4;

/// Lines of the session or of one `m=` section, without the `m=` line itself.
type Lines<'l, 'a> = &'l [(u8, &'a str)];

pub(super) fn description(sdp: &str, kind: Kind) -> Option<Description<'_>> {
    if sdp.len() > MAX_SDP_BYTES {
        return None;
    }
    let lines = text::lines(sdp)?;
    let starts: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].0 == b'm').collect();
    let first = *starts.first()?;
    let session = &lines[..first];
    if session.first() != Some(&(b'v', "0")) || starts.len() > 2 || attribute(session, "ice-lite").is_some() {
        return None;
    }
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    let sections: Vec<(&str, Lines<'_, '_>)> =
        starts.iter().zip(ends).map(|(&start, end)| (lines[start].1, &lines[start + 1..end])).collect();
    assemble(session, &sections, kind)
}

fn assemble<'a>(session: Lines<'_, 'a>, sections: &[(&'a str, Lines<'_, 'a>)], kind: Kind) -> Option<Description<'a>> {
    let (audio_line, audio_lines) = sections.iter().find(|(line, _)| line.starts_with("audio "))?;
    let shared = transport(audio_lines, session, None, kind)?;
    let mut audio = Some(audio(audio_line, audio_lines, session, shared.clone())?);
    let mixed = [session, audio_lines].iter().any(|lines| attribute(lines, "extmap-allow-mixed").is_some());
    let read = sections.iter().map(|(line, lines)| match line.split(' ').next() {
        // A second audio line finds nothing to take.
        Some("audio") => audio.take().map(Section::Audio),
        Some("application") => data(line, lines, session, &shared, kind).map(Section::Data),
        _ => None,
    });
    let sections: Vec<Section<'a>> = read.collect::<Option<_>>()?;
    let open: Vec<&str> = sections.iter().filter_map(Section::open_mid).collect();
    if open.iter().enumerate().any(|(at, mid)| open[..at].contains(mid)) {
        return None;
    }
    let group = attributes(session, "group").find_map(|group| group.strip_prefix("BUNDLE")).unwrap_or_default();
    let bundle = group.split(' ').filter(|mid| open.contains(mid)).collect();
    Some(Description { sections, bundle, mixed })
}

impl<'a> Section<'a> {
    /// The mid, unless the line is switched off.
    fn open_mid(&self) -> Option<&'a str> {
        match self {
            Section::Audio(audio) => Some(audio.mid),
            Section::Data(data) => matches!(data.state, DataState::Open { .. }).then_some(data.mid),
        }
    }
}

/// `m=audio <port> UDP/TLS/RTP/SAVPF <fmt> …` and its attributes.
fn audio<'a>(
    line: &'a str,
    lines: Lines<'_, 'a>,
    session: Lines<'_, 'a>,
    transport: Transport<'a>,
) -> Option<Audio<'a>> {
    let mut fields = line.split(' ').skip(1);
    let port: u16 = fields.next()?.parse().ok()?;
    // RFC 5761: without multiplexing RTCP would need a second candidate for each.
    if port == 0 || fields.next() != Some("UDP/TLS/RTP/SAVPF") || attribute(lines, "rtcp-mux").is_none() {
        return None;
    }
    let formats: Vec<u8> = fields.map(|field| field.parse().ok().filter(|pt| *pt < 128)).collect::<Option<_>>()?;
    let twice = formats.iter().enumerate().any(|(at, pt)| formats[..at].contains(pt));
    if formats.len() > MAX_FORMATS || twice {
        return None;
    }
    let kept: Vec<Kept> = formats.iter().filter_map(|&pt| kept(pt, lines)).collect();
    let codecs: Vec<Codec> = kept.iter().map(|one| codec(one, &kept, lines)).collect();
    if codecs.is_empty() {
        return None;
    }
    Some(Audio {
        mid: mid(lines)?,
        transport,
        direction: direction(lines).or_else(|| direction(session)).unwrap_or(Direction::SendRecv),
        codecs,
        extensions: attributes(lines, "extmap").filter_map(extension).take(MAX_EXTENSIONS).collect(),
        reduced_size: attribute(lines, "rtcp-rsize").is_some(),
        packet_ms: attribute(lines, "ptime").and_then(|ms| ms.parse().ok()),
        max_packet_ms: attribute(lines, "maxptime").and_then(|ms| ms.parse().ok()),
    })
}

/// `m=application <port> UDP/DTLS/SCTP webrtc-datachannel` (RFC 8841) and its attributes.
fn data<'a>(
    line: &'a str,
    lines: Lines<'_, 'a>,
    session: Lines<'_, 'a>,
    audio: &Transport<'a>,
    kind: Kind,
) -> Option<Data<'a>> {
    let mut fields = line.split(' ').skip(1);
    let port: u16 = fields.next()?.parse().ok()?;
    if fields.next() != Some("UDP/DTLS/SCTP") || fields.next() != Some("webrtc-datachannel") || fields.next().is_some()
    {
        return None;
    }
    let bundle_only = attribute(lines, "bundle-only").is_some();
    let state = if port == 0 && !bundle_only {
        DataState::Rejected
    } else {
        DataState::Open {
            transport: transport(lines, session, Some(audio), kind)?,
            bundle_only: port == 0,
            sctp_port: attribute(lines, "sctp-port")?.parse().ok()?,
            max_message_bytes: attribute(lines, "max-message-size").and_then(|bytes| bytes.parse().ok()),
        }
    };
    Some(Data { mid: mid(lines)?, state })
}

/// From the line itself, else from the session; a bundled line may leave all of it to the audio line's.
fn transport<'a>(
    own: Lines<'_, 'a>,
    session: Lines<'_, 'a>,
    bundled_with: Option<&Transport<'a>>,
    kind: Kind,
) -> Option<Transport<'a>> {
    let find = |name| attribute(own, name).or_else(|| attribute(session, name));
    let ufrag = find("ice-ufrag").or(bundled_with.map(|audio| audio.ufrag))?;
    let pwd = find("ice-pwd").or(bundled_with.map(|audio| audio.pwd))?;
    let options = find("ice-options").or(bundled_with.filter(|audio| audio.trickle).map(|_| "trickle"));
    let setup = match find("setup") {
        Some(name) => Setup::ALL.into_iter().find(|setup| setup.name() == name)?,
        None => bundled_with?.setup,
    };
    let mut fingerprints = fingerprints(own)?;
    if fingerprints.is_empty() {
        fingerprints = self::fingerprints(session)?;
    }
    if let (true, Some(audio)) = (fingerprints.is_empty(), bundled_with) {
        fingerprints.clone_from(&audio.fingerprints);
    }
    let answered = kind == Kind::Offer || setup != Setup::Actpass;
    let good = text::is_ice_chars(ufrag, 4) && text::is_ice_chars(pwd, 22) && !fingerprints.is_empty() && answered;
    let trickle = options.is_some_and(|options| options.split(' ').any(|option| option == "trickle"));
    good.then_some(Transport { ufrag, pwd, trickle, fingerprints, setup })
}

/// All of them, or `None` if there are too many or one is malformed. Hashes no longer trusted are left out.
fn fingerprints(lines: Lines<'_, '_>) -> Option<Vec<Fingerprint>> {
    let mut found = Vec::new();
    for value in attributes(lines, "fingerprint") {
        let (name, hex) = value.split_once(' ')?;
        let Some(hash) = Hash::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name)) else { continue };
        let digest: Vec<u8> = hex.split(':').map(hex_byte).collect::<Option<_>>()?;
        if digest.len() != hash.bytes() || found.len() == MAX_FINGERPRINTS {
            return None;
        }
        found.push(Fingerprint { hash, digest });
    }
    Some(found)
}

fn hex_byte(pair: &str) -> Option<u8> {
    let hex = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u8::from_str_radix(pair, 16).ok())?
}

/// A payload type whose encoding may pass.
struct Kept {
    payload_type: u8,
    encoding: &'static Encoding,
    clock: u32,
}

fn kept(payload_type: u8, lines: Lines<'_, '_>) -> Option<Kept> {
    let (encoding, clock) = match of_payload(lines, "rtpmap", payload_type).next() {
        Some(map) => encoding(map)?,
        None => {
            let fixed = ENCODINGS.iter().find(|encoding| encoding.fixed == Some(payload_type))?;
            (fixed, *fixed.clocks.first()?)
        }
    };
    Some(Kept { payload_type, encoding, clock })
}

fn codec(&Kept { payload_type, encoding, clock }: &Kept, all: &[Kept], lines: Lines<'_, '_>) -> Codec {
    let written = of_payload(lines, "fmtp", payload_type).next().unwrap_or_default();
    let parameters = parameters(encoding.parameters, written, all);
    let asked = |name: &str| of_payload(lines, "rtcp-fb", payload_type).any(|value| value == name);
    let feedback = FEEDBACK.into_iter().filter(|name| asked(name)).collect();
    Codec { payload_type, encoding, clock, parameters, feedback }
}

/// What may pass of `a=fmtp`, written anew; empty if nothing may.
fn parameters(kind: Parameters, written: &str, all: &[Kept]) -> String {
    match kind {
        Parameters::None => String::new(),
        Parameters::Opus => {
            let known: Vec<String> = written.split(';').filter_map(opus_parameter).collect();
            known.join(";")
        }
        Parameters::Redundancy => {
            let known = |pt: &u8| all.iter().any(|kept| kept.payload_type == *pt);
            let types = written.split('/').map(|pt| pt.parse().ok().filter(known));
            let types: Option<Vec<u8>> = types.take(MAX_FORMATS).collect();
            types.unwrap_or_default().iter().map(u8::to_string).collect::<Vec<_>>().join("/")
        }
        Parameters::Events => if written == "0-15" { "0-15" } else { "" }.to_owned(),
    }
}

/// `<name>=<number>`, the number below a million: bit rates and sample rates.
fn opus_parameter(text: &str) -> Option<String> {
    let (name, value) = text.trim_start().split_once('=')?;
    let name = OPUS_PARAMETERS.into_iter().find(|known| *known == name)?;
    let value: u32 = value.parse().ok().filter(|value| *value < 1_000_000)?;
    Some(format!("{name}={value}"))
}

/// `<name>/<clock>[/<channels>]`.
fn encoding(map: &str) -> Option<(&'static Encoding, u32)> {
    let mut fields = map.split('/');
    let (name, clock) = (fields.next()?, fields.next()?.parse::<u32>().ok()?);
    let channels = fields.next().map_or(Some(1), |channels| channels.parse::<u8>().ok())?;
    let found = ENCODINGS.iter().find(|encoding| encoding.name.eq_ignore_ascii_case(name))?;
    (channels == found.channels && found.clocks.contains(&clock)).then_some((found, clock))
}

/// `<id>[/<direction>] <uri>`.
fn extension(value: &str) -> Option<Extension> {
    let mut fields = value.split(' ');
    let (id, uri) = (fields.next()?, fields.next()?);
    let (id, direction) = match id.split_once('/') {
        Some((id, direction)) => (id, Some(Direction::named(direction)?)),
        None => (id, None),
    };
    let uri = EXTENSIONS.into_iter().find(|known| *known == uri)?;
    let id: u8 = id.parse().ok().filter(|id| *id > 0)?;
    Some(Extension { id, direction, uri })
}

fn mid<'a>(lines: Lines<'_, 'a>) -> Option<&'a str> {
    attribute(lines, "mid").filter(|mid| text::is_mid(mid))
}

fn direction(lines: Lines<'_, '_>) -> Option<Direction> {
    lines.iter().filter(|(kind, _)| *kind == b'a').find_map(|(_, value)| Direction::named(value))
}

/// Values of `a=<name>:<payload type> <value>`.
fn of_payload<'l, 'a>(lines: Lines<'l, 'a>, name: &'l str, payload_type: u8) -> impl Iterator<Item = &'a str> + 'l
where
    'a: 'l,
{
    attributes(lines, name).filter_map(move |value| {
        let (format, rest) = value.split_once(' ')?;
        (format == "*" || format.parse() == Ok(payload_type)).then_some(rest)
    })
}

fn attribute<'a>(lines: Lines<'_, 'a>, name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| value_of(line, name))
}

fn attributes<'l, 'a>(lines: Lines<'l, 'a>, name: &'l str) -> impl Iterator<Item = &'a str> + 'l
where
    'a: 'l,
{
    lines.iter().filter_map(move |line| value_of(line, name))
}

/// `a=<name>:<value>` gives the value, `a=<name>` the empty one.
fn value_of<'a>(&(kind, line): &(u8, &'a str), name: &str) -> Option<&'a str> {
    let rest = (kind == b'a').then(|| line.strip_prefix(name))??;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(':') }
}

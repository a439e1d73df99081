//! Writes a description from what may pass. Nothing of the original text survives but checked values.

use std::fmt::Write as _;

use super::media::{Audio, Codec, Data, DataState, Description, Section, Transport};

/// The stream and track every partner's voice is called, in place of random names that stay the same from call to call.
const MSID: &str = "call voice";

pub(super) fn description(description: &Description<'_>, generation: u32) -> String {
    let mut out = String::with_capacity(2048);
    line(&mut out, "v=0");
    line(&mut out, format_args!("o=- 1 {generation} IN IP4 0.0.0.0"));
    line(&mut out, "s=-");
    line(&mut out, "t=0 0");
    if !description.bundle.is_empty() {
        line(&mut out, format_args!("a=group:BUNDLE {}", description.bundle.join(" ")));
    }
    if description.mixed {
        line(&mut out, "a=extmap-allow-mixed");
    }
    for section in &description.sections {
        match section {
            Section::Audio(audio) => audio_section(&mut out, audio),
            Section::Data(data) => data_section(&mut out, data),
        }
    }
    out
}

fn line(out: &mut String, text: impl std::fmt::Display) {
    // Writing to a String does not fail.
    let _ = write!(out, "{text}\r\n");
}

fn audio_section(out: &mut String, audio: &Audio<'_>) {
    let _ = write!(out, "m=audio 9 UDP/TLS/RTP/SAVPF");
    for codec in &audio.codecs {
        let _ = write!(out, " {}", codec.payload_type);
    }
    line(out, "");
    line(out, "c=IN IP4 0.0.0.0");
    transport(out, &audio.transport);
    line(out, format_args!("a=mid:{}", audio.mid));
    for extension in &audio.extensions {
        let direction = extension.direction.map_or(String::new(), |direction| format!("/{}", direction.name()));
        line(out, format_args!("a=extmap:{}{direction} {}", extension.id, extension.uri));
    }
    line(out, format_args!("a={}", audio.direction.name()));
    if audio.direction.sends() {
        line(out, format_args!("a=msid:{MSID}"));
    }
    line(out, "a=rtcp-mux");
    if audio.reduced_size {
        line(out, "a=rtcp-rsize");
    }
    audio.codecs.iter().for_each(|one| codec(out, one));
    if let Some(ms) = audio.packet_ms {
        line(out, format_args!("a=ptime:{ms}"));
    }
    if let Some(ms) = audio.max_packet_ms {
        line(out, format_args!("a=maxptime:{ms}"));
    }
}

fn codec(out: &mut String, codec: &Codec) {
    let (pt, name, clock) = (codec.payload_type, codec.encoding.name, codec.clock);
    match codec.encoding.channels {
        1 => line(out, format_args!("a=rtpmap:{pt} {name}/{clock}")),
        channels => line(out, format_args!("a=rtpmap:{pt} {name}/{clock}/{channels}")),
    }
    for feedback in &codec.feedback {
        line(out, format_args!("a=rtcp-fb:{pt} {feedback}"));
    }
    if !codec.parameters.is_empty() {
        line(out, format_args!("a=fmtp:{pt} {}", codec.parameters));
    }
}

fn data_section(out: &mut String, data: &Data<'_>) {
    let port = match data.state {
        DataState::Open { bundle_only: false, .. } => 9,
        DataState::Open { .. } | DataState::Rejected => 0,
    };
    line(out, format_args!("m=application {port} UDP/DTLS/SCTP webrtc-datachannel"));
    line(out, "c=IN IP4 0.0.0.0");
    line(out, format_args!("a=mid:{}", data.mid));
    let DataState::Open { transport: shared, bundle_only, sctp_port, max_message_bytes } = &data.state else { return };
    if *bundle_only {
        line(out, "a=bundle-only");
    }
    transport(out, shared);
    line(out, format_args!("a=sctp-port:{sctp_port}"));
    if let Some(bytes) = max_message_bytes {
        line(out, format_args!("a=max-message-size:{bytes}"));
    }
}

fn transport(out: &mut String, transport: &Transport<'_>) {
    line(out, format_args!("a=ice-ufrag:{}", transport.ufrag));
    line(out, format_args!("a=ice-pwd:{}", transport.pwd));
    if transport.trickle {
        line(out, "a=ice-options:trickle");
    }
    for fingerprint in &transport.fingerprints {
        let _ = write!(out, "a=fingerprint:{} ", fingerprint.hash.name());
        for (at, byte) in fingerprint.digest.iter().enumerate() {
            let _ = write!(out, "{}{byte:02X}", if at == 0 { "" } else { ":" });
        }
        line(out, "");
    }
    line(out, format_args!("a=setup:{}", transport.setup.name()));
}

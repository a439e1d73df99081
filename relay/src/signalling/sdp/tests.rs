#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const CHROMIUM_OFFER: &str = include_str!("../vectors/sdp/chromium-156-offer.sdp");
const CHROMIUM_ANSWER: &str = include_str!("../vectors/sdp/chromium-156-answer.sdp");
const CHROMIUM_BARE: &str = include_str!("../vectors/sdp/chromium-156-bare.sdp");
const CHROMIUM_GATHERED: &str = include_str!("../vectors/sdp/chromium-156-gathered.sdp");
const CHROMIUM_VIDEO: &str = include_str!("../vectors/sdp/chromium-156-video.sdp");
const FIREFOX_OFFER: &str = include_str!("../vectors/sdp/firefox-153-offer.sdp");
const FIREFOX_ANSWER: &str = include_str!("../vectors/sdp/firefox-153-answer.sdp");
const FIREFOX_GATHERED: &str = include_str!("../vectors/sdp/firefox-153-gathered.sdp");

const REAL: [(&str, Kind); 7] = [
    (CHROMIUM_OFFER, Kind::Offer),
    (CHROMIUM_ANSWER, Kind::Answer),
    (CHROMIUM_BARE, Kind::Offer),
    (CHROMIUM_GATHERED, Kind::Offer),
    (FIREFOX_OFFER, Kind::Offer),
    (FIREFOX_ANSWER, Kind::Answer),
    (FIREFOX_GATHERED, Kind::Offer),
];

fn rebuilt(sdp: &str) -> String {
    rebuild(sdp, Kind::Offer, 1).unwrap()
}

fn refused(sdp: &str) {
    assert_eq!(rebuild(sdp, Kind::Offer, 1), Err(BadSdp), "{sdp}");
}

/// Everything a rebuilt description may consist of.
fn may_stand(line: &str) -> bool {
    const EXACT: [&str; 17] = [
        "v=0",
        "s=-",
        "t=0 0",
        "c=IN IP4 0.0.0.0",
        "a=extmap-allow-mixed",
        "a=ice-options:trickle",
        "a=setup:actpass",
        "a=setup:active",
        "a=setup:passive",
        "a=sendrecv",
        "a=sendonly",
        "a=recvonly",
        "a=inactive",
        "a=msid:call voice",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=bundle-only",
    ];
    const START: [&str; 17] = [
        "o=- 1 ",
        "a=group:BUNDLE ",
        "m=audio 9 UDP/TLS/RTP/SAVPF ",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=fingerprint:sha-",
        "a=mid:",
        "a=extmap:",
        "a=rtpmap:",
        "a=rtcp-fb:",
        "a=fmtp:",
        "a=ptime:",
        "a=maxptime:",
        "a=sctp-port:",
        "a=max-message-size:",
    ];
    EXACT.contains(&line) || START.iter().any(|start| line.starts_with(start))
}

fn assert_clean(sdp: &str) {
    for line in sdp.strip_suffix("\r\n").unwrap().split("\r\n") {
        assert!(may_stand(line), "{line}");
        assert!(line.bytes().all(|b| (0x20..0x7F).contains(&b)), "{line:?}");
    }
    for forbidden in ["candidate", "cname", "ssrc", "audio-level", "SDPARTA", "127.0.0.1", ".local", "192.0.2"] {
        assert!(!sdp.contains(forbidden), "{forbidden} in {sdp}");
    }
}

#[test]
fn what_browsers_write_comes_out_clean() {
    for (sdp, kind) in REAL {
        assert_clean(&rebuild(sdp, kind, 1).unwrap());
    }
}

#[test]
fn a_chromium_offer_is_rebuilt_to_the_letter() {
    let expected = "v=0\r\n\
        o=- 1 1 IN IP4 0.0.0.0\r\n\
        s=-\r\n\
        t=0 0\r\n\
        a=group:BUNDLE 0 1\r\n\
        a=extmap-allow-mixed\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n\
        c=IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:CiTY\r\n\
        a=ice-pwd:UNJ9nre7KLW2qD6yhTuRLd9A\r\n\
        a=ice-options:trickle\r\n\
        a=fingerprint:sha-256 92:88:F2:9A:8E:ED:8E:29:16:67:E1:5C:45:42:1B:84:88:92:80:B0:1A:AC:D2:B4:97:EE:01:B2:48:E6:68:1C\r\n\
        a=setup:actpass\r\n\
        a=mid:0\r\n\
        a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=sendrecv\r\n\
        a=msid:call voice\r\n\
        a=rtcp-mux\r\n\
        a=rtcp-rsize\r\n\
        a=rtpmap:111 opus/48000/2\r\n\
        a=rtcp-fb:111 transport-cc\r\n\
        a=fmtp:111 minptime=10;useinbandfec=1\r\n\
        a=rtpmap:63 red/48000/2\r\n\
        a=fmtp:63 111/111\r\n\
        a=rtpmap:9 G722/8000\r\n\
        a=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:13 CN/8000\r\n\
        a=rtpmap:110 telephone-event/48000\r\n\
        a=rtpmap:126 telephone-event/8000\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
        c=IN IP4 0.0.0.0\r\n\
        a=mid:1\r\n\
        a=ice-ufrag:CiTY\r\n\
        a=ice-pwd:UNJ9nre7KLW2qD6yhTuRLd9A\r\n\
        a=ice-options:trickle\r\n\
        a=fingerprint:sha-256 92:88:F2:9A:8E:ED:8E:29:16:67:E1:5C:45:42:1B:84:88:92:80:B0:1A:AC:D2:B4:97:EE:01:B2:48:E6:68:1C\r\n\
        a=setup:actpass\r\n\
        a=sctp-port:5000\r\n\
        a=max-message-size:262144\r\n";
    assert_eq!(rebuilt(CHROMIUM_OFFER), expected);
    assert_eq!(rebuilt(CHROMIUM_GATHERED), expected, "candidates leave no trace");
}

#[test]
fn rebuilding_twice_changes_nothing() {
    for (sdp, kind) in REAL {
        let once = rebuild(sdp, kind, 1).unwrap();
        assert_eq!(rebuild(&once, kind, 1).unwrap(), once);
    }
}

#[test]
fn firefox_keeps_its_session_level_fingerprint_and_options() {
    let sdp = rebuilt(FIREFOX_OFFER);
    assert_eq!(sdp.matches("a=fingerprint:sha-256 50:11:95").count(), 2, "{sdp}");
    assert_eq!(sdp.matches("a=ice-options:trickle").count(), 2);
    assert!(sdp.contains("a=rtpmap:109 opus/48000/2\r\na=rtcp-fb:109 transport-cc\r\na=fmtp:109 maxplaybackrate"));
}

#[test]
fn video_is_refused() {
    refused(CHROMIUM_VIDEO);
    refused(&CHROMIUM_BARE.replace("m=audio", "m=video"));
    refused(&format!("{CHROMIUM_OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"));
    refused(&format!("{CHROMIUM_BARE}m=text 9 UDP/TLS/RTP/SAVPF 96\r\n"));
}

#[test]
fn there_is_exactly_one_audio_line_and_it_is_on() {
    refused("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    let audio = &CHROMIUM_BARE[CHROMIUM_BARE.find("m=audio").unwrap()..];
    refused(&format!("{CHROMIUM_BARE}{}", audio.replace("a=mid:0", "a=mid:1")));
    refused(&CHROMIUM_BARE.replace("m=audio 9 ", "m=audio 0 "));
    refused(&CHROMIUM_BARE.replace("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP"));
    refused(&CHROMIUM_BARE.replace("a=rtcp-mux\r\n", ""));
}

#[test]
fn an_offer_without_a_strong_fingerprint_is_refused() {
    let without: String =
        CHROMIUM_OFFER.lines().filter(|line| !line.contains("fingerprint")).map(|l| l.to_owned() + "\r\n").collect();
    refused(&without);
    refused(&CHROMIUM_BARE.replace("fingerprint:sha-256 ", "fingerprint:sha-1 "));
    refused(&CHROMIUM_BARE.replace("fingerprint:sha-256 ", "fingerprint:sha-512 "));
    refused(&CHROMIUM_BARE.replace("fingerprint:sha-256 B3:", "fingerprint:sha-256 "));
    refused(&CHROMIUM_BARE.replace("fingerprint:sha-256 B3:", "fingerprint:sha-256 +3:"));
}

#[test]
fn short_ice_credentials_and_ice_lite_are_refused() {
    refused(&CHROMIUM_BARE.replace("a=ice-ufrag:DUdX", "a=ice-ufrag:DUd"));
    refused(&CHROMIUM_BARE.replace("a=ice-ufrag:DUdX", "a=ice-ufrag:DU dX"));
    refused(&CHROMIUM_BARE.replace("a=ice-pwd:fbvX/K", "a=ice-pwd:"));
    refused(&CHROMIUM_BARE.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n"));
}

#[test]
fn an_answer_decides_who_opens_dtls() {
    let undecided = CHROMIUM_ANSWER.replace("a=setup:active", "a=setup:actpass");
    assert_eq!(rebuild(&undecided, Kind::Answer, 1), Err(BadSdp));
    assert!(rebuild(&undecided, Kind::Offer, 1).is_ok());
}

#[test]
fn a_refused_data_channel_keeps_its_line() {
    let answer =
        CHROMIUM_ANSWER.replace("m=application 9", "m=application 0").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0");
    let sdp = rebuild(&answer, Kind::Answer, 1).unwrap();
    assert!(sdp.ends_with("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n"));
    assert!(sdp.contains("a=group:BUNDLE 0\r\n"));
}

#[test]
fn a_bundled_data_line_may_borrow_its_transport() {
    let at = CHROMIUM_OFFER.find("m=application").unwrap();
    let short = format!(
        "{}m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\na=bundle-only\r\na=sctp-port:5000\r\n",
        &CHROMIUM_OFFER[..at]
    );
    let sdp = rebuilt(&short);
    assert_clean(&sdp);
    assert_eq!(sdp.matches("a=ice-ufrag:CiTY").count(), 2);
    assert!(sdp.contains("a=bundle-only\r\n") && sdp.contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn lines_end_in_crlf_or_lf_and_come_out_in_crlf() {
    assert_eq!(rebuilt(&CHROMIUM_OFFER.replace("\r\n", "\n")), rebuilt(CHROMIUM_OFFER));
    assert_eq!(rebuilt(CHROMIUM_OFFER.trim_end()), rebuilt(CHROMIUM_OFFER));
}

#[test]
fn nothing_can_be_smuggled_inside_a_value() {
    refused(&CHROMIUM_BARE.replace("a=mid:0", "a=mid:0 x"));
    refused(&CHROMIUM_BARE.replace("a=mid:0", "a=mid:0\ra=candidate:1"));
    refused(&CHROMIUM_BARE.replace("a=mid:0", "a=mid:<script>"));
    refused(&CHROMIUM_BARE.replace("a=mid:0", "a=mid:0\0"));
    refused(&CHROMIUM_BARE.replace("s=-", "s"));
    refused(&CHROMIUM_BARE.replace("s=-", &format!("s={}", "x".repeat(600))));
    let spoken = CHROMIUM_BARE.replace("minptime=10", "minptime=<b>");
    assert!(!rebuilt(&spoken).contains("<b>"));
    let telling = CHROMIUM_BARE
        .replace("minptime=10", "minptime=192.0.2.66;x-address=7;stereo=1;maxaveragebitrate=9999999")
        .replace("111/111", "111/192/111")
        .replace("a=rtpmap:126", "a=fmtp:126 192,0,2,66\r\na=fmtp:8 c=IN IP4 192.0.2.66\r\na=rtpmap:126");
    assert!(rebuilt(&telling).contains("a=fmtp:111 stereo=1;useinbandfec=1\r\n"));
    assert_eq!(rebuilt(&telling).matches("a=fmtp:").count(), 1);
    let unknown = CHROMIUM_BARE.replace("opus/48000/2", "evil/48000/2").replace("red/48000/2", "evil/48000/2");
    assert!(rebuilt(&unknown).contains("SAVPF 9 0 8 13 110 126\r\n"), "codecs not on the list are left out");
}

#[test]
fn sizes_are_capped() {
    refused(&format!("{CHROMIUM_BARE}{}", "a=x\r\n".repeat(MAX_SDP_BYTES / 5)));
    refused(&format!("{CHROMIUM_BARE}{}", "a=x\r\n".repeat(600)));
    let formats: Vec<String> = (0..40).map(|pt| pt.to_string()).collect();
    refused(&CHROMIUM_BARE.replace("111 63 9 0 8 13 110 126", &formats.join(" ")));
}

fn mutated() -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(EDITS), any::<bool>()), 1..8);
    (prop::sample::select(REAL.map(|(sdp, _)| sdp).to_vec()), edits).prop_map(|(sdp, edits)| {
        let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
        for (at, edit, whole) in edits {
            let at = at.index(lines.len());
            if whole {
                lines.insert(at, edit.to_owned());
            } else {
                let line = &mut lines[at];
                let middle = line.char_indices().nth(line.len() / 2).map_or(line.len(), |(at, _)| at);
                line.insert_str(middle, edit);
            }
        }
        lines.join("\r\n")
    })
}

const EDITS: &[&str] = &[
    "a=candidate:1 1 udp 1 192.0.2.66 9 typ host",
    "a=rtcp:9 IN IP4 192.0.2.66",
    "c=IN IP4 192.0.2.66",
    "a=ssrc:1 cname:x",
    "m=audio 9 UDP/TLS/RTP/SAVPF 0",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "a=extmap:9 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=group:BUNDLE 0 0 0",
    "a=fmtp:111 x=192.0.2.66\u{7f}",
    "a=mid:0",
    "é",
    "\n",
    " ",
    ":",
    "/",
    "99999999999999999999",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_done_to_a_description_only_the_allow_list_comes_out(sdp in mutated()) {
        for kind in [Kind::Offer, Kind::Answer] {
            if let Ok(out) = rebuild(&sdp, kind, 1) {
                assert_clean(&out);
                prop_assert_eq!(rebuild(&out, kind, 1), Ok(out));
            }
        }
    }

    #[test]
    fn noise_never_panics(sdp in "([a-z]=)?(\\PC|\r|\n| |:|=|/){0,300}") {
        let _ = rebuild(&sdp, Kind::Offer, 1);
    }
}

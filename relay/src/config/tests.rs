#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;

const DEFAULTS: &str = include_str!("../../../configs/relay.toml");

fn read(text: &str) -> Result<Settings, Problems> {
    parse(text, Path::new("/etc/relay"))
}

/// The problems of `text`, one a line.
fn complaints(text: &str) -> String {
    read(text).expect_err("it should have been refused").in_file("relay.toml").to_string()
}

/// One problem, exactly.
fn complaint(text: &str) -> String {
    let all = complaints(text);
    assert_eq!(all.lines().count(), 1, "one problem expected:\n{all}");
    all
}

/// Signalling that admits app callers, so that a test can be about something else.
const APP: &str = "[auth]\nissuer = \"i\"\naudience = \"a\"\ntokens = [{ kid = \"dev\", alg = \"HS256\", secret = \"0123456789abcdef0123456789abcdef\" }]\n";

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(read("").unwrap(), Settings::default());
}

#[test]
fn the_example_file_says_exactly_the_defaults() {
    assert_eq!(read(DEFAULTS).unwrap(), Settings::default());
}

#[test]
fn the_example_file_shows_every_option_once_in_its_section_with_a_comment() {
    let mut section = "";
    let mut shown = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, rest)) = line.trim_start_matches("# ").split_once(" = ") {
            assert!(rest.contains(" # "), "no comment on {section}.{key}");
            shown.push((section, key));
        }
    }
    let known: Vec<_> = known_keys().collect();
    assert_eq!(shown, known);
}

/// The options without a default stand in comments; uncommented they must be right as well.
#[test]
fn the_options_that_are_commented_out_are_accepted_when_uncommented() {
    let text = DEFAULTS
        .lines()
        // The one that names a file that is read with it.
        .filter(|line| !line.starts_with("# users_file"))
        .map(|line| if line.contains(" = ") { line.trim_start_matches("# ") } else { line })
        .map(|line| {
            if line.starts_with("tokens = ") {
                "tokens = [{ kid = \"dev\", alg = \"HS256\", secret = \"0123456789abcdef0123456789abcdef\" }]"
            } else {
                line
            }
        })
        .collect::<Vec<_>>()
        .join("\n");
    let settings = read(&text).unwrap();
    assert_eq!(settings.listen.signalling, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(settings.tls.unwrap().certificate, Path::new("/etc/relay/cert.pem"));
}

#[test]
fn the_local_file_is_the_local_defaults() {
    let settings = Settings::local_defaults();
    assert_eq!(settings.listen.udp, ["127.0.0.1:3478".parse().unwrap()]);
    assert_eq!(settings.listen.signalling, Some("127.0.0.1:8080".parse().unwrap()));
    assert_eq!(settings.listen.admin, Some("127.0.0.1:9641".parse().unwrap()));
    assert!(settings.signalling.demo_page);
    assert!(settings.auth.users.is_empty(), "no credential is built in");
}

#[test]
fn the_agreed_names_are_understood() {
    let settings = read(
        r#"
        [listen]
        udp = ["127.0.0.1:3478", "[::1]:3478"]
        tcp = ["127.0.0.1:3478"]
        tls = ["127.0.0.1:5349"]
        signalling = "127.0.0.1:8080"
        admin = "127.0.0.1:9641"
        [tls]
        certificate = "cert.pem"
        private_key = "/keys/key.pem"
        [relay]
        realm = "voice.example"
        addresses = ["127.0.0.1", { bind = "10.0.0.4", public = "203.0.113.7" }]
        ports = "1024-65535"
        workers = 2
        legacy_channels = true
        tcp_allocations = true
        [auth]
        users = { alice = "a long secret" }
        issuer = "https://app.example"
        audience = "voice"
        rest_secrets = ["the newest of secrets", "the one before that"]
        rest_expiry_on_refresh = false
        sha1 = false
        tokens = [
            { kid = "app-1", alg = "EdDSA", public_key = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
            { kid = "dev", alg = "HS256", secret = "0123456789abcdef0123456789abcdef" },
        ]
        [access]
        allow_peers = ["10.0.0.0/8"]
        deny_peers = ["10.1.2.3"]
        user_allocations = 7
        [limits]
        exempt = ["127.0.0.0/8"]
        [signalling]
        origins = ["https://app.example"]
        turn_urls = ["turn:relay.example:3478?transport=udp", "turns:relay.example:443?transport=tcp"]
        demo_page = false
        [calls]
        path = "direct-first"
        direct_bands = ["16-17", "18+"]
        payload = "any"
        quality = false
        [matching]
        topics = ["travel", "films"]
        min_band = "18+"
        recent_partners = "avoid-until-last-stage"
        "#,
    )
    .unwrap();
    assert_eq!(settings.tls.clone().unwrap().certificate, Path::new("/etc/relay/cert.pem"));
    assert_eq!(settings.tls.clone().unwrap().private_key, Path::new("/keys/key.pem"));
    assert_eq!(settings.relay.ports, 1024..=65535);
    assert!(settings.relay.tcp_allocations && !Settings::default().relay.tcp_allocations);
    assert_eq!(settings.relay.addresses[1].public, "203.0.113.7".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(settings.auth.users[0].password.expose(), "a long secret");
    assert!(matches!(settings.auth.tokens[0].key, VerifyingKey::EdDsa(_)));
    assert_eq!(settings.access.deny_peers, ["10.1.2.3/32".parse().unwrap()]);
    assert_eq!(settings.calls.path, CallPath::DirectFirst);
    assert_eq!(settings.calls.payload, CallPayload::Any);
    assert!(!settings.calls.quality && Settings::default().calls.quality);
    assert_eq!(settings.matching.min_band, AgeBand::Adult);
    assert_eq!(settings.matching.recent_partners, RecentPartners::AvoidUntilLastStage);
    assert!(!settings.signalling.demo_page);
}

/// Issue 2, item 8.
#[test]
fn a_file_with_five_mistakes_is_told_all_five_with_their_lines() {
    let text = r#"[listen]
udp = ["127.0.0.1"]
admin = "0.0.0.0:9641"

[relay]
adresses = ["127.0.0.1"]
ports = "65535-49152"

[auth]
rest_secrets = ["short"]
"#;
    let expected = [
        r#"relay.toml:2:8: listen.udp: "127.0.0.1" is not an address with a port; the port is missing: "127.0.0.1:3478""#,
        r#"relay.toml:3:9: listen.admin: 0.0.0.0:9641 is not on loopback; the admin listener asks nobody who they are"#,
        r#"relay.toml:6:1: unknown key "adresses" in [relay]; did you mean "addresses"?"#,
        r#"relay.toml:7:9: relay.ports: 65535 lies above 49152; the lower port comes first: "49152-65535""#,
        r#"relay.toml:10:17: auth.rest_secrets: a secret needs at least 16 bytes, this one has 5"#,
    ];
    assert_eq!(complaints(text).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_syntax_error_does_not_hide_the_mistakes_on_other_lines() {
    let text = "[relay]\nrealm = \"voice\nports = \"80-90\"\nworkers = \"two\"\n";
    let all = complaints(text);
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(all.contains("relay.toml:2:"), "{all}");
    assert!(all.contains("relay.toml:3:9: relay.ports: 80 is below 1024"), "{all}");
    assert!(all.contains("relay.toml:4:11: relay.workers is a whole number, not a string"), "{all}");
}

#[test]
fn a_key_written_twice_is_refused() {
    let all = complaint("[relay]\nworkers = 1\nworkers = 2\n");
    assert!(all.starts_with("relay.toml:3:") && all.contains("duplicate key"), "{all}");
}

#[test]
fn unknown_names_come_with_a_suggestion_or_their_home() {
    assert_eq!(complaint("[rely]\n"), r#"relay.toml:1:2: unknown section "rely"; did you mean "relay"?"#);
    assert_eq!(complaint("udp = []\n"), r#"relay.toml:1:1: unknown section "udp"; it belongs in [listen]"#);
    assert_eq!(
        complaint("[relay]\nusers = {}\n"),
        r#"relay.toml:2:1: unknown key "users" in [relay]; it belongs in [auth]"#
    );
    assert_eq!(complaint("[relay]\nzzz = 1\n"), r#"relay.toml:2:1: unknown key "zzz" in [relay]"#);
    let token = complaint(
        "[auth]\ntokens = [{ kid = \"a\", algo = \"HS256\", alg = \"HS256\", secret = \"0123456789abcdef0123456789abcdef\" }]\n",
    );
    assert_eq!(token, r#"relay.toml:2:24: unknown key "algo" in an entry of auth.tokens; did you mean "alg"?"#);
}

#[test]
fn values_of_a_wrong_type_are_refused() {
    for (text, expected) in [
        ("[relay]\nworkers = true\n", "relay.workers is a whole number, not a boolean"),
        ("[relay]\nworkers = -1\n", "relay.workers is a whole number from 0 to 256"),
        ("[relay]\nworkers = 99999999999999999999999\n", "relay.workers is a whole number from 0 to 256"),
        ("[relay]\nlegacy_channels = \"yes\"\n", "relay.legacy_channels is true or false, not a string"),
        ("[listen]\nudp = \"127.0.0.1:3478\"\n", "listen.udp is a list, written [ … ], not a string"),
        ("[listen]\nudp = [3478]\n", "each entry of listen.udp is a string in quotes, not an integer"),
        ("[auth]\nusers = [\"alice\"]\n", "auth.users is a table, not an array"),
        ("[auth]\ntokens = [\"x\"]\n", "each entry of auth.tokens is a table"),
        ("relay = 1\n", "relay is a section, written [relay] on a line of its own"),
        ("[relay]\naddresses = [{ bind = \"127.0.0.1\" }]\n", "an entry of relay.addresses lacks `public`"),
    ] {
        let message = complaint(text);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn meaningless_values_are_refused_with_what_would_be_right() {
    let long = "r".repeat(128);
    for (text, expected) in [
        ("[relay]\nports = \"1000-2000\"\n", "1000 is below 1024"),
        ("[relay]\nports = \"all\"\n", "\"all\" is not a range such as \"49152-65535\""),
        (&format!("[relay]\nrealm = \"{long}\"\n"), "relay.realm has 128 characters; it needs 1 to 127"),
        ("[relay]\nrealm = \"a\\\"b\"\n", "quotation marks"),
        ("[relay]\naddresses = [\"relay.example\"]\n", "\"relay.example\" is not an IP address"),
        ("[relay]\naddresses = [\"127.0.0.1:80\"]\n", "leave the port out"),
        ("[relay]\naddresses = [\"0.0.0.0\"]\n", "clients cannot send to 0.0.0.0"),
        ("[relay]\naddresses = [{ bind = \"10.0.0.4\", public = \"2001:db8::1\" }]\n", "of different address families"),
        ("[relay]\naddresses = [\"127.0.0.1\", \"127.0.0.1\"]\n", "127.0.0.1 stands here twice"),
        ("[listen]\nudp = [\"0.0.0.0:3478\"]\n", "listening on 0.0.0.0 needs relay.addresses"),
        ("[listen]\nudp = []\n", "listen.udp is empty"),
        ("[auth]\nusers = { \"Zoë\" = \"0123456789abcdef\" }\n", "printable ASCII"),
        ("[listen]\nudp = [\"localhost:3478\"]\n", "a number and not a name"),
        ("[listen]\nudp = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n", "127.0.0.1:1 is already used by listen.udp"),
        ("[listen]\ntcp = [\"127.0.0.1:1\"]\nadmin = \"127.0.0.1:1\"\n", "127.0.0.1:1 is already used by listen.tcp"),
        (
            "[listen]\ntcp = [\"0.0.0.0:1\"]\nadmin = \"127.0.0.1:1\"\n[relay]\naddresses = [\"127.0.0.1\"]\n",
            "127.0.0.1:1 overlaps with 0.0.0.0:1 of listen.tcp",
        ),
        ("[listen]\ntls = [\"127.0.0.1:5349\"]\n", "listen.tls needs `certificate` and `private_key` in [tls]"),
        ("[tls]\ncertificate = \"a\"\n", "[tls] lacks `private_key`"),
        ("[auth]\nusers = { alice = \"short\" }\n", "a password needs at least 12 bytes, this one has 5"),
        ("[auth]\nusers = { \"12:alice\" = \"0123456789abcdef\" }\n", "belong to time-limited credentials"),
        ("[auth]\nissuer = \"\"\n", "auth.issuer is empty"),
        ("[access]\nallow_peers = [\"10.0.0.0/33\"]\n", "\"10.0.0.0/33\" is not a prefix"),
        ("[access]\nuser_allocations = 0\n", "nobody could allocate"),
        ("[limits]\nexempt = [\"here\"]\n", "\"here\" is not a prefix"),
        ("[calls]\npath = \"relayed\"\n", "did you mean \"relay\"?"),
        ("[calls]\npayload = \"web-rtc\"\n", "did you mean \"webrtc\"?"),
        ("[calls]\ndirect_bands = [\"18\"]\n", "\"18\" is not an age band"),
        ("[matching]\nmin_band = \"12+\"\n", "\"12+\" is not an age band"),
        ("[matching]\nrecent_partners = \"later\"\n", "matching.recent_partners"),
        ("[matching]\ntopics = [\"a\", \"a\"]\n", "\"a\" stands here twice"),
        ("[signalling]\norigins = [\"app.example\"]\n", "does not begin with https://"),
        ("[signalling]\norigins = [\"https://app.example/\"]\n", "an origin has no path"),
    ] {
        let message = complaint(text);
        assert!(message.contains(expected), "{message}");
    }
    let topics = (0..65).map(|n| format!("\"t{n}\"")).collect::<Vec<_>>().join(", ");
    let message = complaint(&format!("[matching]\ntopics = [{topics}]\n"));
    assert!(message.contains("matching.topics has 65 topics; there is room for 64"), "{message}");
}

#[test]
fn udp_and_tcp_may_share_a_port_number_and_port_zero_never_clashes() {
    read("[listen]\nudp = [\"127.0.0.1:3478\"]\ntcp = [\"127.0.0.1:3478\"]\n").unwrap();
    read("[listen]\nudp = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nsignalling = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n")
        .unwrap();
}

#[test]
fn turn_addresses_follow_the_rfc() {
    let with = |url: &str| format!("[signalling]\nturn_urls = [\"{url}\"]\n");
    for good in [
        "turn:relay.example",
        "turn:203.0.113.7:3478",
        "turn:[2001:db8::1]:3478?transport=udp",
        "turn:relay.example?transport=tcp",
        "turns:relay.example:443?transport=tcp",
        "stun:relay.example:3478",
    ] {
        read(&with(good)).unwrap();
    }
    for (bad, expected) in [
        ("relay.example:3478", "it begins with turn:"),
        ("turn://relay.example", "no slashes"),
        ("turn:relay.example:0", "a port from 1 to 65535"),
        ("turn:relay.example:70000", "a port from 1 to 65535"),
        ("turn:user@relay.example", "comes a host"),
        ("turn:", "comes a host"),
        ("turn:[::1", "comes a host"),
        ("turn:relay.example?transport=sctp", "the only parameter"),
        ("turns:relay.example?transport=udp", "DTLS"),
        ("stun:relay.example?transport=udp", "takes no parameters"),
    ] {
        let message = complaint(&with(bad));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn token_keys_are_checked_by_their_algorithm() {
    let with = |entry: &str| format!("[auth]\ntokens = [{{ {entry} }}]\n");
    for (entry, expected) in [
        ("kid = \"a\", alg = \"EdDSA\", public_key = \"AAAA\"", "has 3 bytes; an Ed25519 key has 32"),
        ("kid = \"a\", alg = \"EdDSA\", public_key = \"!\"", "not base64url"),
        (&format!("kid = \"a\", alg = \"EdDSA\", public_key = \"{}\"", "A".repeat(43)), "not an Ed25519 public key"),
        ("kid = \"a\", alg = \"EdDSA\"", "lacks `public_key`"),
        ("kid = \"a\", alg = \"HS256\", secret = \"short\"", "HS256 needs at least 32"),
        ("kid = \"a\", alg = \"HS256\"", "lacks `secret`"),
        ("kid = \"a\", alg = \"none\"", "\"none\" is not known; it is \"EdDSA\" or \"HS256\""),
        ("alg = \"HS256\", secret = \"0123456789abcdef0123456789abcdef\"", "lacks `kid`"),
        ("kid = \"a\"", "lacks `alg`"),
        (
            "kid = \"a\", alg = \"HS256\", public_key = \"AAAA\", secret = \"0123456789abcdef0123456789abcdef\"",
            "takes `secret`, not `public_key`",
        ),
    ] {
        let message = complaint(&with(entry));
        assert!(message.contains(expected), "{message}");
    }
    let one = "{ kid = \"a\", alg = \"HS256\", secret = \"0123456789abcdef0123456789abcdef\" }";
    assert!(complaint(&format!("[auth]\ntokens = [{one}, {one}]\n")).contains("the kid \"a\" is used twice"));
}

#[test]
fn signalling_needs_tokens_or_the_demo_page() {
    let message = complaint("[listen]\nsignalling = \"127.0.0.1:8080\"\n[signalling]\ndemo_page = false\n");
    assert_eq!(
        message,
        "relay.toml:2:14: listen.signalling admits nobody without tokens: [auth] lacks issuer, audience, tokens"
    );
    read("[listen]\nsignalling = \"127.0.0.1:8080\"\n").unwrap();
    read(&format!("[listen]\nsignalling = \"192.0.2.1:8080\"\n{APP}")).unwrap();
}

#[test]
fn the_demo_page_is_refused_off_loopback() {
    let text = format!("[listen]\nsignalling = \"192.0.2.1:8080\"\n[signalling]\ndemo_page = true\n{APP}");
    assert!(complaint(&text).starts_with("relay.toml:4:13: signalling.demo_page mints tokens for anyone"));
}

#[test]
fn the_demo_page_is_on_by_default_only_on_loopback_and_without_an_app() {
    let page = |text: &str| read(text).unwrap().signalling.demo_page;
    assert!(page("[listen]\nsignalling = \"127.0.0.1:8080\"\n"));
    assert!(page("[listen]\nsignalling = \"[::1]:8080\"\n"));
    assert!(
        !page(&format!("[listen]\nsignalling = \"127.0.0.1:8080\"\n{APP}")),
        "a daemon behind a proxy listens on loopback"
    );
    assert!(!page(&format!("[listen]\nsignalling = \"192.0.2.1:8080\"\n{APP}")));
    assert!(!page(""));
}

#[test]
fn unusual_settings_are_noticed() {
    let notices = read("[limits]\nexempt = [\"127.0.0.0/8\"]\n").unwrap().notices().join("\n");
    assert!(notices.contains("limits.exempt"), "{notices}");
    let notices =
        read("[listen]\ntls = [\"127.0.0.1:0\"]\n[tls]\ncertificate = \"c\"\nprivate_key = \"k\"\n").unwrap().notices();
    assert!(!notices.iter().any(|notice| notice.contains("listen.tls")), "{notices:?}");
}

#[test]
fn secrets_appear_neither_in_debug_nor_in_problems() {
    const CANARY: &str = "CANARY";
    let text = r#"
        [listen]
        signalling = "127.0.0.1:0"
        [auth]
        users = { CANARYalice = "CANARYpassword", CANARYbob = "CANARY" }
        rest_secrets = ["CANARYrest", "CANARYrest0123456789"]
        issuer = "i"
        audience = "a"
        tokens = [
            { kid = "x", alg = "HS256", secret = "CANARY" },
            { kid = "y", alg = "EdDSA", public_key = "CANARY" },
            { kid = "z", alg = "HS256", secret = "CANARY0123456789CANARY0123456789" },
        ]
        "#;
    let all = complaints(text);
    assert_eq!(all.lines().count(), 4, "{all}");
    assert!(!all.contains(CANARY), "{all}");
    let good: String = text
        .lines()
        .filter(|line| !line.contains("\"CANARY\" }"))
        .collect::<Vec<_>>()
        .join("\n")
        .replace("\"CANARYrest\", ", "");
    let good = good.replace("[auth]", "[auth]\nusers = { CANARYalice = \"CANARYpassword\" }");
    let settings = read(&good).unwrap();
    assert_eq!(settings.auth.users.len() + settings.auth.rest_secrets.len() + settings.auth.tokens.len(), 3);
    let debug = format!("{settings:#?}");
    assert!(!debug.contains(CANARY), "{debug}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    /// Whatever is cut out of or put into a good file, reading it ends in settings or in problems, never in a panic.
    #[test]
    fn no_text_makes_the_reader_panic(from in 0usize..4000, to in 0usize..4000, noise in "[\\PC\"\\[\\]{}=\n]{0,12}") {
        let mut text: Vec<char> = DEFAULTS.chars().collect();
        let (from, to) = (from.min(text.len()), to.min(text.len()));
        text.splice(from.min(to)..from.max(to), noise.chars());
        let _ = read(&text.into_iter().collect::<String>());
    }
}

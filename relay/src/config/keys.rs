//! Every section and every key there is: of what type, within which bounds, and whether a reload changes it.
//!
//! The parser refuses what does not stand here and takes the bounds of its numbers from here; `relay explain` and the list of what
//! a reload changed read the same rows. What a key does and its default stand once, in `configs/relay.toml`; a test compares.

use std::fmt;

/// One key of the file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub reload: Reload,
    /// A value of it as it would be written.
    pub example: &'static str,
}

/// What may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flag,
    /// From 0 to `most`.
    Number {
        most: u64,
    },
    Text,
    Texts,
    Address,
    Addresses,
    Prefixes,
    /// Relative to the configuration file.
    Path,
    OneOf(&'static [&'static str]),
    SomeOf(&'static [&'static str]),
    /// A secret: `"…"`, `{ file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`, at least so many bytes.
    Secret {
        least: usize,
    },
    Secrets {
        least: usize,
    },
    /// In words.
    Shape(&'static str),
}

/// Whether it changes while people talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At once; for whom.
    Live(&'static str),
    /// Why not.
    Restart(&'static str),
}

/// More would be heard, and the packet path takes no more.
const MAX_NAP_MICROS: u64 = 500;
/// More workers than any machine has cores.
const MAX_WORKERS: u64 = 256;
const MAX_USER_ALLOCATIONS: u64 = 65_536;
/// More than any network card carries.
const MOST_PACKETS: u64 = 1_000_000_000;
const MOST_BITS: u64 = 1_000_000_000_000;
/// More than there are relayed ports on all addresses there may be.
const MOST_ALLOCATIONS: u64 = 1_000_000;
/// Whoever looks once an hour looks at nothing.
const LONGEST_INTERVAL_SECS: u64 = 3_600;
/// A day: no supervisor waits longer.
const LONGEST_DRAIN_SECS: u64 = 86_400;

/// Shorter passwords fall to guessing: whoever sees one request can try them at home.
pub(super) const PASSWORD_BYTES: usize = 12;
pub(super) const REST_SECRET_BYTES: usize = 16;
/// As long as what it makes (RFC 2104 §3).
pub(super) const BACKEND_SECRET_BYTES: usize = 32;
/// As long as the keys that are made of it.
pub(super) const CLUSTER_KEY_BYTES: usize = 32;

const BANDS: &[&str] = &["13-15", "16-17", "18+"];

const NEW_CONNECTIONS: Reload = Reload::Live("for connections from then on");
const NEW_REQUESTS: Reload =
    Reload::Live("for every request from then on; an allocation's user is looked up again at its next one");
const NEW_CALLS: Reload = Reload::Live("for calls from then on; those that stand go on as they began");
const NEW_SESSIONS: Reload = Reload::Live("for sessions from then on");
const EVERYBODY: Reload = Reload::Live("for everybody");

const fn key(name: &'static str, kind: Kind, reload: Reload, example: &'static str) -> Key {
    Key { name, kind, reload, example }
}

const fn number(name: &'static str, most: u64, example: &'static str) -> Key {
    key(name, Kind::Number { most }, EVERYBODY, example)
}

/// Every section and its keys. `configs/relay.toml` shows each one; a test compares.
pub(super) const SECTIONS: &[(&str, &[Key])] = &[
    ("listen", LISTEN),
    ("tls", TLS),
    ("relay", RELAY),
    ("auth", AUTH),
    ("access", ACCESS),
    ("limits", LIMITS),
    ("drain", DRAIN),
    ("sandbox", SANDBOX),
    ("signalling", SIGNALLING),
    ("reports", BACKEND),
    ("revocations", REVOCATIONS),
    ("telemetry", TELEMETRY),
    ("cluster", CLUSTER),
    ("calls", CALLS),
    ("matching", MATCHING),
];

const LISTEN: &[Key] = &[
    key("udp", Kind::Addresses, DATAGRAMS, "[\"0.0.0.0:3478\", \"[::]:3478\"]"),
    key("tcp", Kind::Addresses, OPENED, "[\"0.0.0.0:3478\"]"),
    key("tls", Kind::Addresses, OPENED, "[\"0.0.0.0:443\"]"),
    key("proxy_protocol_from", Kind::Prefixes, NEW_CONNECTIONS, "[\"10.0.7.0/24\"]"),
    key(
        "nat_discovery",
        Kind::Shape("two addresses with ports that differ in both, or none"),
        DATAGRAMS,
        "[\"192.0.2.1:3478\", \"192.0.2.2:3479\"]",
    ),
    key(
        "signalling",
        Kind::Address,
        Reload::Live(
            "at the new address from then on, and who is connected stays; turned off, who is in no call is sent away",
        ),
        "\"127.0.0.1:8080\"",
    ),
    key(
        "admin",
        Kind::Address,
        Reload::Live("at the new address from then on; requests under way are answered"),
        "\"127.0.0.1:9641\"",
    ),
];

const DATAGRAMS: Reload = Reload::Live(
    "new addresses are opened, those gone serve on whoever has an allocation through them and nobody else; a port below 1024 as for listen.tcp",
);

const OPENED: Reload = Reload::Live(
    "new addresses are opened, those gone are closed to newcomers; a port below 1024 needs a restart if this process may not open it any more",
);

const TLS: &[Key] = &[
    key("certificate", Kind::Path, NEW_CONNECTIONS, "\"/etc/letsencrypt/live/relay.example/fullchain.pem\""),
    key("private_key", Kind::Path, NEW_CONNECTIONS, "\"/etc/letsencrypt/live/relay.example/privkey.pem\""),
];

const RELAY: &[Key] = &[
    key(
        "realm",
        Kind::Shape("1 to 127 characters"),
        Reload::Live("for newcomers; clients that know one of the four before go on with it"),
        "\"voice.example\"",
    ),
    key(
        "addresses",
        Kind::Shape("a list of IP addresses or { bind = \"…\", public = \"…\" }, at most 16"),
        Reload::Live(
            "for allocations from then on, those on addresses that are gone live on; an address that shares its `bind` or `public` with a former one, and differs in the other, needs a restart",
        ),
        "[{ bind = \"10.0.0.4\", public = \"203.0.113.7\" }]",
    ),
    key(
        "ports",
        Kind::Shape("\"lowest-highest\", both within 1024-65535"),
        Reload::Live("for allocations from then on; those that exist keep their ports"),
        "\"50000-59999\"",
    ),
    key("workers", Kind::Number { most: MAX_WORKERS }, Reload::Restart("each worker owns its clients' sockets"), "2"),
    key("nap_micros", Kind::Number { most: MAX_NAP_MICROS }, EVERYBODY, "200"),
    key("legacy_channels", Kind::Flag, EVERYBODY, "true"),
    key(
        "tcp_allocations",
        Kind::Flag,
        Reload::Live(
            "for allocations from then on; inside the sandbox turning it on needs a restart, because connections to everywhere were given up",
        ),
        "true",
    ),
];

const AUTH: &[Key] = &[
    key(
        "users",
        Kind::Shape(
            "a table of names and secrets; a secret is \"…\", { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }, 12 bytes or more",
        ),
        NEW_REQUESTS,
        "{ alice = \"a long secret\", bob = { file = \"bob.secret\" } }",
    ),
    key("users_file", Kind::Path, NEW_REQUESTS, "\"users.secret\""),
    key("issuer", Kind::Text, NEW_SESSIONS, "\"https://app.example\""),
    key("audience", Kind::Text, NEW_SESSIONS, "\"voice\""),
    key(
        "rest_secrets",
        Kind::Secrets { least: REST_SECRET_BYTES },
        NEW_REQUESTS,
        "[{ file = \"rest.secret\" }, \"the one of last month\"]",
    ),
    key("rest_expiry_on_refresh", Kind::Flag, NEW_REQUESTS, "false"),
    key("sha1", Kind::Flag, NEW_REQUESTS, "false"),
    key("username_anonymity", Kind::Flag, NEW_REQUESTS, "true"),
    key(
        "tokens",
        Kind::Shape(
            "a list of { kid = \"…\", alg = \"EdDSA\", public_key = \"…\" } and { kid = \"…\", alg = \"HS256\", secret = … }, the secret as in auth.users, 32 bytes or more",
        ),
        NEW_SESSIONS,
        "[{ kid = \"app-2\", alg = \"HS256\", secret = \"thirty-two bytes or more, please\" }]",
    ),
];

const ACCESS: &[Key] = &[
    key("allow_peers", Kind::Prefixes, EVERYBODY, "[\"10.1.2.0/24\"]"),
    key("deny_peers", Kind::Prefixes, EVERYBODY, "[\"203.0.113.0/24\", \"2001:db8::/32\"]"),
    number("user_allocations", MAX_USER_ALLOCATIONS, "10"),
];

const LIMITS: &[Key] = &[
    key("exempt", Kind::Prefixes, EVERYBODY, "[\"127.0.0.0/8\"]"),
    number("unauthenticated_per_second", MOST_PACKETS, "200"),
    number("unauthenticated_burst", MOST_PACKETS, "800"),
    number("call_packets_per_second", MOST_PACKETS, "400"),
    number("call_bits_per_second", MOST_BITS, "256000"),
    number("user_packets_per_second", MOST_PACKETS, "2000"),
    number("user_bits_per_second", MOST_BITS, "4000000"),
    number("allocation_permissions", u16::MAX as u64, "64"),
    number("allocation_channels", u16::MAX as u64, "64"),
    number("total_allocations", MOST_ALLOCATIONS, "20000"),
    number("total_packets_per_second", MOST_PACKETS, "500000"),
    number("total_bits_per_second", MOST_BITS, "1000000000"),
];

const DRAIN: &[Key] = &[
    number("deadline_secs", LONGEST_DRAIN_SECS, "600"),
    key("alternate_servers", Kind::Addresses, EVERYBODY, "[\"192.0.2.80:3478\"]"),
    key("alternate_domain", Kind::Text, EVERYBODY, "\"relay.example\""),
];

const SANDBOX: &[Key] = &[
    key("mode", Kind::OneOf(&["on", "required", "off"]), GIVEN_UP, "\"required\""),
    key("user", Kind::Text, GIVEN_UP, "\"relay\""),
];

const GIVEN_UP: Reload = Reload::Restart("what a process has given up it cannot get back");

const SIGNALLING: &[Key] = &[
    key("origins", Kind::Texts, NEW_CONNECTIONS, "[\"https://app.example\"]"),
    key("turn_urls", Kind::Texts, NEW_CALLS, "[\"turn:relay.example:3478?transport=udp\"]"),
    key("demo_page", Kind::Flag, NEW_CONNECTIONS, "false"),
];

const BACKEND: &[Key] = &[
    key("url", Kind::Text, Reload::Live("for reports from then on"), "\"https://app.example/pair/reports\""),
    key(
        "secret",
        Kind::Secret { least: BACKEND_SECRET_BYTES },
        Reload::Live("for reports and texts from then on; what was said under the one before can still be proved"),
        "{ credential = \"reports\" }",
    ),
    key("ca", Kind::Path, Reload::Live("for reports from then on"), "\"ca.pem\""),
];

const FETCHED: Reload = Reload::Live("the list is fetched again");
const REVOCATIONS: &[Key] = &[
    key("url", Kind::Text, FETCHED, "\"https://app.example/pair/revocations\""),
    key("secret", Kind::Secret { least: BACKEND_SECRET_BYTES }, FETCHED, "{ credential = \"revocations\" }"),
    key("ca", Kind::Path, FETCHED, "\"ca.pem\""),
];

const PUSHED: Reload = Reload::Live("for what is pushed from then on");
const TELEMETRY: &[Key] = &[
    key("otlp_url", Kind::Text, PUSHED, "\"http://127.0.0.1:4318/v1/metrics\""),
    key("ca", Kind::Path, PUSHED, "\"ca.pem\""),
    key("interval_secs", Kind::Number { most: LONGEST_INTERVAL_SECS }, PUSHED, "60"),
];

const CONNECTED: Reload = Reload::Live(
    "the broker is connected to anew; written for the first time or taken away needs a restart, and so does a port that was given up",
);
const CLUSTER: &[Key] = &[
    key(
        "nats",
        Kind::Shape("\"nats://host:4222\" or \"tls://host:4222\", or a list of them"),
        CONNECTED,
        "[\"nats://10.0.0.5:4222\", \"nats://10.0.0.6:4222\"]",
    ),
    key("node", Kind::Text, Reload::Restart("the others know this process by it"), "\"relay-1\""),
    key(
        "keys",
        Kind::Secrets { least: CLUSTER_KEY_BYTES },
        CONNECTED,
        "[\"thirty-two bytes or more, please\", \"and those of before the last change\"]",
    ),
    key("user", Kind::Text, CONNECTED, "\"relay\""),
    key("password", Kind::Secret { least: 1 }, CONNECTED, "{ credential = \"nats\" }"),
    key("token", Kind::Secret { least: 1 }, CONNECTED, "{ credential = \"nats\" }"),
    key("ca", Kind::Path, CONNECTED, "\"ca.pem\""),
];

const CALLS: &[Key] = &[
    key("path", Kind::OneOf(&["relay", "direct-first"]), NEW_SESSIONS, "\"direct-first\""),
    key("direct_bands", Kind::SomeOf(BANDS), NEW_SESSIONS, "[\"16-17\", \"18+\"]"),
    key("acceptance", Kind::Flag, NEW_CALLS, "true"),
    key("payload", Kind::OneOf(&["webrtc", "any"]), EVERYBODY, "\"any\""),
    key("quality", Kind::Flag, EVERYBODY, "false"),
];

const MATCHING: &[Key] = &[
    key(
        "topics",
        Kind::Shape("at most 64 strings of 1 to 64 bytes, none twice"),
        NEW_SESSIONS,
        "[\"travel\", \"films\"]",
    ),
    key("min_band", Kind::OneOf(BANDS), NEW_SESSIONS, "\"18+\""),
    key(
        "recent_partners",
        Kind::OneOf(&["avoid", "avoid-until-last-stage", "allow"]),
        Reload::Live("for who comes from then on; who waits goes on under the rule of when they came"),
        "\"avoid-until-last-stage\"",
    ),
];

/// The row of `section.name`.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    let (_, keys) = SECTIONS.iter().find(|(known, _)| *known == section)?;
    keys.iter().find(|key| key.name == name)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = "a secret: \"…\", { file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";
        match self {
            Kind::Flag => f.write_str("true or false"),
            Kind::Number { .. } => f.write_str("a whole number"),
            Kind::Text => f.write_str("a string"),
            Kind::Texts => f.write_str("a list of strings"),
            Kind::Address => f.write_str("an address with a port"),
            Kind::Addresses => f.write_str("a list of addresses with ports"),
            Kind::Prefixes => f.write_str("a list of prefixes, such as \"10.0.0.0/8\", or addresses"),
            Kind::Path => f.write_str("a path; relative to the folder of this file"),
            Kind::OneOf(_) => f.write_str("a string"),
            Kind::SomeOf(_) => f.write_str("a list of strings"),
            Kind::Secret { .. } => f.write_str(secret),
            Kind::Secrets { .. } => write!(f, "a list; each entry is {secret}"),
            Kind::Shape(words) => f.write_str(words),
        }
    }
}

impl Kind {
    /// Within which bounds, where the type does not say it all.
    pub fn range(&self) -> Option<String> {
        let quoted = |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        match self {
            Kind::Number { most } => Some(format!("0 to {most}")),
            Kind::OneOf(names) | Kind::SomeOf(names) => Some(quoted(names)),
            Kind::Secret { least } | Kind::Secrets { least } => Some(format!("{least} bytes or more")),
            _ => None,
        }
    }
}

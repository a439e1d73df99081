//! The file as written: its sections and keys, types checked, meaning not yet.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::keys::SECTIONS;
use super::problems::{Collector, quoted, suggestion};
use super::secret::secret;
use super::table::{At, Table, string, wrong_type};
use super::{cluster, drain, limits, sandbox, telemetry};

pub(super) type Strings = Option<Vec<At<String>>>;

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) listen: Listen,
    pub(super) tls: Tls,
    pub(super) relay: Relay,
    pub(super) auth: Auth,
    pub(super) access: Access,
    pub(super) limits: limits::Written,
    pub(super) drain: drain::Written,
    pub(super) sandbox: sandbox::Written,
    pub(super) signalling: Signalling,
    pub(super) reports: Backend,
    pub(super) revocations: Backend,
    pub(super) telemetry: telemetry::Written,
    pub(super) cluster: cluster::Written,
    pub(super) calls: Calls,
    pub(super) matching: Matching,
}

#[derive(Debug, Default)]
pub(super) struct Listen {
    pub(super) udp: Strings,
    /// Where an empty `udp` list stands, if there is one.
    pub(super) no_udp: Option<usize>,
    pub(super) tcp: Strings,
    pub(super) tls: Strings,
    pub(super) proxy_protocol_from: Strings,
    pub(super) nat_discovery: Strings,
    pub(super) signalling: Option<At<String>>,
    pub(super) admin: Option<At<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Tls {
    /// Where `[tls]` begins, if it was written.
    pub(super) at: Option<usize>,
    pub(super) certificate: Option<At<String>>,
    pub(super) private_key: Option<At<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Relay {
    pub(super) realm: Option<At<String>>,
    pub(super) addresses: Option<Vec<RelayAddress>>,
    pub(super) ports: Option<At<String>>,
    pub(super) workers: Option<At<u64>>,
    pub(super) nap_micros: Option<At<u64>>,
    pub(super) legacy_channels: Option<At<bool>>,
    pub(super) tcp_allocations: Option<At<bool>>,
}

/// `"127.0.0.1"` or `{ bind = "10.0.0.4", public = "203.0.113.7" }`.
#[derive(Debug)]
pub(super) struct RelayAddress {
    pub(super) bind: At<String>,
    pub(super) public: Option<At<String>>,
}

/// No `Debug`: it holds secrets as they were written.
#[derive(Default)]
pub(super) struct Auth {
    pub(super) users: Option<Vec<(At<String>, At<String>)>>,
    pub(super) users_file: Option<At<String>>,
    pub(super) issuer: Option<At<String>>,
    pub(super) audience: Option<At<String>>,
    pub(super) rest_secrets: Strings,
    pub(super) rest_expiry_on_refresh: Option<At<bool>>,
    pub(super) sha1: Option<At<bool>>,
    pub(super) username_anonymity: Option<At<bool>>,
    pub(super) tokens: Option<Vec<Token>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kid: Option<At<String>>,
    pub(super) alg: Option<At<String>>,
    pub(super) public_key: Option<At<String>>,
    pub(super) secret: Option<At<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) allow_peers: Strings,
    pub(super) deny_peers: Strings,
    pub(super) user_allocations: Option<At<u64>>,
}

#[derive(Debug, Default)]
pub(super) struct Signalling {
    pub(super) origins: Strings,
    pub(super) turn_urls: Strings,
    pub(super) demo_page: Option<At<bool>>,
}

#[derive(Debug, Default)]
pub(super) struct Backend {
    pub(super) url: Option<At<String>>,
    pub(super) secret: Option<At<String>>,
    pub(super) ca: Option<At<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) path: Option<At<String>>,
    pub(super) direct_bands: Strings,
    pub(super) acceptance: Option<At<bool>>,
    pub(super) payload: Option<At<String>>,
    pub(super) quality: Option<At<bool>>,
}

#[derive(Debug, Default)]
pub(super) struct Matching {
    pub(super) topics: Strings,
    pub(super) min_band: Option<At<String>>,
    pub(super) recent_partners: Option<At<String>>,
}

/// Reads as much of `text` as can be read, even after a syntax error, so that all problems are found in one pass.
/// Secrets that stand in other files are read, relative to `base`.
pub(super) fn read(text: &str, base: &Path, found: &mut Collector) -> File {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        found.syntax(error.span().map_or(0, |span| span.start), syntax_message(error.message()));
    }
    let root = document.get_ref();
    refuse_unknown_sections(root, found);
    File {
        listen: listen(&section(root, "listen", "[listen]", found), found),
        tls: tls(&section(root, "tls", "[tls]", found), root, found),
        relay: relay(&section(root, "relay", "[relay]", found), found),
        auth: auth(&section(root, "auth", "[auth]", found), base, found),
        access: access(&section(root, "access", "[access]", found), found),
        limits: limits::read(&section(root, "limits", "[limits]", found), found),
        drain: drain::read(&section(root, "drain", "[drain]", found), found),
        sandbox: sandbox::read(&section(root, "sandbox", "[sandbox]", found), found),
        signalling: signalling(&section(root, "signalling", "[signalling]", found), found),
        reports: backend(&section(root, "reports", "[reports]", found), base, found),
        revocations: backend(&section(root, "revocations", "[revocations]", found), base, found),
        telemetry: telemetry::read(&section(root, "telemetry", "[telemetry]", found), found),
        cluster: cluster::read(&section(root, "cluster", "[cluster]", found), base, found),
        calls: calls(&section(root, "calls", "[calls]", found), found),
        matching: matching(&section(root, "matching", "[matching]", found), found),
    }
}

/// The parser's words on one line. They name what was expected, not what was written.
fn syntax_message(message: &str) -> String {
    let line = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ");
    format!("not valid TOML: {line}")
}

fn refuse_unknown_sections(root: &DeTable<'_>, found: &mut Collector) {
    for (key, _) in root.iter() {
        let written: &str = key.get_ref();
        if SECTIONS.iter().any(|(name, _)| *name == written) {
            continue;
        }
        let hint = home(written).unwrap_or_else(|| suggestion(written, SECTIONS.iter().map(|(name, _)| *name)));
        found.value(key.span().start, format!("unknown section {}{hint}", quoted(written)));
    }
}

/// Where a key that stands in the wrong place would be right.
fn home(key: &str) -> Option<String> {
    let (section, _) = SECTIONS.iter().find(|(_, keys)| keys.iter().any(|known| known.name == key))?;
    Some(format!("; it belongs in [{section}]"))
}

/// The section `key`, called `name` in messages, with its unknown keys already refused.
fn section<'a>(root: &'a DeTable<'a>, key: &str, name: &'a str, found: &mut Collector) -> Table<'a> {
    let keys = SECTIONS.iter().find(|(section, _)| *section == key).map_or(&[][..], |(_, keys)| keys);
    let Some((written, value)) = root.iter().find(|(written, _)| written.get_ref() == key) else {
        return Table::absent(name);
    };
    let Some(entries) = value.get_ref().as_table() else {
        found.value(written.span().start, format!("{key} is a section, written {name} on a line of its own"));
        return Table::absent(name);
    };
    let table = Table::new(name, written.span().start, entries);
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    table.refuse_unknown(&names, home, found);
    table
}

fn listen(table: &Table<'_>, found: &mut Collector) -> Listen {
    let udp = table.get("udp").filter(|list| list.get_ref().as_array().is_some_and(|list| list.is_empty()));
    Listen {
        no_udp: udp.map(|list| list.span().start),
        udp: table.strings("udp", found),
        tcp: table.strings("tcp", found),
        tls: table.strings("tls", found),
        proxy_protocol_from: table.strings("proxy_protocol_from", found),
        nat_discovery: table.strings("nat_discovery", found),
        signalling: table.string("signalling", found),
        admin: table.string("admin", found),
    }
}

fn tls(table: &Table<'_>, root: &DeTable<'_>, found: &mut Collector) -> Tls {
    Tls {
        at: root.iter().any(|(key, _)| key.get_ref() == "tls").then_some(table.at),
        certificate: table.string("certificate", found),
        private_key: table.string("private_key", found),
    }
}

fn relay(table: &Table<'_>, found: &mut Collector) -> Relay {
    let addresses = table.list("addresses", found);
    Relay {
        realm: table.string("realm", found),
        addresses: addresses.map(|items| items.iter().filter_map(|item| relay_address(item, found)).collect()),
        ports: table.string("ports", found),
        workers: table.number("workers", found),
        nap_micros: table.number("nap_micros", found),
        legacy_channels: table.boolean("legacy_channels", found),
        tcp_allocations: table.boolean("tcp_allocations", found),
    }
}

fn relay_address(item: &toml::Spanned<DeValue<'_>>, found: &mut Collector) -> Option<RelayAddress> {
    const LABEL: &str = "each entry of relay.addresses";
    let Some(entries) = item.get_ref().as_table() else {
        if item.get_ref().is_str() {
            return string(LABEL, item, found).map(|bind| RelayAddress { bind, public: None });
        }
        wrong_type(LABEL, item, "an address or { bind = \"…\", public = \"…\" }", found);
        return None;
    };
    let table = Table::new("an entry of relay.addresses", item.span().start, entries);
    table.refuse_unknown(&["bind", "public"], |_| None, found);
    let (bind, public) = (table.string("bind", found), table.string("public", found));
    for key in ["bind", "public"] {
        if table.get(key).is_none() {
            found.absence(table.at, format!("an entry of relay.addresses lacks `{key}`"));
        }
    }
    Some(RelayAddress { bind: bind?, public: Some(public?) })
}

fn auth(table: &Table<'_>, base: &Path, found: &mut Collector) -> Auth {
    let (tokens, secrets) = (table.list("tokens", found), table.list("rest_secrets", found));
    let each = "each entry of auth.rest_secrets";
    Auth {
        users: table.table("users", "auth.users", found).map(|users| user_list(&users, base, found)),
        users_file: table.string("users_file", found),
        issuer: table.string("issuer", found),
        audience: table.string("audience", found),
        rest_secrets: secrets.map(|items| items.iter().filter_map(|item| secret(each, item, base, found)).collect()),
        rest_expiry_on_refresh: table.boolean("rest_expiry_on_refresh", found),
        sha1: table.boolean("sha1", found),
        username_anonymity: table.boolean("username_anonymity", found),
        tokens: tokens.map(|items| items.iter().filter_map(|item| token(item, base, found)).collect()),
    }
}

fn user_list(users: &Table<'_>, base: &Path, found: &mut Collector) -> Vec<(At<String>, At<String>)> {
    let mut list = Vec::new();
    for (name, password) in users.entries() {
        let name = At { at: name.span().start, value: name.get_ref().to_string() };
        list.extend(secret("each password in auth.users", password, base, found).map(|password| (name, password)));
    }
    list
}

fn token(item: &toml::Spanned<DeValue<'_>>, base: &Path, found: &mut Collector) -> Option<Token> {
    let Some(entries) = item.get_ref().as_table() else {
        wrong_type("each entry of auth.tokens", item, "a table { kid = \"…\", alg = \"…\", … }", found);
        return None;
    };
    let table = Table::new("an entry of auth.tokens", item.span().start, entries);
    table.refuse_unknown(&["kid", "alg", "public_key", "secret"], |_| None, found);
    Some(Token {
        at: table.at,
        kid: table.string("kid", found),
        alg: table.string("alg", found),
        public_key: table.string("public_key", found),
        secret: table.get("secret").and_then(|item| secret("secret in auth.tokens", item, base, found)),
    })
}

fn access(table: &Table<'_>, found: &mut Collector) -> Access {
    Access {
        allow_peers: table.strings("allow_peers", found),
        deny_peers: table.strings("deny_peers", found),
        user_allocations: table.number("user_allocations", found),
    }
}

fn signalling(table: &Table<'_>, found: &mut Collector) -> Signalling {
    Signalling {
        origins: table.strings("origins", found),
        turn_urls: table.strings("turn_urls", found),
        demo_page: table.boolean("demo_page", found),
    }
}

fn backend(table: &Table<'_>, base: &Path, found: &mut Collector) -> Backend {
    let label = format!("{}.secret", table.name.trim_matches(['[', ']']));
    Backend {
        url: table.string("url", found),
        secret: table.get("secret").and_then(|item| secret(&label, item, base, found)),
        ca: table.string("ca", found),
    }
}

fn calls(table: &Table<'_>, found: &mut Collector) -> Calls {
    Calls {
        path: table.string("path", found),
        direct_bands: table.strings("direct_bands", found),
        acceptance: table.boolean("acceptance", found),
        payload: table.string("payload", found),
        quality: table.boolean("quality", found),
    }
}

fn matching(table: &Table<'_>, found: &mut Collector) -> Matching {
    Matching {
        topics: table.strings("topics", found),
        min_band: table.string("min_band", found),
        recent_partners: table.string("recent_partners", found),
    }
}

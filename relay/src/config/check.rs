//! File → settings: what the values mean together.

use std::path::{Path, PathBuf};

use super::backend;
use super::file::{self, File};
use super::keys::{PASSWORD_BYTES, REST_SECRET_BYTES};
use super::listeners::listen;
use super::problems::{Collector, quoted};
use super::secret::Secret;
use super::settings::{
    Access, Auth, CallPath, CallPayload, Calls, Listen, Matching, RecentPartners, Relay, RelayAddress, Settings,
    Signalling, Tls, User,
};
use super::table::At;
use super::{cluster, drain, limits, sandbox, telemetry, tokens, users_file, values};

/// A USERNAME has fewer than 509 bytes (RFC 8489 §14.3).
const LONGEST_USER_NAME: usize = 508;
/// Each address has a table of 65 536 routes.
const MOST_RELAY_ADDRESSES: usize = 16;
/// Topics travel as one 64-bit set.
const MOST_TOPICS: usize = 64;
const LONGEST_TOPIC: usize = 64;

/// What `file` means. Where a value is wrong a default stands in for it, so that the rest can still be checked.
pub(super) fn settings(file: &File, base_dir: &Path, found: &mut Collector) -> Settings {
    let listen = listen(&file.listen, found);
    let auth = auth(&file.auth, base_dir, found);
    let settings = Settings {
        tls: tls(file, base_dir, found),
        relay: relay(&file.relay, found),
        access: access(&file.access, found),
        limits: limits::limits(&file.limits, found),
        drain: drain::drain(&file.drain, found),
        sandbox: sandbox::sandbox(&file.sandbox, found),
        signalling: signalling(&file.signalling, &listen, &auth, found),
        reports: backend::backend("reports", &file.reports, base_dir, found),
        revocations: backend::backend("revocations", &file.revocations, base_dir, found),
        telemetry: telemetry::telemetry(&file.telemetry, base_dir, found),
        cluster: cluster::cluster(&file.cluster, base_dir, found),
        calls: calls(&file.calls, found),
        matching: matching(&file.matching, found),
        listen,
        auth,
        files: found.files(),
    };
    relayed_addresses_are_known(file, &settings, found);
    somebody_may_call(file, &settings, found);
    hidden_names_can_be_recognised(file, &settings, found);
    settings
}

fn tls(file: &File, base_dir: &Path, found: &mut Collector) -> Option<Tls> {
    let path = |written: &Option<At<String>>| written.as_ref().map(|it| base_dir.join(PathBuf::from(&it.value)));
    let wanted = file.listen.tls.as_ref().and_then(|items| items.first());
    let at = file.tls.at.or(wanted.map(|item| item.at))?;
    let pair = (path(&file.tls.certificate), path(&file.tls.private_key));
    if let (Some(certificate), Some(private_key)) = pair {
        return Some(Tls { certificate, private_key });
    }
    let missing = match pair {
        (None, None) => "`certificate` and `private_key`",
        (None, _) => "`certificate`",
        _ => "`private_key`",
    };
    if wanted.is_some() {
        found.absence(at, format!("listen.tls needs {missing} in [tls]"));
    } else if file.tls.certificate.is_some() || file.tls.private_key.is_some() {
        found.absence(at, format!("[tls] lacks {missing}"));
    }
    None
}

fn relay(written: &file::Relay, found: &mut Collector) -> Relay {
    let default = Relay::default();
    Relay {
        realm: written.realm.as_ref().and_then(|it| values::realm(it, found)).unwrap_or(default.realm),
        addresses: relay_addresses(written.addresses.as_deref().unwrap_or_default(), found),
        ports: written.ports.as_ref().and_then(|it| values::ports(it, found)).unwrap_or(default.ports),
        workers: written.workers.as_ref().map_or(default.workers, |it| usize::try_from(it.value).unwrap_or_default()),
        nap_micros: written.nap_micros.as_ref().and_then(|it| u32::try_from(it.value).ok()),
        legacy_channels: written.legacy_channels.as_ref().map_or(default.legacy_channels, |it| it.value),
        tcp_allocations: written.tcp_allocations.as_ref().map_or(default.tcp_allocations, |it| it.value),
    }
}

fn relay_addresses(written: &[file::RelayAddress], found: &mut Collector) -> Vec<RelayAddress> {
    if let Some(extra) = written.get(MOST_RELAY_ADDRESSES) {
        found.value(extra.bind.at, format!("relay.addresses has more than {MOST_RELAY_ADDRESSES} entries"));
    }
    let mut addresses: Vec<RelayAddress> = Vec::new();
    for item in written.iter().take(MOST_RELAY_ADDRESSES) {
        let Some(address) = relay_address(item, found) else { continue };
        if addresses.iter().any(|known| known.public == address.public || known.bind == address.bind) {
            found.value(item.bind.at, format!("relay.addresses: {} stands here twice", address.public));
        }
        addresses.push(address);
    }
    addresses
}

fn relay_address(written: &file::RelayAddress, found: &mut Collector) -> Option<RelayAddress> {
    const LABEL: &str = "relay.addresses";
    let bind = values::ip(LABEL, &written.bind, found);
    let public_at = written.public.as_ref().unwrap_or(&written.bind);
    let public = match &written.public {
        Some(public) => values::ip(LABEL, public, found),
        None => bind,
    };
    let (bind, public) = (bind?, public?);
    if bind.is_multicast() || public.is_multicast() {
        found.value(written.bind.at, "relay.addresses: a multicast address cannot relay");
        return None;
    }
    if public.is_unspecified() {
        found.value(
            public_at.at,
            format!("relay.addresses: clients cannot send to {public}; name the address they reach this machine by"),
        );
        return None;
    }
    if bind.is_ipv4() != public.is_ipv4() {
        found.value(
            public_at.at,
            format!("relay.addresses: bind {bind} and public {public} are of different address families"),
        );
        return None;
    }
    Some(RelayAddress { bind, public })
}

fn relayed_addresses_are_known(file: &File, settings: &Settings, found: &mut Collector) {
    if file.relay.addresses.as_ref().is_some_and(|addresses| !addresses.is_empty()) {
        return;
    }
    let listen = &settings.listen;
    let lists = [(&listen.udp, &file.listen.udp), (&listen.tcp, &file.listen.tcp), (&listen.tls, &file.listen.tls)];
    let wildcard = lists.into_iter().find_map(|(addresses, written)| {
        let index = addresses.iter().position(|address| address.ip().is_unspecified())?;
        Some((addresses[index].ip(), written.as_ref().and_then(|items| items.get(index)).map_or(0, |item| item.at)))
    });
    let Some((ip, at)) = wildcard else { return };
    found.absence(
        at,
        format!("listening on {ip} needs relay.addresses: the addresses by which clients reach this machine"),
    );
}

fn auth(written: &file::Auth, base_dir: &Path, found: &mut Collector) -> Auth {
    let mut users = written.users.clone().unwrap_or_default();
    if let Some(file) = &written.users_file {
        users.extend(users_file::read(file, base_dir, &users, found));
    }
    let secrets = written.rest_secrets.as_deref().unwrap_or_default();
    let default = Auth::default();
    Auth {
        users: users.iter().filter_map(|(name, password)| user(name, password, found)).collect(),
        issuer: not_empty("auth.issuer", written.issuer.as_ref(), found),
        audience: not_empty("auth.audience", written.audience.as_ref(), found),
        rest_secrets: secrets.iter().filter_map(|secret| rest_secret(secret, found)).collect(),
        rest_expiry_on_refresh: written
            .rest_expiry_on_refresh
            .as_ref()
            .map_or(default.rest_expiry_on_refresh, |it| it.value),
        sha1: written.sha1.as_ref().map_or(default.sha1, |it| it.value),
        username_anonymity: written.username_anonymity.as_ref().is_some_and(|it| it.value),
        tokens: tokens::keys(written.tokens.as_deref().unwrap_or_default(), found),
    }
}

fn user(name: &At<String>, password: &At<String>, found: &mut Collector) -> Option<User> {
    if let Some((of_password, fault)) = user_fault(&name.value, &password.value) {
        found.value(if of_password { password.at } else { name.at }, format!("auth.users: {fault}"));
        return None;
    }
    Some(User { name: name.value.clone(), password: Secret::new(password.value.as_str()) })
}

/// Why this cannot be a lasting credential, if it cannot; and whether that is for the password.
pub fn user_fault(name: &str, password: &str) -> Option<(bool, String)> {
    if name.is_empty() || name.len() > LONGEST_USER_NAME {
        return Some((false, format!("a user name has 1 to {LONGEST_USER_NAME} bytes, this one {}", name.len())));
    }
    if looks_time_limited(name) {
        let fault = "names that begin with digits and a colon or with \"1.\" belong to time-limited credentials";
        return Some((false, fault.to_owned()));
    }
    if !printable_ascii(name) || !printable_ascii(password) {
        let fault = "names and passwords are printable ASCII, which every client prepares alike (RFC 8265)";
        return Some((false, fault.to_owned()));
    }
    let length = password.len();
    let short = length < PASSWORD_BYTES;
    short.then(|| (true, format!("a password needs at least {PASSWORD_BYTES} bytes, this one has {length}")))
}

fn printable_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

/// Whether a name has the form of a REST (`1767225600:…`) or call-bound (`1.…`) one.
fn looks_time_limited(name: &str) -> bool {
    let digits = name.split(':').next().unwrap_or_default();
    let rest = name.contains(':') && digits.bytes().all(|byte| byte.is_ascii_digit());
    rest || name.starts_with("1.")
}

fn rest_secret(written: &At<String>, found: &mut Collector) -> Option<Secret> {
    let length = written.value.len();
    if length < REST_SECRET_BYTES {
        found.value(
            written.at,
            format!("auth.rest_secrets: a secret needs at least {REST_SECRET_BYTES} bytes, this one has {length}"),
        );
        return None;
    }
    Some(Secret::new(written.value.as_str()))
}

fn not_empty(label: &str, written: Option<&At<String>>, found: &mut Collector) -> Option<String> {
    let written = written?;
    if written.value.is_empty() {
        found.value(written.at, format!("{label} is empty"));
    }
    Some(written.value.clone())
}

fn access(written: &file::Access, found: &mut Collector) -> Access {
    let default = Access::default();
    let allocations = written.user_allocations.as_ref();
    if let Some(At { at, value: 0 }) = allocations {
        found.value(*at, "access.user_allocations is 0: nobody could allocate anything");
    }
    Access {
        allow_peers: values::prefixes("access.allow_peers", written.allow_peers.as_deref(), found),
        deny_peers: values::prefixes("access.deny_peers", written.deny_peers.as_deref(), found),
        user_allocations: allocations.and_then(|it| u32::try_from(it.value).ok()).unwrap_or(default.user_allocations),
    }
}

fn signalling(written: &file::Signalling, listen: &Listen, auth: &Auth, found: &mut Collector) -> Signalling {
    let origins = written.origins.as_deref().unwrap_or_default();
    let urls = written.turn_urls.as_deref().unwrap_or_default();
    Signalling {
        origins: origins.iter().filter_map(|it| values::origin(it, found)).collect(),
        turn_urls: urls.iter().filter_map(|it| values::turn_url(it, found)).collect(),
        demo_page: demo_page(written.demo_page.as_ref(), listen, auth, found),
    }
}

/// Not written: on where only this machine can reach it and no app's backend issues tokens. A daemon behind a proxy also listens
/// on loopback, and must not hand out tokens to the world.
fn demo_page(written: Option<&At<bool>>, listen: &Listen, auth: &Auth, found: &mut Collector) -> bool {
    let on_loopback = listen.signalling.is_some_and(|address| address.ip().is_loopback());
    let Some(written) = written else { return on_loopback && auth.tokens.is_empty() };
    if written.value && listen.signalling.is_some() && !on_loopback {
        found.value(
            written.at,
            "signalling.demo_page mints tokens for anyone and is refused unless listen.signalling is on loopback",
        );
    }
    written.value && on_loopback
}

/// Signalling admits nobody without tokens, and tokens need an issuer, an audience and a key.
fn somebody_may_call(file: &File, settings: &Settings, found: &mut Collector) {
    let Some(listener) = file.listen.signalling.as_ref().filter(|_| settings.listen.signalling.is_some()) else {
        return;
    };
    if settings.signalling.demo_page || file.signalling.demo_page.as_ref().is_some_and(|it| it.value) {
        return;
    }
    let missing: Vec<&str> = [
        (file.auth.issuer.is_none(), "issuer"),
        (file.auth.audience.is_none(), "audience"),
        (file.auth.tokens.as_ref().is_none_or(Vec::is_empty), "tokens"),
    ]
    .iter()
    .filter_map(|(absent, name)| absent.then_some(*name))
    .collect();
    if !missing.is_empty() {
        found.absence(
            listener.at,
            format!("listen.signalling admits nobody without tokens: [auth] lacks {}", missing.join(", ")),
        );
    }
}

/// USERHASH hides the name (RFC 8489 §9.2), and time-limited and call-bound names carry what is needed to check them.
fn hidden_names_can_be_recognised(file: &File, settings: &Settings, found: &mut Collector) {
    let Some(At { at, value: true }) = file.auth.username_anonymity else { return };
    let in_the_way = [
        (!settings.auth.rest_secrets.is_empty(), "auth.rest_secrets"),
        (settings.listen.signalling.is_some(), "listen.signalling"),
    ];
    for (_, what) in in_the_way.iter().filter(|(there, _)| *there) {
        let message = format!(
            "auth.username_anonymity makes clients hide their name, by which only auth.users can be recognised: it cannot go with {what}"
        );
        found.value(at, message);
    }
}

fn calls(written: &file::Calls, found: &mut Collector) -> Calls {
    let default = Calls::default();
    let paths = [("relay", CallPath::Relay), ("direct-first", CallPath::DirectFirst)];
    let payloads = [("webrtc", CallPayload::WebRtc), ("any", CallPayload::Any)];
    let bands = written.direct_bands.as_ref();
    Calls {
        path: written
            .path
            .as_ref()
            .and_then(|it| values::choice("calls.path", it, &paths, found))
            .unwrap_or(default.path),
        direct_bands: bands.map_or(default.direct_bands, |items| {
            items.iter().filter_map(|item| values::band("calls.direct_bands", item, found)).collect()
        }),
        acceptance: written.acceptance.as_ref().is_some_and(|it| it.value),
        payload: written
            .payload
            .as_ref()
            .and_then(|it| values::choice("calls.payload", it, &payloads, found))
            .unwrap_or(default.payload),
        quality: written.quality.as_ref().map_or(default.quality, |it| it.value),
    }
}

fn matching(written: &file::Matching, found: &mut Collector) -> Matching {
    let default = Matching::default();
    let band = written.min_band.as_ref();
    let kinds = [
        ("avoid", RecentPartners::Avoid),
        ("avoid-until-last-stage", RecentPartners::AvoidUntilLastStage),
        ("allow", RecentPartners::Allow),
    ];
    let recent = written.recent_partners.as_ref();
    Matching {
        topics: written.topics.as_ref().map_or(default.topics, |items| topics(items, found)),
        min_band: band.and_then(|it| values::band("matching.min_band", it, found)).unwrap_or(default.min_band),
        recent_partners: recent
            .and_then(|it| values::choice("matching.recent_partners", it, &kinds, found))
            .unwrap_or(default.recent_partners),
    }
}

fn topics(written: &[At<String>], found: &mut Collector) -> Vec<String> {
    if let Some(extra) = written.get(MOST_TOPICS) {
        found.value(extra.at, format!("matching.topics has {} topics; there is room for {MOST_TOPICS}", written.len()));
    }
    let mut topics: Vec<String> = Vec::new();
    for At { at, value } in written.iter().take(MOST_TOPICS) {
        if value.is_empty() || value.len() > LONGEST_TOPIC {
            found.value(
                *at,
                format!("matching.topics: a topic has 1 to {LONGEST_TOPIC} bytes, this one {}", value.len()),
            );
        }
        if topics.contains(value) {
            found.value(
                *at,
                format!("matching.topics: {} stands here twice; a topic's place is its number", quoted(value)),
            );
        }
        topics.push(value.clone());
    }
    topics
}

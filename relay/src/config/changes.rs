//! Which keys differ between two settings, by name alone: what a log may say of them.

use super::cluster::Cluster;
use super::keys::{Key, SECTIONS};
use super::settings::{Backend, Settings};

/// The keys whose values differ, as section and row, in the order of the file.
pub fn changes(a: &Settings, b: &Settings) -> Vec<(&'static str, &'static Key)> {
    let keys = SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, key)));
    keys.filter(|(section, key)| same(section, key.name, a, b) == Some(false)).collect()
}

/// `None`: no such key.
fn same(section: &str, name: &str, a: &Settings, b: &Settings) -> Option<bool> {
    macro_rules! same {
        ($($field:ident).+) => { Some(a.$($field).+ == b.$($field).+) };
    }
    match (section, name) {
        ("listen", "udp") => same!(listen.udp),
        ("listen", "tcp") => same!(listen.tcp),
        ("listen", "tls") => same!(listen.tls),
        ("listen", "proxy_protocol_from") => same!(listen.proxy_protocol_from),
        ("listen", "nat_discovery") => same!(listen.nat_discovery),
        ("listen", "signalling") => same!(listen.signalling),
        ("listen", "admin") => same!(listen.admin),
        ("tls", "certificate") => {
            Some(a.tls.as_ref().map(|tls| &tls.certificate) == b.tls.as_ref().map(|tls| &tls.certificate))
        }
        ("tls", "private_key") => {
            Some(a.tls.as_ref().map(|tls| &tls.private_key) == b.tls.as_ref().map(|tls| &tls.private_key))
        }
        ("relay", "realm") => same!(relay.realm),
        ("relay", "addresses") => same!(relay.addresses),
        ("relay", "ports") => same!(relay.ports),
        ("relay", "workers") => same!(relay.workers),
        ("relay", "nap_micros") => same!(relay.nap_micros),
        ("relay", "legacy_channels") => same!(relay.legacy_channels),
        ("relay", "tcp_allocations") => same!(relay.tcp_allocations),
        ("sandbox", "mode") => same!(sandbox.mode),
        ("sandbox", "user") => same!(sandbox.user),
        ("auth", "users") => same!(auth.users),
        // Whoever stands in it is one of the users.
        ("auth", "users_file") => Some(true),
        ("auth", "issuer") => same!(auth.issuer),
        ("auth", "audience") => same!(auth.audience),
        ("auth", "rest_secrets") => same!(auth.rest_secrets),
        ("auth", "rest_expiry_on_refresh") => same!(auth.rest_expiry_on_refresh),
        ("auth", "sha1") => same!(auth.sha1),
        ("auth", "username_anonymity") => same!(auth.username_anonymity),
        ("auth", "tokens") => same!(auth.tokens),
        ("access", "allow_peers") => same!(access.allow_peers),
        ("access", "deny_peers") => same!(access.deny_peers),
        ("access", "user_allocations") => same!(access.user_allocations),
        ("limits", "exempt") => same!(limits.exempt),
        ("limits", "unauthenticated_per_second") => same!(limits.unauthenticated_per_second),
        ("limits", "unauthenticated_burst") => same!(limits.unauthenticated_burst),
        ("limits", "call_packets_per_second") => same!(limits.call.packets_per_second),
        ("limits", "call_bits_per_second") => same!(limits.call.bits_per_second),
        ("limits", "user_packets_per_second") => same!(limits.user.packets_per_second),
        ("limits", "user_bits_per_second") => same!(limits.user.bits_per_second),
        ("limits", "allocation_permissions") => same!(limits.allocation_permissions),
        ("limits", "allocation_channels") => same!(limits.allocation_channels),
        ("limits", "total_allocations") => same!(limits.total_allocations),
        ("limits", "total_packets_per_second") => same!(limits.total.packets_per_second),
        ("limits", "total_bits_per_second") => same!(limits.total.bits_per_second),
        ("drain", "deadline_secs") => same!(drain.deadline_secs),
        ("drain", "alternate_servers") => same!(drain.alternate_servers),
        ("drain", "alternate_domain") => same!(drain.alternate_domain),
        ("signalling", "origins") => same!(signalling.origins),
        ("signalling", "turn_urls") => same!(signalling.turn_urls),
        ("signalling", "demo_page") => same!(signalling.demo_page),
        ("reports", name) => backend(name, a.reports.as_ref(), b.reports.as_ref()),
        ("revocations", name) => backend(name, a.revocations.as_ref(), b.revocations.as_ref()),
        ("telemetry", "interval_secs") => same!(telemetry.interval_secs),
        ("telemetry", name) => {
            let name = if name == "otlp_url" { "url" } else { name };
            backend(name, a.telemetry.otlp.as_ref(), b.telemetry.otlp.as_ref())
        }
        ("cluster", name) => cluster(name, a.cluster.as_ref(), b.cluster.as_ref()),
        ("calls", "path") => same!(calls.path),
        ("calls", "direct_bands") => same!(calls.direct_bands),
        ("calls", "acceptance") => same!(calls.acceptance),
        ("calls", "payload") => same!(calls.payload),
        ("calls", "quality") => same!(calls.quality),
        ("matching", "topics") => same!(matching.topics),
        ("matching", "min_band") => same!(matching.min_band),
        ("matching", "recent_partners") => same!(matching.recent_partners),
        _ => None,
    }
}

fn backend(name: &str, a: Option<&Backend>, b: Option<&Backend>) -> Option<bool> {
    let url = |it: &Backend| (it.https, it.host.clone(), it.port, it.path.clone());
    match name {
        "url" => Some(a.map(url) == b.map(url)),
        "secret" => Some(a.map(|it| &it.secret) == b.map(|it| &it.secret)),
        "ca" => Some(a.and_then(|it| it.ca.as_ref()) == b.and_then(|it| it.ca.as_ref())),
        _ => None,
    }
}

fn cluster(name: &str, a: Option<&Cluster>, b: Option<&Cluster>) -> Option<bool> {
    macro_rules! same {
        ($read:expr) => {
            Some(a.map($read) == b.map($read))
        };
    }
    match name {
        "nats" => same!(|it| &it.brokers),
        "node" => Some(a.and_then(|it| it.node.as_ref()) == b.and_then(|it| it.node.as_ref())),
        "keys" => same!(|it| &it.keys),
        "user" => Some(user(a).map(|(name, _)| name) == user(b).map(|(name, _)| name)),
        "password" => Some(user(a).map(|(_, password)| password) == user(b).map(|(_, password)| password)),
        "token" => Some(a.and_then(|it| it.token.as_ref()) == b.and_then(|it| it.token.as_ref())),
        "ca" => Some(a.and_then(|it| it.ca.as_ref()) == b.and_then(|it| it.ca.as_ref())),
        _ => None,
    }
}

fn user(cluster: Option<&Cluster>) -> Option<&(String, super::Secret)> {
    cluster.and_then(|it| it.user.as_ref())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    #[test]
    fn every_key_is_compared() {
        let settings = Settings::default();
        for (section, keys) in SECTIONS {
            for key in *keys {
                assert_eq!(same(section, key.name, &settings, &settings), Some(true), "{section}.{}", key.name);
            }
        }
    }

    #[test]
    fn what_differs_is_named_and_nothing_else() {
        let read = |text: &str| parse(text, Path::new("")).unwrap();
        let names = |a: &str, b: &str| -> Vec<String> {
            changes(&read(a), &read(b)).iter().map(|(section, key)| format!("{section}.{}", key.name)).collect()
        };
        let secret = |letter: &str| format!("[reports]\nurl = \"https://a/b\"\nsecret = \"{}\"\n", letter.repeat(32));
        assert_eq!(names(&secret("a"), &secret("b")), ["reports.secret"]);
        assert_eq!(names("", &secret("b")), ["reports.url", "reports.secret"]);
        assert_eq!(
            names("", "limits.call_bits_per_second = 9\nrelay.ports = \"2000-3000\""),
            ["relay.ports", "limits.call_bits_per_second"]
        );
        assert!(names("", "relay.ports = \"49152-65535\"").is_empty(), "written out or not");
    }
}

//! From the operator's settings to those of each part. The core never sees the configuration.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};

use super::addresses::{Addresses, own_addresses, own_listeners, turn_urls};
use super::error::StartError;
use super::reload::{Past, UdpDoor};
use super::webhook_trust;
use crate::auth::{self, Authenticator, CallKeys};
#[cfg(feature = "nats")]
use crate::bus;
use crate::bus::Secrets;
use crate::config::{AgeBand, CallPath, CallPayload, RecentPartners, RelayAddress, Settings, TokenKey, VerifyingKey};
use crate::matchmaking::{self, Band, Recent};
use crate::signalling::token::{self, Minter};
use crate::signalling::{self, desk, webhook};
use crate::stream::{self, CertificateError, Certificates};
use crate::{access, dataplane, prove, turn};

/// Who issues the demo page's tokens, and for whom, where the configuration does not say.
const DEMO: &str = "demo";
/// TCP and TLS connections at once of one /24 or /56: an office behind one address.
const NETWORK_CONNECTIONS: u32 = 1000;
/// Told to signalling clients; they ping as often.
pub(super) const HEARTBEAT_MS: u64 = 20_000;

/// Randomness for everything that may not read any itself. All from the system, each for one purpose.
pub(super) struct Seeds {
    pub(super) workers: [u8; 32],
    pub(super) tables: [u8; 32],
    pub(super) nonces: [u8; 32],
    pub(super) call_keys: [u8; 32],
    pub(super) desk: [u8; 32],
    /// Signs the demo page's tokens.
    pub(super) demo: [u8; 32],
}

impl Seeds {
    pub(super) fn from_system() -> Result<Seeds, StartError> {
        let fresh = || {
            let mut seed = [0; 32];
            OsRng.try_fill_bytes(&mut seed).map_err(|_| StartError::Random)?;
            Ok(seed)
        };
        Ok(Seeds {
            workers: fresh()?,
            tables: fresh()?,
            nonces: fresh()?,
            call_keys: fresh()?,
            desk: fresh()?,
            demo: fresh()?,
        })
    }
}

pub(super) fn dataplane(settings: &Settings) -> dataplane::Settings {
    dataplane::Settings {
        listeners: settings.listen.udp_sockets(),
        workers: settings.relay.workers,
        nap_micros: settings.relay.nap_micros,
        ..dataplane::Settings::default()
    }
}

/// `connections`: streams at once.
pub(super) fn stream(settings: &Settings, connections: usize) -> stream::Settings {
    stream::Settings {
        tcp: settings.listen.tcp.clone(),
        tls: settings.listen.tls.clone(),
        proxies: settings.listen.proxy_protocol_from.clone(),
        exempt: settings.limits.exempt.clone(),
        connections,
        connections_of_one_network: NETWORK_CONNECTIONS,
        pages: settings.listen.signalling.is_some(),
        patience: stream::Patience::default(),
    }
}

/// Without them nobody speaks TLS.
pub(super) fn certificates(settings: &Settings) -> Result<Option<Arc<Certificates>>, CertificateError> {
    certificate_files(settings).map(Certificates::load).transpose()
}

pub(super) fn certificate_files(settings: &Settings) -> Option<stream::tls::Files> {
    let tls = settings.tls.as_ref()?;
    Some(stream::tls::Files { certificate: tls.certificate.clone(), private_key: tls.private_key.clone() })
}

fn auth(settings: &Settings, former_realms: &[String]) -> auth::Settings {
    let text = |secret: &crate::config::Secret| secret.expose().to_owned();
    auth::Settings {
        realm: settings.relay.realm.clone(),
        former_realms: former_realms.to_vec(),
        users: settings.auth.users.iter().map(|user| (user.name.clone(), text(&user.password))).collect(),
        rest_secrets: settings.auth.rest_secrets.iter().map(text).collect(),
        rest_expiry_on_refresh: settings.auth.rest_expiry_on_refresh,
        sha1: settings.auth.sha1,
        username_anonymity: settings.auth.username_anonymity,
    }
}

/// `listening` names every socket of this daemon, port 0 resolved.
fn access(settings: &Settings, listening: &[SocketAddr], past: &Past) -> Result<access::Settings, StartError> {
    let relay: Vec<RelayAddress> = settings.relay_addresses().into_iter().chain(past.relayed.iter().copied()).collect();
    let listening: Vec<SocketAddr> = listening.iter().chain(&past.listeners).copied().collect();
    Ok(access::Settings {
        allow_peers: settings.access.allow_peers.clone(),
        deny_peers: settings.access.deny_peers.clone(),
        own_listeners: own_listeners(&listening, &relay),
        own_addresses: own_addresses(&relay).map_err(StartError::OwnAddresses)?,
    })
}

/// `udp`: the UDP listeners, as they are numbered.
pub(super) fn turn(settings: &Settings, udp: &[UdpDoor]) -> turn::Settings {
    let address = |it: &crate::config::RelayAddress| turn::RelayedAddress { bind: it.bind, public: it.public };
    let rates = |it: crate::config::Rates| turn::Limits {
        packets_per_second: it.packets_per_second,
        bits_per_second: it.bits_per_second,
    };
    let limits = &settings.limits;
    turn::Settings {
        addresses: settings.relay_addresses().iter().map(address).collect(),
        ports: settings.relay.ports.clone(),
        legacy_channels: settings.relay.legacy_channels,
        tcp_allocations: settings.relay.tcp_allocations,
        user_allocations: settings.access.user_allocations,
        max_allocations: limits.total_allocations,
        max_permissions: limits.allocation_permissions,
        max_channels: limits.allocation_channels,
        unauthenticated: access::ReplyLimits {
            per_second: limits.unauthenticated_per_second,
            burst: limits.unauthenticated_burst,
            exempt: limits.exempt.clone(),
        },
        call_limits: rates(limits.call),
        call_payload: match settings.calls.payload {
            CallPayload::WebRtc => turn::Payload::WebRtc,
            CallPayload::Any => turn::Payload::Any,
        },
        user_limits: rates(limits.user),
        total_limits: rates(limits.total),
        quality: settings.calls.quality,
        nat_discovery: nat_discovery(settings, udp),
        alternate_servers: settings.drain.alternate_servers.clone(),
        alternate_domain: settings.drain.alternate_domain.clone(),
        ..turn::Settings::default()
    }
}

/// Which listeners these are, and what clients know them by.
fn nat_discovery(settings: &Settings, udp: &[UdpDoor]) -> Option<turn::NatDiscovery> {
    let relay = settings.relay_addresses();
    let site = |local: SocketAddr| {
        let listener = udp.iter().find(|door| door.written == local)?.number;
        let public =
            relay.iter().find(|address| address.bind == local.ip()).map_or(local.ip(), |address| address.public);
        let public = SocketAddr::new(public, local.port());
        Some(turn::Site { listener, local, public })
    };
    let [[a, b], [c, d]] = settings.listen.discovery_sites()?.map(|ports| ports.map(site));
    Some(turn::NatDiscovery { sites: [[a?, b?], [c?, d?]] })
}

/// Who decides who is asking and what they may reach.
pub(super) fn gatekeepers(
    settings: &Settings,
    listening: &[SocketAddr],
    past: &Past,
    call_keys: &Arc<CallKeys>,
    nonces: [u8; 32],
) -> Result<(Authenticator, access::Policy), StartError> {
    let authenticator = Authenticator::new(auth(settings, &past.realms), Arc::clone(call_keys), nonces);
    Ok((authenticator, access::Policy::new(&access(settings, listening, past)?)))
}

/// What all workers share, made of the settings and the seeds.
pub(super) fn shared(
    settings: &Settings,
    listening: &Addresses,
    udp: &[UdpDoor],
    call_keys: &Arc<CallKeys>,
    seeds: &Seeds,
) -> Result<Arc<turn::Shared>, StartError> {
    let (authenticator, policy) = gatekeepers(settings, &listening.all(), &Past::default(), call_keys, seeds.nonces)?;
    Ok(turn::Shared::new(turn(settings, udp), authenticator, policy, seeds.tables))
}

/// Closed if it is not to listen. `sessions`: connections at once; `seed` signs the demo page's tokens; `secrets` are the cluster's.
pub(super) fn signalling(
    settings: &Settings,
    addresses: &Addresses,
    sessions: usize,
    seed: &[u8; 32],
    secrets: Option<&Secrets>,
) -> Result<signalling::Settings, StartError> {
    let mut token = tokens(settings);
    let open = settings.listen.signalling.is_some();
    let demo = (open && settings.signalling.demo_page).then(|| demo(&mut token, seed));
    let desk = desk::Settings {
        open,
        token,
        turn_urls: match settings.signalling.turn_urls.as_slice() {
            [] => turn_urls(&written(settings, addresses), &settings.relay_addresses()),
            configured => configured.to_vec(),
        },
        direct_first: settings.calls.path == CallPath::DirectFirst,
        direct_bands: settings.calls.direct_bands.iter().copied().map(band).collect(),
        topics: settings.matching.topics.clone(),
        matching: matchmaking::Policy {
            recent: recent(settings.matching.recent_partners),
            ..matchmaking::Policy::default()
        },
        max_sessions: sessions,
        heartbeat_ms: HEARTBEAT_MS,
        acceptance: settings.calls.acceptance,
        quality: settings.calls.quality,
        reports: settings.reports.is_some(),
        await_revocations: open && settings.revocations.is_some(),
        tag_secret: secrets
            .map(|it| it.tags)
            .or_else(|| settings.reports.as_ref().map(|reports| tag_secret(&reports.secret))),
        joined: None,
    };
    let reports = settings.reports.as_ref().map(|it| backend("reports", it)).transpose()?;
    let revocations = settings.revocations.as_ref().filter(|_| open);
    let revocations = revocations.map(|it| backend("revocations", it)).transpose()?;
    let (origins, exempt) = (settings.signalling.origins.clone(), settings.limits.exempt.clone());
    let gauges = signalling::Gauges::open();
    Ok(signalling::Settings { desk, origins, exempt, demo, reports, revocations, gauges, fellows: None })
}

fn backend(section: &'static str, written: &crate::config::Backend) -> Result<webhook::Settings, StartError> {
    let crate::config::Backend { https, host, port, path, secret, ca } = written;
    let tls = https.then(|| webhook_trust::client(ca.as_deref())).transpose();
    let tls = tls.map_err(|file| StartError::BackendCa(section, file))?;
    let secret = secret.expose().as_bytes().to_vec();
    Ok(webhook::Settings { https: *https, host: host.clone(), port: *port, path: path.clone(), secret, tls })
}

/// Where metrics are pushed to, if anywhere.
#[cfg(feature = "otlp")]
pub(super) fn telemetry(settings: &Settings) -> Result<Option<super::telemetry::Target>, StartError> {
    let every = std::time::Duration::from_secs(settings.telemetry.interval_secs.into());
    let collector = settings.telemetry.otlp.as_ref().map(|it| backend("telemetry", it)).transpose()?;
    Ok(collector.map(|collector| super::telemetry::Target { collector, every }))
}

/// As which node, and by which broker, if there is a `[cluster]`.
#[cfg(feature = "nats")]
pub(super) fn cluster(settings: &Settings) -> Result<Option<super::cluster::Target>, StartError> {
    let Some(written) = &settings.cluster else { return Ok(None) };
    let node = written.node.clone().or_else(node).ok_or(StartError::NoNode)?;
    let text = |secret: &crate::config::Secret| secret.expose().to_owned();
    let trusted = written.has_tls().then(|| webhook_trust::file(written.ca.as_deref()));
    if let Some(file) = &trusted {
        webhook_trust::client(Some(file)).map_err(|file| StartError::BackendCa("cluster", file))?;
    }
    let broker = |it: &crate::config::Broker| bus::Broker { tls: it.tls, host: it.host.clone(), port: it.port };
    let settings = bus::Settings {
        brokers: written.brokers.iter().map(broker).collect(),
        keys: written.keys.iter().map(|key| text(key).into_bytes()).collect(),
        user: written.user.as_ref().map(|(name, password)| (name.clone(), text(password))),
        token: written.token.as_ref().map(text),
        trusted,
    };
    let secrets = Secrets::of(settings.keys.first().map(Vec::as_slice).unwrap_or_default());
    Ok(Some(super::cluster::Target { node, settings, secrets }))
}

/// This machine's own name, as far as a node can be called that.
#[cfg(feature = "nats")]
fn node() -> Option<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let first = host.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    Some(first).filter(|name| crate::config::is_node(name))
}

/// What decides about people's data, for `relay prove`.
pub(super) fn facts(settings: &Settings) -> prove::Facts {
    prove::Facts {
        sandbox: settings.sandbox.mode.name().to_owned(),
        signalling: settings.listen.signalling.is_some(),
        direct_first: settings.calls.path == CallPath::DirectFirst,
        acceptance: settings.calls.acceptance,
        quality: settings.calls.quality,
        reports: settings.reports.is_some(),
        revocations: settings.revocations.is_some(),
        cluster: settings.cluster.is_some(),
        demo_page: settings.signalling.demo_page,
        tcp_allocations: settings.relay.tcp_allocations,
        min_band: settings.matching.min_band.name().to_owned(),
        users: settings.auth.users.len(),
    }
}

/// Another secret than the one that signs, made of it.
fn tag_secret(secret: &crate::config::Secret) -> [u8; 32] {
    Sha256::new().chain_update(b"pair.v1 tags\0").chain_update(secret.expose()).finalize().into()
}

/// Without the sockets that only NAT behaviour discovery needs, which come last.
fn written(settings: &Settings, addresses: &Addresses) -> Addresses {
    let mut written = addresses.clone();
    written.udp.truncate(settings.listen.udp.len());
    written
}

fn tokens(settings: &Settings) -> token::Settings {
    let named = |name: &Option<String>| name.clone().unwrap_or_else(|| DEMO.to_owned());
    token::Settings {
        issuer: named(&settings.auth.issuer),
        audience: named(&settings.auth.audience),
        keys: settings.auth.tokens.iter().filter_map(key).collect(),
        min_band: band(settings.matching.min_band),
    }
}

/// `None` cannot be: the configuration has checked the same.
fn key(written: &TokenKey) -> Option<(String, token::Key)> {
    let key = match &written.key {
        VerifyingKey::EdDsa(public) => token::Key::ed25519(public),
        VerifyingKey::Hs256(secret) => token::Key::hs256(secret.expose().as_bytes()),
    };
    Some((written.kid.clone(), key.ok()?))
}

/// A key of this run alone, under a name that no configured key has.
fn demo(token: &mut token::Settings, secret: &[u8; 32]) -> Minter {
    let is_free = |kid: &String| token.keys.iter().all(|(taken, _)| taken != kid);
    let kid = (0..).map(|number| format!("{DEMO}-{number}")).find(is_free).unwrap_or_default();
    let minter = Minter::hs256(&kid, secret, &token.issuer, &token.audience);
    token.keys.extend(token::Key::hs256(secret).ok().map(|key| (kid, key)));
    minter
}

const fn recent(written: RecentPartners) -> Recent {
    match written {
        RecentPartners::Avoid => Recent::Avoid,
        RecentPartners::AvoidUntilLastStage => Recent::AvoidUntilLastStage,
        RecentPartners::Allow => Recent::Allow,
    }
}

fn band(written: AgeBand) -> Band {
    match written {
        AgeBand::B13To15 => Band::B13_15,
        AgeBand::B16To17 => Band::B16_17,
        AgeBand::Adult => Band::Adult,
    }
}

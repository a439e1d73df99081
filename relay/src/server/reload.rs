//! SIGHUP and `POST /v1/reload`: what changes while people talk. All of the new configuration takes effect, or nothing of it; but for what a
//! running process cannot change, which is left as it was and named.

mod listeners;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;

use super::edges::Service;
use super::error::StartError;
use super::prepared::ADMIN_CONNECTIONS;
use super::stats::Sources;
use super::{Running, inside, parts};
use crate::auth::CallKeys;
use crate::bus::Secrets;
use crate::clock::Clock;
use crate::config::{self, Key, RelayAddress, Settings};
use crate::prove::Facts;
use crate::signalling;
use crate::stream::{self, CertificateError, Certificates};
use crate::turn::{self, Command, RelayedAddress};
pub(super) use listeners::{Door, UdpDoor, doors, udp_doors};
use listeners::{Http, Udp, Wanted};

/// Realms of before whose clients are served on.
const FORMER_REALMS: usize = 4;

/// What a reload replaces, and what it makes the new ones of.
pub(super) struct Changeable {
    /// As they are in effect.
    pub(super) settings: Settings,
    /// As they were at the start: what the sandbox lets through was decided then.
    pub(super) entered: Settings,
    pub(super) keys: Arc<CallKeys>,
    pub(super) clock: Clock,
    /// Nonces given out before stay good.
    pub(super) nonces: [u8; 32],
    /// Tokens of the demo page given out before stay good.
    pub(super) demo: [u8; 32],
    /// Signalling connections at once.
    pub(super) sessions: usize,
    /// Of the cluster's key at the start: what is hashed by them stays as it is, whatever becomes of the key.
    pub(super) secrets: Option<Secrets>,
    /// The newest.
    pub(super) shared: Arc<turn::Shared>,
    pub(super) certificates: Option<Arc<Certificates>>,
    /// TCP and TLS listeners.
    pub(super) doors: Vec<Door>,
    pub(super) udp: Vec<UdpDoor>,
    pub(super) past: Past,
    /// What listeners for HTTP answer with: signalling and the page, and the operator's.
    pub(super) website: Router,
    pub(super) operator: Router,
    /// Are told whether there is signalling.
    pub(super) sources: Arc<Sources>,
    pub(super) facts: Arc<RwLock<Facts>>,
    /// Says where metrics are pushed to.
    #[cfg(feature = "otlp")]
    pub(super) telemetry: tokio::sync::watch::Sender<Option<super::telemetry::Target>>,
}

/// What is not in the configuration any more and still counts.
#[derive(Clone, Default)]
pub(super) struct Past {
    /// The newest first.
    pub(super) realms: Vec<String>,
    /// Relayed addresses on which there may still be allocations: as much our own as those of now.
    pub(super) relayed: Vec<RelayAddress>,
    /// UDP listeners that may still serve those who came by them: nobody's peer.
    pub(super) listeners: Vec<SocketAddr>,
}

/// What a reload did, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    pub changed: Vec<String>,
    /// Written differently, and as it was until a restart.
    pub needs_restart: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug)]
enum Kept {
    Certificate(CertificateError),
    Other(StartError),
    /// Some part has too many reloads waiting.
    Busy,
}

impl Running {
    /// Takes over what `read` says, and logs which keys have changed, never a value.
    ///
    /// # Errors
    /// What is wrong with it, for the operator; then everything stays as it was.
    pub fn reload(&mut self, read: Result<Settings, String>) -> Result<Reloaded, String> {
        let adopted = read.and_then(|written| self.adopt(&written).map_err(|kept| kept.to_string()));
        match &adopted {
            Ok(reloaded) => {
                for notice in self.changeable.settings.notices() {
                    tracing::warn!("{notice}");
                }
                for key in &reloaded.needs_restart {
                    tracing::warn!("{key} has changed and needs a restart; until then it stays as it was");
                }
                let changed =
                    if reloaded.changed.is_empty() { "nothing".to_owned() } else { reloaded.changed.join(", ") };
                tracing::info!("reloaded; changed: {changed}");
            }
            Err(why) => {
                for line in why.lines() {
                    tracing::error!("not reloaded, everything stays as it was: {line}");
                }
            }
        }
        adopted
    }

    fn adopt(&mut self, written: &Settings) -> Result<Reloaded, Kept> {
        let old = &self.changeable;
        let mut settings = effective(old, written);
        let wanted = listeners::open(old, &mut settings, &self.workers)?;
        let (mut changed, needs_restart) = (names(&old.settings, &settings), names(&settings, written));
        let addresses = wanted.addresses(&self.addresses);
        let past = old.past.and(&old.settings, &settings, &self.addresses);
        let certificate = Certificate::prepare(old.certificates.as_ref(), &settings)?;
        let (authenticator, policy) =
            parts::gatekeepers(&settings, &addresses.all(), &past, &old.keys, old.nonces).map_err(Kept::Other)?;
        let (was, is) = (&old.settings, &settings);
        let (talked, talks) = (was.listen.signalling.is_some(), is.listen.signalling.is_some());
        let fresh = signalling::Fresh {
            settings: parts::signalling(&settings, &addresses, old.sessions, &old.demo, old.secrets.as_ref())
                .map_err(Kept::Other)?,
            reports_changed: was.reports != is.reports,
            revocations_changed: talked != talks || was.revocations != is.revocations,
        };
        #[cfg(feature = "otlp")]
        let target = parts::telemetry(&settings).map_err(Kept::Other)?;
        #[cfg(feature = "nats")]
        let nodes = parts::cluster(&settings).map_err(Kept::Other)?;
        // What may still be refused is asked first: from then on nothing fails.
        if !self.workers.hears_of_listeners() {
            return Err(Kept::Busy);
        }
        if !self.signalling.0.adopt(fresh) {
            return Err(Kept::Busy);
        }
        if self.show(certificate) {
            tracing::info!("tls: the certificate was read again");
            let key = "tls.certificate".to_owned();
            changed.extend(Some(key).filter(|key| !changed.contains(key)));
        }
        if talked != talks {
            self.changeable.sources.talks.store(talks, Relaxed);
            self.streams.set_pages(talks, self.changeable.certificates.as_deref());
        }
        let Wanted { udp, doors, streams, signalling, admin } = wanted;
        let udp = self.listen_over_udp(udp);
        self.listen_for_streams(&settings, &doors, streams);
        self.listen_for_http("signalling", signalling);
        self.listen_for_http("admin", admin);
        let old = &self.changeable;
        let authenticator = authenticator.after(&old.shared.authenticator);
        let shared = old.shared.succeed(parts::turn(&settings, &udp), authenticator, policy);
        self.workers.set_nap(settings.relay.nap_micros);
        #[cfg(feature = "otlp")]
        if old.settings.telemetry != settings.telemetry {
            old.telemetry.send_replace(target);
        }
        #[cfg(feature = "nats")]
        if let (Some(cluster), Some(target)) = (&self.cluster, nodes) {
            cluster.hands.adopt(&settings);
            if old.settings.cluster != settings.cluster {
                cluster.bus.adopt(target.settings);
            }
        }
        *old.facts.write().unwrap_or_else(PoisonError::into_inner) = parts::facts(&settings);
        self.addresses = addresses;
        let old = &mut self.changeable;
        (old.settings, old.shared, old.doors, old.udp, old.past) = (settings, shared, doors, udp, past);
        if self.workers.mailboxes().post_all(Command::Reload).is_err() {
            tracing::error!("a worker has too much to do to hear of the new configuration; send SIGHUP again");
        }
        Ok(Reloaded { changed, needs_restart })
    }

    /// Whether connections from now on are shown another certificate than before.
    fn show(&mut self, certificate: Certificate) -> bool {
        match (certificate, &self.changeable.certificates) {
            (Certificate::Fresh(fresh), Some(certificates)) => certificates.show(fresh),
            (Certificate::First(first), _) => {
                self.streams.set_certificates(Some(&first));
                self.changeable.certificates = Some(first);
                false
            }
            (Certificate::None, Some(_)) => {
                self.streams.set_certificates(None);
                self.changeable.certificates = None;
                false
            }
            (Certificate::Fresh(_) | Certificate::None, None) => false,
        }
    }

    /// Has the workers listen where they should and nowhere else, and answers how each listener is numbered.
    fn listen_over_udp(&self, wanted: Vec<Udp>) -> Vec<UdpDoor> {
        let stays = |door: &UdpDoor| wanted.iter().any(|it| matches!(it, Udp::Stays(kept) if kept == door));
        for door in self.changeable.udp.iter().filter(|door| !stays(door)) {
            self.workers.retire(door.number);
        }
        let door = |it: Udp| match it {
            Udp::Stays(door) => Some(door),
            Udp::ComesBack(at) => self.listen_again(at),
            Udp::New(written, opened) => {
                let listens = opened.address();
                Some(UdpDoor { written, listens, number: self.workers.listen(opened) })
            }
        };
        wanted.into_iter().filter_map(door).collect()
    }

    /// Between the look and now the last who came by it may have left.
    fn listen_again(&self, at: SocketAddr) -> Option<UdpDoor> {
        let number = self.workers.resume(at).or_else(|| Some(self.workers.listen(self.workers.open(at).ok()?)));
        if number.is_none() {
            tracing::error!("a UDP listener that was closed just now is not open again; reload again");
        }
        Some(UdpDoor { written: at, listens: at, number: number? })
    }

    fn listen_for_streams(&self, settings: &Settings, doors: &[Door], opened: Option<stream::Bound>) {
        self.streams.set_exempt(settings.limits.exempt.clone());
        self.streams.set_proxies(settings.listen.proxy_protocol_from.clone());
        let old = self.changeable.doors.iter();
        let closed: Vec<_> = old.filter(|door| !doors.contains(door)).map(|door| (door.kind, door.listens)).collect();
        if (opened.is_some() || !closed.is_empty())
            && !self.streams.change(opened.unwrap_or_else(stream::Bound::nothing), closed)
        {
            tracing::error!("the TCP and TLS listeners have too much to do to hear of the change; reload again");
        }
    }

    fn listen_for_http(&mut self, key: &'static str, wanted: Http) {
        let router = match key {
            "signalling" => self.changeable.website.clone(),
            _ => self.changeable.operator.clone(),
        };
        let connections = if key == "signalling" { self.changeable.sessions } else { ADMIN_CONNECTIONS };
        let service = match wanted {
            Http::Stays => return,
            Http::Closed => None,
            Http::Opened(listener) => {
                let lent = listener.lend();
                self.http.retain(|(other, ..)| *other != key);
                // Without a descriptor for it a successor has to bind it itself.
                self.http.extend(lent.ok().map(|socket| (key, listener.address, socket)));
                Some(Service { listener, connections, router })
            }
        };
        if service.is_none() {
            self.http.retain(|(other, ..)| *other != key);
        }
        if !self.edges.change(key, service) {
            tracing::error!("the listeners for HTTP have too much to do to hear of the change; reload again");
        }
    }
}

/// What becomes of the certificate.
enum Certificate {
    None,
    /// There was none before.
    First(Arc<Certificates>),
    Fresh(stream::tls::Fresh),
}

impl Certificate {
    fn prepare(before: Option<&Arc<Certificates>>, settings: &Settings) -> Result<Certificate, Kept> {
        Ok(match (before, parts::certificate_files(settings)) {
            (Some(certificates), Some(files)) => Certificate::Fresh(certificates.prepare(&files)?),
            (None, Some(files)) => Certificate::First(Certificates::load(files)?),
            (_, None) => Certificate::None,
        })
    }
}

impl Past {
    /// With what `new` leaves of `old`, which listened at `listened`.
    fn and(&self, old: &Settings, new: &Settings, listened: &super::Addresses) -> Past {
        let mut past = self.clone();
        if old.relay.realm != new.relay.realm {
            past.realms.insert(0, old.relay.realm.clone());
            past.realms.retain(|realm| *realm != new.relay.realm);
            past.realms.truncate(FORMER_REALMS);
        }
        for address in old.relay_addresses() {
            if !past.relayed.contains(&address) {
                past.relayed.push(address);
            }
        }
        for address in &listened.udp {
            if !past.listeners.contains(address) {
                past.listeners.push(*address);
            }
        }
        past
    }
}

/// Keys that differ, as `section.key`.
fn names(a: &Settings, b: &Settings) -> Vec<String> {
    let name = |(section, key): (&str, &Key)| format!("{section}.{}", key.name);
    config::changes(a, b).into_iter().map(name).collect()
}

/// The settings in effect after a reload: of `new` what may change, of those in effect everything else.
fn effective(changeable: &Changeable, new: &Settings) -> Settings {
    let takes = |settings: &Settings| {
        let address = |it: RelayAddress| RelayedAddress { bind: it.bind, public: it.public };
        let wanted: Vec<_> = settings.relay_addresses().into_iter().map(address).collect();
        changeable.shared.takes(&wanted)
    };
    effective_of(&changeable.settings, &changeable.entered, takes, new)
}

/// `entered`: the settings the process went into its sandbox with. `takes`: whether the relayed addresses can be these.
fn effective_of(old: &Settings, entered: &Settings, takes: impl Fn(&Settings) -> bool, new: &Settings) -> Settings {
    let mut settings = new.clone();
    settings.relay.workers = old.relay.workers;
    if !inside::reaches_everybody(entered) {
        settings.relay.tcp_allocations &= old.relay.tcp_allocations;
    }
    if !takes(&settings) {
        settings.relay.addresses.clone_from(&old.relay.addresses);
        if settings.relay_addresses() != old.relay_addresses() {
            // Without any written they are those of the listeners.
            settings.listen.udp.clone_from(&old.listen.udp);
            settings.listen.tcp.clone_from(&old.listen.tcp);
            settings.listen.tls.clone_from(&old.listen.tls);
        }
    }
    if !inside::reaches(entered, &settings) {
        settings.reports.clone_from(&old.reports);
        settings.revocations.clone_from(&old.revocations);
        settings.telemetry.clone_from(&old.telemetry);
        settings.cluster.clone_from(&old.cluster);
    }
    match (&old.cluster, &mut settings.cluster) {
        // The others know this process by its name.
        (Some(old), Some(new)) => new.node.clone_from(&old.node),
        (old, new) => new.clone_from(old),
    }
    settings.sandbox.clone_from(&old.sandbox);
    settings
}

impl From<CertificateError> for Kept {
    fn from(error: CertificateError) -> Kept {
        Kept::Certificate(error)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Certificate(error) => error.fmt(f),
            Kept::Other(error) => error.fmt(f),
            Kept::Busy => f.write_str("signalling has not taken over the last reloads yet; try again"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::config::Reload;

    fn read(text: &str) -> Settings {
        config::parse(text, Path::new("")).unwrap()
    }

    #[test]
    fn a_node_does_not_join_or_leave_or_change_its_name_without_a_restart() {
        let cluster = |more: &str| {
            read(&format!("cluster = {{ nats = 'nats://a', keys = ['fedcba9876543210fedcba9876543210']{more} }}"))
        };
        let after = |old: &Settings, new: &Settings| effective_of(old, old, |_| true, new).cluster;
        let (alone, one, named) = (read(""), cluster(""), cluster(", node = 'b', user = 'u', password = 'p'"));
        assert_eq!((after(&alone, &one), after(&one, &alone)), (None, one.cluster.clone()));
        let changed = after(&one, &named).unwrap();
        assert_eq!((changed.node, changed.user.is_some()), (None, true));
        let elsewhere = read("cluster = { nats = 'nats://a:99', keys = ['fedcba9876543210fedcba9876543210'] }");
        assert_eq!(
            after(&one, &elsewhere).is_some_and(|it| it.brokers[0].port == 99),
            !cfg!(feature = "nats"),
            "given up"
        );
    }

    /// Another value for each key, in one file that is right. What `config::Reload` says of a key is what a reload does to it.
    #[test]
    fn what_is_said_to_change_changes_and_nothing_else() {
        let app = "auth.issuer = 'i'\nauth.audience = 'a'\nauth.tokens = [{ kid = 'a', alg = 'HS256', secret = '0123456789abcdef0123456789abcdef' }]\n";
        let before = format!(
            "listen.tcp = ['127.0.0.1:3478']\nlisten.signalling = '127.0.0.1:8080'\nlisten.admin = '127.0.0.1:9641'\n\
             tls = {{ certificate = 'a', private_key = 'b' }}\nrelay.addresses = ['127.0.0.1']\n\
             sandbox.mode = 'off'\n{app}\
             cluster = {{ nats = 'nats://a', keys = ['fedcba9876543210fedcba9876543210'] }}\n"
        );
        let backend = "{ url = 'https://a/b', secret = '0123456789abcdef0123456789abcdef', ca = 'c' }";
        let after = format!(
            "listen = {{ udp = ['127.0.0.1:1'], tcp = ['127.0.0.1:2'], tls = ['127.0.0.1:3'], proxy_protocol_from = ['10.0.0.0/8'],\
             nat_discovery = ['127.0.0.1:5', '127.0.0.2:6'], signalling = '127.0.0.1:7', admin = '127.0.0.1:8' }}\n\
             tls = {{ certificate = 'c', private_key = 'd' }}\n\
             relay = {{ realm = 'r', addresses = ['127.0.0.9'], ports = '2000-3000', workers = 3, nap_micros = 7, legacy_channels = true, tcp_allocations = true }}\n\
             auth = {{ users = {{ a = 'a long password' }}, issuer = 'j', audience = 'b', rest_secrets = ['0123456789abcdef'],\
             rest_expiry_on_refresh = false, sha1 = false, tokens = [{{ kid = 'b', alg = 'HS256', secret = '0123456789abcdef0123456789abcdef' }}] }}\n\
             access = {{ allow_peers = ['10.0.0.0/8'], deny_peers = ['10.0.0.0/8'], user_allocations = 1 }}\n\
             limits = {{ exempt = ['10.0.0.0/8'], unauthenticated_per_second = 1, unauthenticated_burst = 1, call_packets_per_second = 1,\
             call_bits_per_second = 1, user_packets_per_second = 1, user_bits_per_second = 1, allocation_permissions = 1,\
             allocation_channels = 1, total_allocations = 1, total_packets_per_second = 1, total_bits_per_second = 1 }}\n\
             drain = {{ deadline_secs = 1, alternate_servers = ['192.0.2.1:1'], alternate_domain = 'x.example' }}\n\
             signalling = {{ origins = ['https://a'], turn_urls = ['turn:a'], demo_page = true }}\nreports = {backend}\nrevocations = {backend}\n\
             telemetry = {{ otlp_url = 'http://a/b', ca = 'c', interval_secs = 3 }}\n\
             cluster = {{ nats = 'tls://b', node = 'c', keys = ['0123456789abcdef0123456789abcdef'], user = 'd', password = 'e', token = 'f', ca = 'g' }}\n\
             calls = {{ path = 'direct-first', direct_bands = ['16-17'], acceptance = true, payload = 'any', quality = false }}\n\
             matching = {{ topics = ['a'], min_band = '18+', recent_partners = 'allow' }}\n\
             sandbox = {{ mode = 'required', user = 'somebody' }}\n"
        );
        let (old, new) = (read(&before), read(&after));
        let settings = effective_of(&old, &old, |_| true, &new);
        let (changed, stays) = (names(&old, &settings), names(&settings, &new));
        for (section, key) in config::keys() {
            let name = format!("{section}.{}", key.name);
            // The users of the file are compared as users; hidden names cannot go with signalling.
            if ["auth.users_file", "auth.username_anonymity"].contains(&name.as_str()) {
                continue;
            }
            let live = matches!(key.reload, Reload::Live(_));
            assert_eq!(changed.contains(&name), live, "{name} is said to change: {live}");
            assert_eq!(stays.contains(&name), !live, "{name}");
        }
    }
}

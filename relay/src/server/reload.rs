//! SIGHUP and `POST /v1/reload`: what changes while people talk. All of the new configuration takes effect, or nothing of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::error::StartError;
use super::{Running, inside, parts};
use crate::auth::CallKeys;
use crate::config::{self, Key, Settings};
use crate::signalling;
use crate::stream::{self, CertificateError, Certificates, Kind};
use crate::turn::{self, Command};

/// What a reload replaces, and what it makes the new ones of.
pub(super) struct Changeable {
    /// As they are in effect.
    pub(super) settings: Settings,
    pub(super) keys: Arc<CallKeys>,
    /// Nonces given out before stay good.
    pub(super) nonces: [u8; 32],
    /// Tokens of the demo page given out before stay good.
    pub(super) demo: [u8; 32],
    /// Signalling connections at once.
    pub(super) sessions: usize,
    /// The newest.
    pub(super) shared: Arc<turn::Shared>,
    pub(super) certificates: Option<Arc<Certificates>>,
    /// TCP and TLS listeners: as written, and where they really listen.
    pub(super) doors: Vec<Door>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Door {
    pub(super) kind: Kind,
    pub(super) written: SocketAddr,
    pub(super) listens: SocketAddr,
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
        let settings = effective(&old.settings, written);
        let (mut changed, needs_restart) = (names(&old.settings, &settings), names(&settings, written));
        let (opened, doors) = open_doors(&old.doors, &settings)?;
        let addresses = self.addresses.with_doors(&doors);
        let certificate = match (&old.certificates, parts::certificate_files(&settings)) {
            (Some(certificates), Some(files)) => Some((certificates, certificates.prepare(&files)?)),
            _ => None,
        };
        let (authenticator, policy) =
            parts::gatekeepers(&settings, &addresses.all(), &old.keys, old.nonces).map_err(Kept::Other)?;
        let talking = match &self.signalling {
            Some((controls, _)) => {
                let fresh = parts::signalling(&settings, &addresses, old.sessions, &old.demo).map_err(Kept::Other)?;
                let (was, is) = (&old.settings, &settings);
                let fresh = signalling::Fresh {
                    settings: fresh,
                    reports_changed: was.reports != is.reports,
                    revocations_changed: was.revocations != is.revocations,
                };
                Some((controls, fresh))
            }
            None => None,
        };
        // What may still be refused is asked first: from then on nothing fails.
        if let Some((controls, fresh)) = talking
            && !controls.adopt(fresh)
        {
            return Err(Kept::Busy);
        }
        if let Some((certificates, fresh)) = certificate
            && certificates.show(fresh)
        {
            tracing::info!("tls: the certificate was read again");
            let key = "tls.certificate".to_owned();
            changed.extend(Some(key).filter(|key| !changed.contains(key)));
        }
        let authenticator = authenticator.after(&old.shared.authenticator);
        let shared = old.shared.succeed(parts::turn(&settings), authenticator, policy);
        self.workers.set_nap(settings.relay.nap_micros);
        if let Some(streams) = &self.streams {
            streams.set_exempt(settings.limits.exempt.clone());
            streams.set_proxies(settings.listen.proxy_protocol_from.clone());
            let closed = old.doors.iter().filter(|door| !doors.contains(door)).map(|door| (door.kind, door.listens));
            let closed: Vec<_> = closed.collect();
            if (opened.is_some() || !closed.is_empty())
                && !streams.change(opened.unwrap_or_else(stream::Bound::nothing), closed)
            {
                tracing::error!("the TCP and TLS listeners have too much to do to hear of the change; reload again");
            }
        }
        self.addresses = addresses;
        let old = &mut self.changeable;
        (old.settings, old.shared, old.doors) = (settings, shared, doors);
        if self.workers.mailboxes().post_all(Command::Reload).is_err() {
            tracing::error!("a worker has too much to do to hear of the new configuration; send SIGHUP again");
        }
        Ok(Reloaded { changed, needs_restart })
    }
}

/// Keys that differ, as `section.key`.
fn names(a: &Settings, b: &Settings) -> Vec<String> {
    let name = |(section, key): (&str, &Key)| format!("{section}.{}", key.name);
    config::changes(a, b).into_iter().map(name).collect()
}

/// The settings in effect after a reload: of `new` what may change, of `old` everything else.
fn effective(old: &Settings, new: &Settings) -> Settings {
    let mut settings = new.clone();
    let listen = &mut settings.listen;
    listen.udp.clone_from(&old.listen.udp);
    listen.nat_discovery = old.listen.nat_discovery;
    listen.admin = old.listen.admin;
    if listen.signalling.is_some() != old.listen.signalling.is_some() {
        // Who may come in and what they are told belongs to it.
        settings.signalling.clone_from(&old.signalling);
        settings.auth.issuer.clone_from(&old.auth.issuer);
        settings.auth.audience.clone_from(&old.auth.audience);
        settings.auth.tokens.clone_from(&old.auth.tokens);
        settings.auth.username_anonymity = old.auth.username_anonymity;
    }
    listen.signalling = old.listen.signalling;
    let had_doors = !old.listen.tcp.is_empty() || !old.listen.tls.is_empty();
    if !had_doors || old.tls.is_none() && !listen.tls.is_empty() {
        listen.tcp.clone_from(&old.listen.tcp);
        listen.tls.clone_from(&old.listen.tls);
    }
    if old.tls.is_some() != settings.tls.is_some() {
        settings.tls.clone_from(&old.tls);
    }
    settings.relay = config::Relay {
        legacy_channels: new.relay.legacy_channels,
        ports: new.relay.ports.clone(),
        nap_micros: new.relay.nap_micros,
        ..old.relay.clone()
    };
    if settings.relay_addresses() != old.relay_addresses() {
        settings.listen.tcp.clone_from(&old.listen.tcp);
        settings.listen.tls.clone_from(&old.listen.tls);
    }
    if !inside::reaches(old, &settings) {
        settings.reports.clone_from(&old.reports);
        settings.revocations.clone_from(&old.revocations);
    }
    settings.sandbox.clone_from(&old.sandbox);
    settings.matching.recent_partners = old.matching.recent_partners;
    settings
}

/// Listeners that are new are bound, those that stay are kept, in the order written.
fn open_doors(old: &[Door], settings: &Settings) -> Result<(Option<stream::Bound>, Vec<Door>), Kept> {
    let mut left = old.to_vec();
    let mut keep = |kind: Kind, written: SocketAddr| {
        let at = left.iter().position(|door| door.kind == kind && door.written == written)?;
        Some(left.swap_remove(at))
    };
    let wanted = [(Kind::Tcp, &settings.listen.tcp), (Kind::Tls, &settings.listen.tls)];
    let places: Vec<(Kind, SocketAddr, Option<Door>)> = wanted
        .into_iter()
        .flat_map(|(kind, list)| list.iter().map(move |written| (kind, *written)))
        .map(|(kind, written)| (kind, written, keep(kind, written)))
        .collect();
    let missing = |wanted: Kind| {
        let new = places.iter().filter(|(kind, _, door)| *kind == wanted && door.is_none());
        new.map(|(_, written, _)| *written).collect::<Vec<_>>()
    };
    let (tcp, tls) = (missing(Kind::Tcp), missing(Kind::Tls));
    let opened = match tcp.is_empty() && tls.is_empty() {
        true => None,
        false => Some(stream::bind(stream::Settings { tcp, tls, ..stream::Settings::default() })),
    };
    let opened = opened
        .transpose()
        .map_err(|stream::BindError { key, address, source }| Kept::Other(StartError::Tcp { key, address, source }))?;
    let listening = |kind: Kind| opened.as_ref().map(|it| if kind == Kind::Tcp { it.tcp() } else { it.tls() });
    let [mut tcp, mut tls] = [Kind::Tcp, Kind::Tls].map(|kind| listening(kind).unwrap_or_default().into_iter());
    let doors = places.into_iter().filter_map(|(kind, written, door)| {
        let mut next = || if kind == Kind::Tcp { tcp.next() } else { tls.next() };
        door.or_else(|| Some(Door { kind, written, listens: next()? }))
    });
    let doors = doors.collect();
    Ok((opened, doors))
}

/// The listeners of a start, as a reload knows them.
pub(super) fn doors(settings: &Settings, tcp: &[SocketAddr], tls: &[SocketAddr]) -> Vec<Door> {
    let pair = |kind: Kind, written: &[SocketAddr], listens: &[SocketAddr]| -> Vec<Door> {
        let both = written.iter().zip(listens);
        both.map(|(written, listens)| Door { kind, written: *written, listens: *listens }).collect()
    };
    [pair(Kind::Tcp, &settings.listen.tcp, tcp), pair(Kind::Tls, &settings.listen.tls, tls)].concat()
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

    /// Another value for each key, in one file that is right. What `config::Reload` says of a key is what a reload does to it.
    #[test]
    fn what_is_said_to_change_changes_and_nothing_else() {
        let app = "auth.issuer = 'i'\nauth.audience = 'a'\nauth.tokens = [{ kid = 'a', alg = 'HS256', secret = '0123456789abcdef0123456789abcdef' }]\n";
        let before = format!(
            "listen.tcp = ['127.0.0.1:3478']\nlisten.signalling = '127.0.0.1:8080'\nlisten.admin = '127.0.0.1:9641'\n\
             tls = {{ certificate = 'a', private_key = 'b' }}\nrelay.addresses = ['127.0.0.1']\n\
             sandbox.mode = 'off'\n{app}"
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
             calls = {{ path = 'direct-first', direct_bands = ['16-17'], acceptance = true }}\n\
             matching = {{ topics = ['a'], min_band = '18+', recent_partners = 'allow' }}\n\
             sandbox = {{ mode = 'required', user = 'somebody' }}\n"
        );
        let (old, new) = (read(&before), read(&after));
        let settings = effective(&old, &new);
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

    #[test]
    fn signalling_is_not_half_turned_off() {
        let app = "listen.signalling = '127.0.0.1:8080'\nauth.issuer = 'i'\nauth.audience = 'a'\n\
            auth.tokens = [{ kid = 'a', alg = 'HS256', secret = '0123456789abcdef0123456789abcdef' }]\n";
        let old = read(app);
        let settings = effective(&old, &read(""));
        assert_eq!((&settings.auth.tokens, settings.listen.signalling), (&old.auth.tokens, old.listen.signalling));
    }
}

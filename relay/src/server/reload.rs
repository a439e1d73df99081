//! SIGHUP: what may change while people talk. All of the new configuration takes effect, or nothing of it.

use std::fmt;
use std::sync::Arc;

use super::error::StartError;
use super::{Running, parts};
use crate::auth::CallKeys;
use crate::config::Settings;
use crate::stream::{CertificateError, Certificates};
use crate::turn::{self, Command};

/// What a reload replaces, and what it makes the new ones of.
pub(super) struct Changeable {
    /// As they are in effect.
    pub(super) settings: Settings,
    pub(super) keys: Arc<CallKeys>,
    /// Nonces given out before stay good.
    pub(super) nonces: [u8; 32],
    /// The newest.
    pub(super) shared: Arc<turn::Shared>,
    pub(super) certificates: Option<Arc<Certificates>>,
}

/// Why nothing was changed.
#[derive(Debug)]
enum Kept {
    Certificate(CertificateError),
    Other(StartError),
}

impl Running {
    /// Takes over what `read` says. What is wrong with it is logged, and then everything stays as it was.
    pub fn reload(&mut self, read: Result<Settings, String>) {
        let written = match read {
            Ok(written) => written,
            Err(problems) => return not_reloaded(&problems),
        };
        match self.adopt(&written) {
            Ok(()) => {
                for notice in self.changeable.settings.notices() {
                    tracing::warn!("{notice}");
                }
                for key in stays(&self.changeable.settings, &written) {
                    tracing::warn!("{key} has changed and needs a restart; until then it stays as it was");
                }
                tracing::info!("reloaded");
            }
            Err(kept) => not_reloaded(&kept.to_string()),
        }
    }

    fn adopt(&mut self, written: &Settings) -> Result<(), Kept> {
        let old = &mut self.changeable;
        let settings = changed(&old.settings, written);
        let fresh = match (&old.certificates, parts::certificate_files(&settings)) {
            (Some(certificates), Some(files)) => Some((certificates, certificates.prepare(&files)?)),
            _ => None,
        };
        let (authenticator, policy) =
            parts::gatekeepers(&settings, &self.addresses.all(), &old.keys, old.nonces).map_err(Kept::Other)?;
        // Nothing fails from here on.
        if let Some((certificates, fresh)) = fresh {
            certificates.show(fresh);
            tracing::info!("tls: the certificate was read again");
        }
        let authenticator = authenticator.after(&old.shared.authenticator);
        old.shared = old.shared.succeed(parts::turn(&settings), authenticator, policy);
        old.settings = settings;
        let exempt = &old.settings.limits.exempt;
        if let Some((signalling, _)) = &self.signalling {
            signalling.set_exempt(exempt.clone());
        }
        if let Some(streams) = &self.streams {
            streams.set_exempt(exempt.clone());
        }
        if self.workers.mailboxes().post_all(Command::Reload).is_err() {
            tracing::error!("a worker has too much to do to hear of the new configuration; send SIGHUP again");
        }
        Ok(())
    }
}

fn not_reloaded(why: &str) {
    for line in why.lines() {
        tracing::error!("not reloaded, everything stays as it was: {line}");
    }
}

/// The settings in effect after a reload: of `new` what may change, of `old` everything else.
fn changed(old: &Settings, new: &Settings) -> Settings {
    let mut settings = old.clone();
    if let (Some(files), Some(other)) = (&mut settings.tls, &new.tls) {
        files.clone_from(other);
    }
    settings.relay.legacy_channels = new.relay.legacy_channels;
    settings.auth.users.clone_from(&new.auth.users);
    settings.auth.rest_secrets.clone_from(&new.auth.rest_secrets);
    settings.auth.rest_expiry_on_refresh = new.auth.rest_expiry_on_refresh;
    settings.auth.sha1 = new.auth.sha1;
    settings.auth.username_anonymity = new.auth.username_anonymity && settings.listen.signalling.is_none();
    settings.access.clone_from(&new.access);
    settings.limits.clone_from(&new.limits);
    settings.drain.clone_from(&new.drain);
    settings
}

/// What was written and could not be changed.
fn stays<'a>(settings: &'a Settings, written: &'a Settings) -> impl Iterator<Item = &'static str> + use<'a> {
    let (a, b) = (settings, written);
    [
        ("listen.udp", a.listen.udp == b.listen.udp),
        ("listen.tcp", a.listen.tcp == b.listen.tcp),
        ("listen.tls", a.listen.tls == b.listen.tls),
        ("listen.proxy_protocol_from", a.listen.proxy_protocol_from == b.listen.proxy_protocol_from),
        ("listen.nat_discovery", a.listen.nat_discovery == b.listen.nat_discovery),
        ("listen.signalling", a.listen.signalling == b.listen.signalling),
        ("listen.admin", a.listen.admin == b.listen.admin),
        ("[tls]", a.tls == b.tls),
        ("relay.realm", a.relay.realm == b.relay.realm),
        ("relay.addresses", a.relay.addresses == b.relay.addresses),
        ("relay.ports", a.relay.ports == b.relay.ports),
        ("relay.workers", a.relay.workers == b.relay.workers),
        ("relay.nap_micros", a.relay.nap_micros == b.relay.nap_micros),
        ("auth.username_anonymity", a.auth.username_anonymity == b.auth.username_anonymity),
        ("auth.issuer", a.auth.issuer == b.auth.issuer),
        ("auth.audience", a.auth.audience == b.auth.audience),
        ("auth.tokens", a.auth.tokens == b.auth.tokens),
        ("[signalling]", a.signalling == b.signalling),
        ("[reports]", a.reports == b.reports),
        ("[revocations]", a.revocations == b.revocations),
        ("[sandbox]", a.sandbox == b.sandbox),
        ("[calls]", a.calls == b.calls),
        ("[matching]", a.matching == b.matching),
    ]
    .into_iter()
    .filter_map(|(key, same)| (!same).then_some(key))
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
        }
    }
}

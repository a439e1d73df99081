//! From the operator's settings to those of each part. The core never sees the configuration.

use std::net::SocketAddr;
use std::sync::Arc;

use rand::TryRngCore as _;
use rand::rngs::OsRng;

use super::addresses::{own_addresses, own_listeners};
use super::error::StartError;
use crate::access;
use crate::auth::{self, Authenticator, CallKeys};
use crate::config::Settings;
use crate::dataplane;
use crate::turn;

/// Randomness for everything that may not read any itself. All from the system, each for one purpose.
pub(super) struct Seeds {
    pub(super) workers: [u8; 32],
    pub(super) tables: [u8; 32],
    pub(super) nonces: [u8; 32],
    pub(super) call_keys: [u8; 32],
    pub(super) desk: [u8; 32],
}

impl Seeds {
    pub(super) fn from_system() -> Result<Seeds, StartError> {
        let fresh = || {
            let mut seed = [0; 32];
            OsRng.try_fill_bytes(&mut seed).map_err(|_| StartError::Random)?;
            Ok(seed)
        };
        Ok(Seeds { workers: fresh()?, tables: fresh()?, nonces: fresh()?, call_keys: fresh()?, desk: fresh()? })
    }
}

pub(super) fn dataplane(settings: &Settings) -> dataplane::Settings {
    dataplane::Settings {
        listeners: settings.listen.udp.clone(),
        workers: settings.relay.workers,
        ..dataplane::Settings::default()
    }
}

fn auth(settings: &Settings) -> auth::Settings {
    let text = |secret: &crate::config::Secret| secret.expose().to_owned();
    auth::Settings {
        realm: settings.relay.realm.clone(),
        users: settings.auth.users.iter().map(|user| (user.name.clone(), text(&user.password))).collect(),
        rest_secrets: settings.auth.rest_secrets.iter().map(text).collect(),
    }
}

/// `listening` names every socket of this daemon, port 0 resolved.
fn access(settings: &Settings, listening: &[SocketAddr]) -> Result<access::Settings, StartError> {
    let relay = settings.relay_addresses();
    Ok(access::Settings {
        allow_peers: settings.access.allow_peers.clone(),
        deny_peers: settings.access.deny_peers.clone(),
        own_listeners: own_listeners(listening, &relay),
        own_addresses: own_addresses(&relay).map_err(StartError::OwnAddresses)?,
    })
}

fn turn(settings: &Settings) -> turn::Settings {
    let address = |it: &crate::config::RelayAddress| turn::RelayedAddress { bind: it.bind, public: it.public };
    turn::Settings {
        addresses: settings.relay_addresses().iter().map(address).collect(),
        ports: settings.relay.ports.clone(),
        legacy_channels: settings.relay.legacy_channels,
        user_allocations: settings.access.user_allocations,
        ..turn::Settings::default()
    }
}

/// What all workers share, made of the settings and the seeds.
pub(super) fn shared(
    settings: &Settings,
    listening: &[SocketAddr],
    call_keys: &Arc<CallKeys>,
    seeds: &Seeds,
) -> Result<Arc<turn::Shared>, StartError> {
    let authenticator = Authenticator::new(auth(settings), Arc::clone(call_keys), seeds.nonces);
    let policy = access::Policy::new(&access(settings, listening)?);
    Ok(turn::Shared::new(turn(settings), authenticator, policy, seeds.tables))
}

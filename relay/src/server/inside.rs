//! Into the sandbox: what the configuration leaves the process, and what the log says about it.

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::error::StartError;
use super::webhook_trust;
use crate::config::{Backend, Cluster, SandboxMode, Settings};
use crate::sandbox::{self, Account, Kept, Tcp, Wanted};

/// What libc reads to find an address by its name, and modules it may load for that. Folders, because these files are replaced.
const RESOLVER: [&str; 7] =
    ["/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/lib", "/usr/lib", "/lib64"];
/// An answer that is too long for a datagram is fetched over TCP.
const DNS_PORT: u16 = 53;

/// Enters the sandbox that `settings` ask for; `None` if they ask for none. `file` is the configuration's. There must be one thread.
///
/// # Errors
/// What could not be given up.
pub(super) fn enter(settings: &Settings, file: Option<&Path>) -> Result<Option<Kept>, StartError> {
    if settings.sandbox.mode == SandboxMode::Off {
        return Ok(None);
    }
    sandbox::close_inherited_files();
    let again = read_again(settings, file);
    let wanted = Wanted {
        required: settings.sandbox.mode == SandboxMode::Required,
        user: settings.sandbox.user.as_deref().map(account).transpose()?,
        readable: folders(&again, settings),
        tcp: tcp(settings),
    };
    let kept = sandbox::enter(&wanted).map_err(StartError::Sandbox)?;
    for missing in &kept.missing {
        tracing::warn!("the sandbox has a hole: this system has no {missing}");
    }
    for unreadable in again.iter().filter(|path| File::open(path).is_err()) {
        tracing::warn!("SIGHUP will change nothing: {} cannot be read from inside the sandbox", unreadable.display());
    }
    tracing::info!(landlock = kept.landlock, seccomp = kept.seccomp, "inside the sandbox");
    Ok(Some(kept))
}

fn account(name: &str) -> Result<Account, StartError> {
    let found = sandbox::account(name).ok().flatten();
    found.ok_or_else(|| StartError::NoSuchUser(name.to_owned()))
}

/// The files that a reload reads.
fn read_again(settings: &Settings, file: Option<&Path>) -> Vec<PathBuf> {
    let tls = settings.tls.iter().flat_map(|tls| [&tls.certificate, &tls.private_key]).cloned();
    // The client of the bus reads it again for every connection.
    let brokers = cluster(settings).filter(|cluster| cluster.has_tls());
    let brokers = brokers.map(|cluster| webhook_trust::file(cluster.ca.as_deref()));
    let trusted = backends(settings).filter_map(|backend| backend.ca.clone()).chain(brokers);
    file.map(Path::to_owned).into_iter().chain(tls).chain(trusted).chain(settings.files.iter().cloned()).collect()
}

/// Whether connections from inside may lead anywhere, as those of TCP allocations do.
pub(super) fn reaches_everybody(entered: &Settings) -> bool {
    entered.sandbox.mode == SandboxMode::Off || tcp(entered) == Tcp::Anywhere
}

/// Whether the backends of `new` are within reach of a process that went into the sandbox with `old`.
pub(super) fn reaches(old: &Settings, new: &Settings) -> bool {
    match (old.sandbox.mode, tcp(old), tcp(new)) {
        (SandboxMode::Off, ..) | (_, Tcp::Anywhere, _) => true,
        (_, Tcp::Ports(open), Tcp::Ports(wanted)) => wanted.iter().all(|port| open.contains(port)),
        (_, Tcp::Ports(_), Tcp::Anywhere) => false,
    }
}

/// Where those lie, as they are named and as they are: a certificate's name is often a link to another folder.
fn folders(files: &[PathBuf], settings: &Settings) -> Vec<PathBuf> {
    let of = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let named = files.iter().map(|path| of(path));
    let real = files.iter().filter_map(|path| path.canonicalize().ok()).map(|path| of(&path));
    let resolver = RESOLVER.iter().map(PathBuf::from).filter(|_| asks_names(settings));
    let mut folders: Vec<PathBuf> = named.chain(real).chain(resolver).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
}

fn tcp(settings: &Settings) -> Tcp {
    if settings.relay.tcp_allocations {
        return Tcp::Anywhere;
    }
    let dns = asks_names(settings).then_some(DNS_PORT);
    let brokers = cluster(settings).into_iter().flat_map(|cluster| &cluster.brokers).map(|broker| broker.port);
    Tcp::Ports(backends(settings).map(|backend| backend.port).chain(brokers).chain(dns).collect())
}

fn cluster(settings: &Settings) -> Option<&Cluster> {
    settings.cluster.as_ref().filter(|_| cfg!(feature = "nats"))
}

/// Whether an address is looked for by its name.
fn asks_names(settings: &Settings) -> bool {
    let brokers = cluster(settings).into_iter().flat_map(|cluster| &cluster.brokers);
    backends(settings)
        .map(|backend| &backend.host)
        .chain(brokers.map(|broker| &broker.host))
        .any(|host| is_a_name(host))
}

fn backends(settings: &Settings) -> impl Iterator<Item = &Backend> {
    let pushed = settings.telemetry.otlp.iter().filter(|_| cfg!(feature = "otlp"));
    settings.reports.iter().chain(&settings.revocations).chain(pushed)
}

fn is_a_name(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(text: &str) -> Settings {
        crate::config::parse(text, Path::new("/srv/relay")).unwrap()
    }

    #[test]
    fn connections_lead_to_backends_and_nowhere_else() {
        assert_eq!(tcp(&settings("")), Tcp::Ports(vec![]));
        let secret = "secret = 'thirty-two bytes or more of one own'";
        let by_address = settings(&format!("[reports]\nurl = 'http://127.0.0.1:8081/r'\n{secret}\n"));
        assert_eq!(tcp(&by_address), Tcp::Ports(vec![8081]));
        assert!(folders(&[], &by_address).is_empty(), "no resolver is needed");
        let by_name = settings(&format!("[reports]\nurl = 'https://app.example/r'\n{secret}\n"));
        assert_eq!(tcp(&by_name), Tcp::Ports(vec![443, DNS_PORT]));
        assert!(folders(&[], &by_name).contains(&PathBuf::from("/etc")));
        let relaying = settings("[listen]\ntcp = ['127.0.0.1:0']\n[relay]\ntcp_allocations = true\n");
        assert_eq!(tcp(&relaying), Tcp::Anywhere);
    }

    #[cfg(feature = "nats")]
    #[test]
    fn connections_lead_to_brokers_too() {
        let at = |url: &str| {
            settings(&format!("[cluster]\nnats = ['{url}']\nkeys = ['thirty-two bytes or more of one own']\n"))
        };
        let near = at("nats://127.0.0.1:4222");
        assert_eq!((tcp(&near), folders(&[], &near).len()), (Tcp::Ports(vec![4222]), 0));
        assert_eq!(tcp(&at("nats://broker.example")), Tcp::Ports(vec![4222, DNS_PORT]));
        let tls = at("tls://10.0.0.5:4443");
        assert_eq!(tcp(&tls), Tcp::Ports(vec![4443]));
        assert_eq!(read_again(&tls, None), [webhook_trust::file(None)]);
        assert!(!reaches(&near, &tls) && reaches(&near, &at("nats://127.0.0.2:4222")));
    }

    #[test]
    fn a_backend_elsewhere_is_out_of_reach_once_inside() {
        let secret = "secret = 'thirty-two bytes or more of one own'";
        let at = |url: &str, more: &str| settings(&format!("{more}\n[reports]\nurl = '{url}'\n{secret}\n"));
        let old = at("https://app.example/r", "");
        assert!(reaches(&old, &at("https://other.example/r", "")));
        assert!(reaches(&old, &settings("")));
        assert!(!reaches(&old, &at("http://127.0.0.1:8081/r", "")));
        assert!(reaches(&at("https://app.example/r", "[sandbox]\nmode = 'off'"), &at("http://127.0.0.1:8081/r", "")));
    }

    #[test]
    fn the_folders_of_what_is_read_again_stay_readable() {
        let tls = settings("[tls]\ncertificate = 'cert.pem'\nprivate_key = 'keys/key.pem'\n");
        let files = read_again(&tls, Some(Path::new("relay.toml")));
        assert_eq!(files.len(), 3);
        let folders = folders(&files, &tls);
        assert_eq!(folders, ["/srv/relay", "/srv/relay/keys", "."].map(PathBuf::from));
    }
}

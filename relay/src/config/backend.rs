//! `[reports]` and `[revocations]`: where the app's backend is, and the secret that requests to it are signed with.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::file;
use super::keys::BACKEND_SECRET_BYTES as SECRET_BYTES;
use super::problems::{Collector, quoted};
use super::secret::Secret;
use super::settings::Backend;
use super::table::At;

/// `None` where nothing is written, or not enough.
pub(super) fn backend(
    section: &str,
    written: &file::Backend,
    base_dir: &Path,
    found: &mut Collector,
) -> Option<Backend> {
    let secret = written.secret.as_ref();
    if let Some(short) = secret.filter(|secret| secret.value.len() < SECRET_BYTES) {
        found.value(short.at, format!("{section}.secret has fewer than {SECRET_BYTES} bytes"));
    }
    let (url, secret) = match (&written.url, secret) {
        (Some(url), Some(secret)) => (url, secret),
        (Some(At { at, .. }), None) => {
            let message = format!("{section}.url needs {section}.secret: the backend could not tell who asks");
            found.absence(*at, message);
            return None;
        }
        (None, Some(At { at, .. })) => {
            found.absence(*at, format!("{section}.secret is of no use without {section}.url"));
            return None;
        }
        (None, None) => return None,
    };
    let Some((https, host, port, path)) = parts(&url.value) else {
        found.value(url.at, format!("{section}.url: {} is not https://host/path", quoted(&url.value)));
        return None;
    };
    if !https && !is_loopback(&host) {
        let message =
            format!("{section}.url: http:// is for this machine alone; what concerns people travels over https://");
        found.value(url.at, message);
    }
    let ca = written.ca.as_ref().map(|ca| base_dir.join(PathBuf::from(&ca.value)));
    Some(Backend { https, host, port, path, secret: Secret::new(secret.value.as_str()), ca })
}

/// Whether TLS, host, port, and path with query.
pub(super) fn parts(url: &str) -> Option<(bool, String, u16, String)> {
    let (https, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://")?),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) =
        match authority.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']')) {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
            None => (authority, if https { 443 } else { 80 }),
        };
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    let clean = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let path = if path.is_empty() { "/" } else { path };
    (named && clean).then(|| (https, host.to_owned(), port, path.to_owned()))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let expected = |https, host: &str, port, path: &str| Some((https, host.to_owned(), port, path.to_owned()));
        assert_eq!(parts("https://app.example/pair?x=1"), expected(true, "app.example", 443, "/pair?x=1"));
        assert_eq!(parts("http://127.0.0.1:9000"), expected(false, "127.0.0.1", 9000, "/"));
        assert_eq!(parts("https://[::1]:8443/r"), expected(true, "[::1]", 8443, "/r"));
        assert_eq!(parts("https://[::1]/r"), expected(true, "[::1]", 443, "/r"));
        for bad in
            ["ftp://a/b", "https://", "https:///x", "https://a b/", "https://a:0/", "https://u@a/", "https://a/\r\n"]
        {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_open() {
        assert!(is_loopback("localhost") && is_loopback("127.0.0.9") && is_loopback("[::1]"));
        assert!(!is_loopback("app.example") && !is_loopback("10.0.0.1"));
    }
}

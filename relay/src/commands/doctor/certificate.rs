//! The certificate: readable, for this key, in time, for the names clients use, and with the chain that leads to its issuer.

use std::time::{SystemTime, UNIX_EPOCH};

use relay::config::Settings;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Findings, der};

const CHECK: &str = "certificate";
const DAY_SECS: u64 = 86_400;
/// Who renews by hand needs this long; who has it renewed renews earlier.
const SOON_DAYS: u64 = 14;

pub(super) fn check(settings: &Settings, found: &mut Findings) {
    let Some(tls) = &settings.tls else { return };
    if let Err(error) = relay::server::check(settings) {
        return found.bad(
            CHECK,
            error.to_string(),
            "point tls.certificate and tls.private_key at a pair that belongs together",
        );
    }
    let file = tls.certificate.display().to_string();
    let chain: Vec<der::Certificate> = CertificateDer::pem_file_iter(&tls.certificate)
        .map(|all| all.filter_map(Result::ok).filter_map(|one| der::read(&one)).collect())
        .unwrap_or_default();
    let Some(own) = chain.first() else {
        return found.unknown(CHECK, format!("{file}: its dates and names could not be read"));
    };
    let before = found.0.len();
    dates(own, &file, found);
    names(own, settings, found);
    issuers(&chain, &file, found);
    if found.0.len() == before {
        found.good(CHECK, format!("{file} fits its key, its names and its time"));
    }
}

fn dates(own: &der::Certificate, file: &str, found: &mut Findings) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let renew = "renew it (certbot renew) and reload: `systemctl reload relay` or SIGHUP";
    if now < own.not_before {
        found.bad(CHECK, format!("{file} is not valid yet"), "compare this machine's clock with another, or wait");
    } else if now >= own.not_after {
        let days = (now - own.not_after) / DAY_SECS;
        found.bad(CHECK, format!("{file} has expired, {days} days ago"), renew);
    } else if own.not_after - now < SOON_DAYS * DAY_SECS {
        let days = (own.not_after - now) / DAY_SECS;
        found.warn(CHECK, format!("{file} expires in {days} days"), renew);
    }
}

/// Names of `turns:` URLs, which clients compare with it.
fn names(own: &der::Certificate, settings: &Settings, found: &mut Findings) {
    for url in settings.signalling.turn_urls.iter().filter(|url| url.starts_with("turns:")) {
        let host = super::places::host(url).to_ascii_lowercase();
        if !own.names.iter().any(|name| covers(name, &host)) {
            let named = if own.names.is_empty() { "nobody".to_owned() } else { own.names.join(", ") };
            found.bad(
                CHECK,
                format!("clients are told {url}, and the certificate names {named}: they will refuse it"),
                "get a certificate for that name, or write the name it has into signalling.turn_urls",
            );
        }
    }
}

fn covers(name: &str, host: &str) -> bool {
    let wild = name.strip_prefix("*.").zip(host.split_once('.')).is_some_and(|(domain, (_, rest))| domain == rest);
    name == host || wild
}

fn issuers(chain: &[der::Certificate], file: &str, found: &mut Findings) {
    let broken = chain.windows(2).any(|pair| pair[0].issuer != pair[1].subject);
    let Some(own) = chain.first() else { return };
    if broken {
        found.bad(
            CHECK,
            format!("{file}: the chain is broken, a certificate in it was not issued by the one after it"),
            "the server's certificate first, then its issuer's, then that one's issuer's: certbot's fullchain.pem",
        );
    } else if own.issuer == own.subject {
        found.warn(
            CHECK,
            format!("{file} is self-signed: browsers refuse it without being told to trust it"),
            "get one from an authority that browsers know, such as Let's Encrypt",
        );
    } else if chain.len() == 1 {
        found.warn(
            CHECK,
            format!("{file}: the chain is missing, there is only the server's own certificate; many clients cannot find its issuer"),
            "use the file with the whole chain: certbot's fullchain.pem, not cert.pem",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_star_is_for_one_label() {
        assert!(covers("relay.example", "relay.example") && covers("*.relay.example", "eu.relay.example"));
        assert!(!covers("*.relay.example", "relay.example") && !covers("*.relay.example", "a.b.relay.example"));
    }
}

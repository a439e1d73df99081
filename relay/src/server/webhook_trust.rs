//! Whom requests to the app's backend trust: the roots of this machine, or those the operator names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Where systems keep their roots.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Where whom to trust stands: `ca`, or the first bundle this system has.
pub(super) fn file(ca: Option<&Path>) -> PathBuf {
    match ca {
        Some(file) => file.to_owned(),
        None => BUNDLES.iter().map(PathBuf::from).find(|file| file.exists()).unwrap_or_else(|| BUNDLES[0].into()),
    }
}

/// A client that trusts the certificates in `ca`, or in the first bundle this system has.
///
/// # Errors
/// The file that was looked for and cannot be used.
pub(super) fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, PathBuf> {
    let file = file(ca);
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(&file).map_err(|_| file.clone())?;
    // A bundle of a system may hold some that this library does not take.
    let (added, _) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if added == 0 {
        return Err(file);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| file)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let missing = Path::new("/nonexistent/ca.pem");
        assert_eq!(client(Some(missing)).unwrap_err(), missing);
    }

    #[test]
    fn a_file_with_a_certificate_is_trusted() {
        let file = std::env::temp_dir().join(format!("relay-ca-{}.pem", std::process::id()));
        let made = rcgen::generate_simple_self_signed(["backend.example".to_owned()]).unwrap();
        std::fs::write(&file, made.cert.pem()).unwrap();
        let trusted = client(Some(&file)).is_ok();
        std::fs::remove_file(&file).unwrap();
        assert!(trusted);
    }
}

//! Certificates: read from files, checked, and replaced while the server runs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// TURN over TLS (RFC 7443).
pub(super) const ALPN_TURN: &[u8] = b"stun.turn";
/// HTTP and WebSocket.
pub(super) const ALPN_HTTP: &[u8] = b"http/1.1";
/// HTTP/2: pages (RFC 9113 §3.2).
pub(super) const ALPN_HTTP2: &[u8] = b"h2";
/// A certificate chain or key file is never longer, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where certificate and key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate first, then those that lead to its issuer.
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

/// The certificate shown to clients. Connections keep the one they began with.
pub struct Certificates {
    files: Files,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

/// Why a pair of files cannot be used. Names the option and the file, never what is in it.
#[derive(Debug)]
pub enum CertificateError {
    Unreadable {
        key: &'static str,
        file: PathBuf,
        source: io::Error,
    },
    NotPem {
        key: &'static str,
        file: PathBuf,
        wanted: &'static str,
    },
    /// The private key is of a kind we cannot sign with.
    UnusableKey {
        file: PathBuf,
    },
    /// The certificate is no X.509 certificate that we can read.
    UnusableCertificate {
        file: PathBuf,
    },
    /// The certificate is for another key.
    Mismatch {
        files: Files,
    },
    /// The cryptography at hand lacks what TLS 1.2 and 1.3 need: a mistake of ours.
    Provider,
}

impl Certificates {
    /// Reads and checks both files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(files: Files) -> Result<Arc<Certificates>, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let shown = Arc::new(Shown { pair: RwLock::new(read(&files, &provider)?) });
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| CertificateError::Provider)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(Arc::clone(&shown) as _);
        config.alpn_protocols = vec![ALPN_TURN.to_vec(), ALPN_HTTP.to_vec()];
        // Nothing is kept that would let one connection be linked to the next.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(Certificates { files, shown, config: Arc::new(config) }))
    }

    /// Reads the files it was loaded from again. New connections are shown the new certificate.
    ///
    /// # Errors
    /// What is wrong with them; the old certificate stays.
    pub fn reload(&self) -> Result<(), CertificateError> {
        self.prepare(&self.files).map(|fresh| self.show(fresh)).map(|_| ())
    }

    /// Reads a certificate that [`Certificates::show`] can put in the place of this one.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn prepare(&self, files: &Files) -> Result<Fresh, CertificateError> {
        read(files, self.config.crypto_provider()).map(Fresh)
    }

    /// New connections are shown this one; those that exist keep what they have. Whether it is another one than before.
    pub fn show(&self, Fresh(pair): Fresh) -> bool {
        let mut shown = self.shown.pair.write().unwrap_or_else(PoisonError::into_inner);
        let other = shown.cert != pair.cert;
        *shown = pair;
        other
    }

    /// The same, and HTTP/2 is offered too.
    pub(super) fn config_with_http2(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        // What the first of these is that a client speaks too is agreed on.
        config.alpn_protocols = [ALPN_TURN, ALPN_HTTP2, ALPN_HTTP].map(<[u8]>::to_vec).into();
        Arc::new(config)
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// A certificate and its key that were found good.
pub struct Fresh(Arc<CertifiedKey>);

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fresh([redacted])")
    }
}

/// Looks the files over without keeping anything, for `relay check`.
///
/// # Errors
/// What is wrong with them.
pub fn check(files: &Files) -> Result<(), CertificateError> {
    read(files, &ring::default_provider()).map(|_| ())
}

struct Shown {
    pair: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.pair.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn read(files: &Files, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, CertificateError> {
    const CERTIFICATE: &str = "tls.certificate";
    const PRIVATE_KEY: &str = "tls.private_key";
    let not_pem = |key, file: &Path, wanted| CertificateError::NotPem { key, file: file.to_owned(), wanted };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&contents(CERTIFICATE, &files.certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|_| not_pem(CERTIFICATE, &files.certificate, "a certificate chain"))?;
    if chain.is_empty() {
        return Err(not_pem(CERTIFICATE, &files.certificate, "a certificate chain"));
    }
    let key = PrivateKeyDer::from_pem_slice(&contents(PRIVATE_KEY, &files.private_key)?)
        .map_err(|_| not_pem(PRIVATE_KEY, &files.private_key, "an unencrypted private key"))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| CertificateError::UnusableKey { file: files.private_key.clone() })?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) => Ok(Arc::new(pair)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch { files: files.clone() }),
        Err(_) => Err(CertificateError::UnusableCertificate { file: files.certificate.clone() }),
    }
}

fn contents(key: &'static str, file: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(source) => Err(CertificateError::Unreadable { key, file: file.to_owned(), source }),
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateError::Unreadable { key, file, source } => {
                write!(f, "{key}: {} cannot be read: {source}", file.display())
            }
            CertificateError::NotPem { key, file, wanted } => {
                write!(f, "{key}: {} holds no PEM text of {wanted}", file.display())
            }
            CertificateError::UnusableKey { file } => write!(
                f,
                "tls.private_key: {} is of a kind this server cannot sign with; use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more",
                file.display()
            ),
            CertificateError::UnusableCertificate { file } => {
                write!(f, "tls.certificate: the first certificate in {} cannot be read as X.509", file.display())
            }
            CertificateError::Mismatch { files } => write!(
                f,
                "tls.private_key: {} is not the key of the first certificate in {}; the server's own certificate comes first in its chain",
                files.private_key.display(),
                files.certificate.display()
            ),
            CertificateError::Provider => f.write_str("tls: the cryptography built in cannot do TLS 1.2 and 1.3"),
        }
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CertificateError::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("relay-tls-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn files(&self) -> Files {
            Files { certificate: self.0.join("cert.pem"), private_key: self.0.join("key.pem") }
        }

        fn write(&self, certificate: &str, key: &str) -> Files {
            std::fs::write(self.0.join("cert.pem"), certificate).unwrap();
            std::fs::write(self.0.join("key.pem"), key).unwrap();
            self.files()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said_with_the_option_and_the_file() {
        let folder = Folder::new("wrong");
        let missing = Certificates::load(folder.files()).err().unwrap().to_string();
        assert!(missing.starts_with("tls.certificate: ") && missing.contains("cert.pem cannot be read"), "{missing}");
        let ((certificate, key), (_, other)) = (pair(), pair());
        for (certificate, key, complaint) in [
            (certificate.as_str(), other.as_str(), "is not the key of the first certificate"),
            (&certificate, "", "tls.private_key: "),
            (&certificate, &certificate, "holds no PEM text of an unencrypted private key"),
            ("nothing", &key, "holds no PEM text of a certificate chain"),
            (&key, &key, "holds no PEM text of a certificate chain"),
        ] {
            let text = check(&folder.write(certificate, key)).unwrap_err().to_string();
            assert!(text.contains(complaint), "{text}");
        }
        check(&folder.write(&certificate, &key)).unwrap();
    }

    #[test]
    fn a_reload_shows_the_new_certificate_and_a_bad_pair_leaves_the_old_one() {
        let folder = Folder::new("reload");
        let ((certificate, key), (newer, newer_key)) = (pair(), pair());
        let certificates = Certificates::load(folder.write(&certificate, &key)).unwrap();
        let shown = || certificates.shown.pair.read().unwrap().cert[0].clone();
        let first = shown();
        folder.write(&newer, &key);
        assert!(matches!(certificates.reload(), Err(CertificateError::Mismatch { .. })));
        assert_eq!(shown(), first);
        folder.write(&newer, &newer_key);
        certificates.reload().unwrap();
        assert_ne!(shown(), first);
    }
}

//! TLS towards the server under test. Unless an authority is named its certificate is not checked: what is measured is a
//! server one names oneself, often with a certificate of its own making, and nothing of value is sent.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};

/// How TLS connections are made, decided once for all callers.
#[derive(Clone)]
pub struct Dialer {
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl Dialer {
    /// `authority`: certificates (PEM) the server's must be, or be signed by; none: any will do. `name`: what is asked for
    /// (SNI) and checked; none: the server's address.
    pub fn new(authority: Option<&Path>, name: Option<&str>) -> io::Result<Dialer> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let config = match authority {
            Some(file) => config.with_root_certificates(trusted(file)?),
            None => config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        };
        let name = name.map(|name| ServerName::try_from(name.to_owned()).map_err(io::Error::other)).transpose()?;
        Ok(Dialer { connector: TlsConnector::from(Arc::new(config.with_no_client_auth())), name })
    }

    /// To the host of a URL, whose name or address is asked for unless another was given.
    pub(crate) async fn connect_to(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        self.connector.connect(name, stream).await
    }

    pub(super) async fn connect(&self, server: SocketAddr, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = self.name.clone().unwrap_or(ServerName::IpAddress(server.ip().into()));
        self.connector.connect(name, stream).await
    }
}

fn trusted(file: &Path) -> io::Result<RootCertStore> {
    let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", file.display()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| named(&error))? {
        store.add(certificate.map_err(|error| named(&error))?).map_err(|error| named(&error))?;
    }
    if store.is_empty() { Err(named(&"no certificate in it")) } else { Ok(store) }
}

/// Accepts every certificate, but not a handshake its key did not sign.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

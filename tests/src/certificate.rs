//! A certificate made for one test, and a TLS client that believes in it alone.

use crate::Daemon;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom the certificates are for.
pub const NAME: &str = "relay.test";

/// Writes a new pair into `cert.pem` and `key.pem`, and the authority that signed it, made for this one occasion, into `ca.pem`.
/// The server is [`NAME`], and this machine for clients that look names up.
pub fn write(folder: &Path) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "end-to-end tests");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let names = [NAME, "localhost", "127.0.0.1", "::1"];
    let mut server = CertificateParams::new(names.map(str::to_owned)).unwrap();
    server.distinguished_name.push(DnType::CommonName, NAME);
    let key = KeyPair::generate().unwrap();
    let certificate = server.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// Replaces the daemon's files by a new pair; it is not told.
pub fn replace(daemon: &Daemon) {
    write(&daemon.directory);
}

/// Replaces only the certificate, so that the files do not match any more.
pub fn spoil(daemon: &Daemon) {
    let key = std::fs::read(daemon.directory.join("key.pem")).unwrap();
    write(&daemon.directory);
    std::fs::write(daemon.directory.join("key.pem"), key).unwrap();
}

/// Connects and shakes hands. Fails unless the certificate shown is the one in the files now: no two have the same authority.
pub async fn connect(daemon: &Daemon, to: SocketAddr, alpn: &[&str]) -> io::Result<TlsStream<TcpStream>> {
    let config = config(daemon, alpn);
    let stream = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), stream).await
}

/// The same without a runtime; the handshake is finished when it returns.
pub fn connect_blocking(
    daemon: &Daemon,
    to: SocketAddr,
) -> io::Result<StreamOwned<ClientConnection, std::net::TcpStream>> {
    let name = ServerName::try_from(NAME).unwrap();
    let client = ClientConnection::new(Arc::new(config(daemon, &[])), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(client, std::net::TcpStream::connect(to)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Believes in the certificate in the daemon's files now, and in no other.
fn config(daemon: &Daemon, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(daemon.authority()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

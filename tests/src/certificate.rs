//! A certificate made for one test, and a TLS client that believes in it alone.

use crate::Daemon;
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

/// Writes a new pair into `cert.pem` and `key.pem`.
pub fn write(folder: &Path) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
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

/// Connects and shakes hands. Fails unless the certificate shown is the one in the files now.
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
    roots.add(CertificateDer::from_pem_file(daemon.directory.join("cert.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

//! A connection to a TURN server over UDP, TCP or TLS: whole messages out and in, each with a deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Longer than any answer that is still of use.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longer than any answer.
const MAX_BYTES: usize = 2048;
const STUN_HEADER: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    pub(super) fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }
}

pub(super) enum Link {
    Datagrams(UdpSocket),
    Stream(Box<dyn ReadWrite>),
}

pub(super) trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Link {
    /// `name` is whom a TLS server is asked for; what it shows is another check's concern.
    pub(super) fn open(transport: Transport, to: SocketAddr, name: &str) -> io::Result<Link> {
        if transport == Transport::Udp {
            let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            return Ok(Link::Datagrams(socket));
        }
        connect(transport, to, name, b"stun.turn").map(Link::Stream)
    }

    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Link::Datagrams(socket) => socket.send(message).map(|_| ()),
            Link::Stream(stream) => stream.write_all(message).and_then(|()| stream.flush()),
        }
    }

    /// The next STUN message.
    pub(super) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; MAX_BYTES];
        let length = match self {
            Link::Datagrams(socket) => socket.recv(&mut bytes)?,
            Link::Stream(stream) => {
                stream.read_exact(&mut bytes[..STUN_HEADER])?;
                let length = STUN_HEADER + usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
                let rest = bytes.get_mut(STUN_HEADER..length).ok_or(io::ErrorKind::InvalidData)?;
                stream.read_exact(rest)?;
                length
            }
        };
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// A stream of bytes, inside TLS unless it is `Transport::Tcp`.
pub(super) fn connect(
    transport: Transport,
    to: SocketAddr,
    name: &str,
    protocol: &[u8],
) -> io::Result<Box<dyn ReadWrite>> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    if transport == Transport::Tcp {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(name.to_owned()).unwrap_or_else(|_| to.ip().into());
    let session = ClientConnection::new(config(protocol)?, name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(session, stream)))
}

fn config(protocol: &[u8]) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// Takes any certificate that the server has the key of: nothing secret is said, and `certificate` judges it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

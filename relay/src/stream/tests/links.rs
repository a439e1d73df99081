//! A relay with TCP and TLS listeners, and clients that come over them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::clock::Clock;
use crate::dataplane;
use crate::dataplane::tests::client::{Client, Link, shared};
use crate::splice;
use crate::stream::tls::Files;
use crate::stream::{self, Certificates, Settings};
use crate::wire::framing::{self, Frame, padding};

const LONG: Duration = Duration::from_secs(10);

pub(super) struct Server {
    pub(super) udp: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) accepted: Arc<stream::Counters>,
    // In this order: nobody hands a connection to a worker that is gone.
    _streams: stream::Running,
    pub(super) workers: dataplane::Running,
    pub(super) shared: Arc<crate::turn::Shared>,
    _splice: splice::Running,
    folder: std::path::PathBuf,
}

pub(super) struct Choices {
    pub(super) workers: usize,
    pub(super) idle_millis: u64,
    pub(super) with_certificate: bool,
    pub(super) settings: Settings,
}

pub(super) fn choices() -> Choices {
    let any = vec!["127.0.0.1:0".parse().unwrap()];
    let settings = Settings {
        tcp: any.clone(),
        tls: any,
        connections: 2000,
        connections_of_one_network: 2000,
        ..Settings::default()
    };
    Choices { workers: 2, idle_millis: 30_000, with_certificate: true, settings }
}

pub(super) fn server() -> Server {
    Server::start(choices())
}

impl Server {
    pub(super) fn start(choices: Choices) -> Server {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("relay-streams-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let bound = dataplane::bind(&dataplane::Settings {
            listeners: vec!["127.0.0.1:0".parse().unwrap()],
            workers: choices.workers,
            stream_idle_millis: choices.idle_millis,
            ..dataplane::Settings::default()
        })
        .unwrap();
        let udp = bound.addresses()[0];
        let streams = stream::bind(choices.settings).unwrap();
        let (tcp, tls) = (streams.tcp()[0], streams.tls()[0]);
        let (shared, clock) = (shared(&[udp, tcp, tls], 49152..=65535), Clock::start());
        let (sender, tasks) = dataplane::tasks();
        let workers = bound.with_tcp(sender).start(&shared, clock, [1; 32]).unwrap();
        let splice = splice::start(tasks, Arc::clone(&shared.tcp), workers.mailboxes(), clock).unwrap();
        let certificates = choices.with_certificate.then(|| {
            new_certificate(&folder);
            Certificates::load(files(&folder)).unwrap()
        });
        let streams = streams.start(workers.mailboxes(), certificates.as_deref(), None).unwrap();
        let accepted = streams.counters();
        Server { udp, tcp, tls, certificates, accepted, _streams: streams, workers, shared, _splice: splice, folder }
    }

    /// Replaces the files; the server is not told.
    pub(super) fn new_certificate(&self) {
        new_certificate(&self.folder);
    }

    pub(super) fn connect_tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Shakes hands with whoever listens at `server`; the certificate in the files now must be the one shown.
    pub(super) fn connect_tls(&self, server: SocketAddr, alpn: &[&[u8]]) -> io::Result<TlsLink> {
        self.connect_tls_as(server, alpn, rustls::ALL_VERSIONS)
    }

    pub(super) fn connect_tls_as(
        &self,
        server: SocketAddr,
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<TlsLink> {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(files(&self.folder).certificate).unwrap();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_protocol_versions(versions).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("relay.test").unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = TcpStream::connect(server)?;
        socket.set_read_timeout(Some(LONG))?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(session, socket))
    }

    pub(super) fn tcp_client(&self, user: usize) -> Client {
        Client::over(Box::new(Framed::new(self.connect_tcp())), user)
    }

    pub(super) fn tls_client(&self, user: usize) -> Client {
        Client::over(Box::new(Framed::new(self.connect_tls(self.tls, &[b"stun.turn"]).unwrap())), user)
    }

    pub(super) fn udp_client(&self, user: usize) -> Client {
        Client::new(self.udp, user)
    }

    pub(super) fn allocations(&self) -> u64 {
        self.workers.counters().iter().map(|counters| counters.allocations()).sum()
    }

    /// A number of the workers' sockets, all workers together.
    pub(super) fn io(&self, name: &str) -> u64 {
        let counters = self.workers.io_counters();
        let all = counters.iter().flat_map(|one| one.totals().chain(one.drops()).collect::<Vec<_>>());
        all.filter(|(found, _)| *found == name).map(|(_, count)| count).sum()
    }

    pub(super) fn fate(&self, name: &str) -> u64 {
        self.accepted.fates().find(|(found, _)| *found == name).unwrap().1
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn files(folder: &std::path::Path) -> Files {
    Files { certificate: folder.join("cert.pem"), private_key: folder.join("key.pem") }
}

fn new_certificate(folder: &std::path::Path) {
    let made = rcgen::generate_simple_self_signed(["relay.test".to_owned()]).unwrap();
    std::fs::write(files(folder).certificate, made.cert.pem()).unwrap();
    std::fs::write(files(folder).private_key, made.signing_key.serialize_pem()).unwrap();
}

pub(super) type TlsLink = StreamOwned<ClientConnection, TcpStream>;

/// A connection underneath a [`Framed`].
pub(super) trait Pipe: Read + Write {
    fn socket(&self) -> &TcpStream;
}

impl Pipe for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Pipe for TlsLink {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// Messages on a stream; each one's padding must be there and be zero.
pub(super) struct Framed<P> {
    pub(super) pipe: P,
    received: Vec<u8>,
    /// Writes are cut into pieces of so many bytes.
    pub(super) piece: usize,
}

impl<P: Pipe> Framed<P> {
    pub(super) fn new(pipe: P) -> Framed<P> {
        pipe.socket().set_nodelay(true).unwrap();
        Framed { pipe, received: Vec::new(), piece: usize::MAX }
    }
}

impl<P: Pipe> Link for Framed<P> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let bytes = [message, padding(message.len())].concat();
        for piece in bytes.chunks(self.piece) {
            self.pipe.write_all(piece)?;
            self.pipe.flush()?;
        }
        Ok(())
    }

    fn receive(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        self.pipe.socket().set_read_timeout(Some(patience))?;
        loop {
            match framing::next(&self.received, usize::MAX) {
                Frame::Message { len, padded } => {
                    assert!(self.received[len..padded].iter().all(|byte| *byte == 0), "dirty padding");
                    let message = self.received[..len].to_vec();
                    self.received.drain(..padded);
                    return Ok(message);
                }
                Frame::Incomplete => {}
                other => panic!("the server sent {other:?}"),
            }
            let mut more = [0; 16 * 1024];
            match self.pipe.read(&mut more)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&more[..count]),
            }
        }
    }

    fn address(&self) -> SocketAddr {
        self.pipe.socket().local_addr().unwrap()
    }
}

/// Whether the server closes within [`LONG`], whatever it says before.
pub(super) fn is_closed(pipe: &mut impl Pipe) -> bool {
    pipe.socket().set_read_timeout(Some(LONG)).unwrap();
    loop {
        match pipe.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

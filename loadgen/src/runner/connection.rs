//! WebSockets to the target: one per caller, with small buffers.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::{Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::media::{sockets::loopback_address, tls::Dialer};

/// The protocol both sides must speak.
const PROTOCOL: &str = "pair.v1";
/// Buffers of one connection; a frame of 16 KiB still fits, they grow for it.
const BUFFER: usize = 1 << 10;
const MAX_FRAME: usize = 64 << 10;
/// Connecting and upgrading.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) type Socket = WebSocketStream<Stream>;

/// Where signalling is: `ws://host:port/path`, or `wss://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub socket: SocketAddr,
    /// Spoken to in TLS.
    pub secure: bool,
    /// As it is written in the Host header.
    host: String,
    path: String,
}

/// The target could not be reached before the run; says what to do.
#[derive(Debug)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

impl Address {
    /// Of a relay at `socket`, under the usual path.
    pub fn usual(socket: SocketAddr) -> Address {
        Address { socket, secure: false, host: socket.to_string(), path: "/v1/ws".to_owned() }
    }

    /// Reads and resolves `ws://host[:port][/path]`, or `wss://`.
    pub fn parse(url: &str) -> Result<Address, String> {
        let plain = url.strip_prefix("ws://").map(|rest| (rest, false, 80));
        let found = plain.or_else(|| url.strip_prefix("wss://").map(|rest| (rest, true, 443)));
        let (rest, secure, usual_port) =
            found.ok_or_else(|| format!("{url}: expected ws://host:port/v1/ws or wss://host:port/v1/ws"))?;
        let (host, path) = rest.find('/').map_or((rest, "/v1/ws"), |at| rest.split_at(at));
        let named = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:{usual_port}")
        };
        let mut resolved = named.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        let socket = resolved.next().ok_or_else(|| format!("{host} has no address"))?;
        let path = if path == "/" { "/v1/ws" } else { path };
        Ok(Address { socket, secure, host: host.to_owned(), path: path.to_owned() })
    }

    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.secure { "wss" } else { "ws" }, self.host, self.path)
    }

    /// The host without its port and brackets, as a certificate names it.
    fn host_name(&self) -> &str {
        let host = self.host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        host.map_or(self.host.as_str(), |(host, _)| host).trim_matches(['[', ']'])
    }
}

/// A connection in the clear or in TLS.
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Secure(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Secure(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Connects caller `number`, from an address of its own where the target is on this machine. Who has not taken the connection
/// for so long as `answered` will not.
pub(crate) async fn connect(address: &Address, dialer: &Dialer, number: u32, answered: Duration) -> io::Result<Socket> {
    let source = loopback_address(number, address.socket.ip());
    let connecting = async {
        let stream = timeout(answered, tcp(address.socket, source)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        let stream = match address.secure {
            false => Stream::Plain(stream),
            true => Stream::Secure(Box::new(dialer.connect_to(address.host_name(), stream).await?)),
        };
        upgrade(address, stream).await
    };
    timeout(PATIENCE, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
}

pub(crate) async fn tcp(to: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind((source, 0).into())?;
    }
    socket.connect(to).await
}

async fn upgrade(address: &Address, stream: Stream) -> io::Result<Socket> {
    let mut request = address.url().into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_write_buffer_size(2 * MAX_FRAME)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    let (socket, response) = client_async_with_config(request, stream, Some(config)).await.map_err(io::Error::other)?;
    let agreed = response.headers().get(SEC_WEBSOCKET_PROTOCOL).is_some_and(|protocol| protocol == PROTOCOL);
    if !agreed {
        return Err(io::Error::other(format!("the server does not speak {PROTOCOL}")));
    }
    // The handshake leaves its buffer of 4 KiB behind for as long as the connection lives. Nothing is lost with it: the
    // server speaks only when it is spoken to.
    Ok(WebSocketStream::from_raw_socket(socket.into_inner(), Role::Client, Some(config)).await)
}

/// Whether the target answers at all, asked once before the load.
pub async fn check(address: &Address, dialer: &Dialer) -> Result<(), Unreachable> {
    let refused = |error: &io::Error| {
        let refused = error.kind() == io::ErrorKind::ConnectionRefused;
        if refused { "; is the relay running, and its [listen] signalling there?" } else { "" }
    };
    match connect(address, dialer, u32::MAX, PATIENCE).await {
        Ok(mut socket) => {
            let _ = socket.close(None).await;
            Ok(())
        }
        Err(error) => Err(Unreachable(format!("cannot reach {}: {error}{}", address.url(), refused(&error)))),
    }
}

/// Whether the other side closes because another process has taken its place (IANA: 1012, service restart).
pub(crate) fn restarts(message: &tungstenite::Message) -> bool {
    matches!(message, tungstenite::Message::Close(Some(frame)) if frame.code == CloseCode::Restart)
}

/// The text of a message, if it is one.
pub(crate) fn text(message: &tungstenite::Message) -> Option<&str> {
    match message {
        tungstenite::Message::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_read_with_and_without_port_and_path() {
        let address = Address::parse("ws://127.0.0.1:8080/v1/ws").unwrap();
        assert_eq!((address.socket.to_string().as_str(), address.path.as_str()), ("127.0.0.1:8080", "/v1/ws"));
        assert_eq!(Address::parse("ws://127.0.0.1:8080").unwrap(), address);
        assert_eq!(Address::parse("ws://127.0.0.1").unwrap().socket.port(), 80);
        let secure = Address::parse("wss://127.0.0.1").unwrap();
        assert_eq!((secure.socket.port(), secure.secure, secure.url().as_str()), (443, true, "wss://127.0.0.1/v1/ws"));
        assert_eq!(Address::parse("wss://127.0.0.1:8443/v1/ws").unwrap().host_name(), "127.0.0.1");
        assert_eq!(Address::parse("wss://[::1]:8443/v1/ws").unwrap().host_name(), "::1");
        assert_eq!(Address::parse("ws://[::1]:9").unwrap().socket.to_string(), "[::1]:9");
    }

    #[tokio::test]
    async fn whom_a_full_listener_does_not_take_gives_up_when_its_patience_ends() {
        let listener = TcpSocket::new_v4().unwrap();
        listener.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = listener.listen(1).unwrap();
        let address = Address::usual(listener.local_addr().unwrap());
        let _two = [tcp(address.socket, None).await.unwrap(), tcp(address.socket, None).await.unwrap()];
        let (dialer, begun) = (Dialer::new(None, None).unwrap(), std::time::Instant::now());
        let refused = connect(&address, &dialer, 0, Duration::from_millis(100)).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    }

    #[test]
    fn what_is_no_address_of_signalling_is_said() {
        assert!(Address::parse("http://127.0.0.1").unwrap_err().contains("expected ws://"));
    }
}

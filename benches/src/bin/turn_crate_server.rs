//! A server made of the `turn` crate as its own example makes one, to measure ours beside it. Not for use.
//!
//! `turn_crate_server ADDRESS REALM USER PASSWORD`
#![allow(clippy::print_stdout)] // a command-line program

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};
use webrtc_util::vnet::net::Net;

struct OneUser {
    name: String,
    key: Vec<u8>,
}

impl AuthHandler for OneUser {
    fn auth_handle(&self, username: &str, _realm: &str, _from: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        if username == self.name { Ok(self.key.clone()) } else { Err(turn::Error::ErrFakeErr) }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, realm, user, password] = arguments.as_slice() else {
        return Err("ADDRESS REALM USER PASSWORD".into());
    };
    let address: SocketAddr = address.parse()?;
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let conn = Arc::new(tokio::net::UdpSocket::from_std(socket.into())?);
    let relay = RelayAddressGeneratorStatic {
        relay_address: address.ip(),
        address: address.ip().to_string(),
        net: Arc::new(Net::new(None)),
    };
    let config = ServerConfig {
        conn_configs: vec![ConnConfig { conn, relay_addr_generator: Box::new(relay) }],
        realm: realm.clone(),
        auth_handler: Arc::new(OneUser { name: user.clone(), key: generate_auth_key(user, realm, password) }),
        channel_bind_timeout: std::time::Duration::ZERO,
        alloc_close_notify: None,
    };
    let _server = Server::new(config).await?;
    println!("ready");
    std::future::pending().await
}

//! TURN that says yes to everything: the 401 round trip is kept, the credential is not looked at, the relayed address of
//! the n-th allocation is port n, and ChannelData goes to whoever got the port that its sender bound.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use super::{PASSWORD, REALM};
use crate::{
    peer::stun::{Builder, Class, Method, View, attribute, long_term_key, parse_channel_data},
    sys,
};
use std::os::fd::AsFd;

const LONGEST: usize = 1500;
/// A second of what is asked for at most.
const RECEIVE_BUFFER: i32 = 64 << 20;
const FIRST_PORT: u16 = 1024;

struct Relay {
    ports: HashMap<SocketAddr, u16>,
    /// By port.
    holders: Vec<Option<SocketAddr>>,
    /// Whom each sender's channel leads to.
    bound: HashMap<SocketAddr, u16>,
    next: u16,
}

pub(super) fn serve(socket: &UdpSocket) {
    let _ = sys::set_receive_buffer(socket.as_fd(), RECEIVE_BUFFER);
    let mut relay =
        Relay { ports: HashMap::new(), holders: vec![None; 1 << 16], bound: HashMap::new(), next: FIRST_PORT };
    let mut buffer = [0; LONGEST];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let packet = &buffer[..length];
        if parse_channel_data(packet).is_some() {
            let to = relay.bound.get(&from).and_then(|port| relay.holders[usize::from(*port)]);
            if let Some(to) = to {
                let _ = socket.send_to(packet, to);
            }
        } else if let Some(reply) = View::parse(packet).and_then(|request| relay.answer(from, &request)) {
            let _ = socket.send_to(&reply, from);
        }
    }
}

impl Relay {
    fn answer(&mut self, from: SocketAddr, request: &View<'_>) -> Option<Vec<u8>> {
        let methods = [Method::Allocate, Method::Refresh, Method::CreatePermission, Method::ChannelBind];
        let method = methods.into_iter().find(|method| *method as u16 == request.method())?;
        let Some(user) = request.get(attribute::USERNAME) else {
            let challenge = Builder::new(Class::Error, method, request.transaction())
                .attribute(attribute::ERROR_CODE, &[0, 0, 4, 1])
                .attribute(attribute::REALM, REALM.as_bytes())
                .attribute(attribute::NONCE, b"n");
            return Some(challenge.finish());
        };
        let user = std::str::from_utf8(user).ok()?;
        let mut lifetime = 600u32;
        match method {
            Method::Allocate => self.allocate(from),
            Method::Refresh if request.get(attribute::LIFETIME) == Some(&[0; 4]) => {
                self.free(from);
                lifetime = 0;
            }
            Method::ChannelBind => {
                let peer = request.address(attribute::XOR_PEER_ADDRESS)?;
                self.bound.insert(from, peer.port());
            }
            _ => {}
        }
        let port = self.ports.get(&from).copied().unwrap_or(FIRST_PORT);
        let reply = Builder::new(Class::Success, method, request.transaction())
            .address(attribute::XOR_RELAYED_ADDRESS, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .attribute(attribute::LIFETIME, &lifetime.to_be_bytes())
            .integrity(&long_term_key(user, REALM, PASSWORD));
        Some(reply.finish())
    }

    fn allocate(&mut self, from: SocketAddr) {
        if !self.ports.contains_key(&from) {
            self.ports.insert(from, self.next);
            self.holders[usize::from(self.next)] = Some(from);
            self.next = self.next.checked_add(1).unwrap_or(FIRST_PORT);
        }
    }

    fn free(&mut self, from: SocketAddr) {
        if let Some(port) = self.ports.remove(&from) {
            self.holders[usize::from(port)] = None;
        }
        self.bound.remove(&from);
    }
}

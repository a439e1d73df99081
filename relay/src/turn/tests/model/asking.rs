//! From an action to a request: its bytes for the server, its meaning for the model.

use std::net::SocketAddr;

use super::action::{self, Ask, Proof};
use super::asked::{Body, Claim, Port};
use super::cast::{Proven, look_at};
use super::drive::Driver;
use crate::auth::Credential;
use crate::turn::tests::world::*;
use crate::wire::{self, Key, PasswordAlgorithm};

const OFFERED: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];

impl Driver {
    /// What is asked, for the model and for the server.
    pub(super) fn fill(&self, what: Ask, mut request: wire::Request) -> (Body, wire::Request) {
        let body = match what {
            Ask::Allocate { transport, family, port, lifetime } => {
                request = transport.into_iter().fold(request, wire::Request::requested_transport);
                request = family.into_iter().fold(request, wire::Request::requested_address_family);
                request = lifetime.into_iter().fold(request, wire::Request::lifetime);
                let port = self.port(port);
                request = match port {
                    Port::Any => request,
                    Port::Even => request.even_port(false),
                    Port::Pair => request.even_port(true),
                    Port::Token(token) => request.reservation_token(token),
                    Port::TokenAndEven => request.even_port(true).reservation_token([1; 8]),
                };
                Body::Allocate { transport, family, port, lifetime }
            }
            Ask::Refresh { lifetime, family } => {
                request = lifetime.into_iter().fold(request, wire::Request::lifetime);
                request = family.into_iter().fold(request, wire::Request::requested_address_family);
                Body::Refresh { lifetime, family }
            }
            Ask::Permit { peers } => {
                let peers: Vec<SocketAddr> = peers.into_iter().flatten().map(|peer| self.address(peer)).collect();
                request = peers.iter().copied().fold(request, wire::Request::xor_peer_address);
                Body::Permit(peers.into_iter().map(look_at).collect())
            }
            Ask::Bind { number, peer } => {
                let peer = peer.map(|peer| self.address(peer));
                request = number.into_iter().fold(request, wire::Request::channel_number);
                request = peer.into_iter().fold(request, wire::Request::xor_peer_address);
                Body::Bind(number, peer.map(look_at))
            }
        };
        (body, request)
    }

    fn port(&self, port: action::Port) -> Port {
        match port {
            action::Port::Any => Port::Any,
            action::Port::Even => Port::Even,
            action::Port::Pair => Port::Pair,
            action::Port::Token(back) => Port::Token(self.tokens.iter().rev().nth(back).copied().unwrap_or([9; 8])),
            action::Port::TokenAndEven => Port::TokenAndEven,
        }
    }

    pub(super) fn prove(
        &self,
        who: usize,
        proof: Proof,
        request: wire::Request,
    ) -> (Claim, wire::Request, Option<Key>) {
        let other = [2, 2, 3, 0, 0, 0, 0, 0];
        let Proven { credential, identity, minted } = match proof {
            Proof::SomebodyElse => self.credentials[other[who]].clone(),
            _ => self.credentials[who].clone(),
        };
        let Credential { mut username, mut password } = credential;
        match proof {
            Proof::WrongPassword => password.push('!'),
            Proof::UnknownUser => username = "mallory".to_owned(),
            _ => {}
        }
        let sha256 = proof == Proof::Right { sha256: true };
        let foreign = proof == Proof::ForeignNonce;
        let nonce = if foreign { "obMatJos2AAABsomebody_elses" } else { &self.nonces[who].text };
        let claim = Claim {
            identity,
            username: username.clone(),
            sha256,
            genuine: !matches!(proof, Proof::Nothing | Proof::WrongPassword | Proof::UnknownUser),
            nonce: (!foreign).then_some(self.nonces[who].made),
            minted,
            unknown_attribute: proof == Proof::RightButUnknown,
        };
        if proof == Proof::Nothing {
            return (claim, request, None);
        }
        let request = request.credentials(&username, REALM, nonce);
        let algorithm = if sha256 { PasswordAlgorithm::Sha256 } else { PasswordAlgorithm::Md5 };
        let key = Key::derive(algorithm, username.as_bytes(), REALM.as_bytes(), password.as_bytes());
        let request = if sha256 { request.password_algorithm(&OFFERED, algorithm) } else { request };
        (claim, request, Some(key))
    }

    pub(super) fn address(&self, peer: action::Peer) -> SocketAddr {
        match peer {
            action::Peer::Outside(host, port) => SocketAddr::from(([93, 184, 216, host], 9000 + u16::from(port))),
            action::Peer::Outside6(host) => addr(&format!("[2606:4700::{host}]:9000")),
            action::Peer::Relayed(who) => self.relayed[who],
            action::Peer::RelayedBound(who) if self.relayed[who].is_ipv4() => {
                SocketAddr::from(([10, 0, 0, 4], self.relayed[who].port()))
            }
            action::Peer::RelayedBound(who) => self.relayed[who],
            action::Peer::Mapped(host) => addr(&format!("[::ffff:93.184.216.{host}]:9000")),
            action::Peer::Forbidden(which) => {
                addr(["127.0.0.1:80", "169.254.169.254:80", "203.0.113.7:3478", "[::1]:80"][usize::from(which)])
            }
        }
    }
}

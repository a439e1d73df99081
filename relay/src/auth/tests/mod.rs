//! The authenticator driven through bytes, as clients and attackers would send them.
#![allow(clippy::unwrap_used)]

mod bid_down;
mod negotiation;
mod reloaded;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;

use super::mac;
use super::{Authenticated, Authenticator, CallKeys, Credential, Identity, Refusal, Settings, rest_credential};
use crate::calls::Handle;
use crate::time::{Millis, Now, Unix};
use crate::wire::{ErrorCode, Key, Message, Method, Request, TransactionId, attribute};

const REALM: &str = "voice.example"; // 13 characters
const HANDLE: Handle = Handle([0xCD; 12]);
const NOW: Now = Now { mono: Millis(1_000_000), unix: Unix(1_700_000_000), micros: 0 };
const HOUR: u64 = 3_600_000;

struct Server {
    auth: Authenticator,
    calls: Arc<CallKeys>,
}

fn settings() -> Settings {
    let users = vec![("alice".into(), "correct horse".into()), ("bob".into(), "battery".into())];
    let rest_secrets = vec!["new secret".into(), "old secret".into()];
    Settings { realm: REALM.into(), users, rest_secrets, ..Settings::default() }
}

fn server() -> Server {
    server_with(settings())
}

fn server_with(settings: Settings) -> Server {
    let calls = Arc::new(CallKeys::new([7; 32]));
    Server { auth: Authenticator::new(settings, Arc::clone(&calls), [9; 32]), calls }
}

fn client() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

fn alice() -> Credential {
    Credential { username: "alice".into(), password: "correct horse".into() }
}

fn new(method: Method) -> Request {
    Request::new(method, TransactionId([1; 12]))
}

fn key(credential: &Credential) -> Key {
    Key::long_term(credential.username.as_bytes(), REALM.as_bytes(), credential.password.as_bytes())
}

fn signed(request: Request, credential: &Credential, nonce: &str) -> Vec<u8> {
    request.credentials(&credential.username, REALM, nonce).finish(Some(&key(credential)))
}

impl Server {
    fn nonce(&self, now: Now) -> String {
        let bytes = new(Method::Allocate).finish(None);
        let reply = self.auth.refuse(now, client(), &Message::parse(&bytes).unwrap(), &Refusal::Challenge);
        String::from_utf8(Message::parse(&reply).unwrap().nonce().unwrap().unwrap().to_vec()).unwrap()
    }

    fn check(&self, now: Now, bytes: &[u8]) -> Result<Authenticated, Refusal> {
        self.auth.authenticate(now, client(), &Message::parse(bytes).unwrap(), true)
    }

    fn code(&self, now: Now, bytes: &[u8]) -> u16 {
        self.check(now, bytes).err().map_or(0, |refusal| refusal.code().code())
    }

    /// The whole exchange: nonce, request, verdict.
    fn allocate(&self, now: Now, credential: &Credential) -> Result<Authenticated, Refusal> {
        self.check(now, &signed(new(Method::Allocate), credential, &self.nonce(now)))
    }

    fn on(
        &self,
        now: Now,
        request: Request,
        credential: &Credential,
        owner: &Authenticated,
    ) -> Result<Authenticated, Refusal> {
        let bytes = signed(request, credential, &self.nonce(now));
        self.auth.authenticate_on(now, client(), &Message::parse(&bytes).unwrap(), owner)
    }
}

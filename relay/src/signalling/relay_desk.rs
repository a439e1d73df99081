//! What the desk needs of the relay: a place per ticket, credentials for it, and its end.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::{CallKeys, Credential};
use crate::calls::{Full, Gone, Handle, Heard, Ledger};
use crate::time::Now;
use crate::turn::Command;

/// The relay, as the desk sees it. Each call takes effect before it returns: once [`RelayDesk::close`] is back, no packet
/// of the call passes.
pub trait RelayDesk: Send {
    /// Lets the holder of this handle's credentials allocate.
    ///
    /// # Errors
    /// [`Full`].
    fn open(&mut self, handle: Handle) -> Result<(), Full>;

    /// Makes two open handles one call.
    ///
    /// # Errors
    /// [`Gone`] if one of them is not open.
    fn pair(&mut self, a: Handle, b: Handle) -> Result<(), Gone>;

    /// Counts what the call of this handle relays for that pool. Who relays nothing has nothing to count.
    fn count_for(&mut self, _handle: Handle, _pool: &str) {}

    /// Ends the handle and what was allocated with it. Of two paired ones both end.
    fn close(&mut self, handle: Handle);

    /// Relayed addresses this server issued to the handle.
    fn relayed(&self, handle: &Handle) -> Vec<SocketAddr>;

    /// What was heard of that side when this was last asked. Asks anew: with `media` also how its stream is doing, from now on.
    fn listen(&mut self, handle: &Handle, media: bool) -> Heard;

    /// A credential that lets the handle start an allocation within `ttl_secs`.
    fn mint(&self, now: Now, handle: Handle, generation: u32, ttl_secs: u32) -> Credential;
}

/// The relay in this process: its ledger, its keys, and the mailboxes of its workers.
pub struct LocalRelay {
    ledger: Arc<Ledger>,
    keys: Arc<CallKeys>,
    post: Box<dyn Fn(u16, Command) + Send>,
}

impl LocalRelay {
    /// `post` puts a command into a worker's mailbox. It must not block; a lost command only leaves an allocation without
    /// routes until it expires.
    pub fn new(ledger: Arc<Ledger>, keys: Arc<CallKeys>, post: impl Fn(u16, Command) + Send + 'static) -> LocalRelay {
        LocalRelay { ledger, keys, post: Box::new(post) }
    }
}

impl RelayDesk for LocalRelay {
    fn open(&mut self, handle: Handle) -> Result<(), Full> {
        self.ledger.open(handle)
    }

    fn pair(&mut self, a: Handle, b: Handle) -> Result<(), Gone> {
        self.ledger.pair(a, b)
    }

    fn count_for(&mut self, handle: Handle, pool: &str) {
        self.ledger.count_for(&handle, pool);
    }

    fn close(&mut self, handle: Handle) {
        for (worker, port) in self.ledger.close(handle) {
            (self.post)(worker, Command::Close(port));
        }
    }

    fn relayed(&self, handle: &Handle) -> Vec<SocketAddr> {
        self.ledger.relayed(handle)
    }

    fn listen(&mut self, handle: &Handle, media: bool) -> Heard {
        let Some((heard, allocations)) = self.ledger.heard(handle) else { return Heard::default() };
        for (worker, port) in allocations.into_iter().flatten() {
            (self.post)(worker, Command::Listen { port, media });
        }
        heard
    }

    fn mint(&self, now: Now, handle: Handle, generation: u32, ttl_secs: u32) -> Credential {
        self.keys.mint(now, handle, generation, ttl_secs)
    }
}

/// A relay that agrees to everything and relays nothing: for measurements and tests of signalling by itself.
#[derive(Default)]
pub struct NoRelay {
    /// What it says it has issued, to everybody.
    pub relayed: Vec<SocketAddr>,
}

impl RelayDesk for NoRelay {
    fn open(&mut self, _: Handle) -> Result<(), Full> {
        Ok(())
    }

    fn pair(&mut self, _: Handle, _: Handle) -> Result<(), Gone> {
        Ok(())
    }

    fn close(&mut self, _: Handle) {}

    fn relayed(&self, _: &Handle) -> Vec<SocketAddr> {
        self.relayed.clone()
    }

    fn listen(&mut self, _: &Handle, _: bool) -> Heard {
        Heard::default()
    }

    /// As long as a true one.
    fn mint(&self, now: Now, handle: Handle, generation: u32, ttl_secs: u32) -> Credential {
        let expires = now.unix.0 + u64::from(ttl_secs);
        let username = format!("1.{expires}.{}.{generation}", handle.to_base64url());
        Credential { username, password: "c".repeat(28) }
    }
}

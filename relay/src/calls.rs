//! What TURN and matchmaking share: the call.
//!
//! Signalling opens a handle per ticket, pairs two handles into a call and closes them. TURN allocates only for open
//! handles and lets each side reach exactly the other. Everything here is control path.

use std::fmt;
use std::net::SocketAddr;

use crate::turn::RelayedPort;

/// One ticket's place on the relay, later one side of a call. Random, 96 bits: knowing one tells nothing of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub [u8; 12]);

/// The ledger holds as many handles as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// One of the two handles is closed, unknown, or already in a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone;

/// Handle → leg → partner.
pub struct Ledger {}

impl Ledger {
    /// Lets the holder of this handle's credentials allocate. Opening an open handle changes nothing.
    ///
    /// # Errors
    /// [`Full`] at `Settings::max_handles`.
    pub fn open(&self, handle: Handle) -> Result<(), Full> {
        let _ = handle;
        Err(Full)
    }

    /// Makes two open handles a call: each may reach exactly the other's relayed addresses, at once, those made later
    /// included.
    ///
    /// # Errors
    /// [`Gone`] if one of them is closed, unknown or already paired, or both are the same.
    pub fn pair(&self, a: Handle, b: Handle) -> Result<(), Gone> {
        let _ = (a, b);
        Err(Gone)
    }

    /// Ends the handle and, if it is in a call, the other side's with it. No packet of the call passes once this has
    /// returned. The caller posts `Command::Close` to the workers named, which free the allocations.
    pub fn close(&self, handle: Handle) -> Vec<(u16, RelayedPort)> {
        let _ = handle;
        Vec::new()
    }

    /// Relayed addresses, as clients see them, that this server issued to that handle and that are still held.
    pub fn relayed(&self, handle: &Handle) -> Vec<SocketAddr> {
        let _ = handle;
        Vec::new()
    }
}

impl Handle {
    /// Base64url without padding: 16 characters.
    pub fn to_base64url(self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The reverse of [`Handle::to_base64url`]; `None` for anything else.
    pub fn from_base64url(text: &str) -> Option<Handle> {
        use base64::Engine as _;
        let mut bytes = [0; 12];
        let length = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then_some(Handle(bytes))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle([redacted])")
    }
}

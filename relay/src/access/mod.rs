//! What they may do: which peers may be reached.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// What the operator allows and denies, and where this server itself is.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub allow_peers: Vec<IpNet>,
    pub deny_peers: Vec<IpNet>,
    /// Every TCP and UDP address this server listens on (TURN, signalling, admin).
    pub own_listeners: Vec<SocketAddr>,
    /// Every address of this machine, public forms included.
    pub own_addresses: Vec<IpAddr>,
}

/// The one policy for every method and transport.
pub struct Policy {
    settings: Settings,
}

/// A peer's transport address that passed the policy, in canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AllowedPeer(SocketAddr);

/// A peer's IP address that passed the policy, in canonical form: what a permission is for (RFC 8656 §10).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AllowedAddress(IpAddr);

/// Why not. For counters only: the answer is 403 and the same for all (RFC 8656 §21.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// Port 0 reaches nothing.
    Port,
    /// A listener of this server, or no address at all.
    OwnListener,
    /// In `deny_peers`.
    Operator,
    /// In the default deny list, or an address of this machine.
    Default,
}

impl Policy {
    pub fn new(settings: Settings) -> Policy {
        Policy { settings }
    }

    /// For ChannelBind (and Connect): may this transport address be reached? Compare the family with the allocation's on both
    /// what the client wrote and what comes back: a canonical address may be IPv4 where IPv6 was written.
    ///
    /// # Errors
    /// [`Denied`]: answer 403.
    pub fn check(
        &self,
        peer: SocketAddr,
        is_live_relayed: impl FnOnce(SocketAddr) -> bool,
    ) -> Result<AllowedPeer, Denied> {
        let _ = (&self.settings, peer, is_live_relayed);
        Err(Denied::Default)
    }

    /// For CreatePermission, which is about an IP address and whose port "can be any arbitrary value" (RFC 8656 §10.1).
    /// `is_relayed` says whether relayed transport addresses of this server live at that IP address. Since a permission says
    /// nothing about ports, the data path must still ask [`Policy::is_own_listener`] before it sends to a socket outside,
    /// and must reach this server's own relayed addresses through the route table only.
    ///
    /// # Errors
    /// [`Denied`]: answer 403.
    pub fn check_address(
        &self,
        peer: IpAddr,
        is_relayed: impl FnOnce(IpAddr) -> bool,
    ) -> Result<AllowedAddress, Denied> {
        let _ = (peer, is_relayed);
        Err(Denied::Default)
    }

    /// Data path: whether sending there would reach a listener of this server, or port 0. No allocation, one look at a
    /// bitmap in nearly all cases.
    pub fn is_own_listener(&self, peer: SocketAddr) -> bool {
        let _ = peer;
        true
    }
}

impl AllowedPeer {
    pub fn addr(self) -> SocketAddr {
        self.0
    }
}

impl AllowedAddress {
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

/// The address a packet to `addr` would really reach: IPv4 out of v4-mapped, v4-compatible, SIIT, 6to4, NAT64, Teredo and ISATAP
/// forms. Stable: canonical addresses stay as they are. Flow label and scope are dropped.
pub fn canonical(addr: IpAddr) -> IpAddr {
    addr
}

impl std::fmt::Debug for AllowedPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AllowedPeer([redacted])")
    }
}

impl std::fmt::Debug for AllowedAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AllowedAddress([redacted])")
    }
}

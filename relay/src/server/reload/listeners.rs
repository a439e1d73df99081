//! Listeners that a reload opens and closes. All that are new are bound before anything else changes.
//!
//! An address that this process has no right to open any more (a port below 1024, from inside the sandbox) is the one thing that is left as
//! it was instead of refusing the reload: its key is then said to need a restart, or a successor with `--hand-over`.

use std::io;
use std::net::SocketAddr;

use super::{Changeable, Kept};
use crate::config::{Listen, Settings};
use crate::dataplane;
use crate::server::error::StartError;
use crate::server::{Addresses, http};
use crate::stream::{self, Kind};

/// A TCP or TLS listener: as written, and where it really listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) kind: Kind,
    pub(crate) written: SocketAddr,
    pub(crate) listens: SocketAddr,
}

/// A UDP listener, in the order of [`Listen::udp_sockets`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UdpDoor {
    pub(crate) written: SocketAddr,
    pub(crate) listens: SocketAddr,
    /// What five-tuples call it. Of one that is not opened yet it is not known.
    pub(crate) number: u16,
}

/// Where the UDP listeners of a start are.
pub(crate) fn udp_doors(settings: &Settings, listens: &[SocketAddr]) -> Vec<UdpDoor> {
    let all = settings.listen.udp_sockets().into_iter().zip(listens).zip(0..);
    all.map(|((written, listens), number)| UdpDoor { written, listens: *listens, number }).collect()
}

/// The TCP and TLS listeners of a start.
pub(crate) fn doors(settings: &Settings, tcp: &[SocketAddr], tls: &[SocketAddr]) -> Vec<Door> {
    let pair = |kind: Kind, written: &[SocketAddr], listens: &[SocketAddr]| -> Vec<Door> {
        let both = written.iter().zip(listens);
        both.map(|(written, listens)| Door { kind, written: *written, listens: *listens }).collect()
    };
    [pair(Kind::Tcp, &settings.listen.tcp, tcp), pair(Kind::Tls, &settings.listen.tls, tls)].concat()
}

/// What is to listen after a reload, those that are new bound already.
pub(super) struct Wanted {
    pub(super) udp: Vec<Udp>,
    pub(super) doors: Vec<Door>,
    pub(super) streams: Option<stream::Bound>,
    pub(super) signalling: Http,
    pub(super) admin: Http,
}

/// One UDP listener that is wanted.
pub(super) enum Udp {
    /// It is there.
    Stays(UdpDoor),
    /// It was taken away, and those who came by it are still served.
    ComesBack(SocketAddr),
    New(SocketAddr, dataplane::Opened),
}

impl Udp {
    fn listens(&self) -> SocketAddr {
        match self {
            Udp::Stays(door) => door.listens,
            Udp::ComesBack(at) => *at,
            Udp::New(_, opened) => opened.address(),
        }
    }
}

/// What becomes of a listener for HTTP.
pub(super) enum Http {
    Stays,
    Closed,
    Opened(http::Bound),
}

impl Http {
    fn listens(&self, before: Option<SocketAddr>) -> Option<SocketAddr> {
        match self {
            Http::Stays => before,
            Http::Closed => None,
            Http::Opened(bound) => Some(bound.address),
        }
    }
}

/// Binds what is new. A key that asks for what this process may not open is put back in `settings`.
pub(super) fn open(old: &Changeable, settings: &mut Settings, workers: &dataplane::Running) -> Result<Wanted, Kept> {
    let before = &old.settings.listen;
    let udp = either(
        settings,
        |listen| open_udp(&old.udp, listen, workers),
        |listen| {
            listen.udp.clone_from(&before.udp);
            listen.nat_discovery = before.nat_discovery;
        },
        |error| matches!(error, StartError::Udp(error) if may_not(&error.source)),
    )?;
    let mut streams = Vec::new();
    for kind in [Kind::Tcp, Kind::Tls] {
        streams.push(either(
            settings,
            |listen| open_streams(&old.doors, kind, listen),
            |listen| match kind {
                Kind::Tcp => listen.tcp.clone_from(&before.tcp),
                Kind::Tls => listen.tls.clone_from(&before.tls),
            },
            is_forbidden,
        )?);
    }
    let signalling = either(
        settings,
        |listen| open_http("signalling", before.signalling, listen.signalling),
        |listen| listen.signalling = before.signalling,
        is_forbidden,
    )?;
    let admin = either(
        settings,
        |listen| open_http("admin", before.admin, listen.admin),
        |listen| listen.admin = before.admin,
        is_forbidden,
    )?;
    let (bound, doors): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    let streams = bound.into_iter().flatten().reduce(stream::Bound::and);
    Ok(Wanted { udp, doors: doors.concat(), streams, signalling, admin })
}

impl Wanted {
    /// Where everything listens then.
    pub(super) fn addresses(&self, before: &Addresses) -> Addresses {
        let of = |kind: Kind| self.doors.iter().filter(|door| door.kind == kind).map(|door| door.listens).collect();
        Addresses {
            udp: self.udp.iter().map(Udp::listens).collect(),
            tcp: of(Kind::Tcp),
            tls: of(Kind::Tls),
            signalling: self.signalling.listens(before.signalling),
            admin: self.admin.listens(before.admin),
        }
    }
}

/// Opens what `settings` say, or, if that is forbidden, what they said before.
fn either<T>(
    settings: &mut Settings,
    open: impl Fn(&Listen) -> Result<T, StartError>,
    put_back: impl FnOnce(&mut Listen),
    forbidden: impl FnOnce(&StartError) -> bool,
) -> Result<T, Kept> {
    match open(&settings.listen) {
        Err(error) if forbidden(&error) => {
            put_back(&mut settings.listen);
            open(&settings.listen).map_err(Kept::Other)
        }
        opened => opened.map_err(Kept::Other),
    }
}

fn is_forbidden(error: &StartError) -> bool {
    matches!(error, StartError::Tcp { source, .. } if may_not(source))
}

fn may_not(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn open_udp(old: &[UdpDoor], listen: &Listen, workers: &dataplane::Running) -> Result<Vec<Udp>, StartError> {
    let mut left = old.to_vec();
    let mut all = Vec::new();
    for written in listen.udp_sockets() {
        let known = left.iter().position(|door| door.written == written).map(|at| left.remove(at));
        all.push(match known {
            Some(door) => Udp::Stays(door),
            None if workers.is_retiring(written) => Udp::ComesBack(written),
            None => Udp::New(written, workers.open(written).map_err(StartError::Udp)?),
        });
    }
    Ok(all)
}

/// Listeners of one kind: those that are new, and all of them in the order written.
fn open_streams(old: &[Door], kind: Kind, listen: &Listen) -> Result<(Option<stream::Bound>, Vec<Door>), StartError> {
    let wanted = if kind == Kind::Tcp { &listen.tcp } else { &listen.tls };
    let mut left = old.to_vec();
    let mut keep = |written: SocketAddr| {
        let at = left.iter().position(|door| door.kind == kind && door.written == written)?;
        Some(left.remove(at))
    };
    let places: Vec<(SocketAddr, Option<Door>)> = wanted.iter().map(|written| (*written, keep(*written))).collect();
    let missing: Vec<SocketAddr> =
        places.iter().filter(|(_, door)| door.is_none()).map(|(written, _)| *written).collect();
    if missing.is_empty() {
        return Ok((None, places.into_iter().filter_map(|(_, door)| door).collect()));
    }
    let asked = match kind {
        Kind::Tcp => stream::Settings { tcp: missing, ..stream::Settings::default() },
        Kind::Tls => stream::Settings { tls: missing, ..stream::Settings::default() },
    };
    let opened = stream::bind(asked).map_err(|stream::BindError { key, address, source }| StartError::Tcp {
        key,
        address,
        source,
    })?;
    let mut listening = if kind == Kind::Tcp { opened.tcp() } else { opened.tls() }.into_iter();
    let doors = places
        .into_iter()
        .filter_map(|(written, door)| door.or_else(|| Some(Door { kind, written, listens: listening.next()? })));
    let doors = doors.collect();
    Ok((Some(opened), doors))
}

fn open_http(key: &'static str, before: Option<SocketAddr>, wanted: Option<SocketAddr>) -> Result<Http, StartError> {
    match wanted {
        None if before.is_none() => Ok(Http::Stays),
        None => Ok(Http::Closed),
        Some(_) if before == wanted => Ok(Http::Stays),
        Some(address) => {
            let bound = http::bind(address).map_err(|source| StartError::Tcp { key, address, source })?;
            Ok(Http::Opened(bound))
        }
    }
}

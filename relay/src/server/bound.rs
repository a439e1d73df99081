//! Every socket, before there is a thread.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::addresses::Addresses;
use super::error::StartError;
use super::inherited::Inherited;
use super::{http, parts};
use crate::config::Settings;
use crate::{dataplane, stream};

/// Every socket of the daemon, bound and silent.
pub(super) struct Bound {
    pub(super) dataplane: dataplane::Bound,
    pub(super) streams: stream::Bound,
    pub(super) signalling: Option<http::Bound>,
    pub(super) admin: Option<http::Bound>,
}

impl Bound {
    /// Those that somebody opened already are taken over.
    pub(super) fn all(settings: &Settings, connections: usize, inherited: &mut Inherited) -> Result<Bound, StartError> {
        let dataplane = parts::dataplane(settings);
        let dataplane = dataplane::bind_with(&dataplane, |address| inherited.udp(address)).map_err(StartError::Udp)?;
        let streams = stream::bind_with(parts::stream(settings, connections), |key, at| inherited.tcp(key, at))
            .map_err(|stream::BindError { key, address, source }| StartError::Tcp { key, address, source })?;
        let mut tcp = |key: &'static str, address: Option<SocketAddr>| {
            let bound = address.map(|address| {
                let bound = inherited.tcp(key, address).map_or_else(|| http::bind(address), http::adopt);
                bound.map_err(|source| StartError::Tcp { key, address, source })
            });
            bound.transpose()
        };
        let signalling = tcp("signalling", settings.listen.signalling)?;
        let admin = tcp("admin", settings.listen.admin)?;
        Ok(Bound { dataplane, streams, signalling, admin })
    }

    /// The listeners that speak HTTP once more, for who takes this process's place.
    pub(super) fn lent(&self) -> io::Result<Vec<(&'static str, SocketAddr, OwnedFd)>> {
        let named = [("signalling", &self.signalling), ("admin", &self.admin)];
        let bound = named.into_iter().filter_map(|(key, bound)| Some((key, bound.as_ref()?)));
        bound.map(|(key, bound)| Ok((key, bound.address, bound.lend()?))).collect()
    }

    /// Port 0 resolved.
    pub(super) fn addresses(&self) -> Addresses {
        let address = |bound: &Option<http::Bound>| bound.as_ref().map(|bound| bound.address);
        Addresses {
            udp: self.dataplane.addresses().to_vec(),
            tcp: self.streams.tcp(),
            tls: self.streams.tls(),
            signalling: address(&self.signalling),
            admin: address(&self.admin),
        }
    }
}

//! Callers over TCP and TLS: each allocates on a connection of its own and binds a channel to its partner.

use std::net::SocketAddrV4;
use std::sync::Arc;

use rcgen::CertifiedKey;
use relay::wire::{Message, MessageClass};
use rustls::{ClientConfig, RootCertStore};

use super::crowd::{Ask, Caller};
use super::process::Scratch;
use super::servers::{Plan, Server};
use crate::load::links::Link;

/// A certificate for `localhost`, written where servers find it, and a client that believes in it alone.
pub(crate) fn certificate(plan: &Plan, scratch: &Scratch) -> Result<(Plan, Arc<ClientConfig>), String> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(|error| error.to_string())?;
    let CertifiedKey { cert, signing_key } = made;
    let certificate = scratch.write("certificate.pem", &cert.pem())?;
    let key = scratch.write("key.pem", &signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Plan { certificate: Some((certificate, key)), ..plan.clone() }, Arc::new(config)))
}

/// Connections of so many callers, each with a channel to its partner.
pub(crate) fn connect(
    server: &Server,
    to: SocketAddrV4,
    tls: Option<&Arc<ClientConfig>>,
    count: usize,
) -> Result<Vec<Link>, String> {
    let mut callers = Vec::with_capacity(count);
    for number in 0..count {
        let mut link = Link::connect(to, tls).map_err(|error| format!("connection {number}: {error}"))?;
        let mut caller = Caller::of(&server.access);
        exchange(&mut caller, &mut link, number, Ask::Allocate)?;
        callers.push((caller, link));
    }
    let relayed: Vec<_> = callers.iter().map(|(caller, _)| caller.relayed).collect();
    for (number, (caller, link)) in callers.iter_mut().enumerate() {
        let partner = relayed.get(number ^ 1).copied().flatten().ok_or("a partner has no relayed address")?;
        exchange(caller, link, number, Ask::Channel(partner))?;
    }
    Ok(callers.into_iter().map(|(_, link)| link).collect())
}

fn exchange(caller: &mut Caller, link: &mut Link, number: usize, ask: Ask) -> Result<(), String> {
    for _ in 0..3 {
        let request = caller.ask_for(ask, number).ok_or("nothing to ask")?;
        let answer = link.ask(&request).map_err(|error| format!("{ask:?}: {error}"))?;
        let answer = Message::parse(&answer).map_err(|_| format!("{ask:?}: the answer is no message"))?;
        if answer.class() == MessageClass::Success {
            caller.succeed(&answer);
            return Ok(());
        }
        let code = answer.error_code().ok().flatten().unwrap_or(0);
        if !caller.learn(&answer, code) {
            return Err(format!("{ask:?} was refused with {code}"));
        }
    }
    Err(format!("{ask:?} is challenged again and again"))
}

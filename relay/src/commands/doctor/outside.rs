//! The client's half alone, from another machine: does a call get through to `turn:…` with these credentials, or by `wss:…` with these tokens?

use std::net::ToSocketAddrs as _;

use super::transport::Transport;
use super::{Findings, client, pair, places};
use crate::cli::Doctor;

/// # Errors
/// What is wrong with the arguments.
pub(super) fn client_half(url: &str, wanted: &Doctor, found: &mut Findings) -> Result<(), String> {
    const CHECK: &str = "from outside";
    if url.starts_with("ws:") || url.starts_with("wss:") {
        let tokens = std::env::var("RELAY_TOKENS").map_err(|_| {
            "--from-outside wss://… needs two tokens of the app's in the environment as RELAY_TOKENS, with a space between".to_owned()
        })?;
        return pair::two_callers(url, &tokens, found);
    }
    let transport = match (url.starts_with("turns:"), url.starts_with("turn:"), url.ends_with("transport=tcp")) {
        (true, _, _) => Transport::Tls,
        (_, true, true) => Transport::Tcp,
        (_, true, false) => Transport::Udp,
        _ => {
            return Err(
                "--from-outside takes turn:HOST:PORT, with ?transport=tcp if so, turns:HOST:PORT, or wss://HOST/v1/ws"
                    .to_owned(),
            );
        }
    };
    let (Some(user), Ok(password)) = (&wanted.user, std::env::var("RELAY_PASSWORD")) else {
        return Err("--from-outside needs --user NAME, and the password in the environment as RELAY_PASSWORD: `relay credentials` on the server makes both".to_owned());
    };
    let (host, port) = (places::host(url), places::port(url));
    let addresses: Vec<_> = (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    if addresses.is_empty() {
        found.bad(CHECK, format!("{host} has no address"), "correct the name, or its DNS entry");
    }
    for to in addresses {
        match client::call(transport, to, host, (user, &password)) {
            Ok(()) => found.good(CHECK, format!("{} to {to}: an allocation, and a packet relayed both ways", transport.name())),
            Err(why) => found.bad(
                CHECK,
                format!("{} to {to}: {why}", transport.name()),
                "if nothing answers: open the port in the firewalls between, and forward it if the server is behind NAT",
            ),
        }
    }
    Ok(())
}

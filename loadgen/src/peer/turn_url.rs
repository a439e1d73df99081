//! Where a TURN server is and who one is there: RFC 7065 names and time-limited credentials.

use std::net::{SocketAddr, ToSocketAddrs};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::turn::Credential;
use crate::scenario::Transport;

const PORT: u16 = 3478;
const SECURE_PORT: u16 = 5349;
/// How long a time-limited credential is good, seconds: longer than any run.
const LIFE_SECS: u64 = 24 * 3600;

/// `turn:host[:port][?transport=udp|tcp]`, `turns:host[:port]` or `IP:PORT`, resolved; the transport where it is named.
pub fn parse(text: &str) -> Result<(SocketAddr, Option<Transport>), String> {
    let (secure, rest) = match text.strip_prefix("turns:") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("turn:").unwrap_or(text)),
    };
    let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (transport, port) = match (secure, query) {
        (true, "" | "transport=tcp") => (Some(Transport::Tls), SECURE_PORT),
        (false, "transport=tcp") => (Some(Transport::Tcp), PORT),
        (false, "transport=udp") => (Some(Transport::Udp), PORT),
        (false, "") => (None, PORT),
        _ => return Err(format!("--turn {text}: expected turn:host:port?transport=udp or tcp, or turns:host:port")),
    };
    let mut found = host.to_socket_addrs().or_else(|_| (host.trim_matches(['[', ']']), port).to_socket_addrs());
    let found = found.as_mut().map_err(|error| format!("--turn {text}: {error}"))?;
    let address = found.next().ok_or_else(|| format!("--turn {text}: {host} has no address"))?;
    Ok((address, transport))
}

/// The credential coturn's `use-auth-secret` and this relay's `rest_secrets` know: the name says until when it is good,
/// the password is an HMAC of the name.
pub fn time_limited(secret: &str, user: Option<&str>, now_unix: u64) -> Credential {
    let username = format!("{}:{}", now_unix + LIFE_SECS, user.unwrap_or("loadgen"));
    let mac = <Hmac<Sha1> as KeyInit>::new_from_slice(secret.as_bytes());
    let mac = mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    let password = STANDARD.encode(mac.chain_update(&username).finalize().into_bytes());
    Credential { username, password }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_named_with_and_without_scheme_and_port() {
        let address = |text: &str| parse(text).map(|(found, _)| found.to_string());
        assert_eq!(address("turn:127.0.0.1:4000?transport=udp").unwrap(), "127.0.0.1:4000");
        assert_eq!(address("127.0.0.1:4000").unwrap(), "127.0.0.1:4000");
        assert_eq!(address("turn:127.0.0.1").unwrap(), "127.0.0.1:3478");
        assert_eq!(address("turn:[::1]").unwrap(), "[::1]:3478");
        assert_eq!(address("turns:127.0.0.1").unwrap(), "127.0.0.1:5349");
        let transport = |text: &str| parse(text).map(|(_, transport)| transport);
        assert_eq!(transport("turn:127.0.0.1:1?transport=tcp").unwrap(), Some(Transport::Tcp));
        assert_eq!(
            (transport("turns:127.0.0.1").unwrap(), transport("127.0.0.1:1").unwrap()),
            (Some(Transport::Tls), None)
        );
        assert!(parse("turns:127.0.0.1?transport=udp").is_err() && parse("turn:127.0.0.1:1?transport=sctp").is_err());
    }

    #[test]
    fn a_time_limited_credential_is_the_hmac_of_its_name() {
        let credential = time_limited("north", Some("u"), 1_000);
        assert_eq!(credential.username, "87400:u");
        // echo -n 87400:u | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(credential.password, "3lXA4E6eZ7zER45dKsVrePnCjYE=");
    }
}

//! The whole way of two callers from another machine: `pair.v1` over `ws:` or `wss:`, a match, and a packet each way through the relay.
//!
//! The tokens are the app's, and both name the same appointment (`with`): so the two meet each other and none of the people who wait.

use std::net::{SocketAddr, ToSocketAddrs as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::client as turn;
use super::transport::{ReadWrite, Transport, connect};
use super::{Findings, places};

const CHECK: &str = "from outside";
/// Frames read while waiting for the one that is meant.
const MOST_OTHERS: usize = 32;

/// # Errors
/// What is wrong with the arguments.
pub(super) fn two_callers(url: &str, tokens: &str, found: &mut Findings) -> Result<(), String> {
    let tokens: Vec<&str> = tokens.split_ascii_whitespace().collect();
    let &[one, other] = tokens.as_slice() else {
        return Err("RELAY_TOKENS holds two tokens of the app's, with a space between".to_owned());
    };
    let (a, b) = (claims(one)?, claims(other)?);
    if a["with"].as_str().is_none() || a["with"] != b["with"] || a["pool"] != b["pool"] || a["sub"] == b["sub"] {
        return Err("the two tokens must be of different people (`sub`) and name one appointment (`with`, and the same `pool`), \
                    so that they meet each other and nobody who waits there"
            .to_owned());
    }
    match call(url, [one, other]) {
        Ok(transports) => {
            for transport in transports {
                match transport {
                    Ok(name) => found.good(CHECK, format!("{name}: matched, and a packet relayed both ways")),
                    Err(why) => found.bad(CHECK, why, "open that port in the firewalls between, or take it out of signalling.turn_urls"),
                }
            }
        }
        Err(why) => found.bad(
            CHECK,
            why,
            "if nothing answers: open the port of listen.signalling or listen.tls, or see what stands in front of it; if it is refused: the code named",
        ),
    }
    Ok(())
}

/// Not checked: that is the server's business.
fn claims(token: &str) -> Result<Value, String> {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    payload.and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(|| "RELAY_TOKENS holds no tokens".to_owned())
}

/// How it went by each address that callers are told.
fn call(url: &str, tokens: [&str; 2]) -> Result<Vec<Result<String, String>>, String> {
    let mut callers = [Caller::enter(url, tokens[0])?, Caller::enter(url, tokens[1])?];
    for caller in &mut callers {
        caller.say(json!({ "t": "queue", "q": 2 }))?;
    }
    let mut matched = Vec::new();
    for caller in &mut callers {
        let said = caller.hear("matched")?;
        caller.say(json!({ "t": "ack", "call": said["call"] }))?;
        matched.push(said);
    }
    let [one, other] = [&matched[0], &matched[1]].map(|said| said["ice"]["servers"][0].clone());
    let urls: Vec<String> =
        one["urls"].as_array().into_iter().flatten().filter_map(|url| Some(url.as_str()?.to_owned())).collect();
    if urls.is_empty() {
        return Err("callers are told no TURN server".to_owned());
    }
    let relayed = urls.iter().map(|url| match through(url, &one, &other) {
        Ok(()) => Ok(url.clone()),
        Err(why) => Err(format!("{url}: {why}")),
    });
    let relayed = relayed.collect();
    // Whatever comes of it, the call is over with the connection.
    let _ = callers[0].say(json!({ "t": "hangup", "call": matched[0]["call"] }));
    Ok(relayed)
}

/// A packet each way between the two, through the server at `url`.
fn through(url: &str, one: &Value, other: &Value) -> Result<(), String> {
    let transport = match (url.starts_with("turns:"), url.ends_with("transport=tcp")) {
        (true, _) => Transport::Tls,
        (false, true) => Transport::Tcp,
        (false, false) => Transport::Udp,
    };
    let host = places::host(url);
    let to = address(host, places::port(url))?;
    let who = |ice: &Value| ["username", "credential"].map(|key| ice[key].as_str().unwrap_or_default().to_owned());
    let ([name_a, password_a], [name_b, password_b]) = (who(one), who(other));
    turn::speak(transport, to, host, [(&name_a, &password_a), (&name_b, &password_b)], false)
}

fn address(host: &str, port: u16) -> Result<SocketAddr, String> {
    let found = (host, port).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| format!("{host} has no address"))
}

struct Caller {
    socket: WebSocket<Box<dyn ReadWrite>>,
}

impl Caller {
    /// Connected and welcome.
    fn enter(url: &str, token: &str) -> Result<Caller, String> {
        let request = url.into_client_request().map_err(|error| format!("{url}: {error}"))?;
        let (tls, uri) = (request.uri().scheme_str() == Some("wss"), request.uri());
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let to = address(&host, uri.port_u16().unwrap_or(if tls { 443 } else { 80 }))?;
        let mut request = request;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("pair.v1"));
        let transport = if tls { Transport::Tls } else { Transport::Tcp };
        let stream =
            connect(transport, to, &host, b"http/1.1").map_err(|error| format!("no connection to {to}: {error}"))?;
        let (socket, _) =
            client(request, stream).map_err(|error| format!("{to} does not take a WebSocket: {error}"))?;
        let mut caller = Caller { socket };
        caller.say(json!({ "t": "hello", "q": 1, "v": [1], "token": token }))?;
        caller.hear("welcome")?;
        Ok(caller)
    }

    fn say(&mut self, message: Value) -> Result<(), String> {
        self.socket.send(Message::text(message.to_string())).map_err(|error| format!("signalling broke off: {error}"))
    }

    fn hear(&mut self, wanted: &str) -> Result<Value, String> {
        for _ in 0..MOST_OTHERS {
            let frame = self.socket.read().map_err(|error| format!("waiting for `{wanted}`: {error}"))?;
            let Message::Text(text) = frame else { continue };
            let said: Value = serde_json::from_str(&text).map_err(|_| "signalling does not speak JSON".to_owned())?;
            match said["t"].as_str() {
                Some("error") => return Err(format!("refused with {}", said["code"].as_str().unwrap_or("an error"))),
                Some(name) if name == wanted => return Ok(said),
                _ => {}
            }
        }
        Err(format!("only other messages than `{wanted}` came"))
    }
}

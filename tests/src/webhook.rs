//! An app's backend, as far as reports go: takes them, checks their signature, keeps them for the test.

use hmac::{KeyInit, Mac};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Inbox, Sender, channel};

/// Signs the reports of a daemon configured with [`Receiver::settings`].
const SECRET: &str = "a secret between daemon and backend, of 32 bytes";

/// Listens until the test process ends.
pub struct Receiver {
    address: SocketAddr,
    reports: Inbox<Value>,
}

impl Receiver {
    /// On a free port of this machine.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, reports) = channel();
        std::thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| take(&stream, &sender)));
        Receiver { address, reports }
    }

    /// What the daemon must know to send its reports here.
    pub fn settings(&self) -> String {
        format!("reports = {{ url = 'http://{}/reports', secret = '{SECRET}' }}", self.address)
    }

    /// The next report whose signature is right.
    pub fn report(&self) -> Value {
        self.reports.recv_timeout(crate::PATIENCE).expect("no report has come")
    }
}

/// One request. An error once nobody is interested any more.
fn take(stream: &TcpStream, reports: &Sender<Value>) -> Result<(), ()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut signature, mut line) = (0, String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some((name, value)) = line.split_once(':') {
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "x-pair-signature" => value.trim().clone_into(&mut signature),
                _ => {}
            }
        }
        line.clear();
    }
    let mut body = vec![0; length];
    let read = reader.read_exact(&mut body).is_ok();
    let good = read && is_signed(&signature, &body);
    let status = if good { "204 No Content" } else { "403 Forbidden" };
    let _ =
        (&*stream).write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes());
    match serde_json::from_slice(&body) {
        Ok(report) if good => reports.send(report).map_err(|_| ()),
        _ => Ok(()),
    }
}

/// `t=<unix>,v1=<hex>`, as the documentation tells a backend to check it.
fn is_signed(signature: &str, body: &[u8]) -> bool {
    let Some((time, hex)) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")) else { return false };
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    let wanted: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    hex == wanted
}

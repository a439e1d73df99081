//! The yardstick: a forwarder that receives and sends and does nothing else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::thread;

use crate::load::mmsg::{Mmsg, grow_receive_buffer};

/// As `/proc` shows the thread.
pub(crate) const THREAD: &str = "bare";

/// Starts a one-socket forwarder in a thread that lives as long as the process.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    grow_receive_buffer(&socket, 4 << 20);
    let address = socket.local_addr()?;
    thread::Builder::new().name(THREAD.to_owned()).spawn(move || forward(&socket))?;
    Ok(address)
}

fn forward(socket: &UdpSocket) {
    let mut batch = Mmsg::new(64, 2048);
    loop {
        let Ok(received) = batch.receive(socket, true) else { continue };
        for i in 0..received {
            let to = partner(batch.from(i));
            batch.forward(i, to);
        }
        batch.send(socket, received);
        batch.reset(0..received);
    }
}

/// Callers come in pairs whose addresses differ in the last bit.
pub(crate) fn partner(caller: SocketAddrV4) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(u32::from(*caller.ip()) ^ 1), caller.port())
}

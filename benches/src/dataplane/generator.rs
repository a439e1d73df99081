//! The shared generator with one lane, and a way to ask a server something before the load begins.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crate::load::caller_address;
use crate::load::mmsg::Mmsg;
use crate::load::voice::{self, Flow, Lane, Load, PACKETS_PER_SEC, Stretch};

pub(crate) struct Generator {
    socket: Arc<UdpSocket>,
    lane: Lane,
    out: Mmsg,
    inn: Mmsg,
}

impl Generator {
    pub(crate) fn new() -> io::Result<Generator> {
        let socket = voice::socket()?;
        let lane = Lane::new(&socket);
        Ok(Generator { socket, lane, out: Mmsg::new(1, 2048), inn: Mmsg::new(64, 2048) })
    }

    /// Sends one message from a caller and waits for an answer that `wanted` likes.
    pub(crate) fn ask<T>(
        &mut self,
        caller: usize,
        to: SocketAddrV4,
        message: &[u8],
        wanted: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<T> {
        self.socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        self.out.write(0, caller_address(caller), to, |bytes| {
            bytes[..message.len()].copy_from_slice(message);
            message.len()
        });
        self.out.send(&self.socket, 1);
        loop {
            let received = self.inn.receive(&self.socket, true)?;
            if let Some(answer) = (0..received).find_map(|i| wanted(self.inn.received(i))) {
                return Ok(answer);
            }
        }
    }

    /// Loads `to` with `callers` callers for a while. `channel` is the channel number every caller uses.
    pub(crate) fn run(&mut self, callers: usize, to: SocketAddrV4, channel: u16, length: Duration) -> Stretch {
        let flow = |caller| Flow { source: caller_address(caller), to, channel: Some(channel) };
        self.lane.set_flows(&(0..callers).map(flow).collect::<Vec<_>>());
        let load =
            Load { rate: callers as u64 * PACKETS_PER_SEC, length, grace: Duration::from_millis(50), gentle: false };
        voice::run(std::slice::from_mut(&mut self.lane), load)
    }
}

//! The opening handshake of a WebSocket leaves nothing behind: neither its buffer of 4 KiB for as long as the connection lives, nor, with that,
//! what the server says right behind its answer. One that has moved closes at once.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What ends the head of an HTTP message (RFC 9112 §2.1).
const END: &[u8] = b"\r\n\r\n";

/// A stream that gives out the head of the answer, and keeps what is read beyond it.
pub(super) struct Handshaking<S> {
    stream: S,
    /// How much of [`END`] was last.
    matched: usize,
    beyond: Vec<u8>,
}

impl<S> Handshaking<S> {
    pub(super) fn new(stream: S) -> Handshaking<S> {
        Handshaking { stream, matched: 0, beyond: Vec::new() }
    }

    /// The stream, and what was read of it already.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.beyond)
    }

    /// How many of these still belong to the head.
    fn measure(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            // Whatever fits nowhere else may begin it anew.
            self.matched = match END.get(self.matched) {
                Some(expected) if expected == byte => self.matched + 1,
                Some(_) => usize::from(END.first() == Some(byte)),
                None => return at,
            };
        }
        bytes.len()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Handshaking<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        let read = into.filled().get(before..).unwrap_or_default();
        let head = this.measure(read);
        this.beyond.extend_from_slice(read.get(head..).unwrap_or_default());
        into.set_filled(before + head);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Handshaking<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    async fn parted(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let (mut far, near) = duplex(1 << 10);
        let mut stream = Handshaking::new(near);
        let mut head = Vec::new();
        for piece in pieces {
            far.write_all(piece).await.unwrap();
            let mut buffer = [0; 64];
            let read = stream.read(&mut buffer).await.unwrap();
            head.extend_from_slice(&buffer[..read]);
        }
        (head, stream.into_parts().1)
    }

    #[tokio::test]
    async fn the_head_is_given_out_and_what_stands_behind_it_is_kept_however_it_is_cut() {
        let all = b"HTTP/1.1 101 x\r\nA: \r\r\n\r\n\x88\x02\x03\xf4";
        let end = all.len() - 4;
        for cut in 1..all.len() {
            let (head, beyond) = parted(&[&all[..cut], &all[cut..]]).await;
            assert_eq!((&head[..], &beyond[..]), (&all[..end], &all[end..]), "cut at {cut}");
        }
        assert_eq!(parted(&[&all[..end]]).await, (all[..end].to_vec(), Vec::new()));
    }
}

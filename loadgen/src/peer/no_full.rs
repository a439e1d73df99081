//! Stands for [`FullPeer`] in a build without the feature `full`: there is none, so nothing can be asked of it.

use std::net::SocketAddr;

use super::note::Note;
use crate::{
    media::{packet::StreamId, stream::Account, voice::Speaker},
    time::{Clock, Nanos},
};

/// Never exists.
#[derive(Debug, PartialEq, Eq)]
pub enum FullPeer {}

impl FullPeer {
    pub fn new(_: Clock, _: Nanos, _: StreamId, _: Speaker) -> Option<FullPeer> {
        None
    }

    pub fn offer(&mut self, _: Nanos) -> Option<String> {
        match *self {}
    }

    pub fn accept_offer(&mut self, _: Nanos, _: &str) -> Option<String> {
        match *self {}
    }

    pub fn accept_answer(&mut self, _: Nanos, _: &str) -> bool {
        match *self {}
    }

    pub fn local_candidate(&mut self, _: Nanos, _: SocketAddr) -> Option<String> {
        match *self {}
    }

    pub fn remote_candidate(&mut self, _: Nanos, _: SocketAddr, _: &str) -> bool {
        match *self {}
    }

    pub fn handle_bound(&mut self, _: Nanos) {
        match *self {}
    }

    pub fn handle_data(&mut self, _: Nanos, _: &[u8]) {
        match *self {}
    }

    pub fn tick(&mut self, _: Nanos, _: Nanos) {
        match *self {}
    }

    pub fn handle_timeout(&mut self, _: Nanos) {
        match *self {}
    }

    pub fn poll_timeout(&self) -> Option<Nanos> {
        match *self {}
    }

    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        match *self {}
    }

    pub fn poll_note(&mut self) -> Option<Note> {
        match *self {}
    }

    pub fn hush(&mut self) -> Option<Account> {
        match *self {}
    }
}

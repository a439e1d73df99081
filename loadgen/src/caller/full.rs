//! The full caller's side of a call: what it adds to a leg is a [`FullPeer`], which does ICE and DTLS here and, once it is
//! secured, media on the media thread.

use super::{CHANNEL, Caller, Output, State, leg::channel_data};
use crate::{
    media::voice::{Codec, Speaker, Voice},
    peer::{full::FullPeer, note::Note},
    time::Nanos,
};

impl Caller {
    pub(super) fn begin_full(&mut self, now: Nanos) {
        let Some(leg) = &mut self.leg else { return };
        let (voice, seed) = self.terms.voice;
        // The descriptions offer Opus alone.
        let voice = Voice { codec: Codec::Opus, ..voice };
        let speaker = Speaker::new(voice, seed ^ u64::from(self.record.number));
        leg.full = Some(Box::new(FullPeer::new(self.terms.clock, now, leg.stream(), speaker)));
    }

    /// Moves what the full peer has to say into outputs and stamps.
    pub(super) fn pump_full(&mut self, now: Nanos) {
        loop {
            let Some(full) = self.leg.as_mut().and_then(|leg| leg.full.as_mut()) else { return };
            if let Some(data) = full.poll_transmit() {
                self.outputs.push_back(Output::Datagram(channel_data(&data)));
            } else if let Some(note) = full.poll_note() {
                self.handle_note(now, note);
            } else {
                return;
            }
        }
    }

    fn handle_note(&mut self, now: Nanos, note: Note) {
        match note {
            Note::Checking => _ = self.record.times.check_sent.get_or_insert(now),
            Note::Connected if self.state == State::Negotiating => self.connected(now, now),
            Note::Connected => {}
            Note::Secured => {
                self.record.times.secured.get_or_insert(now);
                self.hand_over();
            }
            _ => self.outputs.push_back(Output::Note(note)),
        }
    }

    /// From here on the media thread has the peer.
    fn hand_over(&mut self) {
        let Some(leg) = self.leg.as_mut().filter(|_| self.terms.media) else { return };
        let Some(peer) = leg.full.take() else { return };
        (leg.handed_over, leg.hearing) = (true, true);
        self.outputs.push_back(Output::HandOver { channel: CHANNEL, peer });
    }

    /// The account of a full caller's media, taken when it stops.
    pub(super) fn hush_full(&mut self) {
        let account = self.leg.as_mut().and_then(|leg| leg.full.as_mut()).and_then(|full| full.hush());
        if account.is_some() {
            self.record.account = account;
        }
    }
}

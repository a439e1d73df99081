//! Other settings while people talk: for sessions, calls and texts from then on. What stands goes on as it began.

use super::{Desk, MAX_CALL_MS, Settings, enter};
use crate::matchmaking::{Policy, Recent, RecentPartners};
use crate::time::Now;

impl Desk {
    /// Takes over what `settings` say, but for the number of sessions and the heartbeat, which connections were promised. A key that is
    /// among them no more opens no door from now on; whoever is inside stays. Turned off, it is as in a drain: who is in a call stays until
    /// that ends. Turned on, it waits for the revocations there may have been before.
    pub fn adopt(&mut self, now: Now, settings: Settings) {
        self.clock = now;
        self.verifier.adopt(settings.token.clone());
        if let Some(secret) = settings.tag_secret {
            self.tags.move_on(secret);
        }
        self.topics_rev = enter::topics_revision(&settings.topics);
        let (opens, shuts) = (!self.settings.open && settings.open, self.settings.open && !settings.open);
        if opens || !settings.await_revocations {
            self.sealed = settings.await_revocations;
            self.counters.set_awaiting_revocations(self.sealed);
        }
        let Settings { max_sessions, heartbeat_ms, matching, .. } = self.settings.clone();
        let matching = Policy { recent: settings.matching.recent, ..matching };
        self.queues.set_recent(matching.recent);
        if matching.recent == Recent::Allow {
            // What nobody asks for any more is not kept.
            self.recent = RecentPartners::default();
        }
        self.settings = Settings { max_sessions, heartbeat_ms, matching, ..settings };
        if shuts {
            self.send_away(MAX_CALL_MS, None);
        }
        self.settle(now);
    }
}

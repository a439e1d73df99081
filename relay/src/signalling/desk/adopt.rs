//! Other settings while people talk: for sessions, calls and texts from then on. What stands goes on as it began.

use super::{Desk, Settings, enter};
use crate::matchmaking::{Policy, Recent, RecentPartners};
use crate::time::Now;

impl Desk {
    /// Takes over what `settings` say, but for the number of sessions and the heartbeat, which connections were promised. A key that is
    /// among them no more opens no door from now on; whoever is inside stays.
    pub fn adopt(&mut self, now: Now, settings: Settings) {
        self.clock = now;
        self.verifier.adopt(settings.token.clone());
        if let Some(secret) = settings.tag_secret {
            self.tags.move_on(secret);
        }
        self.topics_rev = enter::topics_revision(&settings.topics);
        if self.sealed && !settings.await_revocations {
            self.sealed = false;
            self.counters.set_awaiting_revocations(false);
        }
        let Settings { max_sessions, heartbeat_ms, matching, .. } = self.settings.clone();
        let matching = Policy { recent: settings.matching.recent, ..matching };
        self.matchmaker.set_recent(matching.recent);
        if matching.recent == Recent::Allow {
            // What nobody asks for any more is not kept.
            self.recent = RecentPartners::default();
        }
        self.settings = Settings { max_sessions, heartbeat_ms, matching, ..settings };
        self.settle(now);
    }
}

//! Where each datum of a person's lives, and how long. One row for each kind that the products' promises name (matching.md §1).

use serde::Serialize;

use super::facts::Facts;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Datum {
    pub what: &'static str,
    /// `none`: it never reaches this process.
    pub lives: &'static str,
    pub how_long: &'static str,
    /// Whom it is told, besides nobody.
    pub told: &'static str,
}

const fn datum(what: &'static str, lives: &'static str, how_long: &'static str, told: &'static str) -> Datum {
    Datum { what, lives, how_long, told }
}

const NEVER: &str = "none: it never reaches this process";
const NOBODY: &str = "nobody";
const PARTNER: &str = "the partner of the call";
const NO_SIGNALLING: &str = "none: signalling is off, and what it had before ends with the last call of then";

/// The whole map. `facts` decides about rows that depend on the configuration.
pub fn data_map(facts: &Facts) -> Vec<Datum> {
    let mut map = vec![
        datum(
            "voice and video, encrypted by the callers; this process has no key",
            "a slot of a worker's receive batch, outside dumps and swap; over TCP or TLS also the bounded queue of the receiver's connection",
            "until the batch is sent, then overwritten",
            PARTNER,
        ),
        datum("voice or video in the clear, recordings, transcripts", NEVER, "never", NOBODY),
        datum(
            "IP address and port of a caller",
            "the five-tuple of the allocation, and the connection's socket",
            "until the allocation or the connection ends; what is left in free places of tables is overwritten by the next caller",
            if facts.direct_first { "the partner, if both may go direct" } else { NOBODY },
        ),
        datum(
            "how much a network asks",
            "counters under a hash whose key is drawn at start; /24 or /56, not addresses",
            "seconds",
            NOBODY,
        ),
        datum(
            "TURN user names and keys",
            if facts.users > 0 { "the configuration, and the allocation" } else { "the allocation" },
            if facts.users > 0 {
                "names of [auth] users as long as the process; others until the allocation ends"
            } else {
                "until the allocation ends"
            },
            NOBODY,
        ),
        datum(
            "calls of an app with its own matchmaker",
            "random names of the call and its two sides, in memory",
            "until it ends, a day at most",
            "the app's backend, which asked for it",
        ),
        datum("log lines, metrics", "counts without names", "as the operator keeps them", "whoever reads /metrics"),
        datum(
            "payment, contacts, location, devices, cookies, advertising identifiers, analytics, crash reports",
            NEVER,
            "never",
            NOBODY,
        ),
    ];
    if facts.cluster && facts.signalling {
        map.push(shared());
    }
    map.extend(if facts.signalling {
        signalling(facts)
    } else {
        vec![datum("everything about people, matching and texts", NO_SIGNALLING, "never", NOBODY), banned(facts)]
    });
    map
}

fn signalling(facts: &Facts) -> Vec<Datum> {
    vec![
        datum(
            "pseudonym (sub), gender, level, age band, what one may ask for",
            "the session, in memory, as the token said",
            "until the connection ends, or 15 s longer if it breaks off",
            "level: the partner",
        ),
        datum("date of birth, e-mail, phone, social identities", NEVER, "never", NOBODY),
        datum(
            "country by GeoIP, region",
            "a claim of the token if the app sets one; no look-up is made",
            "as the pseudonym",
            NOBODY,
        ),
        datum(
            "topics, wishes, place in the queue",
            "the ticket, in memory",
            "until matched or left",
            "topics in common: the partner; how many wait with which level and preference, ten and more together: whoever reads /v1/waiting",
        ),
        datum("display name and picture (card)", "the session, in memory; never parsed", "as the pseudonym", PARTNER),
        datum(
            "the token",
            "read once; its number is kept as a hash",
            "the hash until the token has expired, 10 minutes at most",
            NOBODY,
        ),
        datum(
            "offers, answers, candidates",
            "rebuilt without addresses and passed on; an offer waits in its ticket",
            "until passed on; a copy for a broken connection up to 15 s, wiped at the end of the call",
            PARTNER,
        ),
        datum(
            "how a call's streams are doing: packets sent, lost and late, jitter, silence, round trip; what a client reports of what it hears",
            if facts.quality {
                "beside the call, in memory, from the RTP headers that SRTP leaves in the clear"
            } else {
                "none but when media began and whether it goes on: calls.quality is off"
            },
            "until the call ends; then a count in a histogram, without names",
            if facts.quality { "both callers" } else { NOBODY },
        ),
        datum(
            "text in calls",
            "passed on; a copy in case the receiver's connection breaks off",
            "15 s at most, wiped at the end of the call",
            PARTNER,
        ),
        datum(
            "who talked with whom",
            "the call while it lasts; then the partner's pseudonym in each session, for a block or a report; keyed hashes of both so that they do not meet again at once",
            "10 minutes or until the session ends; the hashes 30 minutes, and not beyond a restart",
            NOBODY,
        ),
        datum(
            "reports with what a reporter encloses",
            if facts.reports {
                "memory, on their way to the app's backend"
            } else {
                "none: no backend for reports is configured"
            },
            if facts.reports {
                "until the backend took it, three tries; one about a child's safety until it is taken"
            } else {
                "never"
            },
            if facts.reports { "the app's backend" } else { NOBODY },
        ),
        banned(facts),
    ]
}

fn shared() -> Datum {
    datum(
        "what nodes of the cluster know of each other's people",
        "memory. Who waits: a keyed hash, wishes, and keyed hashes of whom they avoid. A call between two nodes: what the token said of its two \
         people, and what they say about the call; texts and descriptions are passed on. No address, no voice, no token",
        "while they wait; until that call ends, and as long after it as rows below say",
        "the other nodes, sealed, over a broker that can read none of it and keeps nothing",
    )
}

fn banned(facts: &Facts) -> Datum {
    datum(
        "bans and revocations",
        if facts.revocations {
            "keyed hashes; fetched from the backend at start"
        } else {
            "keyed hashes, as the app's backend tells"
        },
        "until the tokens concerned have expired, a day at most",
        if facts.cluster {
            "the other nodes of the cluster: digests, sealed, over a broker that keeps nothing"
        } else {
            NOBODY
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_follows_the_configuration() {
        let several = Facts { signalling: true, cluster: true, ..Facts::default() };
        assert_eq!(data_map(&several).len(), data_map(&Facts { cluster: false, ..several }).len() + 1);
        let full = Facts { signalling: true, reports: true, ..Facts::default() };
        let all = data_map(&full);
        let told = |map: &[Datum], what: &str| map.iter().find(|row| row.what.starts_with(what)).map(|row| row.told);
        assert_eq!(told(&all, "reports"), Some("the app's backend"));
        assert_eq!(told(&data_map(&Facts { reports: false, ..full.clone() }), "reports"), Some(NOBODY));
        assert_eq!(told(&all, "IP address"), Some(NOBODY));
        assert_eq!(told(&all, "how a call's streams"), Some(NOBODY));
        assert_eq!(told(&data_map(&Facts { quality: true, ..full.clone() }), "how a call's"), Some("both callers"));
        let direct = data_map(&Facts { direct_first: true, ..full });
        assert_eq!(told(&direct, "IP address"), Some("the partner, if both may go direct"));
        assert!(data_map(&Facts::default()).len() < all.len());
    }
}

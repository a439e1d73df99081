//! The `[cluster]` section: the broker that several relays speak through, and the key that nobody but they can read it with.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::keys::CLUSTER_KEY_BYTES as KEY_BYTES;
use super::problems::{Collector, quoted};
use super::secret::{Secret, secret};
use super::table::{At, Table, string};

/// Where a broker listens if nothing is said.
const PORT: u16 = 4222;
/// Brokers of one cluster: more than anybody runs.
const MOST_BROKERS: usize = 16;
/// Keys that are accepted at once: the one before, the one of now.
const MOST_KEYS: usize = 2;
/// Fits into a subject of the bus and into a line of a table.
const LONGEST_NODE: usize = 32;

/// Several relays on one bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Any of them will do; at least one.
    pub brokers: Vec<Broker>,
    /// This relay among the others. `None`: the name of the machine.
    pub node: Option<String>,
    /// The first seals, each of them opens; one or two.
    pub keys: Vec<Secret>,
    /// Name and password the broker knows this cluster by.
    pub user: Option<(String, Secret)>,
    /// Or a token.
    pub token: Option<Secret>,
    /// Certificates to trust instead of this system's.
    pub ca: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

impl Broker {
    /// Whether what is said to it stays on this machine.
    pub fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl Cluster {
    /// Whether a broker is spoken to over TLS.
    pub fn has_tls(&self) -> bool {
        self.brokers.iter().any(|broker| broker.tls)
    }

    /// Whether the broker is told who we are where others can hear it.
    pub fn logs_in_openly(&self) -> bool {
        let secret = self.user.is_some() || self.token.is_some();
        secret && self.brokers.iter().any(|broker| !broker.tls && !broker.is_here())
    }
}

/// No `Debug`: it holds secrets as they were written.
#[derive(Default)]
pub(super) struct Written {
    nats: Option<Vec<At<String>>>,
    node: Option<At<String>>,
    keys: Option<(usize, Vec<At<String>>)>,
    user: Option<At<String>>,
    password: Option<At<String>>,
    token: Option<At<String>>,
    ca: Option<At<String>>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

pub(super) fn read(table: &Table<'_>, base: &Path, found: &mut Collector) -> Written {
    let keys = table.list("keys", found);
    let keys_at = table.get("keys").map_or(0, |item| item.span().start);
    let each = "each entry of cluster.keys";
    let own = |key: &str, found: &mut Collector| {
        table.get(key).and_then(|item| secret(&format!("cluster.{key}"), item, base, found))
    };
    Written {
        nats: match table.get("nats") {
            Some(one) if one.get_ref().is_str() => string("cluster.nats", one, found).map(|url| vec![url]),
            _ => table.strings("nats", found),
        },
        node: table.string("node", found),
        keys: keys.map(|items| (keys_at, items.iter().filter_map(|item| secret(each, item, base, found)).collect())),
        user: table.string("user", found),
        password: own("password", found),
        token: own("token", found),
        ca: table.string("ca", found),
    }
}

/// `None` where nothing is written, or not enough.
pub(super) fn cluster(written: &Written, base_dir: &Path, found: &mut Collector) -> Option<Cluster> {
    let node = written.node.as_ref().and_then(|it| node(it, found));
    let keys = written.keys.as_ref().map(|(at, keys)| all_keys(*at, keys, found));
    let user = user(written, found);
    let Some(urls) = written.nats.as_ref().filter(|urls| !urls.is_empty()) else {
        let alone = [&written.node, &written.user, &written.token, &written.ca].into_iter().flatten().next();
        let at = alone.map(|it| it.at).or(written.keys.as_ref().map(|(at, _)| *at));
        if let Some(at) = at {
            found
                .absence(at, "[cluster] is of no use without cluster.nats: the broker that all nodes reach".to_owned());
        }
        return None;
    };
    if let Some(extra) = urls.get(MOST_BROKERS) {
        found.value(extra.at, format!("cluster.nats has more than {MOST_BROKERS} entries"));
    }
    let brokers: Vec<Broker> = urls.iter().take(MOST_BROKERS).filter_map(|url| broker(url, found)).collect();
    let keys = keys.unwrap_or_default();
    if keys.is_empty() && written.keys.as_ref().is_none_or(|(_, written)| written.is_empty()) {
        let message = "cluster.nats needs cluster.keys: what nodes tell each other is sealed, and the broker can read none of it. \
             Make one (openssl rand -base64 32 > cluster.key), give it to every node, and write keys = [{ file = \"cluster.key\" }]";
        found.absence(urls[0].at, message.to_owned());
        return None;
    }
    let ca = written.ca.as_ref().map(|ca| base_dir.join(&ca.value));
    let token = written.token.as_ref().map(|it| Secret::new(it.value.as_str()));
    (!brokers.is_empty() && !keys.is_empty()).then_some(Cluster { brokers, node, keys, user, token, ca })
}

fn all_keys(at: usize, written: &[At<String>], found: &mut Collector) -> Vec<Secret> {
    if written.len() > MOST_KEYS {
        found.value(at, format!("cluster.keys has more than {MOST_KEYS}: the one that seals, and the one before"));
    }
    let mut keys: Vec<Secret> = Vec::new();
    for key in written.iter().take(MOST_KEYS) {
        let (length, secret) = (key.value.len(), Secret::new(key.value.as_str()));
        if length < KEY_BYTES {
            found.value(key.at, format!("cluster.keys: a key needs at least {KEY_BYTES} bytes, this one has {length}"));
        } else if keys.contains(&secret) {
            found.value(key.at, "cluster.keys: the same key stands here twice".to_owned());
        } else {
            keys.push(secret);
        }
    }
    keys
}

fn user(written: &Written, found: &mut Collector) -> Option<(String, Secret)> {
    match (&written.user, &written.password) {
        (Some(user), Some(password)) => Some((user.value.clone(), Secret::new(password.value.as_str()))),
        (Some(At { at, .. }), None) => {
            found.absence(*at, "cluster.user needs cluster.password".to_owned());
            None
        }
        (None, Some(At { at, .. })) => {
            found.absence(
                *at,
                "cluster.password is of no use without cluster.user; a token is cluster.token".to_owned(),
            );
            None
        }
        (None, None) => None,
    }
}

fn node(written: &At<String>, found: &mut Collector) -> Option<String> {
    let good = is_node(&written.value);
    if !good {
        let name = quoted(&written.value);
        let message = format!("cluster.node: {name} is not 1 to {LONGEST_NODE} characters out of a-z, 0-9 and -");
        found.value(written.at, message);
    }
    good.then(|| written.value.clone())
}

/// Whether a node can be called that: in a subject dots and stars mean something else.
pub fn is_node(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= LONGEST_NODE && name.bytes().all(plain)
}

fn broker(written: &At<String>, found: &mut Collector) -> Option<Broker> {
    let read = parts(&written.value);
    if read.is_none() {
        let hint =
            if written.value.contains('@') { "; who you are stands in cluster.user and cluster.password" } else { "" };
        // A password may stand in it: not quoted.
        found.value(written.at, format!("cluster.nats is nats://host:port, or tls://host:port with TLS{hint}"));
    }
    read
}

fn parts(url: &str) -> Option<Broker> {
    let (tls, rest) = match url.strip_prefix("tls://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("nats://")?),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']')) {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (rest, PORT),
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => host,
    };
    let named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
    named.then(|| Broker { tls, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::parse;

    const KEYS: &str = "keys = ['thirty-two bytes or more of your own']\n";

    fn complaint(text: &str) -> String {
        parse(text, Path::new("")).expect_err("it should have been refused").to_string()
    }

    #[test]
    fn two_lines_make_a_node_of_a_cluster() {
        let text = format!("[cluster]\nnats = 'nats://10.0.0.5:4222'\n{KEYS}");
        let cluster = parse(&text, Path::new("")).unwrap().cluster.unwrap();
        assert_eq!(cluster.brokers, [Broker { tls: false, host: "10.0.0.5".to_owned(), port: 4222 }]);
        assert_eq!((cluster.node, cluster.user, cluster.token), (None, None, None));
        assert_eq!(parse("", Path::new("")).unwrap().cluster, None);
    }

    #[test]
    fn brokers_are_named_by_their_urls() {
        let at = |tls, host: &str, port| Some(Broker { tls, host: host.to_owned(), port });
        assert_eq!(parts("nats://a.example"), at(false, "a.example", 4222));
        assert_eq!(parts("tls://a.example:4443/"), at(true, "a.example", 4443));
        assert_eq!(parts("nats://[::1]:9"), at(false, "::1", 9));
        assert_eq!(parts("nats://[::1]"), at(false, "::1", 4222));
        for bad in [
            "a.example:4222",
            "http://a",
            "nats://",
            "nats://a:0",
            "nats://u:p@a",
            "nats://a/b",
            "nats://[::1",
            "ws://a",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
        assert!(at(false, "127.0.0.1", 1).unwrap().is_here() && !at(false, "10.0.0.1", 1).unwrap().is_here());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_fix_and_without_a_secret() {
        let with = |text: &str| complaint(&format!("[cluster]\nnats = ['nats://127.0.0.1']\n{KEYS}{text}\n"));
        assert!(complaint("[cluster]\nnats = 'nats://127.0.0.1'\n").contains("cluster.nats needs cluster.keys"));
        assert!(complaint(&format!("[cluster]\n{KEYS}")).contains("of no use without cluster.nats"));
        assert!(
            complaint("[cluster]\nnats = 'nats://a'\nkeys = ['short']\n").contains("at least 32 bytes, this one has 5")
        );
        assert!(with("node = 'Relay.1'").contains("a-z, 0-9 and -"));
        assert!(with("user = 'relay'").contains("cluster.user needs cluster.password"));
        assert!(with("password = 'CANARY'").contains("a token is cluster.token"));
        let inline = complaint(&format!("[cluster]\nnats = 'nats://u:CANARY@a:1'\n{KEYS}"));
        assert!(inline.contains("cluster.user and cluster.password") && !inline.contains("CANARY"), "{inline}");
        let same = "keys = ['thirty-two bytes or more of your own', 'thirty-two bytes or more of your own']";
        assert!(complaint(&format!("[cluster]\nnats = 'nats://a'\n{same}\n")).contains("stands here twice"));
    }

    #[test]
    fn a_password_that_travels_in_the_open_is_noticed() {
        let notices = |url: &str| {
            let text = format!("[cluster]\nnats = '{url}'\n{KEYS}user = 'relay'\npassword = 'p'\n");
            parse(&text, Path::new("")).unwrap().notices().join("\n")
        };
        assert!(notices("nats://10.0.0.5").contains("cluster.nats"));
        assert!(!notices("tls://10.0.0.5").contains("travels") && !notices("nats://127.0.0.1").contains("travels"));
    }
}

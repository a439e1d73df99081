//! Lines of `turnserver.conf` → keys of `relay.toml`.

use super::draft::{Draft, list, quoted};
use super::lines::Line;
use super::options::{self, Answer};
use super::peers::{self, Range};
use super::places::places;
use super::turndb::Exported;

/// The file's lines, asked by name.
pub(super) struct Lines<'a>(pub(super) &'a [Line]);

impl<'a> Lines<'a> {
    pub(super) fn all(&self, name: &str) -> Vec<&'a Line> {
        self.0.iter().filter(|line| line.name == name).collect()
    }

    /// Of an option that stands more than once the last one counts.
    pub(super) fn last(&self, name: &str) -> Option<&'a Line> {
        self.all(name).pop()
    }

    pub(super) fn on(&self, name: &str) -> bool {
        self.last(name).is_some_and(Line::is_on)
    }

    /// A number above zero, which means "no limit" or "as usual" there.
    pub(super) fn number(&self, name: &str) -> Option<(u64, &'a Line)> {
        let line = self.last(name)?;
        Some((line.value.parse().ok().filter(|number| *number > 0)?, line))
    }
}

/// What `lines` and what was exported from the database come to. `stem` begins the names of the files of secrets.
pub(super) fn map(lines: &[Line], exported: &Exported, stem: &str) -> Draft {
    let (lines, mut draft) = (Lines(lines), Draft::default());
    answer_each(&lines, &mut draft);
    places(&lines, &mut draft);
    tls(&lines, &mut draft);
    relay(&lines, &mut draft);
    users(&lines, exported, stem, &mut draft);
    rest_secrets(&lines, exported, stem, &mut draft);
    peer_lists(&lines, exported, &mut draft);
    limits(&lines, &mut draft);
    alternates(&lines, &mut draft);
    draft
}

/// What needs no thought: dropped, missing, or unknown.
fn answer_each(lines: &Lines<'_>, draft: &mut Draft) {
    for line in lines.0 {
        match options::answer(&line.name) {
            Some(Answer::Mapped | Answer::Secret) => {}
            Some(Answer::Dropped(why)) => draft.dropped.push(format!("{}: {why}", line.shown())),
            Some(Answer::Missing(_)) if !line.is_on() => draft.dropped.push(format!("{}: off", line.shown())),
            Some(Answer::Missing(why)) => draft.miss(&line.shown(), why),
            None => draft.miss(&line.shown(), "coturn 4.17 knows no such option; look whether it is spelt right"),
        }
    }
}

fn tls(lines: &Lines<'_>, draft: &mut Draft) {
    for (option, key) in [("cert", "certificate"), ("pkey", "private_key")] {
        if let Some(line) = lines.last(option) {
            draft.set("tls", key, quoted(&line.value), &[line]);
        }
    }
    if lines.last("cert").is_some() != lines.last("pkey").is_some() {
        draft.miss("cert, pkey", "one is of no use without the other; [tls] needs both");
    }
}

fn relay(lines: &Lines<'_>, draft: &mut Draft) {
    match lines.last("realm") {
        Some(line) => draft.set("relay", "realm", quoted(&line.value), &[line]),
        None => draft.worth_knowing.push(
            "no realm was written: coturn shows the machine's domain name, here relay.realm is \"relay\"; it matters only to clients that store it".to_owned(),
        ),
    }
    if let [others @ .., _] = lines.all("realm").as_slice() {
        for line in others {
            draft.miss(&line.shown(), "one process has one realm, coturn's last one is taken. Run one relay for each realm, on an address or port of its own: users and secrets then cannot be mixed up either");
        }
    }
    let (least, most) = (lines.last("min-port"), lines.last("max-port"));
    if least.is_some() || most.is_some() {
        let port =
            |line: Option<&Line>, usual: u16| line.and_then(|line| line.value.parse().ok()).unwrap_or(usual).max(1024);
        let range = format!("{}-{}", port(least, 49152), port(most, 65535));
        let from: Vec<&Line> = least.into_iter().chain(most).collect();
        draft.set("relay", "ports", quoted(&range), &from);
        if from.iter().any(|line| line.value.parse::<u16>().is_ok_and(|port| port < 1024)) {
            draft.worth_knowing.push("relayed ports begin at 1024: below live the machine's own services".to_owned());
        }
    }
    for option in ["relay-threads", "cpus"] {
        if let Some(line) = lines.last(option).filter(|line| line.value.parse::<u8>().is_ok()) {
            let threads: u8 = line.value.parse().unwrap_or_default();
            draft.set("relay", "workers", threads.max(1).to_string(), &[line]);
            break;
        }
    }
    let from: Vec<&Line> = lines.last("rfc5766-channel-numbers").into_iter().collect();
    if from.is_empty() {
        draft.add(
            "relay",
            "legacy_channels",
            "true".to_owned(),
            "coturn takes channels of RFC 5766, and old clients use them",
        );
    } else {
        draft.set("relay", "legacy_channels", lines.on("rfc5766-channel-numbers").to_string(), &from);
    }
    if let Some(line) = lines.last("no-tcp-relay") {
        draft.set("relay", "tcp_allocations", (!line.is_on()).to_string(), &[line]);
    } else {
        draft.worth_knowing.push("coturn relays TCP (RFC 6062) unless told not to; here relay.tcp_allocations turns it on, and no browser asks for it".to_owned());
    }
}

fn users(lines: &Lines<'_>, exported: &Exported, stem: &str, draft: &mut Draft) {
    let mut list: Vec<(String, String)> = Vec::new();
    let mut from = Vec::new();
    for line in lines.all("user") {
        let Some((name, password)) = line.value.split_once(':') else {
            draft.miss(&line.shown(), "is not name:password");
            continue;
        };
        if password.starts_with("0x") {
            draft.miss(&line.shown(), "holds the hash of a password, from which stronger proofs (SHA-256) cannot be made; write the password itself into the users file");
            continue;
        }
        take_user(&line.shown(), name, password, &mut list, draft);
        from.push(line);
    }
    for (number, (name, password)) in exported.users.iter().enumerate() {
        take_user(&format!("user {} of --users-db", number + 1), name, password, &mut list, draft);
    }
    if exported.hashed > 0 {
        let what = format!("{} users of --users-db", exported.hashed);
        draft.miss(
            &what,
            "only hashes of their passwords are there; issue new ones, best time-limited (auth.rest_secrets)",
        );
    }
    if list.is_empty() {
        return;
    }
    let file = format!("{stem}.users.secret");
    let text: String = list.iter().map(|(name, password)| format!("{name}:{password}\n")).collect();
    draft.secrets.push((file.clone(), text));
    draft.set("auth", "users_file", quoted(&file), &from);
}

fn take_user(what: &str, name: &str, password: &str, list: &mut Vec<(String, String)>, draft: &mut Draft) {
    match relay::config::user_fault(name, password) {
        Some((_, fault)) => draft.miss(what, &format!("{fault}; give this user another and tell them")),
        None => {
            list.retain(|(known, _)| known != name);
            list.push((name.to_owned(), password.to_owned()));
        }
    }
}

fn rest_secrets(lines: &Lines<'_>, exported: &Exported, stem: &str, draft: &mut Draft) {
    const LEAST: usize = 16;
    let mut files = Vec::new();
    let (mut from, mut secrets) = (lines.all("static-auth-secret"), Vec::new());
    from.retain(|line| {
        let long = line.value.len() >= LEAST;
        if !long {
            draft.miss(&line.shown(), "has fewer than 16 bytes, which can be guessed; put a longer one first in auth.rest_secrets and into your app's backend");
        }
        long
    });
    secrets.extend(from.iter().map(|line| line.value.clone()));
    for (number, secret) in exported.secrets.iter().enumerate() {
        match secret.len() >= LEAST {
            true => secrets.push(secret.clone()),
            false => draft
                .miss(&format!("secret {} of --users-db", number + 1), "has fewer than 16 bytes, which can be guessed"),
        }
    }
    for (number, secret) in secrets.into_iter().enumerate() {
        let file = format!("{stem}.rest-{}.secret", number + 1);
        files.push(format!("{{ file = {} }}", quoted(&file)));
        draft.secrets.push((file, format!("{secret}\n")));
    }
    if !files.is_empty() {
        draft.set("auth", "rest_secrets", format!("[{}]", files.join(", ")), &from);
    } else if lines.on("use-auth-secret") {
        draft.miss("use-auth-secret", "its secrets are in the database (table turn_secret): export them, see --users-db in `relay import-coturn --help`");
    }
    if let Some(line) = lines.last("rest-api-separator") {
        match line.value.as_str() {
            ":" => draft.dropped.push(format!("{}: it is a colon here too", line.shown())),
            _ => draft.miss(
                &line.shown(),
                "names of time-limited credentials are TIME:NAME here; let your backend write a colon",
            ),
        }
    }
}

fn peer_lists(lines: &Lines<'_>, exported: &Exported, draft: &mut Draft) {
    let mut read = |option: &str, more: &[String]| -> (Vec<Range>, Vec<&Line>) {
        let from = lines.all(option);
        let mut ranges = Vec::new();
        let written = from.iter().map(|line| (line.shown(), &line.value));
        for (what, text) in written.chain(more.iter().map(|text| (format!("{option} of --users-db"), text))) {
            match peers::range(text) {
                Some(range) => ranges.push(range),
                None => draft.miss(&what, "is no address, range or prefix"),
            }
        }
        (ranges, from)
    };
    let (denied, denied_from) = read("denied-peer-ip", &exported.denied);
    let (mut allowed, mut allowed_from) = read("allowed-peer-ip", &exported.allowed);
    if lines.on("allow-loopback-peers") {
        allowed.extend(["127.0.0.0/8", "::1"].iter().filter_map(|text| peers::range(text)));
        allowed_from.extend(lines.last("allow-loopback-peers"));
    }
    if !denied.is_empty() {
        draft.set("access", "deny_peers", list(peers::prefixes(&peers::without(&denied, &allowed))), &denied_from);
    }
    if !allowed.is_empty() {
        draft.set("access", "allow_peers", list(peers::prefixes(&allowed)), &allowed_from);
    }
    draft.worth_knowing.push(
        "peers at private, loopback and other special addresses, and this machine's own, are denied unless access.allow_peers names them; coturn lets clients reach private networks".to_owned(),
    );
}

fn limits(lines: &Lines<'_>, draft: &mut Draft) {
    match lines.number("user-quota") {
        Some((quota, line)) => draft.set("access", "user_allocations", quota.min(65_536).to_string(), &[line]),
        None => draft.worth_knowing.push(
            "a user may have 30 allocations at a time (access.user_allocations); coturn has no limit unless user-quota sets one. Raise it if many clients share one name".to_owned(),
        ),
    }
    // Bytes there, bits here.
    for (option, key, factor, most) in [
        ("total-quota", "total_allocations", 1, 1_000_000),
        ("max-bps", "user_bits_per_second", 8, 1_000_000_000_000),
        ("bps-capacity", "total_bits_per_second", 8, 1_000_000_000_000),
        ("unauthorized-ratelimit-rps", "unauthenticated_per_second", 1, 1_000_000_000),
    ] {
        if let Some((number, line)) = lines.number(option) {
            draft.set("limits", key, number.saturating_mul(factor).min(most).to_string(), &[line]);
        }
    }
    if let Some(line) = lines.last("unauthorized-ratelimit") {
        draft.dropped.push(format!("{}: always on, see limits.unauthenticated_per_second", line.shown()));
    }
    for option in ["user-quota", "total-quota", "max-bps", "bps-capacity"] {
        if let Some(line) = lines.last(option).filter(|line| line.value == "0") {
            draft.dropped.push(format!("{}: no limit", line.shown()));
        }
    }
}

/// One server for each address family, and only while this one drains.
fn alternates(lines: &Lines<'_>, draft: &mut Draft) {
    let options = [
        ("alternate-server", 3478),
        ("udp-alternate-server", 3478),
        ("tcp-alternate-server", 3478),
        ("tls-alternate-server", 5349),
    ];
    let mut taken: Vec<(std::net::SocketAddr, &Line)> = Vec::new();
    for (option, port) in options {
        for line in lines.all(option) {
            let address = line.value.parse().ok().or_else(|| {
                let bare = line.value.trim_matches(['[', ']']);
                Some(std::net::SocketAddr::new(bare.parse().ok()?, port))
            });
            let Some(address) = address else {
                draft.miss(&line.shown(), "is no address with a port");
                continue;
            };
            if taken.iter().any(|(known, _)| known.is_ipv4() == address.is_ipv4()) {
                draft.miss(&line.shown(), "there is room for one IPv4 and one IPv6 server; spread clients over many by DNS or by what your backend puts into iceServers");
            } else {
                taken.push((address, line));
            }
        }
    }
    if taken.is_empty() {
        return;
    }
    let from: Vec<&Line> = taken.iter().map(|(_, line)| *line).collect();
    draft.set("drain", "alternate_servers", list(taken.iter().map(|(address, _)| address)), &from);
    draft.miss(
        "alternate-server",
        "coturn sends every client on, always; here clients are sent to drain.alternate_servers only while this server drains, and served otherwise. A balancer that only redirects is done by DNS or by what your backend puts into iceServers",
    );
}

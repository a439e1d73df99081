//! Every option that coturn 4.6 and 4.17 know in `turnserver.conf`, and what becomes of it.

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `mapping` writes it; its value may be shown.
    Mapped,
    /// `mapping` puts it into a file of its own; its value is never shown.
    Secret,
    /// Nothing is lost without it; why.
    Dropped(&'static str),
    /// Why there is nothing like it, and what to do.
    Missing(&'static str),
}

use Answer::{Dropped, Mapped, Missing, Secret};

pub(super) fn answer(name: &str) -> Option<Answer> {
    OPTIONS.iter().find(|(names, _)| names.split(' ').any(|known| known == name)).map(|(_, answer)| *answer)
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().flat_map(|(names, _)| names.split(' '))
}

const LOG: Answer = Dropped(
    "logs go to standard error, one line each, without addresses or names; systemd keeps them. `relay --log debug` says more",
);
const UNIT: Answer = Dropped("the service manager's: User=, Group=, Type=notify and PIDFile= of a systemd unit");
const TLS: Answer = Dropped("TLS 1.2 and 1.3 with today's suites only; there is nothing weaker to turn off");
const RFC: Answer = Dropped("fixed by RFC 8656: permissions 5 minutes, channels 10 minutes, allocations up to an hour");
const CLI: Answer =
    Dropped("there is no telnet console; listen.admin has metrics, health and what an operator may ask, on loopback");
const WEB: Answer =
    Missing("there are no pages for administration; use listen.admin (metrics, health, POST /v1/…) and a dashboard");
const DATABASE: Answer = Missing(
    "there is no database of users. Passwords: the database holds only hashes of them, so they must be issued again, best as time-limited credentials (auth.rest_secrets), which need no list. Secrets of table turn_secret can be exported, see --users-db in `relay import-coturn --help`",
);
const BATCHES: Answer = Dropped("packets are always received and sent in batches");

const OPTIONS: &[(&str, Answer)] = &[
    ("listening-ip listening-port tls-listening-port aux-server no-udp no-tcp no-tls", Mapped),
    ("relay-ip external-ip min-port max-port relay-threads cpus", Mapped),
    ("realm user-quota total-quota max-bps bps-capacity", Mapped),
    ("cert pkey allowed-peer-ip denied-peer-ip allow-loopback-peers", Mapped),
    ("alternate-server tls-alternate-server udp-alternate-server tcp-alternate-server", Mapped),
    ("tcp-proxy-port prometheus rest-api-separator no-tcp-relay", Mapped),
    ("unauthorized-ratelimit unauthorized-ratelimit-rps rfc5766-channel-numbers alt-listening-port rfc5780", Mapped),
    ("user static-auth-secret", Secret),
    ("use-auth-secret lt-cred-mech", Dropped("credentials are always asked for, of the kinds that [auth] has")),
    (
        "no-auth",
        Missing(
            "nobody is relayed for without credentials: an open relay is found and abused within days. Give your clients time-limited credentials (auth.rest_secrets)",
        ),
    ),
    ("userdb db psql-userdb sql-userdb mysql-userdb mongo-userdb redis-userdb", DATABASE),
    ("secret-key-file", Dropped("belongs to mysql-userdb")),
    (
        "redis-statsdb",
        Missing("nothing is written about single allocations; /metrics of listen.admin has all totals, live"),
    ),
    ("no-auth-pings no-dynamic-ip-list no-dynamic-realms", Dropped("belongs to the database")),
    ("tls-alternate alt-tls-listening-port", Dropped("NAT behaviour discovery (RFC 5780) is for UDP")),
    ("no-rfc5780", Dropped("off unless listen.nat_discovery names two addresses")),
    ("no-multicast-peers", Dropped("multicast and broadcast addresses are never reached")),
    (
        "no-stun-backward-compatibility stun-backward-compatibility rfc3489-compatibility",
        Dropped("clients of RFC 3489 are not served; every client since 2008 sends the magic cookie"),
    ),
    ("response-origin-only-with-rfc5780", Dropped("RESPONSE-ORIGIN is sent only then")),
    ("fingerprint", Dropped("answers are told apart without it")),
    ("software-attribute no-software-attribute prod", Dropped("answers never tell the version")),
    (
        "verbose Verbose log-file no-stdout-log syslog syslog-facility simple-log new-log-timestamp new-log-timestamp-format log-binding log-min-level drop-invalid-packets-log udp-recvmmsg-log udp-sendmmsg-log",
        LOG,
    ),
    ("pidfile daemon proc-user proc-group", UNIT),
    ("cipher-list dh-file dh566 dh1066 ec-curve-name no-tlsv1 no-tlsv1_1 no-tlsv1_2 tlsv1 tlsv1_1", TLS),
    ("no-dtls", Dropped("DTLS is not spoken")),
    ("dtls", Missing("DTLS is not spoken: no browser does. Give clients turns: over TCP, and turn: over UDP")),
    (
        "pkey-pwd",
        Missing(
            "the private key must not be encrypted: `openssl pkey -in old.pem -out key.pem`, readable by the service alone",
        ),
    ),
    ("CA-file", Missing("client certificates are not asked for; credentials say who a client is")),
    ("raw-public-keys", Missing("TLS with raw public keys (RFC 7250) is not spoken; clients need a certificate")),
    ("stale-nonce stateless-nonce", Dropped("nonces are stateless and good for an hour, always")),
    ("stateless-nonce-secret", Dropped("drawn at each start; a client with an older nonce is told so and asks again")),
    ("max-allocate-lifetime channel-lifetime permission-lifetime max-allocate-timeout", RFC),
    ("no-cli cli cli-ip cli-port cli-password cli-max-output-sessions", CLI),
    ("web-admin web-admin-ip web-admin-port web-admin-listen-on-workers", WEB),
    (
        "prometheus-port prometheus-address prometheus-path",
        Dropped(
            "metrics are at http://127.0.0.1:9641/metrics; listen.admin changes the address, always on loopback: let the scraper run beside it or put a proxy in front",
        ),
    ),
    (
        "prometheus-tls prometheus-cert prometheus-key",
        Missing("the admin listener is on loopback and speaks plain HTTP; put a proxy in front for TLS"),
    ),
    ("prometheus-username-labels", Missing("no metric names a user")),
    ("check-origin-consistency", Dropped("ORIGIN is of an expired draft that no browser sends")),
    ("server-name oauth", Missing("OAuth (RFC 7635) is not spoken; use time-limited credentials (auth.rest_secrets)")),
    (
        "mobility",
        Missing(
            "mobility (RFC 8016) is not spoken, no browser does; a client that moves allocates anew, an ICE restart",
        ),
    ),
    ("stun-only", Dropped("a server without credentials in [auth] answers STUN Binding requests only")),
    ("no-stun", Missing("STUN Binding requests are always answered, within limits.unauthenticated_per_second")),
    (
        "secure-stun",
        Missing("STUN Binding requests are answered without credentials, within limits.unauthenticated_per_second"),
    ),
    (
        "no-udp-relay",
        Missing("a TURN server that relays no UDP is of no use to voice; leave auth empty to relay nothing"),
    ),
    ("server-relay", Missing("packets from peers without a permission are never passed on (RFC 8656 §9)")),
    (
        "listening-device relay-device",
        Missing("listeners and relayed addresses are named by address: listen.udp, relay.addresses"),
    ),
    ("udp-self-balance", Dropped("every core has a socket on each listener; the kernel balances")),
    (
        "keep-address-family allocation-default-address-family",
        Missing("a client that asks for no family gets IPv4 (RFC 8656 §7.2); who wants IPv6 asks for it"),
    ),
    (
        "acme-redirect respond-http-unsupported",
        Missing("port 80 belongs to whoever renews the certificate (certbot, a proxy)"),
    ),
    ("include-reason-string", Dropped("error answers carry the code, and its reason where the RFC asks for it")),
    ("drain-min-allocations", Dropped("SIGTERM drains until nothing is left or drain.deadline_secs have passed")),
    ("drop-invalid-packets", Dropped("what is no STUN message and no ChannelData is always dropped")),
    (
        "multiplex-peer multiplex-peer-port multiplex-peer-max-peers",
        Dropped(
            "calls between two of this server's clients need no relayed sockets; ports of relay.ports are for other peers",
        ),
    ),
    ("udp-recvmmsg udp-gso", BATCHES),
    (
        "sock-buf-size",
        Dropped("buffers are as large as net.core.rmem_max allows; `relay doctor` says whether that is enough"),
    ),
    ("ne", Dropped("there is one engine")),
    ("tls udp tcp", Dropped("listeners are those of listen.udp, listen.tcp and listen.tls")),
    ("version", Dropped("no setting")),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The long options of `turnserver` 4.6.1 and 4.17.1 and the options of Debian's /etc/turnserver.conf, less those that are for the
    /// command line alone.
    const KNOWN: &str = "CA-file Verbose acme-redirect allocation-default-address-family allow-loopback-peers allowed-peer-ip \
        alt-listening-port alt-tls-listening-port alternate-server aux-server bps-capacity cert channel-lifetime \
        check-origin-consistency cipher-list cli cli-ip cli-max-output-sessions cli-password cli-port cpus daemon db \
        denied-peer-ip dh-file dh1066 dh566 drain-min-allocations drop-invalid-packets drop-invalid-packets-log dtls \
        ec-curve-name external-ip fingerprint include-reason-string keep-address-family listening-device listening-ip \
        listening-port log-binding log-file log-min-level lt-cred-mech max-allocate-lifetime max-allocate-timeout max-bps \
        max-port min-port mobility mongo-userdb multiplex-peer multiplex-peer-max-peers multiplex-peer-port mysql-userdb ne \
        new-log-timestamp new-log-timestamp-format no-auth no-auth-pings no-cli no-dtls no-dynamic-ip-list no-dynamic-realms \
        no-multicast-peers no-rfc5780 no-software-attribute no-stdout-log no-stun no-stun-backward-compatibility no-tcp \
        no-tcp-relay no-tls no-tlsv1 no-tlsv1_1 no-tlsv1_2 no-udp no-udp-relay oauth permission-lifetime pidfile pkey pkey-pwd \
        proc-group proc-user prometheus prometheus-address prometheus-cert prometheus-key prometheus-path prometheus-port \
        prometheus-tls prometheus-username-labels psql-userdb raw-public-keys realm redis-statsdb redis-userdb relay-device \
        relay-ip relay-threads respond-http-unsupported response-origin-only-with-rfc5780 rest-api-separator \
        rfc3489-compatibility rfc5766-channel-numbers rfc5780 secret-key-file secure-stun server-name server-relay simple-log \
        sock-buf-size software-attribute sql-userdb stale-nonce stateless-nonce stateless-nonce-secret static-auth-secret \
        stun-backward-compatibility stun-only syslog syslog-facility tcp-alternate-server tcp-proxy-port tls-alternate-server \
        tls-listening-port tlsv1 tlsv1_1 total-quota udp-alternate-server udp-gso udp-recvmmsg udp-recvmmsg-log \
        udp-self-balance udp-sendmmsg-log unauthorized-ratelimit unauthorized-ratelimit-rps use-auth-secret user user-quota \
        userdb verbose version web-admin web-admin-ip web-admin-listen-on-workers web-admin-port";

    #[test]
    fn every_option_gets_an_answer() {
        let without: Vec<_> = KNOWN.split_whitespace().filter(|name| answer(name).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn no_option_is_answered_twice() {
        let mut all: Vec<_> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}

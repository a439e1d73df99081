//! NAT traversal, the reason a relay exists: callers in networks of seven kinds, each pair of kinds in a call under each of the
//! two paths, over the product's own signalling, on the addresses and ports of a real deployment.

use crate::people::one_test_at_a_time;
use e2e::aiortc::make_calls;
use e2e::network::{Lets, Network, Ports, possible};
use e2e::{Claims, Daemon};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

/// What a caller's network is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Cone,
    Symmetric,
    TwoLayers,
    TcpOnly,
    TlsOnly,
    Ipv6Only,
}
use Kind::{Cone, Ipv6Only, Open, Symmetric, TcpOnly, TlsOnly, TwoLayers};

const KINDS: [Kind; 7] = [Open, Cone, Symmetric, TwoLayers, TcpOnly, TlsOnly, Ipv6Only];

/// The relay is reached by this name; a caller's network says what it means there.
const RELAY: &str = "relay.test";
/// A pair is tried again when a machine too busy to keep the deadlines of a call spoilt it.
const ATTEMPTS: usize = 4;

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Open => "open",
            Cone => "cone NAT",
            Symmetric => "symmetric NAT",
            TwoLayers => "two NATs",
            TcpOnly => "no UDP",
            TlsOnly => "443 only",
            Ipv6Only => "IPv6 only",
        }
    }

    /// How such a caller reaches the relay: the best that gets out.
    fn transport(self) -> &'static str {
        match self {
            TcpOnly => "tcp",
            TlsOnly => "tls",
            _ => "udp",
        }
    }

    fn has_udp(self) -> bool {
        !matches!(self, TcpOnly | TlsOnly)
    }

    /// Whether ICE alone brings the two together. What a Linux NAT lets in is bound to an address and a port, so that a partner whose
    /// ports are random is let in only where everybody is.
    fn reaches(self, other: Kind) -> bool {
        let one_family = (self == Ipv6Only) == (other == Ipv6Only);
        let random = |kind| kind == Symmetric;
        let closed = |kind| kind != Open && kind != Ipv6Only;
        let let_in = !(random(self) && closed(other) || random(other) && closed(self));
        self.has_udp() && other.has_udp() && one_family && let_in
    }

    /// A caller of this kind, the `side`th (0 or 1); returns its namespace.
    fn place(self, network: &mut Network, side: u8) -> String {
        let number = 20 + self as u8 * 2 + side;
        let wan = if self == Ipv6Only { format!("2001:db8::{number}/64") } else { format!("192.0.2.{number}/24") };
        let (outer, inner, caller) = (format!("o{number}"), format!("i{number}"), format!("c{number}"));
        let lets = match self {
            TcpOnly => Lets::Tcp,
            TlsOnly => Lets::Web,
            _ => Lets::All,
        };
        if matches!(self, Open | Ipv6Only) {
            return network.public_host(&caller, &[&wan]);
        }
        let nat = network.public_host(&outer, &[&wan]);
        match self {
            TwoLayers => {
                let home = network.behind(&nat, &inner, 64, Ports::Preserved, Lets::All);
                network.behind(&home, &caller, number, Ports::Preserved, lets)
            }
            Symmetric => network.behind(&nat, &caller, number, Ports::Random, lets),
            _ => network.behind(&nat, &caller, number, Ports::Preserved, lets),
        }
    }
}

#[test]
fn every_pair_of_networks_has_a_call_relayed_or_direct() {
    if let Err(why) = possible() {
        eprintln!("SKIPPED: the NAT matrix needs root: {why}");
        return;
    }
    let _turn = one_test_at_a_time();
    let mut network = Network::public();
    let relay = network.public_host("relay", &["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64"]);
    let places = KINDS.map(|kind| [0, 1].map(|side| kind.place(&mut network, side)));
    let hidden = daemon(&relay, 1, "relay");
    let direct_first = daemon(&relay, 2, "direct-first");

    let relayed = matrix(&places, &hidden, 1, |_, _| false);
    let direct = matrix(&places, &direct_first, 2, Kind::reaches);
    drop((hidden, direct_first));
    let tables = [table("path = \"relay\"", &relayed), table("path = \"direct-first\"", &direct)];
    e2e::report("nat-matrix.txt", &tables.concat());

    let wrong: Vec<&Row> = relayed.iter().chain(&direct).filter(|row| !row.as_expected()).collect();
    assert!(wrong.is_empty(), "{}", table("not as expected", &wrong.into_iter().cloned().collect::<Vec<_>>()));
}

/// A deployment as the documentation has it: UDP and TCP on 3478, and TLS on 443 shared with HTTPS and WebSocket.
fn daemon(namespace: &str, number: u8, path: &str) -> Daemon {
    let (v4, v6) = (format!("192.0.2.{number}"), format!("2001:db8::{number}"));
    let everywhere = |port: u16| format!("['{v4}:{port}', '[{v6}]:{port}']");
    Daemon::local()
        .set(&format!(
            "listen = {{ udp = {plain}, tcp = {plain}, tls = {tls} }}
             relay.addresses = ['{v4}', '{v6}']
             signalling.turn_urls = ['turn:{RELAY}:3478?transport=udp', 'turn:{RELAY}:3478?transport=tcp', 'turns:{RELAY}:443?transport=tcp']
             limits.exempt = ['192.0.2.0/24', '2001:db8::/64']
             calls.path = '{path}'",
            plain = everywhere(3478),
            tls = everywhere(443),
        ))
        .with_certificate()
        .inside(namespace)
        .start()
}

/// What came of a pair.
#[derive(Clone)]
struct Row {
    kinds: [Kind; 2],
    direct: bool,
    sides: [Value; 2],
}

impl Row {
    fn as_expected(&self) -> bool {
        self.kinds.iter().zip(&self.sides).all(|(kind, side)| {
            let path = if self.direct { "direct" } else { "relayed" };
            side["path"] == path && side["transport"] == kind.transport()
        })
    }

    /// The transports of both legs to the relay; or, direct, what each is to its partner.
    fn outcome(&self) -> String {
        let [one, other] = &self.sides;
        let word = |side: &Value, what: &str| side[what].as_str().unwrap_or("failed").to_owned();
        let path = word(one, "path");
        match path.as_str() {
            "relayed" => format!("relayed  {} – {}", word(one, "transport"), word(other, "transport")),
            "direct" => {
                format!("direct   {} – {}", other["types"][1].as_str().unwrap(), one["types"][1].as_str().unwrap())
            }
            _ => format!("FAILED {one} {other}"),
        }
    }
}

/// A call of each pair of kinds, also of a kind with itself: the first side's caller of one, the second side's of the other.
fn matrix(places: &[[String; 2]; 7], daemon: &Daemon, number: u8, direct: impl Fn(Kind, Kind) -> bool) -> Vec<Row> {
    let url = format!("wss://{RELAY}/v1/ws");
    let (mut calls, mut rows, mut callers) = (Vec::new(), Vec::new(), serde_json::Map::new());
    for (kind, sides) in KINDS.into_iter().zip(places) {
        let relay = if kind == Ipv6Only { format!("2001:db8::{number}") } else { format!("192.0.2.{number}") };
        for place in sides {
            let namespace = Path::new("/run/netns").join(place);
            callers.insert(place.clone(), json!({ "namespace": namespace, "names": { RELAY: relay } }));
        }
    }
    // Neighbours in this order share no caller, so that several can talk at once.
    for distance in 0..KINDS.len() {
        for first in 0..KINDS.len() - distance {
            let (one, other) = (first, first + distance);
            let expected = direct(KINDS[one], KINDS[other]);
            let id = rows.len();
            calls.push(json!({
                "id": id, "url": url, "sides": [places[one][0], places[other][1]],
                "wanted": if expected { "direct" } else { "relayed" }, "tokens": tokens(number, id),
            }));
            rows.push(Row { kinds: [KINDS[one], KINDS[other]], direct: expected, sides: [Value::Null, Value::Null] });
        }
    }
    let plan = json!({ "relay_wait_secs": 2, "at_once": 5, "callers": callers, "calls": calls });
    for line in make_calls(&plan, &daemon.authority()) {
        let row = &mut rows[usize::try_from(line["id"].as_u64().unwrap()).unwrap()];
        row.sides = [line["sides"][0].clone(), line["sides"][1].clone()];
    }
    rows
}

/// People nobody has met yet, in a pool of their own, for each attempt.
fn tokens(number: u8, id: usize) -> Vec<[String; 2]> {
    // As late as a token may expire: all are signed before the first call is made.
    let expiry = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 590;
    let token = |attempt, side| {
        let name = format!("n{number}r{id}a{attempt}s{side}");
        let pool = format!("p{number}-{id}-{attempt}");
        Claims::adult(&name).with("pool", json!(pool)).with("exp", json!(expiry)).token()
    };
    (0..ATTEMPTS).map(|attempt| [0, 1].map(|side| token(attempt, side))).collect()
}

fn table(title: &str, rows: &[Row]) -> String {
    let mut text = format!("\n{title}\n");
    for row in rows {
        let [one, other] = row.kinds.map(Kind::name);
        writeln!(text, "  {one:13}  {other:13}  {}", row.outcome()).unwrap();
    }
    text
}

//! Whom a run is aimed at: a relay, any TURN server, or a relay of our own.

use std::net::SocketAddr;

use rand::RngCore;

use super::{
    Stop, UNREACHABLE,
    args::{RunArgs, TokenArgs},
    internal, usage,
};
use crate::{
    own_relay::OwnRelay,
    peer::{turn::Credential, turn_url},
    runner::{self, Address, Aim},
    scenario::{Depth, Scenario, Transport, TurnBy},
    sys,
    token::{Key, Minter},
};

impl RunArgs {
    /// Where the load goes: the target, or a relay of our own that lives as long as the first part.
    pub(super) fn aim(&self, scenario: &Scenario) -> Result<(Option<OwnRelay>, Aim), Stop> {
        let secure = self.target.iter().any(|url| url.starts_with("wss://"));
        let trusts = scenario.tls_ca.is_some() || scenario.tls_name.is_some();
        if trusts && !(secure || scenario.transport == Transport::Tls || scenario.falls_back) {
            let which = "only a wss:// target and peer.transport = \"tls\" or \"fallback\" have certificates";
            return Err(usage(format!("peer.tls_ca, peer.tls_name: {which}")));
        }
        let turn = self.turn.as_deref().map(turn_url::parse).transpose().map_err(usage)?.map(|(server, _)| server);
        let alone = scenario.depth == Depth::Turn;
        let mut nodes = self.target.iter();
        let Some(url) = nodes.next() else {
            return match turn {
                Some(server) => Ok((None, self.foreign(server)?)),
                None => own(scenario),
            };
        };
        if alone {
            return Err(usage("depth turn has no signalling: give --turn instead of --target".to_owned()));
        }
        let address = Address::parse(url).map_err(usage)?;
        let others: Vec<Address> = nodes.map(|url| Address::parse(url)).collect::<Result<_, _>>().map_err(usage)?;
        if turn.is_some() && !others.is_empty() {
            return Err(usage("with several nodes each names its own TURN server: leave out --turn".to_owned()));
        }
        let minter = self.token.minter()?;
        let (server_pid, admin) = (self.server_pid, self.admin.clone());
        Ok((None, Aim { address, others, minter, turn, turn_only: None, server_pid, admin, own: false }))
    }

    /// A TURN server without signalling, anybody's.
    fn foreign(&self, server: SocketAddr) -> Result<Aim, Stop> {
        let from_environment = |name: &str| std::env::var(name).ok();
        let secret = self.turn_secret.clone().or_else(|| from_environment("LOADGEN_TURN_SECRET"));
        let password = self.password.clone().or_else(|| from_environment("LOADGEN_TURN_PASSWORD"));
        let credential = match (&self.user, password, secret) {
            (Some(user), Some(password), _) => Credential { username: user.clone(), password },
            (user, None, Some(secret)) => {
                let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                turn_url::time_limited(&secret, user.as_deref(), unix.map_or(0, |since| since.as_secs()))
            }
            _ => return Err(usage("--turn without --target needs --user and --password, or --turn-secret".to_owned())),
        };
        let minter = Minter {
            kid: String::new(),
            issuer: String::new(),
            audience: String::new(),
            key: Key::Hs256(Vec::new()),
            run: [0; 16],
        };
        let (turn_only, address) = (Some((server, credential)), Address::usual(server));
        let (server_pid, admin) = (self.server_pid, self.admin.clone());
        Ok(Aim { address, others: Vec::new(), minter, turn: None, turn_only, server_pid, admin, own: false })
    }
}

/// Whether the target answers at all, asked once before the load.
pub(super) async fn reach(aim: &Aim, scenario: &Scenario) -> Result<(), Stop> {
    if aim.turn_only.is_some() {
        return Ok(());
    }
    let dialer = runner::dialer(scenario).map_err(|error| usage(error.to_string()))?;
    for address in [&aim.address].into_iter().chain(&aim.others) {
        let reached = runner::check_reachable(address, &dialer).await;
        reached.map_err(|error| Stop(UNREACHABLE, error.to_string()))?;
    }
    Ok(())
}

impl TokenArgs {
    fn minter(&self) -> Result<Minter, Stop> {
        let secret = self.token_secret.clone().or_else(|| std::env::var("LOADGEN_TOKEN_SECRET").ok());
        let secret = secret.ok_or_else(|| {
            usage(
                "--target needs --token-secret (or LOADGEN_TOKEN_SECRET), the key of one of its [auth] tokens"
                    .to_owned(),
            )
        })?;
        let key = Key::parse(&self.token_alg, &secret).map_err(usage)?;
        let mut run = [0; 16];
        rand::rng().fill_bytes(&mut run);
        let Self { token_kid: kid, issuer, audience, .. } = self;
        Ok(Minter { kid: kid.clone(), issuer: issuer.clone(), audience: audience.clone(), key, run })
    }
}

/// A relay of our own.
fn own(scenario: &Scenario) -> Result<(Option<OwnRelay>, Aim), Stop> {
    // Without signalling attackers and callers are one user, who needs no quota then.
    let attacked = scenario.attack.is_any() && scenario.depth != Depth::Turn;
    let (relay, minter) = OwnRelay::start(scenario.mix.topics, scenario.lines, attacked).map_err(internal)?;
    let aim = relay.aim(minter, scenario).map_err(usage)?;
    Ok((Some(relay), aim))
}

/// A descriptor per caller, and one more where callers cannot share UDP sockets; the relay of our own inherits the limit.
pub(super) fn check_descriptors(scenario: &Scenario, own: bool) -> Result<(), Stop> {
    let limit = sys::raise_open_files().map_err(internal)?;
    let each = if scenario.transport != Transport::Udp || scenario.falls_back {
        4
    } else if scenario.turn_client == TurnBy::WebrtcRs {
        2
    } else if own || !scenario.depths().iter().any(|(depth, _)| depth.relays()) {
        1
    } else {
        2
    };
    let needed = scenario.expected_callers().min(scenario.max_callers) as u64 * each + 64;
    if needed <= limit {
        return Ok(());
    }
    Err(usage(format!(
        "this scenario needs about {needed} open files and the hard limit is {limit}: run `ulimit -Hn {needed}` as root in \
         this shell first, or lower --calls/s or --hold"
    )))
}

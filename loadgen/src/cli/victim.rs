//! Whom a scenario's hostile traffic may go to.

use super::{Stop, args::RunArgs, usage};
use crate::{
    attack::{Victim, may_be_attacked},
    own_relay::OwnRelay,
    peer::turn::Credential,
    runner::Aim,
    scenario::Scenario,
};

impl RunArgs {
    /// None where the scenario has no attack.
    pub(super) fn victim(
        &self,
        scenario: &Scenario,
        own: Option<&OwnRelay>,
        aim: &Aim,
    ) -> Result<Option<Victim>, Stop> {
        if !scenario.attack.is_any() {
            return Ok(None);
        }
        let named = || {
            let (username, password) = (self.user.clone()?, self.password.clone()?);
            Some(Credential { username, password })
        };
        let signalling = Some(aim.address.socket);
        let victim = match (own, &aim.turn_only, aim.turn) {
            (Some(relay), ..) => Victim { turn: relay.turn, signalling, user: Some(relay.credential.clone()) },
            (_, Some((turn, user)), _) => Victim { turn: *turn, signalling: None, user: Some(user.clone()) },
            (_, None, Some(turn)) => Victim { turn, signalling, user: named() },
            (_, None, None) => {
                return Err(usage("an attack with --target needs --turn too, to know where datagrams go".to_owned()));
            }
        };
        let addresses = [Some(victim.turn), victim.signalling].into_iter().flatten();
        match addresses.map(|address| address.ip()).find(|address| !may_be_attacked(*address)) {
            Some(address) => {
                Err(usage(format!("[attack] goes to this machine and private networks only, and {address} is neither")))
            }
            None => Ok(Some(victim)),
        }
    }
}

//! ConnectionBind (RFC 6062 §5.4): a client's new connection becomes the other end of a peer connection.

use super::{ConnectionId, TcpAction};
use crate::auth::{Authenticated, Refusal};
use crate::routes::FiveTuple;
use crate::time::Now;
use crate::turn::Turn;
use crate::turn::io::Action;
use crate::turn::reject::Reject;
use crate::turn::request::Answer;
use crate::wire::{Message, Method, Reply};

impl Turn {
    /// Who asks on a five-tuple without an allocation. "Authentication of the client by the server MUST use the same method and
    /// credentials as for the control connection" (§5.4): for a ConnectionBind, a nonce that was given to the control connection
    /// is as good as one of its own, which it has not had a chance to get. Some clients cannot be asked again.
    pub(in crate::turn) fn authenticate_new(
        &self,
        now: Now,
        from: &FiveTuple,
        request: &Message<'_>,
    ) -> Result<Authenticated, Refusal> {
        let authenticate =
            |client| self.shared.authenticator.authenticate(now, client, request, request.method() == Method::Allocate);
        let verified = authenticate(from.remote);
        if request.method() != Method::ConnectionBind || !matches!(verified, Err(Refusal::StaleNonce(_))) {
            return verified;
        }
        let id = request.connection_id().ok().flatten().map(ConnectionId);
        match id.and_then(|id| self.shared.tcp.attempt(id)) {
            Some((control, _)) => authenticate(control.remote),
            None => verified,
        }
    }

    /// `has_allocation`: this connection is a control connection already. "If the client connection transport is not TCP or TLS"
    /// and "if this attribute does not refer to an existing pending connection": 400. A connection of somebody else does not
    /// exist for this client, so that nobody learns which ids are in use.
    pub(in crate::turn) fn connection_bind(
        &mut self,
        from: &FiveTuple,
        request: &Message<'_>,
        who: &Authenticated,
        has_allocation: bool,
    ) -> Result<Answer, Reject> {
        let client = from.transport.connection().ok_or(Reject::BadRequest)?;
        let id = ConnectionId(request.connection_id()?.ok_or(Reject::BadRequest)?);
        if has_allocation || self.openings.transaction(from).is_some() {
            return Err(Reject::BadRequest);
        }
        let port = self.shared.tcp.bind(id, who.identity()).ok_or(Reject::BadRequest)?;
        let reply = Reply::success(request).finish(Some(who.key()));
        self.counters.reply(0);
        self.actions.push_back(Action::Tcp(TcpAction::Bind { client, port, id, reply }));
        Ok(Answer::Later)
    }
}

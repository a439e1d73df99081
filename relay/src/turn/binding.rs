//! Binding (RFC 8489 §12): tells anybody the address the packet came from, and nothing else.

use super::five_tuple::FiveTuple;
use super::reject::Reject;
use crate::wire::{Message, Reply};

/// Not authenticated: the answer is as small as it can be and goes only to the source.
pub(super) fn binding(from: &FiveTuple, request: &Message<'_>) -> Result<Reply, Reject> {
    let unknown = request.unknown_required(); // RFC 8489 §6.3.1: 420
    if !unknown.is_empty() {
        return Err(Reject::UnknownAttribute(unknown));
    }
    // RFC 8489 §6.3.1.1: no authentication is used, so the answer carries no integrity either.
    Ok(Reply::success(request).xor_mapped_address(from.remote))
}

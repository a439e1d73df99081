//! Binding (RFC 8489 §12): tells anybody the address the packet came from, and little else.

use super::nat_discovery::NatDiscovery;
use super::reject::Reject;
use crate::routes::{ClientPath, FiveTuple};
use crate::wire::{Message, Reply};

/// Not authenticated: the answer is as small as it can be and goes only to the source. `length`: bytes of the request.
pub(super) fn binding(
    discovery: Option<&NatDiscovery>,
    from: &FiveTuple,
    request: &Message<'_>,
    length: usize,
) -> Result<(ClientPath, Reply), Reject> {
    if let Some((discovery, place)) = discovery.and_then(|discovery| Some((discovery, discovery.place(from)?))) {
        return discovery.answer(place, from, request, length);
    }
    let unknown = request.unknown_required(); // RFC 8489 §6.3.1: 420
    if !unknown.is_empty() {
        return Err(Reject::UnknownAttribute(unknown));
    }
    // RFC 8489 §6.3.1.1: no authentication is used, so the answer carries no integrity either.
    Ok((*from, Reply::success(request).xor_mapped_address(from.remote)))
}

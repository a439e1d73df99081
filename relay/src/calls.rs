//! What TURN and matchmaking share: the call.

//! pair.v1 over WebSocket.

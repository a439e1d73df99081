//! Sockets and threads of the packet path.

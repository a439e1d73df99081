//! The operator's loopback listener.

//! Counters as Prometheus text.

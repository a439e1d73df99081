//! The daemon: arguments → settings → run → exit code.

fn main() {}

//! The page and the browser client, embedded in the binary.

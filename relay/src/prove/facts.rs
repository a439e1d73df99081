//! What of the configuration decides about people's data. Nothing in here is secret.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `sandbox.mode`.
    pub sandbox: String,
    pub signalling: bool,
    /// Some callers may go direct, and learn each other's addresses.
    pub direct_first: bool,
    /// People are asked before they are connected.
    pub acceptance: bool,
    /// How the streams of calls are doing is heard.
    pub quality: bool,
    /// Reports go to the app's backend.
    pub reports: bool,
    /// Revocations are fetched at start.
    pub revocations: bool,
    /// This is one node of several, which speak to each other.
    #[serde(default)]
    pub cluster: bool,
    pub demo_page: bool,
    /// Users may have TCP relayed to servers that they name.
    pub tcp_allocations: bool,
    /// Youngest age band admitted.
    pub min_band: String,
    /// Lasting credentials, whose names are held as long as the process lives.
    pub users: usize,
}

//! What all workers share.

use super::ports::Ports;
use super::routes::Routes;
use super::settings::Settings;
use crate::calls::Ledger;

/// What all workers share, behind one `Arc`. Packets touch only `routes`.
pub struct Shared {
    pub settings: Settings,
    pub routes: std::sync::Arc<Routes>,
    pub ports: Ports,
    pub ledger: Ledger,
}

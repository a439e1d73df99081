//! HTTP inside TLS, on a port shared with TURN: connections that the entrance found to speak HTTP.

use std::sync::Arc;

use axum::Router;
use tokio::sync::Semaphore;

use super::http::{Connection, Crowd, Patience};
use super::http2::serve_http2;
use super::serving::serve_http1;
use crate::stream::Pages;

/// How many there may be is decided where they come in; here they are counted so that their end can be waited for.
pub(super) struct Https {
    pages: Pages,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl Https {
    pub(super) fn new(pages: Pages, patience: Patience) -> Https {
        Https { pages, room: Arc::new(Semaphore::new(patience.connections)), patience }
    }

    pub(super) fn crowd(&self) -> Crowd {
        Crowd::of(&self.room, self.patience.connections)
    }

    /// Serves each connection in a task of its own. Never ends.
    pub(super) async fn serve(mut self, router: Router) {
        let Patience { head, silence, .. } = self.patience;
        loop {
            let page = self.pages.next().await;
            let http2 = page.http2;
            let (stream, from, place) = page.into_parts();
            let Ok(counted) = Arc::clone(&self.room).try_acquire_owned() else { continue };
            let stream = Connection::new(stream, silence, (place, counted));
            match http2 {
                true => drop(tokio::spawn(serve_http2(stream, from, router.clone(), self.patience))),
                false => drop(tokio::spawn(serve_http1(stream, from, router.clone(), head))),
            }
        }
    }
}

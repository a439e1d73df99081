//! Revocations that an earlier run of this server was told of, fetched from the app's backend at start.
//!
//! Tokens outlive a restart, what is held in memory does not. Until the list is here nobody is let in (`E_BUSY`, `/readyz` 503): a person
//! the app has banned should not come back because a server was updated.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::backend::Settings;
use super::desk::{MAX_DENIED, Subject};
use super::reception::Ask;
use super::webhook::sign;
use crate::clock::Clock;
use crate::time::Unix;

/// The longest list, in bytes: [`MAX_DENIED`] entries and more.
const MAX_BYTES: usize = 8 << 20;
/// One try, from the connection to the last byte.
const TRY_PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between tries: from here, doubled each time …
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// … up to here.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Somebody or some token, and until when (Unix time).
#[derive(Deserialize)]
struct Entry {
    sub: Option<String>,
    jti: Option<String>,
    until: u64,
}

#[derive(Deserialize)]
struct List {
    revoked: Vec<Entry>,
}

/// Fetches the list and gives it to the desk, however long the backend takes to answer.
pub(super) fn spawn(settings: Settings, desk: mpsc::Sender<Ask>, clock: Clock) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        while !desk.is_closed() {
            match fetch(&settings, clock).await {
                Ok(list) => {
                    if tell(&desk, list).await {
                        return;
                    }
                    tracing::error!("[revocations]: the list is longer than this server holds; nobody is let in");
                }
                Err(why) => tracing::error!("[revocations]: {why}; nobody is let in until the list is here"),
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    })
}

async fn fetch(settings: &Settings, clock: Clock) -> Result<List, &'static str> {
    let Settings { host, port, path, secret, .. } = settings;
    let at = clock.now().unix.0;
    let signature = sign(secret, at, path);
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nAccept: application/json\r\nX-Pair-Signature: t={at},v1={signature}\r\n\r\n"
    );
    let body = settings.body(request.as_bytes(), MAX_BYTES, TRY_PATIENCE).await;
    read(&body.map_err(|_| "the backend did not answer 200 in time")?)
}

fn read(body: &[u8]) -> Result<List, &'static str> {
    let list: List = serde_json::from_slice(body).map_err(|_| "the backend's answer is not the list")?;
    let names_one = |entry: &Entry| entry.sub.is_some() != entry.jti.is_some();
    if list.revoked.iter().all(names_one) { Ok(list) } else { Err("an entry of the list needs `sub` or `jti`") }
}

/// Whether the desk could hold it all.
async fn tell(desk: &mpsc::Sender<Ask>, list: List) -> bool {
    if list.revoked.len() > MAX_DENIED {
        return false;
    }
    let (answer, answered) = oneshot::channel();
    let ask: Ask = Box::new(move |desk, now| {
        let revoked = list.revoked.iter().filter_map(|Entry { sub, jti, until }| {
            let subject = sub.as_deref().map(Subject::Person).or(jti.as_deref().map(Subject::Token))?;
            Some((subject, Unix(*until)))
        });
        let held = desk.recall(now, revoked).is_ok();
        tracing::info!(entries = list.revoked.len(), "revocations were fetched");
        // A task that is gone needs no news.
        let _ = answer.send(held);
    });
    desk.send(ask).await.is_ok() && answered.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_people_or_tokens_and_an_end_for_each() {
        let good = br#"{"v":1,"revoked":[{"sub":"a-pseudonym","until":9},{"jti":"t","until":8,"why":"x"}]}"#;
        assert_eq!(read(good).map(|list| list.revoked.len()), Ok(2));
        assert!(read(br#"{"revoked":[]}"#).is_ok(), "nobody is a list too");
        for bad in [
            &br#"{"revoked":[{"until":9}]}"#[..],
            br#"{"revoked":[{"sub":"a","jti":"b","until":9}]}"#,
            br#"{"revoked":[{"sub":"a"}]}"#,
            br#"{}"#,
            b"",
            b"<html>",
        ] {
            assert!(read(bad).is_err());
        }
    }
}

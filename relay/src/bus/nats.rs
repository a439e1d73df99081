//! Core NATS: one connection at a time, made anew for as long as this process lives, on the runtime of who speaks most.
//!
//! A broker with JetStream could keep what it hears on a disk, so it is asked before anything is said: `$JS.API.INFO`, which is answered
//! by account. Nobody there (503), or JetStream not for this account (10039, 10076): good. Anything else is refused, silence too: a user
//! who may not ask cannot know. The flag `jetstream` in INFO would be no use: it is the server's, whatever the account may do.
//!
//! The library would connect again by itself and say what waits before it could be asked. So each of its connections is used once, and the
//! next one is made, and asked, here.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_nats::{
    Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, StatusCode, Subscriber,
};
use futures_util::StreamExt as _;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde::Deserialize;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::pending::Pending;
use super::subject::{self, PREFIX, To, answers, subject};
use super::{
    Bus, Counters, Incarnation, Lane, Lost, MAX_INCOMING, MAX_OUTGOING, MAX_PAYLOAD, Outgoing, Seals, Shared, Sink,
    Standing, Subscription, lock, seal, unix_ms,
};

/// From the name of a broker to its first word.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// A broker that knows of JetStream says so in a millisecond.
const ASK_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked again, while it is used: it may have been told to keep things meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A broker that has not answered three of these is gone.
const PING: Duration = Duration::from_secs(1);
/// Pauses between tries: from here, doubled each time …
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// … up to here.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After a broker that was refused: only its operator can change that.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);
/// Messages handed to the library at once.
const HANDED: usize = 256;
/// What the last words get when the daemon stops.
const FAREWELL: Duration = Duration::from_millis(200);
const MAY_IT_KEEP: &str = "$JS.API.INFO";
/// "JetStream not enabled for account", "JetStream not enabled".
const NOT_ENABLED: [u64; 2] = [10_039, 10_076];

/// Where to, and as whom.
#[derive(Clone)]
pub struct Settings {
    /// At least one.
    pub brokers: Vec<Broker>,
    pub keys: Vec<Vec<u8>>,
    pub user: Option<(String, String)>,
    pub token: Option<String>,
    /// The file of certificates to trust, PEM; needed for TLS. Read for every connection.
    pub trusted: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    pub tls: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
}

/// Why a broker is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It may keep what it hears.
    Keeps,
    /// It does not say whether it may.
    DoesNotSay,
    /// Its name, address or port.
    Unreachable,
    /// It does not know us.
    Login,
    Tls,
}

impl Settings {
    /// Whether what is said to the broker changes, beside what is sealed in it.
    fn is_of_another_connection(&self, than: &Settings) -> bool {
        let connection = |it: &Settings| (it.brokers.clone(), it.user.clone(), it.token.clone(), it.trusted.clone());
        connection(self) != connection(than)
    }

    fn keys(&self) -> Vec<&[u8]> {
        self.keys.iter().map(Vec::as_slice).collect()
    }
}

impl NotTaken {
    /// What is wrong and what to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            NotTaken::Keeps => {
                "the broker of [cluster] has JetStream for this account: what nodes tell each other could be kept on its disk. \
                 Start nats-server without -js and without jetstream {}, or give the relays an account that has none: \
                 accounts { RELAY { users = [ { user: relay, password: … } ] } }."
            }
            NotTaken::DoesNotSay => {
                "the broker of [cluster] does not say whether it has JetStream for this account, so it may. Let the user of the relays \
                 ask: permissions { publish = [\"relay.v1.>\", \"$JS.API.INFO\"], subscribe = \"relay.v1.>\" }."
            }
            NotTaken::Unreachable => "no broker of [cluster] answers: is nats-server up, and cluster.nats right?",
            NotTaken::Login => {
                "the broker of [cluster] does not let this relay in: see cluster.user and cluster.password, or cluster.token."
            }
            NotTaken::Tls => {
                "the certificate of the broker of [cluster] is not trusted: see cluster.ca, and whether cluster.nats has the name in it."
            }
        }
    }

    /// Whether it stands as a danger, and not as an absence.
    const fn is_refusal(self) -> bool {
        matches!(self, NotTaken::Keeps | NotTaken::DoesNotSay)
    }
}

/// Connection and thread at work. Dropped, it says goodbye and ends.
pub struct Running {
    stop: Arc<Notify>,
    settings: watch::Sender<Settings>,
    line: task::JoinHandle<()>,
    /// Closed when the connection has ended.
    ended: std_mpsc::Receiver<()>,
    runtime: Handle,
    /// Ends the thread.
    over: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Other brokers, keys and names from now on.
    pub fn adopt(&self, settings: Settings) {
        self.settings.send_replace(settings);
    }

    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Whether either has ended although nobody asked it to.
    pub fn has_ended(&self) -> bool {
        self.line.is_finished() || self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.notify_one();
        // Closed means ended. Late, or driven by nobody any more: then without a goodbye.
        let _ = self.ended.recv_timeout(2 * FAREWELL);
        self.over.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the bus had ended by a panic");
        }
    }
}

/// What the first try came to.
pub type FirstWord = oneshot::Receiver<Result<(), NotTaken>>;

/// Connects `node` to the others. The connection is a task of `desk`: between a desk and the wire no thread wakes another, which is what a
/// message mostly costs. `drive` is given the bus and makes what is to run on a thread of its own, since it may wait for the desk, and the last thing
/// said; the first try's outcome comes by the channel.
///
/// # Errors
/// No thread, or no randomness.
pub fn start<F: Future<Output = ()> + Send + 'static>(
    settings: Settings,
    node: &str,
    counters: &Arc<Counters>,
    desk: &Handle,
    drive: impl FnOnce(Bus) -> (F, Box<dyn FnOnce() + Send>),
) -> io::Result<(Running, FirstWord)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (outgoing, waiting) = mpsc::channel(MAX_OUTGOING);
    let mut chance = [0; 8];
    OsRng.try_fill_bytes(&mut chance).map_err(io::Error::other)?;
    let incarnation = Incarnation { started_ms: unix_ms(), chance: u64::from_be_bytes(chance) };
    let shared = Arc::new(Shared {
        node: node.to_owned(),
        incarnation,
        seals: Mutex::new(Seals::new(&settings.keys(), node, incarnation)),
        outgoing,
        subscriptions: Mutex::default(),
        subscribed: Notify::new(),
        pending: Mutex::new(Pending::default()),
        counters: Arc::clone(counters),
        up: watch::Sender::new(false),
    });
    let (round, goodbye) = drive(Bus(Some(Arc::clone(&shared))));
    let (sender, watched) = watch::channel(settings);
    let (word, first) = oneshot::channel();
    let (stop, over, runtime_of_round) = (Arc::new(Notify::new()), Arc::new(Notify::new()), runtime.handle().clone());
    let ends = Arc::clone(&over);
    let thread = thread::Builder::new().name("bus".to_owned()).spawn(move || {
        runtime.block_on(async move {
            drop(tokio::spawn(round));
            ends.notified().await;
        });
    })?;
    let (ending, ended) = std_mpsc::sync_channel::<()>(1);
    let stopped = Arc::clone(&stop);
    let line = desk.spawn(async move {
        let line = Line { shared, settings: watched, first: Some(word), said: None, turn: 0 };
        line.run(waiting, &stopped, goodbye).await;
        drop(ending);
    });
    Ok((Running { stop, settings: sender, line, ended, runtime: runtime_of_round, over, thread: Some(thread) }, first))
}

/// From one connection to the next.
struct Line {
    shared: Arc<Shared>,
    settings: watch::Receiver<Settings>,
    first: Option<oneshot::Sender<Result<(), NotTaken>>>,
    /// What the log was told last.
    said: Option<Option<NotTaken>>,
    /// Whose turn it is among the brokers.
    turn: usize,
}

/// How a connection ended.
enum End {
    Lost,
    NotTaken(NotTaken),
    Settings,
    Stopped,
}

impl Line {
    async fn run(mut self, mut waiting: mpsc::Receiver<Outgoing>, stop: &Notify, goodbye: Box<dyn FnOnce() + Send>) {
        let mut goodbye = Some(goodbye);
        let mut pause = FIRST_PAUSE;
        loop {
            let settings = self.settings.borrow_and_update().clone();
            lock(&self.shared.seals).adopt(&settings.keys());
            let tried = tokio::select! {
                () = stop.notified() => return,
                tried = self.connect(&settings) => tried,
            };
            let end = match tried {
                Ok(connection) => {
                    pause = FIRST_PAUSE;
                    // Nobody could have heard it.
                    while waiting.try_recv().is_ok() {
                        self.shared.counters.count_lost(Lost::Disconnected);
                    }
                    self.stands(Ok(()));
                    let end = self.serve(&settings, connection, &mut waiting, stop, &mut goodbye).await;
                    self.shared.up.send_replace(false);
                    end
                }
                Err(why) => End::NotTaken(why),
            };
            match end {
                End::Stopped => return,
                End::Settings => {
                    self.shared.counters.set_standing(Standing::Trying);
                    continue;
                }
                End::Lost => self.stands(Err(NotTaken::Unreachable)),
                End::NotTaken(why) => {
                    self.stands(Err(why));
                    if why.is_refusal() {
                        pause = REFUSED_PAUSE;
                    }
                }
            }
            tokio::select! {
                () = stop.notified() => return,
                // Nobody is left who could change them: then nobody is left at all.
                changed = self.settings.changed() => if changed.is_err() { return },
                () = sleep(pause.mul_f64(0.5 + f64::from(rand::random::<u8>()) / 512.0)) => {}
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Says so where it is asked for, and in the log when it is another word than the last.
    fn stands(&mut self, word: Result<(), NotTaken>) {
        let standing = match word {
            Ok(()) => Standing::Connected,
            Err(why) if why.is_refusal() => Standing::Refused,
            Err(_) => Standing::Disconnected,
        };
        self.shared.counters.set_standing(standing);
        if let Some(first) = self.first.take() {
            // Who did not wait for it will see.
            let _ = first.send(word);
        }
        let said = Some(word.err());
        if self.said != said {
            match word {
                Ok(()) => tracing::info!("the bus of the cluster is connected"),
                Err(why) if why.is_refusal() => tracing::error!("{} Until then this node is on its own.", why.advice()),
                Err(why) => tracing::warn!("{} Until then this node is on its own.", why.advice()),
            }
        }
        self.said = said;
    }

    /// The next broker of the list, if it can be had and keeps nothing.
    async fn connect(&mut self, settings: &Settings) -> Result<Connection, NotTaken> {
        let mut why = NotTaken::Unreachable;
        for _ in 0..settings.brokers.len() {
            let Some(broker) = settings.brokers.get(self.turn % settings.brokers.len()) else { break };
            match Connection::to(broker, settings).await {
                Ok(connection) => match may_it_keep(&connection.client).await {
                    Ok(()) => return Ok(connection),
                    Err(keeps) => return Err(keeps),
                },
                Err(not) if why == NotTaken::Unreachable => why = not,
                Err(_) => {}
            }
            self.turn = self.turn.wrapping_add(1);
        }
        Err(why)
    }

    async fn serve(
        &mut self,
        settings: &Settings,
        Connection { client, mut events }: Connection,
        waiting: &mut mpsc::Receiver<Outgoing>,
        stop: &Notify,
        goodbye: &mut Option<Box<dyn FnOnce() + Send>>,
    ) -> End {
        let mut readers =
            Readers { client: client.clone(), shared: Arc::clone(&self.shared), tasks: JoinSet::new(), subscribed: 0 };
        if readers.answers().await.is_err() || readers.subscribe().await.is_err() {
            return End::Lost;
        }
        self.shared.up.send_replace(true);
        let mut ask = interval(ASK_AGAIN);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ask.reset();
        let mut asked = JoinSet::new();
        let mut batch = Vec::with_capacity(HANDED);
        loop {
            tokio::select! {
                () = stop.notified() => return self.part(&client, waiting, goodbye).await,
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        return End::Stopped;
                    }
                    let other = self.settings.borrow_and_update().clone();
                    if other.is_of_another_connection(settings) {
                        return End::Settings;
                    }
                    // Other keys alone interrupt nobody.
                    lock(&self.shared.seals).adopt(&other.keys());
                }
                event = events.recv() => match event {
                    Some(Event::SlowConsumer(_)) => self.shared.counters.count_lost(Lost::IncomingFull),
                    Some(Event::Disconnected | Event::Closed) | None => return End::Lost,
                    Some(_) => {}
                },
                () = self.shared.subscribed.notified() => if readers.subscribe().await.is_err() { return End::Lost },
                _ = ask.tick(), if asked.is_empty() => {
                    let client = client.clone();
                    asked.spawn(async move { may_it_keep(&client).await });
                }
                Some(Ok(Err(why))) = asked.join_next() => return End::NotTaken(why),
                handed = waiting.recv_many(&mut batch, HANDED) => {
                    if handed == 0 {
                        return End::Stopped;
                    }
                    let said = async {
                        for message in batch.drain(..) {
                            self.say(&client, message).await?;
                        }
                        Ok::<(), Gone>(())
                    };
                    // What can be said at once is said first: at an end there is nearly always something, that this node drains.
                    tokio::select! {
                        biased;
                        said = said => if said.is_err() { return End::Lost },
                        () = stop.notified() => return self.part(&client, waiting, goodbye).await,
                    }
                }
            }
        }
    }

    /// The goodbye and what waits before it. What cannot be said in time is not said.
    async fn part(
        &self,
        client: &Client,
        waiting: &mut mpsc::Receiver<Outgoing>,
        goodbye: &mut Option<Box<dyn FnOnce() + Send>>,
    ) -> End {
        if let Some(goodbye) = goodbye.take() {
            goodbye();
        }
        let _ = timeout(FAREWELL, async {
            while let Ok(message) = waiting.try_recv() {
                self.say(client, message).await.ok();
            }
            client.flush().await.ok();
        })
        .await;
        End::Stopped
    }

    /// Waits where the broker takes no more; whoever speaks meanwhile finds the queue full.
    async fn say(&self, client: &Client, Outgoing { subject, reply, payload }: Outgoing) -> Result<(), Gone> {
        let Some(sealed) = lock(&self.shared.seals).seal(unix_ms(), &subject, &payload) else { return Ok(()) };
        let sealed = sealed.into();
        let said = match reply {
            Some(reply) => client.publish_with_reply(subject, reply, sealed).await,
            None => client.publish(subject, sealed).await,
        };
        said.map_err(|_| Gone)?;
        self.shared.counters.count_sent();
        Ok(())
    }
}

/// The connection is.
struct Gone;

/// One connection of the library's.
struct Connection {
    client: Client,
    events: mpsc::Receiver<Event>,
}

impl Connection {
    async fn to(broker: &Broker, settings: &Settings) -> Result<Connection, NotTaken> {
        let Broker { tls, host, port } = broker;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let url = format!("{}://{host}:{port}", if *tls { "tls" } else { "nats" });
        let (used, login) = (AtomicBool::new(false), (settings.user.clone(), settings.token.clone()));
        // Asked once for each connection: the second time the library gives up.
        let once = move |_| {
            let answer = if used.swap(true, Relaxed) { Err(AuthError::new("used")) } else { Ok(login_of(&login)) };
            std::future::ready(answer)
        };
        let (heard, events) = mpsc::channel(HANDED);
        let mut options = ConnectOptions::with_auth_callback(once)
            .no_echo()
            .ignore_discovered_servers()
            .max_reconnects(1)
            .connection_timeout(CONNECT_PATIENCE)
            .ping_interval(PING)
            .custom_inbox_prefix(format!("{PREFIX}.inbox"))
            .subscription_capacity(MAX_INCOMING)
            .client_capacity(HANDED)
            .name("relay")
            .event_callback(move |event| {
                // A crowd of events is one of slow readers; what ends the connection is said by its end as well.
                let _ = heard.try_send(event);
                std::future::ready(())
            });
        if let Some(file) = &settings.trusted {
            // Of a configuration of ours the library would look through all of the system's certificates as well, which the sandbox forbids.
            let _ = rustls::crypto::ring::default_provider().install_default();
            options = options.add_root_certificates(file.clone());
        }
        let client = timeout(2 * CONNECT_PATIENCE, options.connect(url)).await.map_err(|_| NotTaken::Unreachable)?;
        let client = client.map_err(|error| match error.kind() {
            _ if is_of_tls(&error) => NotTaken::Tls,
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => NotTaken::Login,
            ConnectErrorKind::Tls => NotTaken::Tls,
            _ => NotTaken::Unreachable,
        })?;
        Ok(Connection { client, events })
    }
}

/// Whether it was TLS that failed, which the library calls input and output.
fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let of_io = |error: &(dyn Error + 'static)| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<rustls::Error>())
    };
    error.is::<rustls::Error>() || of_io(error) || error.source().is_some_and(is_of_tls)
}

type Login = (Option<(String, String)>, Option<String>);

fn login_of((user, token): &Login) -> Auth {
    let mut auth = Auth::new();
    auth.token.clone_from(token);
    (auth.username, auth.password) = user.clone().unzip();
    auth
}

#[derive(Deserialize)]
struct AccountInfo {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    err_code: u64,
}

/// Whether the broker could keep what it hears.
async fn may_it_keep(client: &Client) -> Result<(), NotTaken> {
    let asked = timeout(ASK_PATIENCE, client.request(MAY_IT_KEEP, "".into())).await;
    match asked {
        Ok(Ok(answer)) => {
            let info: Option<AccountInfo> = serde_json::from_slice(&answer.payload).ok();
            let error = info.and_then(|info| info.error);
            if error.is_some_and(|error| NOT_ENABLED.contains(&error.err_code)) { Ok(()) } else { Err(NotTaken::Keeps) }
        }
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        _ => Err(NotTaken::DoesNotSay),
    }
}

/// The tasks that read, one for each subscription.
struct Readers {
    client: Client,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    /// How many of the subscriptions there are.
    subscribed: usize,
}

impl Readers {
    async fn answers(&mut self) -> Result<(), Gone> {
        let all = answers(&self.shared.node);
        self.read(Lane(0), all, None).await
    }

    /// Those there were not before.
    async fn subscribe(&mut self) -> Result<(), Gone> {
        let all = lock(&self.shared.subscriptions).clone();
        for Subscription { purpose, sink } in all.into_iter().skip(self.subscribed) {
            // As many as there are purposes: the same lanes with every connection.
            let lane = u8::try_from(2 * self.subscribed).map_err(|_| Gone)?;
            for (lane, to) in [(lane + 1, To::Everybody), (lane + 2, To::Node(&self.shared.node.clone()))] {
                self.read(Lane(lane), subject(purpose, to), Some(Arc::clone(&sink))).await?;
            }
            self.subscribed += 1;
        }
        self.client.flush().await.map_err(|_| Gone)
    }

    async fn read(&mut self, lane: Lane, subject: String, sink: Option<Sink>) -> Result<(), Gone> {
        let subscriber = self.client.subscribe(subject).await.map_err(|_| Gone)?;
        self.tasks.spawn(read(Arc::clone(&self.shared), lane, subscriber, sink));
        Ok(())
    }
}

async fn read(shared: Arc<Shared>, lane: Lane, mut subscriber: Subscriber, sink: Option<Sink>) {
    while let Some(message) = subscriber.next().await {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            if let Some(number) = subject::answered(&message.subject, &shared.node) {
                lock(&shared.pending).unheard(number);
            }
        } else if message.payload.len() > MAX_PAYLOAD + seal::OVERHEAD {
            shared.counters.count_lost(Lost::TooLong);
        } else {
            shared.deliver((lane, &message.subject), message.reply.as_deref(), &message.payload, sink.as_ref());
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_account_without_it_is_told_from_one_that_has_jetstream() {
        let read = |text: &str| serde_json::from_str::<AccountInfo>(text).ok().and_then(|info| info.error);
        let refused = r#"{"type":"io.nats.jetstream.api.v1.account_info_response","error":{"code":503,"err_code":10039,"description":"JetStream not enabled for account"}}"#;
        assert!(read(refused).is_some_and(|error| NOT_ENABLED.contains(&error.err_code)));
        let other =
            r#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}"#;
        assert!(!read(other).is_some_and(|error| NOT_ENABLED.contains(&error.err_code)));
        assert!(read(r#"{"memory":0,"storage":0,"streams":0}"#).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_broker_names_the_fix_and_nobody() {
        for why in [NotTaken::Keeps, NotTaken::DoesNotSay, NotTaken::Unreachable, NotTaken::Login, NotTaken::Tls] {
            assert!(why.advice().contains("[cluster]"));
        }
        assert!(NotTaken::Keeps.is_refusal() && NotTaken::DoesNotSay.is_refusal() && !NotTaken::Login.is_refusal());
    }
}

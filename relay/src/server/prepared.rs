//! From settings to a daemon at work, in two steps: everything bound and loaded on one thread, then the threads.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use axum::Router;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::mpsc;

use super::addresses::Addresses;
use super::asks::{self, Wish};
use super::bound::Bound;
use super::capacity::Capacity;
use super::cluster::{self, Cluster};
use super::edges::{self, Edges, Service, Work};
use super::error::StartError;
use super::handover::{self, Predecessor, Succession};
use super::inherited::Inherited;
use super::parts::{self, Seeds};
use super::pulse::Pulse;
use super::reload::{self, Changeable, Past};
use super::stats::Sources;
use super::upgrade::{Taken, Wanted};
use super::{Running, descriptors, inside};
use crate::admin::Admin;
use crate::auth::CallKeys;
use crate::bus::Secrets;
use crate::clock::Clock;
use crate::config::Settings;
use crate::prove;
use crate::sandbox::Kept;
use crate::signalling::{self, LocalRelay, Signalling, Tell};
use crate::stream::{self, Certificates, Pages};
use crate::{dataplane, splice, turn, web};

/// For a scraper and a few curious people.
pub(super) const ADMIN_CONNECTIONS: usize = 32;
/// More signalling connections than one desk serves well.
const MOST_SESSIONS: u64 = 100_000;
/// More TCP and TLS connections than one server serves well.
const MOST_STREAMS: u64 = 100_000;

/// Everything bound and loaded, and not one thread yet: what is given up now, no thread has.
pub(super) struct Prepared {
    bound: Bound,
    addresses: Addresses,
    signalling: signalling::Settings,
    /// The relay whose place this one takes.
    pub(super) predecessor: Option<Predecessor>,
    base: Base,
}

/// What all parts stand on.
struct Base {
    settings: Settings,
    /// Signalling connections at once.
    sessions: usize,
    certificates: Option<Arc<Certificates>>,
    seeds: Seeds,
    clock: Clock,
    keys: Arc<CallKeys>,
    shared: Arc<turn::Shared>,
    /// Of the edges; nobody drives it yet.
    runtime: Runtime,
    /// Made of the cluster's key, if there is one.
    secrets: Option<Secrets>,
    /// If this is to be one node of several.
    #[cfg(feature = "nats")]
    cluster: Option<cluster::Target>,
}

/// What has threads of its own.
struct Works {
    workers: Arc<dataplane::Running>,
    streams: Arc<stream::Running>,
    /// If there are TCP allocations.
    splice: Option<splice::Running>,
    signalling: Signalling,
    /// Connections of TLS clients that want a page.
    pages: Pages,
}

/// What the admin listener answers.
struct Operator {
    admin: Admin,
    router: Router,
    wishes: mpsc::Receiver<Wish>,
    facts: Arc<RwLock<prove::Facts>>,
}

impl Prepared {
    /// In the place of another relay, if there is one.
    pub(super) fn new(settings: &Settings, succession: Option<Succession<'_>>) -> Result<Prepared, StartError> {
        // A quarter of the descriptors is left for relayed sockets.
        let descriptors = descriptors::raise_limit();
        let sessions = (descriptors / 4 * 3).min(MOST_SESSIONS) as usize;
        let streams = (descriptors / 2).min(MOST_STREAMS) as usize;
        let certificates = parts::certificates(settings).map_err(StartError::Certificate)?;
        let fresh = Seeds::from_system()?;
        let before = succession.map(handover::ask).transpose()?.flatten();
        let (predecessor, mut inherited) = match before {
            Some((predecessor, inherited)) => (Some(predecessor), inherited),
            None => (None, Inherited::from_environment()),
        };
        let ground = predecessor.as_ref().and_then(|it| it.ground.as_ref());
        let (seeds, clock, keys) = match ground {
            Some(ground) => (ground.secrets(fresh), ground.clock(), ground.keys()),
            None => {
                let keys = CallKeys::new(fresh.call_keys);
                (fresh, Clock::start(), keys)
            }
        };
        let bound = Bound::all(settings, streams, &mut inherited)?;
        ground.map_or(Ok(()), |ground| ground.fits(bound.dataplane.workers())).map_err(StartError::Unfit)?;
        inherited.close();
        let addresses = bound.addresses();
        let keys = Arc::new(keys);
        let udp = reload::udp_doors(settings, &addresses.udp);
        let shared = parts::shared(settings, &addresses, &udp, &keys, &seeds)?;
        #[cfg(feature = "nats")]
        let cluster = parts::cluster(settings)?;
        #[cfg(feature = "nats")]
        let secrets = cluster.as_ref().map(|it| it.secrets);
        #[cfg(not(feature = "nats"))]
        let secrets = None;
        let signalling = parts::signalling(settings, &addresses, sessions, &seeds.demo, secrets.as_ref())?;
        // What would fail when it is too late to give up.
        #[cfg(feature = "otlp")]
        parts::telemetry(settings)?;
        #[cfg(not(feature = "nats"))]
        if settings.cluster.is_some() {
            return Err(StartError::NoBus);
        }
        let runtime = edges::runtime().map_err(StartError::Threads)?;
        let settings = settings.clone();
        let base = Base {
            settings,
            sessions,
            certificates,
            seeds,
            clock,
            keys,
            shared,
            runtime,
            secrets,
            #[cfg(feature = "nats")]
            cluster,
        };
        Ok(Prepared { bound, addresses, signalling, predecessor, base })
    }

    /// `kept` is what the process has bound itself to; `others` are runtimes of threads that are there already.
    pub(super) fn start(self, kept: Option<Kept>, others: Vec<Handle>) -> Result<Running, StartError> {
        let Prepared { bound, addresses, mut signalling, predecessor, base } = self;
        let http = bound.lent().map_err(StartError::Threads)?;
        #[cfg(feature = "nats")]
        let cluster = {
            let start = |target| Cluster::start(target, &base.settings, base.clock, &base.runtime);
            let cluster = base.cluster.clone().map(start).transpose()?;
            if let Some(cluster) = &cluster
                && let Some(desk) = cluster.join(&mut signalling)
            {
                drop(base.runtime.spawn(cluster.hands.clone().tell_load(desk)));
            }
            cluster
        };
        #[cfg(not(feature = "nats"))]
        let cluster: Option<Cluster> = {
            signalling.fellows = None;
            None
        };
        // Nothing that is likely to fail comes after this.
        let wanted = || Wanted { listeners: addresses.udp.clone(), addresses: base.shared.settings.addresses.clone() };
        let taken = predecessor.map(|it| it.make_room(&wanted())).transpose().map_err(StartError::HandOver)?.flatten();
        let works = Works::start(bound.dataplane, bound.streams, signalling, &base, taken)?;
        let talking = (works.signalling.controls(), works.signalling.counters());
        let pulse = Pulse::new(&works.workers.mailboxes(), works.runtimes(&base, cluster.as_ref()));
        let sources = Arc::new(works.sources(&base, cluster.as_ref()));
        let capacity = Arc::new(Capacity::default());
        let operator = Operator::new(&works, &base, &sources, &capacity, (kept, others), cluster.as_ref());
        if let Some(cluster) = &cluster {
            let desk = (&talking.0, works.signalling.people_mark());
            cluster.hands.hold(&operator.admin, &capacity, &sources, desk);
        }
        let website = works.signalling.router().merge(web::router());
        let https = (works.pages, website.clone());
        let calls = bound
            .signalling
            .map(|listener| ("signalling", Service { listener, connections: base.sessions, router: website.clone() }));
        let asked = bound.admin.map(|listener| {
            ("admin", Service { listener, connections: ADMIN_CONNECTIONS, router: operator.router.clone() })
        });
        #[cfg(feature = "otlp")]
        let telemetry = {
            let (sender, target) = tokio::sync::watch::channel(parts::telemetry(&base.settings)?);
            drop(base.runtime.spawn(super::telemetry::push(Arc::clone(&sources), target)));
            sender
        };
        let work = Work {
            services: calls.into_iter().chain(asked).collect(),
            https,
            signalling: works.signalling,
            workers: Arc::clone(&works.workers),
            streams: Arc::clone(&works.streams),
            splice: works.splice,
            capacity,
        };
        let edges = Edges::start(base.runtime, work).map_err(StartError::Threads)?;
        operator.admin.set_ready(true);
        if let Some(cluster) = &cluster {
            cluster.hands.look();
        }
        tracing::info!(workers = works.workers.counters().len(), "started");
        #[cfg(feature = "slowdown")]
        tracing::warn!(
            percent = crate::dataplane::slowdown::percent(),
            "this build is slow on purpose: never serve people with it"
        );
        let changeable = Changeable {
            doors: reload::doors(&base.settings, &addresses.tcp, &addresses.tls),
            udp: reload::udp_doors(&base.settings, &addresses.udp),
            past: Past::default(),
            website,
            sources,
            operator: operator.router,
            facts: operator.facts,
            #[cfg(feature = "otlp")]
            telemetry,
            entered: base.settings.clone(),
            settings: base.settings,
            keys: base.keys,
            clock: base.clock,
            nonces: base.seeds.nonces,
            demo: base.seeds.demo,
            sessions: base.sessions,
            secrets: base.secrets,
            shared: base.shared,
            certificates: base.certificates,
        };
        Ok(Running {
            addresses,
            admin: operator.admin,
            cluster,
            edges,
            signalling: talking,
            changeable,
            http,
            given: Vec::new(),
            makes_room: false,
            wishes: operator.wishes,
            streams: works.streams,
            workers: works.workers,
            pulse,
        })
    }
}

impl Works {
    fn start(
        packets: dataplane::Bound,
        streams: stream::Bound,
        signalling: signalling::Settings,
        base: &Base,
        taken: Option<Taken>,
    ) -> Result<Works, StartError> {
        let Base { settings, certificates, seeds, clock, keys, shared, runtime, .. } = base;
        // A reload may turn them on where connections may lead anywhere.
        let with_tcp = inside::reaches_everybody(settings);
        let (sender, tasks) = dataplane::tasks();
        let packets = if with_tcp { packets.with_tcp(sender) } else { packets };
        let (packets, desk) = match taken {
            Some(Taken { desk, shared: calls, estates }) => {
                shared.unpack(calls);
                (packets.with_estates(estates), desk)
            }
            None => (packets, None),
        };
        let workers = Arc::new(packets.start(shared, *clock, seeds.workers).map_err(StartError::Threads)?);
        let splice =
            with_tcp.then(|| splice::start(tasks, Arc::clone(&shared.tcp), workers.mailboxes(), *clock)).transpose();
        let splice = splice.map_err(StartError::Threads)?;
        let signalling = {
            let _inside = runtime.enter();
            let relay = Box::new(local_relay(shared, keys, &workers));
            // It was looked over before it was taken.
            signalling::spawn_from(signalling, relay, *clock, seeds.desk, desk.as_ref())
                .map_err(|_| StartError::HandOver(std::io::ErrorKind::InvalidData.into()))?
        };
        let (sender, pages) = stream::pages();
        let streams = streams.start(workers.mailboxes(), certificates.as_deref(), Some(sender));
        let streams = Arc::new(streams.map_err(StartError::Threads)?);
        Ok(Works { workers, streams, splice, signalling, pages })
    }

    /// By the names of their threads.
    fn runtimes(&self, base: &Base, cluster: Option<&Cluster>) -> Vec<(&'static str, Handle)> {
        let splice = self.splice.as_ref().map(|splice| ("splice", splice.runtime()));
        let always = [("edges", base.runtime.handle().clone()), ("streams", self.streams.runtime())];
        #[cfg(feature = "nats")]
        let bus = cluster.map(|cluster| ("bus", cluster.bus.runtime()));
        #[cfg(not(feature = "nats"))]
        let bus = cluster.and(None);
        always.into_iter().chain(splice).chain(bus).collect()
    }

    fn sources(&self, base: &Base, cluster: Option<&Cluster>) -> Sources {
        Sources {
            turn: self.workers.counters(),
            io: self.workers.io_counters(),
            streams: self.streams.counters(),
            signalling: self.signalling.counters(),
            talks: AtomicBool::new(base.settings.listen.signalling.is_some()),
            ledger: Arc::clone(&base.shared.ledger),
            tcp: self.splice.as_ref().map(|_| Arc::clone(&base.shared.tcp)),
            neighbours: cluster.map(|cluster| cluster.neighbours.clone()),
            matching: cluster.map(|cluster| Arc::clone(&cluster.counters)),
        }
    }
}

impl Operator {
    /// `kept` and `others` as for [`Prepared::start`].
    fn new(
        works: &Works,
        base: &Base,
        sources: &Arc<Sources>,
        capacity: &Arc<Capacity>,
        (kept, others): (Option<Kept>, Vec<Handle>),
        cluster: Option<&Cluster>,
    ) -> Operator {
        let (sources, seen) = (Arc::clone(sources), Arc::clone(capacity));
        let waits = works.signalling.counters();
        let knows = move || waits.awaiting_revocations() == 0;
        let admin = Admin::new(move |format| sources.page().write(format), knows);
        let admin = admin.with_capacity(move || seen.says());
        let (readiness, mailboxes) = (admin.clone(), works.workers.mailboxes());
        let hands = cluster.map(|cluster| cluster.hands.clone());
        let shut = move || {
            readiness.set_ready(false);
            hands.iter().for_each(cluster::Hands::look);
            mailboxes.post_all(turn::Command::Drain).is_ok()
        };
        let (asks, wishes) = asks::wishes();
        let tell = cluster.map_or_else(|| Arc::new(|_| true) as Tell, Cluster::tell);
        let (asks, backend) = (asks.router(), works.signalling.operator_router(shut, tell));
        let runtimes = works.runtimes(base, cluster).into_iter().map(|(_, runtime)| runtime);
        let threads = prove::Threads::new(works.workers.mailboxes(), others.into_iter().chain(runtimes), kept.as_ref());
        let facts = Arc::new(RwLock::new(parts::facts(&base.settings)));
        let proof = prove::router(Arc::clone(&facts), kept, threads);
        let router = admin.clone().router().merge(asks).merge(backend).merge(proof).merge(cluster::router(cluster));
        Operator { admin, router, wishes, facts }
    }
}

/// What signalling may do to the relay in this process.
fn local_relay(shared: &Arc<turn::Shared>, keys: &Arc<CallKeys>, workers: &dataplane::Running) -> LocalRelay {
    let mailboxes = workers.mailboxes();
    LocalRelay::new(Arc::clone(&shared.ledger), Arc::clone(keys), move |worker, command| {
        // A full mailbox loses the command: routes are dead already, the allocation goes when it expires.
        let _ = mailboxes.post(worker, command);
    })
}

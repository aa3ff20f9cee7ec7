//! From a configuration to a node that serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ottla_log::LogError;
use ottla_log::checkpoint::CleanShutdown;
use ottla_log::disk::{Disk, StdDisk};
use ottla_quorum::image::MetadataImage;
use ottla_wire::Str;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::control::Control;
use super::ground::{Founded, Ground, StartError};
use super::{
    Broker, Departed, Lifecycle, ProducerIds, connection_limits, current_config, lifecycle, monitor,
};
use crate::admin;
use crate::api::ControllerConnections;
use crate::cleaner::LogCleaner;
use crate::clock;
use crate::config::Config;
use crate::controller::server::ControllerServer;
use crate::controller::{
    BrokerRegistration, ControllerChannel, ControllerError, ControllerHandle, ControllerIdentity,
    ControllerSettings, announce, look_when_active,
};
use crate::fetch_session::Sessions;
use crate::group::Coordinator;
use crate::net::{BindError, ConnectionSlots, Listener, MemoryBudget, SocketOptions};
use crate::node::NodeContext;
use crate::partition::{LogDirectory, Partitions, Upkeep};
use crate::replication::isr::propose;
use crate::replication::{Connections, Replication};
use crate::storage::{Directories, FileSystem};
use crate::telemetry::loggers::Loggers;

/// `queued.max.request.bytes` when it is not set, in bytes: one of the largest requests of stock clients and brokers, and
/// what others need beside it. Fits a container of 256 MiB.
const DEFAULT_BUDGET: usize = 128 << 20;

/// An active controller that does not answer a broker for so long is given up.
pub(super) const CONTROLLER_DEADLINE: Duration = Duration::from_secs(10);
/// One that does not answer a client's request for so long; as Kafka's `controller.socket.timeout.ms`.
const FORWARDING_DEADLINE: Duration = Duration::from_secs(30);

/// A running node.
#[derive(Debug)]
pub struct Node {
    pub(super) broker: Arc<Broker>,
    pub(super) server: ControllerServer,
    pub(super) tasks: TaskTracker,
    pub(super) connections: TaskTracker,
    pub(super) failed: CancellationToken,
    control: Control,
    /// Locked until the node is gone.
    _directories: Directories,
    addresses: Vec<(crate::config::ListenerName, std::net::SocketAddr)>,
    http: Option<std::net::SocketAddr>,
    admin: Option<std::net::SocketAddr>,
}

/// Starts a node: lock → identity → sockets → quorum → registration → logs → metadata in effect → serving.
///
/// What it waits for the disk for, one after the other, and why:
/// - `quorum-state` (file and name): no epoch is led twice;
/// - the metadata log: the new epoch counts once it is committed, and so does the registration, whose offset is the
///   broker's epoch, and unfencing, after which clients are told of this leader;
/// - beside the registration, the removal of the mark of a clean stop: it has to be gone before a log is written to.
///
/// Logs that were closed cleanly have nothing to wait for.
///
/// # Errors
/// The first thing that stands in the way; nothing is left running then.
pub async fn start(config: Config) -> Result<Node, StartError> {
    start_on(config, Arc::new(StdDisk)).await
}

/// As [`start`], with another disk below.
///
/// # Errors
/// As [`start`].
pub async fn start_on(config: Config, disk: Arc<dyn Disk>) -> Result<Node, StartError> {
    begin(Founded::new(config, disk, Arc::default()).await?).await
}

/// As [`start`], with loggers whose levels somebody follows.
///
/// # Errors
/// As [`start`].
pub async fn start_with(config: Config, loggers: Arc<Loggers>) -> Result<Node, StartError> {
    begin(Founded::new(config, Arc::new(StdDisk), loggers).await?).await
}

async fn begin(founded: Founded) -> Result<Node, StartError> {
    let listeners = match bind(&founded.context.config).await {
        Ok(listeners) => listeners,
        Err(error) => {
            founded.give_up().await;
            return Err(error.into());
        }
    };
    let controller = founded.context.controller.clone();
    let started = tokio::select! {
        started = serve(founded, listeners) => started,
        () = controller.stopped() => Err(ControllerError::Stopped.into()),
    };
    if started.is_err() {
        // Another attempt must not find the metadata log in use. Why this one failed says more than how it ended.
        drop(controller.stop().await);
    }
    started
}

/// From a member of the quorum to a broker that serves.
async fn serve(founded: Founded, listeners: Vec<Listener>) -> Result<Node, StartError> {
    let began = Instant::now();
    let Founded { ground, settings, disk, context, control, server, http, admin } = founded;
    let (config, controller) = (&settings.config, context.controller.clone());
    let Ground { mut found, identity, directories, file_systems, failures, .. } = ground;
    let addresses = listeners.iter().filter_map(|it| Some((it.name().clone(), it.local_addr().ok()?)));
    let addresses = addresses.chain(server.addresses().iter().cloned()).collect();
    let http_address = http.as_ref().and_then(|listener| listener.local_addr().ok());
    let admin_address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
    let questions = admin::Questions::new(Arc::clone(&context), directories.clone());
    let (tasks, stopping, begun) = (TaskTracker::new(), CancellationToken::new(), Arc::default());
    // Nothing is left running where this fails.
    let failing = stopping.clone().drop_guard();
    if let Some(http) = http {
        tasks.spawn(admin::serve(http, Arc::clone(&begun), stopping.clone()));
    }
    if let Some(admin) = admin {
        tasks.spawn_on(questions.clone().serve(admin, stopping.clone()), &control.handle());
    }
    // Only now: a directory whose metadata is refused stays as it was.
    found.complete(&*disk)?;
    let registration = registration(config, &identity, &directories, &listeners)?;
    let request = registration.request(identity.cluster_id.clone());
    // An active controller has all that is committed; what follows is applied like any other change. A lone one is active by
    // now: its logs are opened meanwhile.
    let early =
        controller.is_active().then(|| Loading::begin(&context, directories.clone(), controller.image()));
    let client_id = Str::from(format!("broker-{}", config.node_id));
    let channel = ControllerChannel::new(controller.clone(), client_id, CONTROLLER_DEADLINE);
    let interval = lifecycle::interval(config);
    let lifecycle = Lifecycle::start(&control.handle(), channel.clone(), request, interval);
    let broker_epoch = lifecycle.registered().await.map_err(StartError::Registration)?;
    let loading = match early {
        Some(early) => early,
        None => Loading::begin(&context, directories, metadata_from(&controller, broker_epoch).await),
    };
    let loaded = loading.end().await?;
    let member = Membership { context, channel, lifecycle };
    let broker = assemble(&identity, loaded, member, &tasks, stopping);
    file_systems.iter().for_each(|file_system| file_system.look());
    let node = Node {
        broker,
        server,
        control,
        _directories: found,
        tasks,
        connections: TaskTracker::new(),
        failed: CancellationToken::new(),
        addresses,
        http: http_address,
        admin: admin_address,
    };
    // Health is told from here on.
    drop(begun.set(admin::Admin::of_broker(&node.broker)));
    questions.tell_of(&node.broker);
    node.spawn_background(failures, file_systems);
    node.spawn_members(settings);
    node.broker.catch_up().await;
    node.broker.lifecycle.serve().await;
    node.broker.catch_up().await;
    node.serve(listeners);
    node.broker.cleaner.start()?;
    node.broker.ready.store(true, Ordering::Release);
    failing.disarm();
    info!(node = node.broker.node_id, cluster = %node.broker.cluster_id, took = ?began.elapsed(), "broker started");
    Ok(node)
}

/// The metadata once it has the broker's registration: what came before is not all that the cluster has decided.
async fn metadata_from(controller: &ControllerHandle, broker_epoch: i64) -> Arc<MetadataImage> {
    let mut changes = controller.image_changes();
    match changes.wait_for(|image| image.offset() >= broker_epoch).await {
        Ok(image) => Arc::clone(&image),
        // The controller has failed, and with it the start.
        Err(_) => controller.image(),
    }
}

async fn bind(config: &Config) -> Result<Vec<Listener>, BindError> {
    let options = SocketOptions::of(&config.network);
    let mut bound = Vec::new();
    let for_clients =
        |listener: &&crate::config::Listener| !config.controller_listener_names.contains(&listener.name);
    let single = config.listeners.iter().filter(for_clients).count() == 1;
    for listener in config.listeners.iter().filter(for_clients) {
        let name = listener.name.clone();
        let mut socket = Listener::bind(name, &listener.host, listener.port, options.clone()).await?;
        if !single && listener.name == config.inter_broker_listener_name {
            socket.protect();
        }
        bound.push(socket);
    }
    Ok(bound)
}

fn registration(
    config: &Config,
    identity: &ControllerIdentity,
    directories: &[Arc<LogDirectory>],
    bound: &[Listener],
) -> Result<BrokerRegistration, LogError> {
    let mut endpoints = BrokerRegistration::endpoints(&config.advertised_listeners);
    for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.port == 0) {
        // Port 0 asks the system for one: clients must be told which.
        let own = bound.iter().find(|listener| listener.name().as_str() == &*endpoint.name);
        endpoint.port =
            own.and_then(|listener| listener.local_addr().ok()).map_or(0, |address| address.port());
    }
    Ok(BrokerRegistration {
        id: config.node_id,
        incarnation_id: identity.incarnation_id,
        endpoints,
        rack: config.rack.as_deref().map(Str::from),
        log_dirs: directories.iter().filter(|one| !one.is_offline()).map(|one| one.id()).collect(),
        previous_epoch: previous_epoch(directories)?,
    })
}

/// The epoch under which all directories were closed in order; -1 where one was not, or is not there (KIP-966).
fn previous_epoch(directories: &[Arc<LogDirectory>]) -> Result<i64, LogError> {
    let mut epochs = Vec::new();
    for directory in directories {
        let mark = match directory.is_offline() {
            true => None,
            false => CleanShutdown::read(&**directory.disk(), directory.path())?,
        };
        epochs.push(mark.map_or(-1, |mark| mark.broker_epoch));
    }
    epochs.dedup();
    Ok(if let [same] = epochs.as_slice() { *same } else { -1 })
}

/// What follows from an image.
struct Loaded {
    image: Arc<MetadataImage>,
    partitions: Arc<Partitions>,
    now: Config,
}

/// The logs of an image, while they are opened; from here on a crash is an unclean stop.
struct Loading(JoinHandle<Result<Loaded, LogError>>);

impl Loading {
    fn begin(
        context: &Arc<NodeContext>,
        directories: Vec<Arc<LogDirectory>>,
        image: Arc<MetadataImage>,
    ) -> Self {
        let context = Arc::clone(context);
        Self(tokio::task::spawn_blocking(move || {
            let now = current_config(&context.config, &image);
            context.quotas.set(&image.security);
            let partitions = load(Arc::clone(&context.config), directories, &image)?;
            Ok(Loaded { image, partitions, now })
        }))
    }

    async fn end(self) -> Result<Loaded, StartError> {
        Ok(self.0.await.map_err(std::io::Error::other)??)
    }
}

/// The node in its cluster.
struct Membership {
    context: Arc<NodeContext>,
    channel: ControllerChannel,
    lifecycle: Lifecycle,
}

/// Puts the broker together over what was loaded.
fn assemble(
    identity: &ControllerIdentity,
    loaded: Loaded,
    member: Membership,
    tasks: &TaskTracker,
    stopping: CancellationToken,
) -> Arc<Broker> {
    let Membership { context, channel, lifecycle } = member;
    let Loaded { image, partitions, now } = loaded;
    let config = &context.config;
    let cleaner = LogCleaner::new(Arc::clone(&partitions), now.cleaner.clone());
    let groups = Coordinator::new(config, Arc::clone(&partitions));
    groups.apply(&MetadataImage::default(), &image);
    let replication =
        replication(config, &context.controller, &partitions, tasks).registered(lifecycle.epoch());
    replication.apply(&MetadataImage::empty(identity.cluster_id.clone()), &image);
    lifecycle.set_metadata_offset(image.offset(), false);
    lifecycle.cordon(partitions.cordoned());
    let slots = usize::try_from(config.fetch.session_slots).unwrap_or(0);
    let seed = u64::from_be_bytes(*identity.incarnation_id.as_bytes().first_chunk().unwrap_or(&[0; 8]));
    let client_id = Str::from(format!("broker-{}-forwarding", config.node_id));
    let forwarding = ControllerChannel::new(context.controller.clone(), client_id, FORWARDING_DEADLINE);
    Arc::new(Broker {
        producer_ids: ProducerIds::new(config.node_id, lifecycle.epoch(), channel.clone()),
        remote_controller: Arc::new(ControllerConnections::new(forwarding)),
        node: context,
        channel,
        lifecycle,
        replication,
        departed: Departed::at_start(&image, Instant::now()),
        partitions,
        cleaner,
        memory: memory(&now),
        connections: ConnectionSlots::new(connection_limits(&now)),
        fetch_sessions: Sessions::new(slots, seed),
        groups,
        stopping,
        applied: watch::Sender::new(image.offset()),
        image: ArcSwap::new(image),
        ready: AtomicBool::new(false),
    })
}

/// Fetches from other brokers, on the runtime that serves clients.
fn replication(
    config: &Config,
    controller: &ControllerHandle,
    partitions: &Arc<Partitions>,
    tasks: &TaskTracker,
) -> Replication<Connections> {
    let controller = controller.clone();
    let connections = Connections::new(
        Arc::new(move || controller.image()),
        Str::from(config.inter_broker_listener_name.as_str()),
        Str::from(format!("broker-{}-fetcher", config.node_id)),
        config.replication.socket_timeout,
    );
    Replication::new(config, Arc::clone(partitions), connections, Handle::current(), tasks.clone())
}

fn load(
    config: Arc<Config>,
    directories: Vec<Arc<LogDirectory>>,
    image: &MetadataImage,
) -> Result<Arc<Partitions>, LogError> {
    let partitions = Partitions::load(config, directories.clone(), image, clock::now())?;
    for directory in directories.iter().filter(|directory| !directory.is_offline()) {
        CleanShutdown::remove(&**directory.disk(), directory.path())?;
    }
    Ok(partitions)
}

impl Node {
    /// What the handlers share.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Where a listener listens.
    pub fn address(&self, listener: &str) -> Option<std::net::SocketAddr> {
        let found = self.addresses.iter().find(|(name, _)| name.as_str().eq_ignore_ascii_case(listener));
        found.map(|(_, address)| *address)
    }

    /// Where health and metrics are, if they are on.
    pub fn http_address(&self) -> Option<std::net::SocketAddr> {
        self.http
    }

    /// Where the admin port is, if it is on.
    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin
    }

    /// Returns when the node cannot go on by itself.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    fn spawn_background(&self, failures: Arc<Notify>, file_systems: Vec<Arc<FileSystem>>) {
        let broker = &self.broker;
        self.tasks.spawn(monitor::follow_metadata(Arc::clone(broker)));
        self.tasks.spawn(monitor::follow_placements(Arc::clone(broker)));
        let (health, failed) = (monitor::watch_health(Arc::clone(broker), failures), self.failed.clone());
        let stopping = broker.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = health => failed.cancel(),
            }
        });
        let (log, check) = (&broker.config.log, broker.config.producers.expiration_check_interval);
        Upkeep::start(&broker.partitions, log, check, file_systems, &broker.stopping, &self.tasks);
    }

    /// What this node says to the active controller by itself.
    fn spawn_members(&self, settings: ControllerSettings) {
        let (broker, control) = (&self.broker, self.control.handle());
        let (channel, stopping) = (broker.channel.clone(), broker.stopping.clone());
        let surroundings = Arc::clone(broker.partitions.surroundings());
        let epoch = broker.lifecycle.epoch();
        self.tasks.spawn_on(propose(surroundings, epoch, channel.clone(), stopping.clone()), &control);
        if settings.config.roles.controller {
            let (controller, node_id) = (broker.controller.clone(), broker.node_id);
            self.tasks.spawn_on(look_when_active(controller.clone(), node_id, stopping.clone()), &control);
            self.tasks.spawn_on(announce(controller, channel, settings, stopping), &control);
        }
    }

    fn serve(&self, listeners: Vec<Listener>) {
        for listener in listeners {
            let (broker, connections) = (Arc::clone(&self.broker), self.connections.clone());
            self.tasks.spawn(listener.serve(broker, connections));
        }
    }
}

fn memory(config: &Config) -> MemoryBudget {
    let bytes = config.network.queued_max_bytes.and_then(|bytes| usize::try_from(bytes).ok());
    MemoryBudget::new(bytes.unwrap_or(DEFAULT_BUDGET))
}

//! What every node stands on, whatever its roles: its directories, its part in the quorum, the controller's listeners.

use std::sync::Arc;

use ottla_log::LogError;
use ottla_log::disk::{BoundedDisk, Disk};
use ottla_quorum::{LastRoom, QuorumError};
use ottla_wire::ErrorCode;
use tokio::sync::Notify;
use tracing::error;

use super::control::Control;
use crate::admin;
use crate::clock;
use crate::config::Config;
use crate::controller::server::{self, ControllerServer};
use crate::controller::{ControllerError, ControllerHandle, ControllerIdentity, ControllerSettings};
use crate::net::{BindError, ConnectionLimits, UnknownHost};
use crate::node::NodeContext;
use crate::partition::LogDirectory;
use crate::quota::Quotas;
use crate::security::AllowAll;
use crate::storage::{self, Directories, FileSystem, StorageError};
use crate::telemetry::Metrics;
use crate::telemetry::loggers::Loggers;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `meta.properties` do not fit, or cannot be made.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A log directory's own files.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The metadata log cannot be served.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The active controller refuses this broker for good.
    #[error("the controller refuses to register this broker: {0}")]
    Registration(ErrorCode),
    /// This node's controller has failed.
    #[error("controller: {0}")]
    Controller(#[from] ControllerError),
    /// An address is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Limits for a host that has no address.
    #[error(transparent)]
    UnknownHost(#[from] UnknownHost),
    /// The HTTP address is taken.
    #[error("ottla.http.listener: {0}")]
    Http(std::io::Error),
    /// The address of the admin port is taken.
    #[error("ottla.admin.listener: {0}")]
    Admin(std::io::Error),
    /// The system's randomness, or a thread of the start itself.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl StartError {
    /// Whether it is only that a disk is full: the same start works when there is space.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_no_space(),
            Self::Log(error) => error.is_no_space(),
            Self::Quorum(error) | Self::Controller(ControllerError::Quorum(error)) => error.is_no_space(),
            _ => false,
        }
    }
}

/// A member of the quorum that may become a broker. The controller's listeners are served from here on: without the quorum there
/// is no broker.
pub(super) struct Founded {
    pub(super) ground: Ground,
    pub(super) settings: ControllerSettings,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) context: Arc<NodeContext>,
    pub(super) control: Control,
    pub(super) server: ControllerServer,
    pub(super) http: Option<tokio::net::TcpListener>,
    pub(super) admin: Option<tokio::net::TcpListener>,
}

impl Founded {
    /// Lock → identity → sockets → quorum.
    ///
    /// # Errors
    /// The first thing that stands in the way; nothing is left running then.
    pub(super) async fn new(
        config: Config,
        disk: Arc<dyn Disk>,
        loggers: Arc<Loggers>,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let disk: Arc<dyn Disk> = Arc::new(BoundedDisk::new(disk, storage::descriptors::log_files()));
        check_hosts(&config).await?;
        let ground = prepare(&config, &disk)?;
        let http = admin::bind(config.http.as_ref()).await.map_err(StartError::Http)?;
        let identity = ground.identity.clone();
        let settings = ControllerSettings { config: Arc::clone(&config), identity };
        let control = Control::new()?;
        let listeners = server::bind(&config, &control.handle()).await?;
        let admin = bind_admin(&config, &control).await.map_err(StartError::Admin)?;
        let controller = ControllerHandle::start(
            settings.clone(),
            Arc::clone(&disk),
            ground.last_room(),
            control.handle(),
        )?;
        let context = Arc::new(NodeContext {
            cluster_id: ground.identity.cluster_id.clone(),
            node_id: config.node_id,
            controller,
            quotas: Quotas::new(&config.quotas),
            loggers,
            metrics: Metrics::default(),
            authoriser: Arc::new(AllowAll),
            config,
        });
        let server = server::start(Arc::clone(&context), listeners, &control.handle());
        Ok(Self { ground, settings, disk, context, control, server, http, admin })
    }

    /// The quorum's log is not in use any more when this returns.
    pub(super) async fn give_up(self) {
        // Why it is given up says more than how this ends.
        drop(self.context.controller.stop().await);
    }
}

/// What a node stands on.
pub(super) struct Ground {
    pub(super) found: Directories,
    pub(super) identity: ControllerIdentity,
    pub(super) directories: Vec<Arc<LogDirectory>>,
    pub(super) file_systems: Vec<Arc<FileSystem>>,
    pub(super) failures: Arc<Notify>,
    /// With the metadata log on it.
    metadata: Arc<FileSystem>,
}

impl Ground {
    /// A vote on a full disk gets what is kept back there.
    fn last_room(&self) -> LastRoom {
        let file_system = Arc::clone(&self.metadata);
        LastRoom::new(move || file_system.look())
    }
}

/// On the runtime of the quorum: no load of clients delays its answers.
async fn bind_admin(
    config: &Arc<Config>,
    control: &Control,
) -> std::io::Result<Option<tokio::net::TcpListener>> {
    let config = Arc::clone(config);
    let bound = control.handle().spawn(async move { admin::bind(config.admin.listener.as_ref()).await });
    bound.await.map_err(std::io::Error::other)?
}

/// Every host of the connection limits has to have an address, as with Kafka.
async fn check_hosts(config: &Arc<Config>) -> Result<(), StartError> {
    let network = config.network.clone();
    let resolve = move || ConnectionLimits::resolve(&network).1;
    let unknown = tokio::task::spawn_blocking(resolve).await.map_err(std::io::Error::other)?;
    unknown.into_iter().next().map_or(Ok(()), |host| Err(host.into()))
}

/// Locks the log directories, formats empty ones where that is asked for, and reads who this node is.
fn prepare(config: &Config, disk: &Arc<dyn Disk>) -> Result<Ground, StartError> {
    let found = Directories::open(config, &**disk, clock::now())?;
    let failures = Arc::new(Notify::new());
    let paths: Vec<_> = found.all.iter().map(|entry| entry.path.clone()).collect();
    let file_systems = FileSystem::below(disk, &paths, config.log.disk_reserve_bytes);
    file_systems.iter().for_each(|file_system| file_system.look_at_start());
    let readable = found.all.iter().zip(&file_systems);
    let for_data = readable.filter(|(entry, _)| config.log_dirs.contains(&entry.path));
    let mut directories: Vec<_> = for_data
        .map(|(entry, file_system)| {
            let (disk, file_system) = (Arc::clone(disk), Arc::clone(file_system));
            LogDirectory::new(entry.path.clone(), entry.id, disk, file_system, Arc::clone(&failures))
        })
        .collect();
    for (path, reason) in &found.failed {
        error!(directory = %path.display(), %reason, "log directory cannot be used, the others go on");
        let file_system = FileSystem::new(Arc::clone(disk), path, Some(0));
        directories.push(LogDirectory::failed(
            path.clone(),
            Arc::clone(disk),
            file_system,
            Arc::clone(&failures),
        ));
    }
    let identity = ControllerIdentity {
        cluster_id: found.cluster_id.clone(),
        directory_id: found.metadata_id,
        incarnation_id: storage::random_uuid()?,
    };
    let of_metadata = found.all.iter().position(|entry| entry.id == found.metadata_id);
    let metadata = of_metadata.and_then(|at| file_systems.get(at)).cloned();
    let metadata =
        metadata.unwrap_or_else(|| FileSystem::new(Arc::clone(disk), &config.metadata_log_dir, None));
    let mut distinct: Vec<Arc<FileSystem>> = Vec::new();
    for file_system in file_systems {
        if !distinct.iter().any(|known| Arc::ptr_eq(known, &file_system)) {
            distinct.push(file_system);
        }
    }
    Ok(Ground { found, identity, directories, file_systems: distinct, failures, metadata })
}

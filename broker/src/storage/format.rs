//! `format`: writes into empty log directories what makes them this node's in a cluster, the same files as
//! `kafka-storage format`: `meta.properties`, `bootstrap.checkpoint` with the feature levels that the cluster begins
//! with, and for a controller of a new dynamic quorum the first snapshot of the metadata log with the voters.

use std::path::PathBuf;

use ottla_log::checkpoint::MetaProperties;
use ottla_log::disk::Disk;
use ottla_log::{LogError, TimestampMs};
use ottla_quorum::bootstrap::{self, Bootstrap};
use ottla_quorum::features::{self, FeatureError, KRaftVersion};
use ottla_quorum::metadata_version::MetadataVersion;
use ottla_quorum::snapshot::SnapshotError;
use ottla_quorum::voters::{Voter, VoterEndpoint, VoterSet};
use ottla_wire::{Str, Uuid};
use thiserror::Error;

use super::directories::{self, StorageError};
use super::random_uuid;
use crate::cli::FormatArgs;
use crate::config::{Config, ConfigErrors, Sources};

/// Why nothing, or not everything, was formatted.
#[derive(Debug, Error)]
pub enum FormatError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A directory is formatted already.
    #[error("log directory {} is formatted already: with --ignore-formatted it is passed over and the others are formatted", .0.display())]
    AlreadyFormatted(PathBuf),
    /// The cluster id is not acceptable.
    #[error("{0:?} is no cluster id: run `ottla-broker random-uuid` for one")]
    ClusterId(String),
    /// It is not said who the first voters are.
    #[error(
        "as controller.quorum.voters is not set, say who the first controllers are: --standalone, --initial-controllers or --no-initial-controllers"
    )]
    NoControllers,
    /// Voters are configured and given.
    #[error(
        "controller.quorum.voters is set, so that --standalone, --initial-controllers and --no-initial-controllers are not possible: remove it and set controller.quorum.bootstrap.servers instead"
    )]
    StaticVoters,
    /// `--initial-controllers` is malformed or does not fit this node.
    #[error("--initial-controllers: {0}")]
    InitialControllers(String),
    /// There is no such release.
    #[error("there is no release {0}: the first is {first}, the last {last}", first = MetadataVersion::MINIMUM, last = MetadataVersion::LATEST)]
    Release(String),
    /// A feature or level that this broker does not serve.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// Two settings of features contradict each other.
    #[error("{0}")]
    Features(String),
    /// A directory is of another node or cluster, or cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A checkpoint cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A file of the directory cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Who votes in the quorum of a new cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Controllers {
    /// Those of `controller.quorum.voters`: a quorum of the static kind.
    Configured,
    /// This node alone.
    Standalone,
    /// It is not written here.
    Elsewhere,
    /// `id@host:port:directory-id,…`
    Initial(String),
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The node's configuration.
    pub config: &'a Config,
    /// Id of the cluster.
    pub cluster_id: String,
    /// The first voters.
    pub controllers: Controllers,
    /// Release that the feature levels are of; the newest if none.
    pub release: Option<String>,
    /// Levels of single features.
    pub features: Vec<(String, i16)>,
    /// Whether formatted directories are passed over.
    pub ignore_formatted: bool,
}

/// Runs the command with options from the command line; says what was done.
///
/// # Errors
/// See [`FormatError`].
pub fn command(args: &FormatArgs, disk: &dyn Disk, now: TimestampMs) -> Result<Vec<String>, FormatError> {
    let sources =
        Sources { file: Some(args.config.clone()), host_name: crate::cli::host_name(), ..Sources::default() };
    let loaded = Config::load(&sources)?;
    let plan = Plan {
        config: &loaded.config,
        cluster_id: args.cluster_id.clone(),
        controllers: controllers(args, &loaded.config)?,
        release: args.release_version.clone(),
        features: args.features.clone(),
        ignore_formatted: args.ignore_formatted,
    };
    run(&plan, disk, now)
}

fn controllers(args: &FormatArgs, config: &Config) -> Result<Controllers, FormatError> {
    let given = args.standalone || args.no_initial_controllers || args.initial_controllers.is_some();
    match &args.initial_controllers {
        _ if given && !config.quorum.voters.is_empty() => Err(FormatError::StaticVoters),
        Some(list) => Ok(Controllers::Initial(list.clone())),
        None if args.standalone => Ok(Controllers::Standalone),
        None if args.no_initial_controllers => Ok(Controllers::Elsewhere),
        None if config.quorum.voters.is_empty() && config.roles.controller => Err(FormatError::NoControllers),
        None => Ok(Controllers::Configured),
    }
}

/// Formats the directories that are empty. Everything is checked before anything is written.
///
/// # Errors
/// See [`FormatError`].
pub fn run(plan: &Plan<'_>, disk: &dyn Disk, now: TimestampMs) -> Result<Vec<String>, FormatError> {
    check_cluster_id(&plan.cluster_id)?;
    let bootstrap = bootstrap(plan)?;
    let paths = directories::paths(plan.config);
    let mut empty = Vec::new();
    for (path, meta) in directories::read_all(disk, &paths)? {
        match meta {
            None => empty.push(path),
            Some(meta) => {
                directories::check_one(plan.config, &path, &meta, Some(plan.cluster_id.clone()))?;
                if !plan.ignore_formatted {
                    return Err(FormatError::AlreadyFormatted(path));
                }
            }
        }
    }
    if empty.is_empty() {
        return Ok(vec!["all log directories are formatted already".into()]);
    }
    let metadata_id = random_uuid()?;
    let voters = voters(plan, metadata_id)?;
    // The directory of the metadata log comes last: with it the node counts as formatted.
    empty.sort_by_key(|path| *path == plan.config.metadata_log_dir);
    empty.into_iter().map(|path| format_one(plan, disk, now, path, &bootstrap, &voters)).collect()
}

/// The first voters with this node's directory id.
struct FirstVoters {
    set: Option<VoterSet>,
    directory_id: Uuid,
}

/// `meta.properties` comes last: a directory that was left half done is formatted again.
fn format_one(
    plan: &Plan<'_>,
    disk: &dyn Disk,
    now: TimestampMs,
    path: PathBuf,
    bootstrap: &Bootstrap,
    voters: &FirstVoters,
) -> Result<String, FormatError> {
    let is_metadata = path == plan.config.metadata_log_dir;
    disk.create_dir_all(&path)?;
    bootstrap::write(disk, &path, bootstrap, now.0)?;
    if let Some(set) = voters.set.as_ref().filter(|_| is_metadata) {
        bootstrap::write_first_voters(disk, &path, set, now.0)?;
    }
    let directory_id = if is_metadata { voters.directory_id } else { random_uuid()? };
    let meta = MetaProperties {
        cluster_id: Some(plan.cluster_id.clone()),
        node_id: Some(plan.config.node_id),
        directory_id: Some(directory_id.to_string()),
        ..MetaProperties::default()
    };
    meta.write(disk, &path)?;
    let level = bootstrap.metadata_version().map(|version| version.to_string()).unwrap_or_default();
    Ok(format!("formatted {} with metadata.version {level}", path.display()))
}

/// Kafka takes any text; a property file, a header and a label have to hold it.
fn check_cluster_id(id: &str) -> Result<(), FormatError> {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if id.is_empty() || id.len() > 128 || !id.chars().all(fits) {
        return Err(FormatError::ClusterId(id.to_owned()));
    }
    Ok(())
}

/// The feature levels that the cluster begins with: only features that work here are finalised.
fn bootstrap(plan: &Plan<'_>) -> Result<Bootstrap, FormatError> {
    let release = match &plan.release {
        Some(name) => MetadataVersion::from_name(name).ok_or_else(|| FormatError::Release(name.clone()))?,
        None => MetadataVersion::LATEST,
    };
    let mut level = release;
    let mut others = Vec::new();
    for (name, wanted) in &plan.features {
        features::check(name, *wanted)?;
        match name.as_str() {
            MetadataVersion::FEATURE if plan.release.is_some() => {
                return Err(FormatError::Features(
                    "--release-version and --feature metadata.version exclude each other".into(),
                ));
            }
            MetadataVersion::FEATURE => level = MetadataVersion::from_level(*wanted).unwrap_or(level),
            KRaftVersion::FEATURE => check_kraft_version(plan, *wanted)?,
            _ if *wanted > 0 => others.push(bootstrap::feature_level(name, *wanted)),
            _ => {}
        }
    }
    let mut bootstrap = Bootstrap::at(level);
    bootstrap.records.extend(others);
    Ok(bootstrap)
}

/// `kraft.version` follows from the kind of voters, and is not in the bootstrap records.
fn check_kraft_version(plan: &Plan<'_>, level: i16) -> Result<(), FormatError> {
    let is_static = plan.controllers == Controllers::Configured;
    if is_static == (level == 0) {
        return Ok(());
    }
    Err(FormatError::Features(if is_static {
        "kraft.version=1 needs dynamic voters: remove controller.quorum.voters and say --standalone, for example".into()
    } else {
        "kraft.version=0 needs static voters: set controller.quorum.voters".into()
    }))
}

fn voters(plan: &Plan<'_>, directory_id: Uuid) -> Result<FirstVoters, FormatError> {
    match &plan.controllers {
        Controllers::Configured | Controllers::Elsewhere => Ok(FirstVoters { set: None, directory_id }),
        Controllers::Standalone => {
            let listeners = plan.config.advertised_controller_listeners.iter();
            let endpoints = listeners.map(|listener| VoterEndpoint {
                name: listener.name.as_str().into(),
                host: listener.host.as_str().into(),
                port: listener.port,
            });
            let voter = Voter::standalone(plan.config.node_id, directory_id, endpoints.collect());
            Ok(FirstVoters { set: Some(VoterSet::of_one(voter)), directory_id })
        }
        Controllers::Initial(list) => {
            initial_voters(plan.config, list, directory_id).map_err(FormatError::InitialControllers)
        }
    }
}

/// Reads `id@host:port:directory-id,…`; this node's directory id is the one given there. A broker that is no controller
/// may be told too, and knows then whom to follow.
fn initial_voters(config: &Config, list: &str, other: Uuid) -> Result<FirstVoters, String> {
    let listener = config.controller_listener_names.first().map(ToString::to_string).unwrap_or_default();
    let mut set = VoterSet::default();
    for entry in list.split(',').map(str::trim) {
        let voter = initial_voter(entry, &listener)
            .ok_or_else(|| format!("{entry:?} is not of the form ID@HOST:PORT:DIRECTORY"))?;
        if set.get(voter.id).is_some() || set.iter().any(|other| other.directory_id == voter.directory_id) {
            return Err(format!("{entry:?} has the id or the directory of another"));
        }
        set = set.with(voter);
    }
    let own = set.get(config.node_id).map(|voter| voter.directory_id);
    match own {
        Some(directory_id) if config.roles.controller => Ok(FirstVoters { set: Some(set), directory_id }),
        Some(_) => {
            Err(format!("node {} is in it, and has to be a controller in process.roles", config.node_id))
        }
        None if config.roles.controller => Err(format!("controller {} is not in it", config.node_id)),
        None => Ok(FirstVoters { set: Some(set), directory_id: other }),
    }
}

fn initial_voter(entry: &str, listener: &str) -> Option<Voter> {
    let (id, rest) = entry.split_once('@')?;
    let (address, directory_id) = rest.rsplit_once(':')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let endpoint =
        VoterEndpoint { name: Str::from(listener), host: Str::from(host), port: port.parse().ok()? };
    let id = id.parse().ok().filter(|id| *id >= 0)?;
    let directory_id = directory_id.parse().ok().filter(|id: &Uuid| !id.is_zero())?;
    (!host.is_empty()).then(|| Voter::standalone(id, directory_id, vec![endpoint]))
}

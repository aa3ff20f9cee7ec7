//! The log directories of a node that is to start: formatted, all of one node and one cluster, and locked.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ottla_log::checkpoint::MetaProperties;
use ottla_log::disk::Disk;
use ottla_log::{LogError, TimestampMs};
use ottla_wire::{Str, Uuid};
use rustix::fs::FlockOperation;
use thiserror::Error;

use super::format::{self, Controllers, FormatError, Plan};
use super::random_uuid;
use crate::config::Config;

/// Why the log directories cannot be used.
#[derive(Debug, Error)]
pub enum StorageError {
    /// No directory, or not the one with the metadata log, is formatted.
    #[error(
        "log directory {} is not formatted: run `ottla-broker random-uuid` for a cluster id, and then `ottla-broker format --standalone -t CLUSTER_ID -c SERVER.PROPERTIES`",
        .0.display()
    )]
    NotFormatted(PathBuf),
    /// A directory belongs to another cluster than the others, or than was asked for.
    #[error("{}: cluster.id is {found}, expected {expected}: it belongs to another cluster", path.display())]
    OtherCluster {
        /// The `meta.properties`.
        path: PathBuf,
        /// What is in it.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A directory belongs to another node.
    #[error("{}: node.id is {found}, and this is node {expected}: it belongs to another node", path.display())]
    OtherNode {
        /// The `meta.properties`.
        path: PathBuf,
        /// What is in it.
        found: i32,
        /// What should be.
        expected: i32,
    },
    /// Two directories have one id: one is a copy of the other.
    #[error("{} and {} have the same directory.id: one is a copy of the other", .0.display(), .1.display())]
    SameDirectory(PathBuf, PathBuf),
    /// A `meta.properties` without something that it has to have.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// Another process has it.
    #[error("log directory {} is in use by another process: its .lock is held", .0.display())]
    Locked(PathBuf),
    /// Reading or writing a file of the directory failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Formatting an empty directory failed.
    #[error(transparent)]
    Format(#[from] Box<FormatError>),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was accessed.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl StorageError {
    /// Whether the system cannot read or write a directory, unlike one that is not what it should be.
    fn is_of_the_system(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Log(LogError::Io { .. }))
    }

    /// Whether it is only that the disk is full.
    pub fn is_no_space(&self) -> bool {
        let full = |source: &io::Error| source.kind() == io::ErrorKind::StorageFull;
        match self {
            Self::Io { source, .. } => full(source),
            Self::Log(error) => error.is_no_space(),
            _ => false,
        }
    }
}

/// One log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Its `directory.id`.
    pub id: Uuid,
    /// Whether its `meta.properties` is still to be written.
    is_new: bool,
}

/// All log directories of a node, locked as long as this value lives.
#[derive(Debug)]
pub struct Directories {
    /// The cluster's id.
    pub cluster_id: Str,
    /// The directories in the order of `log.dirs`, and `metadata.log.dir` last if it is none of them.
    pub all: Vec<Directory>,
    /// Those of `log.dirs` that cannot be read, and why: the node does without them.
    pub failed: Vec<(PathBuf, StorageError)>,
    /// `directory.id` of the one with the metadata log.
    pub metadata_id: Uuid,
    node_id: i32,
    _locks: Vec<File>,
}

impl Directories {
    /// Locks the directories and reads what they are. Empty ones are formatted if the configuration says so; otherwise
    /// nothing is written: a directory that is new beside formatted ones waits for [`Directories::complete`]. One that
    /// the system cannot read is left out, unless the metadata log is to be in it.
    ///
    /// # Errors
    /// Not formatted, of another node or cluster, or in use; or no directory for records can be read, or not the one
    /// with the metadata log.
    pub fn open(config: &Config, disk: &dyn Disk, now: TimestampMs) -> Result<Directories, StorageError> {
        let (mut locks, mut paths, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for path in self::paths(config) {
            match lock(disk, &path)
                .and_then(|lock| MetaProperties::read(disk, &path).map(|_| lock).map_err(Into::into))
            {
                Ok(lock) => {
                    locks.push(lock);
                    paths.push(path);
                }
                Err(error) if error.is_of_the_system() && path != config.metadata_log_dir => {
                    failed.push((path, error));
                }
                Err(error) => return Err(error),
            }
        }
        if failed.len() == config.log_dirs.len()
            && let Some((_, error)) = failed.pop()
        {
            return Err(error);
        }
        let mut found = read_all(disk, &paths)?;
        if failed.is_empty() && found.iter().all(|(_, meta)| meta.is_none()) && config.format_if_empty {
            format::run(&plan(config)?, disk, now).map_err(Box::new)?;
            found = read_all(disk, &paths)?;
        }
        let cluster_id = check(config, &found)?;
        let all =
            found.into_iter().map(|(path, meta)| directory(path, meta)).collect::<Result<Vec<_>, _>>()?;
        check_different(&all)?;
        let metadata = all.iter().find(|directory| directory.path == config.metadata_log_dir);
        let metadata_id = metadata.map(|directory| directory.id).unwrap_or_default();
        Ok(Directories {
            cluster_id: cluster_id.into(),
            all,
            failed,
            metadata_id,
            node_id: config.node_id,
            _locks: locks,
        })
    }

    /// Writes the `meta.properties` of directories that are new, or have no id yet. To be called when the metadata
    /// proved to be of a kind that this broker can read, so that a refused directory is left as it was.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn complete(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        for directory in self.all.iter_mut().filter(|directory| directory.is_new) {
            let mut meta = MetaProperties::read(disk, &directory.path)?.unwrap_or_default();
            meta.cluster_id = Some(self.cluster_id.to_string());
            meta.node_id = Some(self.node_id);
            meta.directory_id = Some(directory.id.to_string());
            meta.write(disk, &directory.path)?;
            directory.is_new = false;
        }
        Ok(())
    }
}

/// `log.dirs`, and `metadata.log.dir` if it is none of them.
pub(super) fn paths(config: &Config) -> Vec<PathBuf> {
    let mut paths = config.log_dirs.clone();
    if !paths.contains(&config.metadata_log_dir) {
        paths.push(config.metadata_log_dir.clone());
    }
    paths
}

type Found = (PathBuf, Option<MetaProperties>);

pub(super) fn read_all(disk: &dyn Disk, paths: &[PathBuf]) -> Result<Vec<Found>, StorageError> {
    let read = |path: &PathBuf| Ok((path.clone(), MetaProperties::read(disk, path)?));
    paths.iter().map(read).collect()
}

/// How a node that may format its own directories does so.
fn plan(config: &Config) -> Result<Plan<'_>, StorageError> {
    let cluster_id = match &config.cluster_id {
        Some(id) => id.clone(),
        None => {
            let random = random_uuid();
            random.map_err(|source| StorageError::Io { path: "/dev/urandom".into(), source })?.to_string()
        }
    };
    let controllers =
        if config.quorum.voters.is_empty() { Controllers::Standalone } else { Controllers::Configured };
    Ok(Plan { config, cluster_id, controllers, release: None, features: Vec::new(), ignore_formatted: false })
}

/// All formatted directories are of this node and of one cluster, and the one with the metadata log is among them.
fn check(config: &Config, found: &[Found]) -> Result<String, StorageError> {
    let mut cluster = config.cluster_id.clone();
    for (path, meta) in found {
        let Some(meta) = meta else {
            if *path == config.metadata_log_dir {
                return Err(StorageError::NotFormatted(path.clone()));
            }
            continue;
        };
        cluster = Some(check_one(config, path, meta, cluster)?);
    }
    cluster.ok_or_else(|| StorageError::NotFormatted(config.metadata_log_dir.clone()))
}

pub(super) fn check_one(
    config: &Config,
    path: &Path,
    meta: &MetaProperties,
    expected: Option<String>,
) -> Result<String, StorageError> {
    let file = path.join(MetaProperties::FILE);
    let missing =
        |key: &str| StorageError::Malformed { path: file.clone(), reason: format!("{key} is missing") };
    let found = meta.cluster_id.clone().ok_or_else(|| missing("cluster.id"))?;
    let node_id = meta.node_id.ok_or_else(|| missing("node.id"))?;
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(StorageError::OtherCluster { path: file, found, expected });
    }
    if node_id != config.node_id {
        return Err(StorageError::OtherNode { path: file, found: node_id, expected: config.node_id });
    }
    Ok(found)
}

fn directory(path: PathBuf, meta: Option<MetaProperties>) -> Result<Directory, StorageError> {
    let Some(text) = meta.and_then(|meta| meta.directory_id) else {
        let id = random_uuid().map_err(|source| StorageError::Io { path: path.clone(), source })?;
        return Ok(Directory { path, id, is_new: true });
    };
    match text.parse::<Uuid>() {
        Ok(id) if !id.is_zero() => Ok(Directory { path, id, is_new: false }),
        _ => Err(StorageError::Malformed {
            path: path.join(MetaProperties::FILE),
            reason: format!("{text:?} is no directory.id"),
        }),
    }
}

fn check_different(all: &[Directory]) -> Result<(), StorageError> {
    for (index, one) in all.iter().enumerate() {
        if let Some(other) = all.iter().skip(index + 1).find(|other| other.id == one.id) {
            return Err(StorageError::SameDirectory(one.path.clone(), other.path.clone()));
        }
    }
    Ok(())
}

/// Takes `.lock` as Kafka does, so that each keeps out the other.
fn lock(disk: &dyn Disk, dir: &Path) -> Result<File, StorageError> {
    let path = dir.join(".lock");
    let failed = |source: io::Error| StorageError::Io { path: path.clone(), source };
    disk.create_dir_all(dir).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(StorageError::Locked(dir.to_path_buf()))
        }
        Err(error) => Err(failed(error.into())),
    }
}

//! What a log directory holds when the node starts: partitions, checkpoints, leftovers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::checkpoint::{
    CLEANER_OFFSET, CleanShutdown, HIGH_WATERMARK, LOG_START, OffsetCheckpoint, PartitionMetadata,
    RECOVERY_POINT,
};
use ottla_log::disk::Disk;
use ottla_log::{Log, LogConfig, LogError, Offset, Opening, TimestampMs};
use ottla_wire::Uuid;
use tracing::{info, warn};

use super::{LogDirectory, TopicPartition};

/// Suffix of directories whose topic was deleted.
const DELETED: &str = "-delete";
/// Suffix of directories that no topic of the image accounts for.
const STRAY: &str = "-stray";
/// Suffix of copies that are being filled, to take their original's place (`moving`).
pub(super) const FUTURE: &str = "-future";

/// The offset checkpoints of a directory, and those last written.
#[derive(Debug)]
pub struct Checkpoints {
    /// `recovery-point-offset-checkpoint`.
    pub recovery_point: Checkpoint,
    /// `log-start-offset-checkpoint`.
    pub log_start: Checkpoint,
    /// `replication-offset-checkpoint`.
    pub high_watermark: Checkpoint,
    /// `cleaner-offset-checkpoint`.
    pub cleaner: Checkpoint,
}

/// A checkpoint file; written only when something changed.
#[derive(Debug)]
pub struct Checkpoint {
    file: OffsetCheckpoint,
    written: BTreeMap<(String, i32), Offset>,
}

impl Checkpoint {
    fn read(disk: &Arc<dyn Disk>, path: PathBuf) -> Self {
        let file = OffsetCheckpoint::new(Arc::clone(disk), path);
        // A damaged checkpoint costs a recovery, nothing else.
        let written = file.read().unwrap_or_else(|error| {
            warn!(%error, "checkpoint ignored");
            BTreeMap::new()
        });
        Self { file, written }
    }

    fn get(&self, name: &TopicPartition) -> Option<Offset> {
        self.written.get(&(name.topic.to_string(), name.partition)).copied()
    }

    /// Writes `offsets` unless they are there already.
    pub(super) fn write(&mut self, offsets: BTreeMap<(String, i32), Offset>) -> Result<(), LogError> {
        if offsets != self.written {
            self.file.write(&offsets)?;
            self.written = offsets;
        }
        Ok(())
    }
}

impl Checkpoints {
    /// Reads the files of a directory.
    pub fn read(disk: &Arc<dyn Disk>, directory: &Path) -> Self {
        let read = |name: &str| Checkpoint::read(disk, directory.join(name));
        Self {
            recovery_point: read(RECOVERY_POINT),
            log_start: read(LOG_START),
            high_watermark: read(HIGH_WATERMARK),
            cleaner: read(CLEANER_OFFSET),
        }
    }

    /// Whether any of the files has `name` beyond its beginning.
    pub(super) fn tell_of(&self, name: &TopicPartition) -> bool {
        let files = [&self.recovery_point, &self.log_start, &self.high_watermark, &self.cleaner];
        files.iter().any(|file| file.get(name).is_some_and(|offset| offset > Offset::ZERO))
    }
}

/// A directory after a look into it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) directory: Arc<LogDirectory>,
    pub(super) checkpoints: Checkpoints,
    pub(super) clean: bool,
    partitions: BTreeMap<TopicPartition, Option<Uuid>>,
    copies: Vec<Copy>,
    left: Vec<TopicPartition>,
}

/// A directory that is being filled.
#[derive(Debug)]
struct Copy {
    name: TopicPartition,
    topic_id: Option<Uuid>,
    path: PathBuf,
}

impl Found {
    /// Lists partitions with their topic ids, and removes what was being deleted.
    pub(super) fn look(directory: &Arc<LogDirectory>) -> Result<Self, LogError> {
        let (disk, path) = (directory.disk(), directory.path());
        let clean = CleanShutdown::read(&**disk, path)?.is_some();
        let (mut partitions, mut copies) = (BTreeMap::new(), Vec::new());
        let list = disk.list(path);
        let list = list.map_err(|source| LogError::Io { action: "list", path: path.to_owned(), source })?;
        for name in list {
            if name.ends_with(DELETED) {
                remove(&**disk, &path.join(&name));
            } else if let Some(partition) = partition_name(&name) {
                partitions.insert(partition, topic_id(&**disk, &path.join(&name))?);
            } else if let Some(partition) = copy_name(&name) {
                let path = path.join(&name);
                copies.push(Copy { name: partition, topic_id: topic_id(&**disk, &path)?, path });
            }
        }
        let checkpoints = Checkpoints::read(disk, path);
        Ok(Self {
            directory: Arc::clone(directory),
            checkpoints,
            clean,
            partitions,
            copies,
            left: Vec::new(),
        })
    }

    /// Takes out the partition if it is here. A directory of an older topic of the same name is set aside.
    pub(super) fn take(&mut self, name: &TopicPartition, topic_id: Uuid) -> bool {
        let fits = match self.partitions.get(name) {
            None => false,
            Some(Some(id)) => *id == topic_id,
            Some(None) => self.clean || self.is_empty(name),
        };
        if fits {
            self.partitions.remove(name);
        }
        fits
    }

    /// Takes out a copy of the partition, which moves here.
    pub(super) fn take_copy(&mut self, name: &TopicPartition, topic_id: Uuid) -> Option<PathBuf> {
        let is_it = |copy: &Copy| copy.name == *name && copy.topic_id == Some(topic_id);
        let at = self.copies.iter().position(is_it)?;
        Some(self.copies.swap_remove(at).path)
    }

    /// Whether a copy of the partition lies here.
    pub(super) fn has_copy(&self, name: &TopicPartition, topic_id: Uuid) -> bool {
        self.copies.iter().any(|copy| copy.name == *name && copy.topic_id == Some(topic_id))
    }

    /// Leaves what there is of the partition as it is.
    pub(super) fn leave(&mut self, name: &TopicPartition) {
        let before = self.copies.len();
        self.copies.retain(|copy| copy.name != *name);
        if self.copies.len() < before {
            self.left.push(name.clone());
        }
    }

    /// The partitions of which something was left.
    pub(super) fn take_left(&mut self) -> Vec<TopicPartition> {
        std::mem::take(&mut self.left)
    }

    /// Whether nothing was ever written to the partition. After a power cut `partition.metadata` may be missing, if nothing
    /// of the partition was made durable; what is there of it may be of this topic, or of an older one of the same name.
    fn is_empty(&self, name: &TopicPartition) -> bool {
        let (disk, path) = (self.directory.disk(), self.directory.path().join(name.to_string()));
        let has_records = |file: &String| {
            file.ends_with(".log")
                && disk.len(&path.join(file)).is_ok_and(|len| len.is_some_and(|len| len > 0))
        };
        disk.list(&path).is_ok_and(|files| !files.iter().any(has_records))
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Renames what nobody took, so that it is neither used nor lost.
    pub(super) fn set_strays_aside(&mut self) {
        let partitions = std::mem::take(&mut self.partitions).into_keys();
        let partitions = partitions.map(|name| (self.directory.path().join(name.to_string()), name));
        let copies = std::mem::take(&mut self.copies).into_iter().map(|copy| (copy.path, copy.name));
        for (from, name) in partitions.chain(copies).collect::<Vec<_>>() {
            let to = self.directory.path().join(format!("{name}.{}{STRAY}", unique()));
            match self.directory.disk().rename(&from, &to) {
                Ok(()) => {
                    warn!(partition = %name, kept_as = %to.display(), "partition without a topic set aside");
                }
                Err(error) => {
                    warn!(partition = %name, %error, "cannot set aside a partition without a topic");
                }
            }
        }
    }

    /// What is noted of a partition that is here.
    pub(super) fn noted(&self, name: &TopicPartition) -> Noted {
        let Checkpoints { recovery_point, log_start, high_watermark, cleaner } = &self.checkpoints;
        Noted {
            opening: Opening {
                clean: self.clean,
                recovery_point: recovery_point.get(name).unwrap_or_default(),
                log_start_offset: log_start.get(name).unwrap_or_default(),
                ..Opening::default()
            },
            high_watermark: high_watermark.get(name).unwrap_or_default(),
            cleaned_up_to: cleaner.get(name),
        }
    }
}

/// What the files of a directory tell of one of its partitions; nothing of one that is new.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// How to open the log.
    pub(super) opening: Opening,
    /// The high watermark as it was last written; 0 when it never was.
    pub(super) high_watermark: Offset,
    /// Where its last cleaning ended, if there was one.
    pub(super) cleaned_up_to: Option<Offset>,
}

/// Opens or creates the log of a partition and writes `partition.metadata` where it is missing.
pub(super) fn open(
    directory: &LogDirectory,
    name: &TopicPartition,
    topic_id: Uuid,
    config: LogConfig,
    opening: Opening,
    now: TimestampMs,
) -> Result<Log, LogError> {
    open_at(directory, directory.path().join(name.to_string()), topic_id, config, opening, now)
}

/// As [`open`], of a partition that is new. What is only half made then does not stay: the partition may be made in another directory,
/// and nobody could tell later which of the two it is.
pub(super) fn create(
    directory: &LogDirectory,
    name: &TopicPartition,
    topic_id: Uuid,
    config: LogConfig,
    now: TimestampMs,
) -> Result<Log, LogError> {
    let (disk, path) = (directory.disk(), directory.path().join(name.to_string()));
    let was_there = !matches!(disk.len(&path), Ok(None));
    let created = open(directory, name, topic_id, config, Opening::default(), now);
    if created.is_err()
        && !was_there
        && let Err(error) = disk.remove_dir_all(&path)
    {
        warn!(path = %path.display(), %error, "a partition that could not be created cannot be removed");
    }
    created
}

/// As [`open`], at a path of its own.
pub(super) fn open_at(
    directory: &LogDirectory,
    path: PathBuf,
    topic_id: Uuid,
    config: LogConfig,
    opening: Opening,
    now: TimestampMs,
) -> Result<Log, LogError> {
    let disk = directory.disk();
    let log = Log::open(path.clone(), config, Arc::clone(disk), opening, now)?;
    if self::topic_id(&**disk, &path)?.is_none() {
        PartitionMetadata { topic_id: topic_id.to_string() }.write(&**disk, &path)?;
    }
    Ok(log)
}

/// The topic that a partition's directory belongs to, if it says.
fn topic_id(disk: &dyn Disk, path: &Path) -> Result<Option<Uuid>, LogError> {
    match PartitionMetadata::read(disk, path) {
        Err(LogError::Corrupt { reason, .. }) => {
            warn!(path = %path.display(), reason, "partition.metadata is damaged");
            Ok(None)
        }
        other => Ok(other?.and_then(|metadata| metadata.topic_id.parse().ok())),
    }
}

/// Topic and index out of a directory's name; `None` for anything that is no partition.
fn partition_name(name: &str) -> Option<TopicPartition> {
    if [DELETED, STRAY, FUTURE].iter().any(|suffix| name.ends_with(suffix)) {
        return None;
    }
    split(name)
}

/// The partition that a copy's directory is of.
fn copy_name(name: &str) -> Option<TopicPartition> {
    split(name.strip_suffix(FUTURE)?.rsplit_once('.')?.0)
}

fn split(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    if topic.is_empty() || topic == "__cluster_metadata" {
        return None;
    }
    Some(TopicPartition::new(topic, partition.parse().ok()?))
}

pub(super) fn remove(disk: &dyn Disk, path: &Path) {
    match disk.remove_dir_all(path) {
        Ok(()) => info!(path = %path.display(), "removed a deleted partition"),
        Err(error) => warn!(path = %path.display(), %error, "cannot remove a deleted partition"),
    }
}

/// What a partition's directory is called before it is removed. A file name has at most 255 bytes; topic names are ASCII.
pub(super) fn deleted_path(path: &Path, unique: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffix = format!(".{unique}{DELETED}");
    let kept = name.get(..name.len().min(255_usize.saturating_sub(suffix.len()))).unwrap_or(&name);
    path.with_file_name(format!("{kept}{suffix}"))
}

#[cfg(test)]
thread_local! {
    static COUNTED: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

/// From now on directories are told apart by numbers on this thread, the same ones every time, or by chance again.
#[cfg(test)]
pub(crate) fn count_names(counted: bool) {
    COUNTED.set(counted.then_some(0));
}

/// Distinguishes renamed directories: 32 hexadecimal digits, as Kafka's.
pub(super) fn unique() -> String {
    #[cfg(test)]
    if let Some(next) = COUNTED.get() {
        COUNTED.set(Some(next + 1));
        // In no order, as others.
        return format!(
            "{:032x}",
            (u128::from(next) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        );
    }
    let random = || {
        let state = std::hash::RandomState::new();
        std::hash::BuildHasher::hash_one(&state, 0_u8)
    };
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_partitions_have_partition_names() {
        assert_eq!(partition_name("orders-eu-12"), Some(TopicPartition::new("orders-eu", 12)));
        let others = [
            "__cluster_metadata-0",
            "orders-12.abc-delete",
            "orders-1.abc-stray",
            "orders-x",
            "-1",
            "lost+found",
        ];
        for other in others {
            assert_eq!(partition_name(other), None, "{other}");
        }
    }

    #[test]
    fn copies_are_known_by_kafkas_name() {
        let unique = unique();
        assert_eq!(copy_name(&format!("a.b-c-3.{unique}-future")), Some(TopicPartition::new("a.b-c", 3)));
        for other in ["a-3", "a-3.-delete", "a-x.1-future", "a-3-future"] {
            assert_eq!(copy_name(other), None, "{other}");
        }
    }
}

//! Replicas that move from one directory of this node to another (KIP-113, KIP-858).
//!
//! A move fills a *copy* of the partition's log in the target directory, `<topic>-<partition>.<32 hex digits>-future` as Kafka names
//! it, while the *original* goes on to serve. `state` says what a move does next; `copy` is the copy's log, `swap` puts it in the
//! original's place, `found` is what a start makes of what it finds, `run` the loop around it all. A step is
//!
//! 1. *fit*: the copy is cut back to what it has in common with the original, by leader epochs, and whenever the original was cut.
//!    A recovery point below a cut is on disk before anything is appended again;
//! 2. *copy*: whole batches as they are, up to 1 MiB, within `replica.alter.log.dirs.io.max.bytes.per.second`. The log
//!    start goes along. A disk without room makes the move wait;
//! 3. *ask*: once the copy has all that there was, the controller is told of the new place ([`Partitions::misplaced`], with
//!    AssignReplicasToDirs). The metadata saying so is its consent; copying goes on meanwhile;
//! 4. *swap*: the copy is flushed. Then, under the locks of the partition's flushes and of its log: the last batches; a flush, unless
//!    all that was on disk of the original is on disk of the copy; the original gets its name for deletion, *durably*; the copy gets
//!    the partition's name; the partition goes on with it. The copy's name is durable soon after.
//!
//! Reads go on all the time, appends wait for the last of these alone. The partition, its high watermark, waiters and role stay the
//! same object: whoever waits notices nothing. Producers and epochs that are known from no batch are handed over in memory.
//!
//! **After a crash** there is one usable log at any moment: the original with its name, or, between the two renamings, the copy alone,
//! of which the metadata knows. A start
//! - goes on with a move where it finds both;
//! - gives a copy the partition's name where it finds it alone and all directories can be read, the one that the metadata names
//!   among them. If one cannot, the original may be there, with records that the copy does not have: the partition stays away then;
//! - takes what lies where the metadata says where two logs have the partition's name, as Apache Kafka may leave them.
//!
//! **Other ends.** Another target replaces the move, the directory of the original ends it, and so does the partition's deletion: the
//! copy is removed. Where the target fails, the move is forgotten until the next start; where the original's directory fails, it
//! stands still, and the controller is told where the partition really lies. The original is not cleaned while it moves: a cleaning
//! that goes on ends, and the swap waits for that.

mod copy;
mod figures;
mod found;
mod rules;
mod run;
mod state;
mod swap;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use ottla_log::{Log, Offset, Opening, TimestampMs};
use ottla_quorum::image::MetadataImage;
use ottla_wire::{ErrorCode, Uuid};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tracing::info;

use super::load::{self, FUTURE};
use super::{LogDirectory, Partition, Partitions, TopicPartition};
use state::Progress;

pub use figures::MoveFigures;
pub(super) use found::{Resumed, current, resumed};
#[cfg(test)]
pub(crate) use rules::{Rule, breaking};
pub(super) use run::spawn;

/// Longest name of a directory, in bytes.
const LONGEST_NAME: usize = 255;
/// Places noted at most for partitions that are not here.
const MOST_PREFERRED: usize = 10_000;

/// Why a partition is not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The copy's directory would have too long a name.
    #[error("the topic's name is too long")]
    NameTooLong,
    /// No directory of this node has that path.
    #[error("no such log directory")]
    NoSuchDirectory,
    /// The target gets no new partitions (KIP-1066).
    #[error("the log directory is cordoned")]
    Cordoned,
    /// The target or the partition's own directory is offline, or the copy cannot be made.
    #[error("storage: {0}")]
    Storage(String),
    /// It exists, and is not here. If it is ever made here, then in that directory.
    #[error("the partition is not here")]
    NotHere,
    /// It does not exist. If it is ever made here, then in that directory.
    #[error("no such partition")]
    UnknownPartition,
}

impl MoveError {
    /// The code on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NameTooLong => ErrorCode::InvalidTopicException,
            Self::NoSuchDirectory => ErrorCode::LogDirNotFound,
            Self::Cordoned => ErrorCode::InvalidReplicaAssignment,
            Self::Storage(_) => ErrorCode::KafkaStorageError,
            Self::NotHere => ErrorCode::ReplicaNotAvailable,
            Self::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        }
    }
}

/// A copy as it is described.
#[derive(Debug)]
pub struct FutureReplica {
    /// The partition that moves.
    pub partition: Arc<Partition>,
    /// Where to.
    pub directory: Arc<LogDirectory>,
    /// Bytes that it has.
    pub size: u64,
    /// Where it ends.
    pub end: Offset,
}

/// All moves, and where partitions are to be made that are not here.
#[derive(Debug, Default)]
pub(super) struct Moves {
    all: Mutex<BTreeMap<TopicPartition, Arc<Move>>>,
    preferred: Mutex<HashMap<TopicPartition, Arc<LogDirectory>>>,
    /// Of these a start has left a copy where it is.
    left: HashSet<TopicPartition>,
    /// One alteration at a time.
    altering: Mutex<()>,
    /// Something may go on.
    changed: watch::Sender<u64>,
    /// The controller is to be told of places.
    pub(super) placements: Notify,
    counts: figures::Counts,
}

/// One partition on its way.
#[derive(Debug)]
pub(super) struct Move {
    partition: Arc<Partition>,
    target: Arc<LogDirectory>,
    /// Whether the metadata has the partition in the target.
    noted: AtomicBool,
    /// Whether the controller is to be told so.
    asked: AtomicBool,
    /// The original cannot be copied.
    failed: AtomicBool,
    /// The target is full.
    waits_for_room: AtomicBool,
    /// Somebody works at it.
    taken: AtomicBool,
    /// In ms of the monotonic clock.
    rests_until: AtomicI64,
    figures: Figures,
    work: Mutex<Work>,
}

/// Of the copy, as of the last step.
#[derive(Debug, Default)]
struct Figures {
    end: AtomicI64,
    size: AtomicU64,
    recovery_point: AtomicI64,
}

#[derive(Debug)]
struct Work {
    /// Taken out when the move is over.
    copy: Option<Log>,
    progress: Progress,
    /// A cut of the copy is not noted on disk.
    unnoted_cut: bool,
}

impl Move {
    fn new(partition: Arc<Partition>, target: Arc<LogDirectory>, copy: Log, noted: bool) -> Arc<Self> {
        let figures = Figures::default();
        figures.note(&copy);
        Arc::new(Self {
            partition,
            target,
            noted: noted.into(),
            asked: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            waits_for_room: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            rests_until: AtomicI64::new(i64::MIN),
            figures,
            work: Mutex::new(Work { copy: Some(copy), progress: Progress::default(), unnoted_cut: false }),
        })
    }

    /// The offset up to which the copy is on disk, or where it begins, as its checkpoints have it.
    pub(super) fn recovery_point(&self) -> Offset {
        Offset(self.figures.recovery_point.load(Ordering::Acquire))
    }

    /// What of the copy is below the high watermark.
    pub(super) fn high_watermark(&self) -> Offset {
        self.partition.high_watermark().min(Offset(self.figures.end.load(Ordering::Acquire)))
    }

    /// The partition that moves.
    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Where to.
    pub(super) fn target(&self) -> &Arc<LogDirectory> {
        &self.target
    }

    /// Ends all work at the copy and gives it away.
    pub(super) fn take_copy(&self) -> Option<Log> {
        self.work.lock().copy.take()
    }

    /// Whether neither directory has failed.
    fn is_possible(&self) -> bool {
        !self.target.is_offline() && !self.partition.directory().is_offline()
    }
}

impl Figures {
    fn note(&self, copy: &Log) {
        self.end.store(copy.end_offset().0, Ordering::Release);
        self.size.store(copy.size(), Ordering::Release);
        self.recovery_point.store(copy.recovery_point().0, Ordering::Release);
    }
}

impl Moves {
    /// None, where a start has left copies of these.
    pub(super) fn leaving(left: HashSet<TopicPartition>) -> Self {
        Self { left, ..Self::default() }
    }

    /// Whether a start has left a copy of the partition, whose original may lie where nothing can be read.
    pub(super) fn is_left(&self, name: &TopicPartition) -> bool {
        self.left.contains(name)
    }

    /// Every move, by the partition's name.
    pub(super) fn all(&self) -> Vec<Arc<Move>> {
        self.all.lock().values().cloned().collect()
    }

    fn get(&self, name: &TopicPartition) -> Option<Arc<Move>> {
        self.all.lock().get(name).cloned()
    }

    /// Where the controller is to have a partition that it has in `noted`.
    pub(super) fn place_of(&self, partition: &Partition, noted: Uuid) -> Uuid {
        let target = self.get(partition.name()).filter(|moving| {
            let accepted = moving.target.id() == noted;
            moving.is_possible() && (accepted || moving.asked.load(Ordering::Acquire))
        });
        target.map_or_else(|| partition.directory().id(), |moving| moving.target.id())
    }

    /// Where a partition is to be made, if somebody said so; it counts once.
    pub(super) fn take_preferred(&self, name: &TopicPartition) -> Option<Arc<LogDirectory>> {
        let mut preferred = self.preferred.lock();
        if preferred.is_empty() {
            return None;
        }
        preferred.remove(name).filter(|directory| !directory.is_offline())
    }

    /// Takes over what newer metadata says of the places.
    pub(super) fn note_places(&self, image: &MetadataImage, node_id: i32) {
        let all = self.all();
        for moving in &all {
            let noted = is_noted(image, node_id, &moving.partition, &moving.target);
            if moving.noted.swap(noted, Ordering::AcqRel) != noted {
                moving.rests_until.store(i64::MIN, Ordering::Release);
            }
        }
        if !all.is_empty() {
            self.wake();
        }
    }

    /// Goes on with a move that a start has found.
    pub(super) fn resume(
        &self,
        image: &MetadataImage,
        node_id: i32,
        partition: &Arc<Partition>,
        (target, copy): (Arc<LogDirectory>, Box<Log>),
    ) {
        info!(partition = %partition.name(), to = %target.path().display(), "move goes on");
        let noted = is_noted(image, node_id, partition, &target);
        target.took();
        partition.pause_cleaning(true);
        let moving = Move::new(Arc::clone(partition), target, *copy, noted);
        self.all.lock().insert(partition.name().clone(), moving);
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Whether the metadata has a partition in `target`, or knows nothing of directories.
fn is_noted(image: &MetadataImage, node_id: i32, partition: &Partition, target: &LogDirectory) -> bool {
    let name = partition.name();
    let state = image.partition(&name.topic, name.partition);
    state.is_some_and(|state| state.directory_of(node_id).is_none_or(|noted| noted == target.id()))
}

impl Partitions {
    /// Moves a partition to the directory at `path`, or has it made there one day. What moves elsewhere does not any more.
    /// Does file I/O.
    ///
    /// # Errors
    /// As Kafka's for AlterReplicaLogDirs; nothing has begun then.
    pub fn move_to(
        &self,
        image: &MetadataImage,
        name: &TopicPartition,
        path: &str,
        now: TimestampMs,
    ) -> Result<(), MoveError> {
        let _one_at_a_time = self.moves.altering.lock();
        if future_name(name, &"0".repeat(32)).len() > LONGEST_NAME {
            return Err(MoveError::NameTooLong);
        }
        let known = self.directories().iter().find(|directory| directory.path() == Path::new(path));
        let target = known.ok_or(MoveError::NoSuchDirectory)?;
        if target.is_offline() {
            return Err(MoveError::Storage("log directory is offline".into()));
        }
        if target.is_cordoned() {
            return Err(MoveError::Cordoned);
        }
        let Some(partition) = self.get(name) else { return Err(self.prefer(image, name, target)) };
        if partition.directory().is_offline() {
            return Err(MoveError::Storage("the partition is offline".into()));
        }
        match self.moves.get(name) {
            Some(moving) if Arc::ptr_eq(&moving.target, target) => return Ok(()),
            Some(_) => self.end_move(name, now).iter().for_each(|directory| directory.sync_names()),
            None => {}
        }
        if Arc::ptr_eq(&partition.directory(), target) {
            return Ok(());
        }
        self.begin_move(image, &partition, target, now)
    }

    /// Notes where a partition that is not here is to be made.
    fn prefer(&self, image: &MetadataImage, name: &TopicPartition, target: &Arc<LogDirectory>) -> MoveError {
        let state = image.partition(&name.topic, name.partition);
        let here = state.is_some_and(|state| state.replicas.contains(&self.config.node_id));
        if here && self.directories().iter().any(|directory| directory.is_offline()) {
            return MoveError::Storage("the partition is offline".into());
        }
        let mut preferred = self.moves.preferred.lock();
        if preferred.len() < MOST_PREFERRED || preferred.contains_key(name) {
            preferred.insert(name.clone(), Arc::clone(target));
        }
        if state.is_some() { MoveError::NotHere } else { MoveError::UnknownPartition }
    }

    fn begin_move(
        &self,
        image: &MetadataImage,
        partition: &Arc<Partition>,
        target: &Arc<LogDirectory>,
        now: TimestampMs,
    ) -> Result<(), MoveError> {
        let name = partition.name();
        if !self.forget_older(target, name) {
            return Err(MoveError::Storage("checkpoints cannot be written".into()));
        }
        let config = partition.look(|log| log.config().clone()).ok_or(MoveError::NotHere)?;
        let opening = Opening { log_start_offset: partition.log_start_offset(), ..Opening::default() };
        let path = target.path().join(future_name(name, &load::unique()));
        let copy = load::open_at(target, path, partition.topic_id(), config, opening, now);
        let copy = copy.map_err(|error| {
            target.judge(name, &error);
            MoveError::Storage(error.to_string())
        })?;
        info!(partition = %name, from = %partition.directory().path().display(), to = %target.path().display(), "move begins");
        let noted = is_noted(image, self.config.node_id, partition, target);
        target.took();
        partition.pause_cleaning(true);
        let moving = Move::new(Arc::clone(partition), Arc::clone(target), copy, noted);
        self.moves.all.lock().insert(name.clone(), moving);
        // Deleted meanwhile.
        if self.get(name).is_none_or(|hosted| !Arc::ptr_eq(&hosted, partition)) {
            self.end_move(name, now);
            return Err(MoveError::NotHere);
        }
        self.moves.wake();
        Ok(())
    }

    /// Ends the move of a partition and has its copy removed; where the copy's new name is to be made durable.
    pub(super) fn end_move(&self, name: &TopicPartition, now: TimestampMs) -> Option<Arc<LogDirectory>> {
        let moving = self.moves.all.lock().remove(name)?;
        let copy = moving.take_copy()?;
        info!(partition = %name, to = %moving.target.path().display(), "move ends before its time");
        moving.target.gave();
        moving.partition.pause_cleaning(false);
        // The controller may have been told of the new place.
        self.moves.placements.notify_one();
        if moving.target.is_offline() {
            return None;
        }
        self.retire(copy, &moving.target, name, now).then(|| Arc::clone(&moving.target))
    }

    /// Forgets moves whose target has failed, until the next start.
    pub(super) fn forget_impossible_moves(&self) {
        for moving in self.moves.all().iter().filter(|moving| moving.target.is_offline()) {
            drop(self.end_move(moving.partition.name(), TimestampMs::default()));
            self.moves.counts.failed();
        }
        self.moves.placements.notify_one();
    }

    /// What is being filled.
    pub fn future_replicas(&self) -> Vec<FutureReplica> {
        let described = |moving: &Arc<Move>| FutureReplica {
            partition: Arc::clone(&moving.partition),
            directory: Arc::clone(&moving.target),
            size: moving.figures.size.load(Ordering::Acquire),
            end: Offset(moving.figures.end.load(Ordering::Acquire)),
        };
        self.moves.all().iter().map(described).collect()
    }

    /// Returns when the controller may have to be told of places although the metadata is the same.
    pub async fn places_changed(&self) {
        self.moves.placements.notified().await;
    }
}

fn future_name(name: &TopicPartition, unique: &str) -> String {
    format!("{name}.{unique}{FUTURE}")
}

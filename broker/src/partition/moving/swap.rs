//! The last step of a move: the copy takes the original's place.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_log::{Log, LogError, Offset, TimestampMs};
use tracing::{error, info};

use super::copy::{Fault, Step, append, source};
use super::rules::{Rule, keeps};
use super::{Move, Work};
use crate::partition::load;
use crate::partition::upkeep::Kind;
use crate::partition::waiters::Progress;
use crate::partition::{LogDirectory, Partitions};

impl Partitions {
    /// Puts the copy in the original's place, unless more is missing than one piece, or the original was cut or begins after it.
    pub(super) fn swap(&self, moving: &Arc<Move>, work: &mut Work, now: TimestampMs) -> Result<Step, Fault> {
        let Some(copy) = work.copy.as_mut() else { return Ok(Step::Done) };
        // Without any lock of the partition: what is to be flushed under them is little then.
        copy.flush(now).map_err(Fault::Target)?;
        moving.figures.note(copy);
        // A log start that was told of is not to be forgotten with the original's directory.
        if moving.partition.log_start_offset() > Offset::ZERO {
            self.checkpoint(Kind::LogStart).map_err(|_| Fault::Unnoted)?;
        }
        let source = moving.partition.directory();
        let piece = self.surroundings().piece;
        let Some(original) = exchange(moving, work, piece, now)? else { return Ok(Step::Goes) };
        let partition = &moving.partition;
        moving.target.sync_names();
        source.gave();
        self.moves.all.lock().remove(partition.name());
        partition.pause_cleaning(false);
        self.doom(original, now);
        self.moves.counts.completed();
        info!(partition = %partition.name(), to = %moving.target.path().display(), "moved");
        // Nothing depends on it: what they say of the original is forgotten a little earlier.
        drop(self.checkpoint(Kind::RecoveryPoint));
        drop(self.checkpoint(Kind::HighWatermark));
        Ok(Step::Done)
    }
}

/// What has to happen while nothing is appended. Returns the original if it was exchanged.
fn exchange(moving: &Move, work: &mut Work, piece: usize, now: TimestampMs) -> Result<Option<Log>, Fault> {
    let (partition, target) = (&moving.partition, &moving.target);
    let Some(mut copy) = work.copy.take() else { return Ok(None) };
    let _no_flush = partition.flushes.lock();
    let mut guard = partition.log.write();
    let exchanged = match guard.as_mut() {
        Some(original) if partition.cut_to.load(Ordering::Acquire) == i64::MAX || !keeps(Rule::Fit) => {
            prepare(moving, &mut copy, original, piece, now).and_then(|ready| {
                if ready { rename(moving, &mut copy, original).map(|()| true) } else { Ok(false) }
            })
        }
        _ => Ok(false),
    };
    if !matches!(exchanged, Ok(true)) {
        work.copy = Some(copy);
        work.progress.copied(false);
        return exchanged.map(|_| None);
    }
    let original = guard.replace(copy);
    partition.directory.store(Arc::clone(target));
    if let Some(log) = guard.as_ref() {
        partition.advance(log, 0);
    }
    drop(guard);
    partition.tell_all(Progress::Changed);
    Ok(original)
}

/// The last batches; all that was on disk of the original is on disk of the copy then. False if more is missing than one piece,
/// or more than the original still has.
fn prepare(
    moving: &Move,
    copy: &mut Log,
    original: &Log,
    piece: usize,
    now: TimestampMs,
) -> Result<bool, Fault> {
    // Records were deleted beyond its end since the last piece: it is made to fit first.
    if copy.end_offset() < original.start_offset() {
        return Ok(false);
    }
    if copy.end_offset() < original.end_offset() && keeps(Rule::CatchUp) {
        let slice = original.read(copy.end_offset(), piece, original.end_offset(), true).map_err(source)?;
        append(copy, &moving.target, slice, now)?;
    }
    if copy.end_offset() != original.end_offset() && keeps(Rule::CatchUp) {
        return Ok(false);
    }
    if copy.recovery_point() < original.recovery_point() {
        copy.flush(now).map_err(Fault::Target)?;
    }
    copy.succeed(original).map_err(Fault::Target)?;
    Ok(true)
}

/// The original goes out of the way, durably, then the copy gets its name. Where that fails the original has its name again, or its
/// directory is out.
fn rename(moving: &Move, copy: &mut Log, original: &mut Log) -> Result<(), Fault> {
    let name = moving.partition.name().to_string();
    let source = moving.partition.directory();
    let old = original.dir().to_owned();
    let aside = load::deleted_path(&old, &load::unique());
    original.rename(&aside).map_err(Fault::Source)?;
    let moved = sync(&source)
        .map_err(Fault::Source)
        .and_then(|()| copy.rename(&moving.target.path().join(&name)).map_err(Fault::Target));
    if moved.is_err()
        && let Err(error) = original.rename(&old).and_then(|()| sync(&source))
    {
        error!(partition = name, %error, "the original has lost its name");
        source.fence(&error.to_string());
    }
    moved
}

fn sync(directory: &LogDirectory) -> Result<(), LogError> {
    let path: PathBuf = directory.path().to_owned();
    directory.disk().sync_dir(&path).map_err(|source| LogError::Io { action: "sync", path, source })
}

//! The steps of a move before its last: the copy is made to fit, and filled.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ottla_log::{AppendError, Log, LogError, Offset, ReadError, Slice, TimestampMs};
use tracing::{error, warn};

use super::rules::{Rule, keeps};
use super::state::{Facts, Next, Why};
use super::{Move, Work};
use crate::partition::upkeep::Kind;
use crate::partition::{LogDirectory, Partitions};
use crate::storage::Writer;

/// How long to wait where a directory has failed or is full, in ms.
const LONG_MS: i64 = 1_000;

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::partition) enum Step {
    /// The next may follow.
    Goes,
    /// The next is to follow in so many ms.
    Rest(i64),
    /// There is none.
    Done,
}

/// Why a step failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The original's files.
    Source(LogError),
    /// The copy's files.
    Target(LogError),
    /// What the original has makes no sense.
    Refused(AppendError),
    /// The target is full, up to what is kept back.
    NoRoom,
    /// A checkpoint cannot be written now.
    Unnoted,
}

impl Fault {
    /// Whether it is only that the target is full.
    fn is_no_room(&self) -> bool {
        match self {
            Self::NoRoom => true,
            Self::Target(error) => error.is_no_space(),
            _ => false,
        }
    }
}

impl Partitions {
    /// Does one step of a move. Waits for disks.
    pub(in crate::partition) fn step(&self, moving: &Arc<Move>, now: TimestampMs, at: Instant) -> Step {
        let mut work = moving.work.lock();
        if work.copy.is_none() {
            return Step::Done;
        }
        if !moving.is_possible() || moving.failed.load(Ordering::Acquire) {
            return Step::Rest(LONG_MS);
        }
        let next = work.progress.next(&self.facts(moving, &work, at));
        let done = match next {
            Next::Fit => self.fit(moving, &mut work, now),
            Next::Copy => self.copy_piece(moving, &mut work, now, at),
            Next::Ask => {
                work.progress.ask();
                self.ask(moving)
            }
            Next::Swap => self.swap(moving, &mut work, now),
            Next::Rest(why) => Ok(self.rest(moving, &mut work, why)),
        };
        if let Some(copy) = &work.copy {
            moving.figures.note(copy);
        }
        let no_room = matches!(&done, Err(fault) if fault.is_no_room());
        moving.waits_for_room.store(no_room, Ordering::Release);
        done.unwrap_or_else(|fault| {
            if judge(moving, fault) {
                self.moves.counts.failed();
            }
            Step::Rest(LONG_MS)
        })
    }

    fn facts(&self, moving: &Move, work: &Work, at: Instant) -> Facts {
        let end = work.copy.as_ref().map_or(Offset::ZERO, Log::end_offset);
        Facts {
            cut: keeps(Rule::Fit) && moving.partition.cut_to.load(Ordering::Acquire) != i64::MAX,
            behind: end < moving.partition.log_end_offset(),
            throttled: self.surroundings().quotas.moves.is_exceeded(at),
            noted: moving.noted.load(Ordering::Acquire) || !keeps(Rule::TellController),
            cleaned: moving.partition.is_being_cleaned(),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a step like the others")]
    fn ask(&self, moving: &Move) -> Result<Step, Fault> {
        moving.asked.store(true, Ordering::Release);
        self.moves.placements.notify_one();
        Ok(Step::Goes)
    }

    fn rest(&self, moving: &Move, work: &mut Work, why: Why) -> Step {
        let (rest, again) = work.progress.rest(why);
        if again && moving.asked.load(Ordering::Acquire) {
            self.moves.placements.notify_one();
        }
        Step::Rest(rest)
    }

    /// Cuts the copy back to what is a part of the original, and has that noted on disk.
    fn fit(&self, moving: &Move, work: &mut Work, now: TimestampMs) -> Result<Step, Fault> {
        let Some(copy) = work.copy.as_mut() else { return Ok(Step::Done) };
        let misfit = moving.partition.look(|original| {
            // Under the original's lock: what is cut after it is noted anew.
            let below = Offset(moving.partition.cut_to.swap(i64::MAX, Ordering::AcqRel));
            copy.misfit(original, below)
        });
        if let Some(offset) = misfit.flatten() {
            work.unnoted_cut = true;
            work.progress.fitted(false);
            copy.cut_to(offset, now).map_err(Fault::Target)?;
            moving.figures.note(copy);
        }
        if work.unnoted_cut {
            self.checkpoint(Kind::RecoveryPoint).map_err(|_| Fault::Unnoted)?;
            work.unnoted_cut = false;
        }
        work.progress.fitted(true);
        Ok(Step::Goes)
    }

    fn copy_piece(
        &self,
        moving: &Move,
        work: &mut Work,
        now: TimestampMs,
        at: Instant,
    ) -> Result<Step, Fault> {
        let Some(copy) = work.copy.as_mut() else { return Ok(Step::Done) };
        let from = copy.end_offset();
        let read = moving.partition.look(|original| {
            let slice = original.read(from, self.surroundings().piece, original.end_offset(), true);
            slice.map(|slice| (slice, original.start_offset(), original.end_offset()))
        });
        let Some(read) = read else { return Ok(Step::Rest(LONG_MS)) };
        let (slice, start, end) = match read {
            Err(ReadError::OffsetOutOfRange { .. }) => {
                work.progress.fitted(false);
                return Ok(Step::Goes);
            }
            other => other.map_err(source)?,
        };
        let reached = slice.next_offset >= end;
        let bytes = append(copy, &moving.target, slice, now)?;
        self.surroundings().quotas.moves.record(bytes, at);
        self.moves.counts.copied(bytes);
        copy.advance_start_offset(start.min(copy.end_offset())).map_err(Fault::Target)?;
        copy.drop_below_start(now).map_err(Fault::Target)?;
        copy.purge(now).map_err(Fault::Target)?;
        if copy.should_flush(now) {
            copy.flush(now).map_err(Fault::Target)?;
        }
        Ok(if work.progress.copied(reached) { Step::Goes } else { Step::Rest(10) })
    }
}

/// Appends what was read of the original; returns how many bytes that was.
pub(super) fn append(
    copy: &mut Log,
    target: &LogDirectory,
    slice: Slice,
    now: TimestampMs,
) -> Result<usize, Fault> {
    let (first, dir) = (slice.first_offset, copy.dir().to_owned());
    let bytes = slice
        .records
        .read()
        .map_err(|error| Fault::Source(LogError::Io { action: "read", path: dir, source: error }))?;
    if bytes.is_empty() {
        return Ok(0);
    }
    if !target.file_system().take(bytes.len(), Writer::Client) {
        return Err(Fault::NoRoom);
    }
    // The log start lies within a batch.
    if first < copy.end_offset() && copy.start_offset() == copy.end_offset() {
        copy.truncate_fully_and_start_at(first, now).map_err(Fault::Target)?;
    }
    let size = bytes.len();
    match copy.append_as_follower(bytes, now) {
        Ok(_) => Ok(size),
        Err(AppendError::Log(error)) => Err(Fault::Target(error)),
        Err(other) => Err(Fault::Refused(other)),
    }
}

pub(super) fn source(error: ReadError) -> Fault {
    match error {
        ReadError::Log(error) => Fault::Source(error),
        other => Fault::Source(LogError::Corrupt { path: PathBuf::new(), reason: other.to_string() }),
    }
}

/// What a fault means. A full disk passes; any other error of a disk fences its directory.
/// Decides what a failed step means; whether the move stands still from now on.
fn judge(moving: &Move, fault: Fault) -> bool {
    let name = moving.partition.name();
    match fault {
        // The copy itself failed: what is on the disk is looked at again with the next start.
        Fault::Target(error) => moving.target.judge(name, &error),
        // A damaged batch is no reason to stop reading all others.
        Fault::Source(error @ LogError::Corrupt { .. }) => return give_up(moving, &error.to_string()),
        Fault::Source(error) => moving.partition.judge(&error),
        Fault::Refused(error) => return give_up(moving, &error.to_string()),
        Fault::NoRoom => {
            warn!(partition = %name, to = %moving.target.path().display(), "move waits: the disk is full");
        }
        Fault::Unnoted => warn!(partition = %name, "move waits: checkpoints cannot be written"),
    }
    false
}

fn give_up(moving: &Move, reason: &str) -> bool {
    error!(partition = %moving.partition.name(), reason, "the log cannot be copied, its move stands still");
    !moving.failed.swap(true, Ordering::AcqRel)
}

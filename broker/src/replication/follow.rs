//! Doing to followers' logs what a leader's answers ask for.

use std::sync::Arc;

use ottla_log::TimestampMs;
use tracing::{debug, error, warn};

use super::fetcher::{Action, Command, FollowedKey};
use crate::partition::{
    FollowError, FollowerPosition, Partition, Partitions, TopicPartition, flush_together,
};

/// More bytes than this are not appended on a thread that serves connections.
const LARGE: usize = 1 << 20;

/// The partition, if it is the one of that topic.
pub(super) fn find(
    partitions: &Partitions,
    key: &FollowedKey,
    name: &TopicPartition,
) -> Option<Arc<Partition>> {
    partitions.get(name).filter(|partition| partition.topic_id() == key.topic_id)
}

/// Whether to do these takes long or waits for a disk.
pub(super) fn may_block(partitions: &Partitions, commands: &[Command]) -> bool {
    let mut bytes = 0;
    commands.iter().any(|command| {
        let Action::Append { records, .. } = &command.action else { return true };
        bytes += records.len();
        let flushed = |partition: Arc<Partition>| partition.leadership().flushed;
        bytes >= LARGE || find(partitions, &command.key, &command.name).is_some_and(flushed)
    })
}

/// Does everything, and tells where each log goes on then; `None` for those that failed. What is cut is noted on disk before
/// anything is appended to it.
pub fn carry_out(
    partitions: &Partitions,
    commands: Vec<Command>,
    now: TimestampMs,
) -> Vec<(Command, Option<FollowerPosition>)> {
    let mut cut = false;
    let mut outcomes = Vec::with_capacity(commands.len());
    for command in commands {
        let partition = find(partitions, &command.key, &command.name);
        cut |= !matches!(command.action, Action::Append { .. });
        let done = partition.filter(|partition| match act(partitions, partition, &command, now) {
            Ok(()) => true,
            Err(error) => {
                tell(&command, &error);
                cut |= matches!(error, FollowError::NotNoted);
                // It goes on where it ends now: an earlier command failed after it had cut the log.
                matches!(error, FollowError::Moved { .. })
            }
        });
        outcomes.push((command, done));
    }
    if cut && !partitions.note_cuts() {
        warn!("truncations cannot be noted on disk; nothing is appended to these partitions until they are");
    }
    positions(outcomes, now)
}

fn act(
    partitions: &Partitions,
    partition: &Arc<Partition>,
    command: &Command,
    now: TimestampMs,
) -> Result<(), FollowError> {
    let epoch = command.leader_epoch;
    match &command.action {
        Action::Append { from, records, leader } => {
            let append = |from| partition.append_as_follower(epoch, from, records.clone(), *leader, now);
            match append(*from) {
                Err(FollowError::BeginsBefore(base)) => {
                    partition.begin_at(epoch, base, now)?;
                    partitions.note_cuts();
                    append(base)
                }
                other => other,
            }
        }
        Action::Truncate { epoch: known, end } => {
            partition.truncate_to_leader(epoch, (*known, *end), now).map(drop)
        }
        Action::Fit { start, end } => partition.fit_into_leader(epoch, *start, *end, now).map(drop),
    }
}

fn tell(command: &Command, error: &FollowError) {
    let partition = &command.name;
    match error {
        FollowError::NotFollower(_) | FollowError::Moved { .. } => {
            debug!(%partition, %error, "fetched in vain");
        }
        FollowError::NoSpace | FollowError::NotNoted => warn!(%partition, %error, "cannot follow"),
        _ => error!(%partition, %error, "cannot follow"),
    }
}

type Outcome = (Command, Option<Arc<Partition>>);

/// Where the logs go on. Those that must be on disk first are flushed together.
fn positions(outcomes: Vec<Outcome>, now: TimestampMs) -> Vec<(Command, Option<FollowerPosition>)> {
    flush_together(outcomes.iter().filter_map(|(_, partition)| partition.as_ref()));
    let position = |(command, partition): Outcome| {
        let position = partition.and_then(|partition| partition.follower_position(now).ok());
        (command, position)
    };
    outcomes.into_iter().map(position).collect()
}

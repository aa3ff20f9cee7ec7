//! Partitions hosted here: their logs, replicas, high watermarks and waiters.
//!
//! [`Partitions`] follows the metadata image: it opens, creates, reconfigures and deletes. A [`Partition`] is one log
//! under a lock, with its bounds in atomics so that questions about them take no lock. A [`LogDirectory`] is fenced at
//! the first I/O error other than a full disk; its partitions answer KAFKA_STORAGE_ERROR from then on. A full disk
//! passes (`space`).
//!
//! What a leader knows of its followers is [`Replicas`], a state machine; `leading` lets it act on the partition, `following`
//! is the other side. A partition with one replica has neither: its high watermark is its log end. Which of the directories a partition
//! lies in changes with `moving`.

mod arrivals;
mod cleaning;
mod close;
mod commit;
mod directory;
mod error;
mod following;
mod group_commit;
#[cfg(test)]
mod key_tests;
mod leading;
mod load;
mod moving;
mod names;
#[expect(clippy::module_inception, reason = "one noun a file, and the noun is the same")]
mod partition;
mod partitions;
mod proposals;
mod refusals;
mod replicas;
mod space;
mod surroundings;
mod sync_costs;
#[cfg(test)]
mod tests;
mod upkeep;
mod waiters;

pub use directory::LogDirectory;
pub use error::{PartitionError, ProduceError};
pub use following::{FollowError, FollowerPosition, LeaderBounds};
pub use group_commit::flush_together;
pub use leading::ReadableReplica;
pub use load::Checkpoints;
pub use moving::{FutureReplica, MoveError, MoveFigures};
pub use partition::{Isolation, Leadership, Partition, Read, RequiredAcks, Throttled};
pub use partitions::Partitions;
pub use proposals::{IsrChangeCounts, IsrChanges, IsrProposals};
pub use replicas::{Answer, FollowerError, FollowerFetch, LeaderEnd, NO_BROKER_EPOCH, Proposal, Replicas};
pub use surroundings::{Surroundings, Work};
pub use upkeep::Upkeep;
pub use waiters::{Progress, Told, Waiter};

#[cfg(test)]
pub(crate) use {
    load::count_names,
    moving::{Rule as MoveRule, breaking as breaking_moves},
};

use std::fmt;

use ottla_wire::Str;

/// A partition of a topic, by the topic's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Str,
    /// Index from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Str>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Whether clients may not produce to the topic: it belongs to a coordinator.
pub fn is_internal(topic: &str) -> bool {
    ["__consumer_offsets", "__transaction_state", "__share_group_state"].contains(&topic)
}

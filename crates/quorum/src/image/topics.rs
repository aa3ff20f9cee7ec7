//! Topics and partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::records::metadata::{
    ClearElrRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};
use ottla_wire::{Str, Uuid};

use super::ApplyError;
use crate::metadata_version::MetadataVersion;
use crate::record::MetadataRecord;

/// The leader of a partition that nobody leads.
pub const NO_LEADER: i32 = -1;
/// In a change record: the leader stays, and so does its epoch.
pub const LEADER_UNCHANGED: i32 = -2;

/// Directory ids with a meaning of their own (KIP-858).
pub mod directory_id {
    use ottla_wire::Uuid;

    /// Not assigned yet: the broker chooses.
    pub const UNASSIGNED: Uuid = Uuid::ZERO;
    /// The directory is gone.
    pub const LOST: Uuid = Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    /// The partition is from before directories had ids.
    pub const MIGRATING: Uuid = Uuid::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
}

/// Whether a partition's log may lack acked records since an unclean election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    /// The log is whole.
    #[default]
    Recovered,
    /// An unclean leader has not finished recovering.
    Recovering,
}

impl LeaderRecoveryState {
    /// The number in records.
    pub fn value(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// Anything but 1 counts as recovered.
    pub fn from_value(value: i8) -> Self {
        if value == 1 { Self::Recovering } else { Self::Recovered }
    }
}

/// A partition as the controller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// Brokers that hold the partition, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// In-sync replicas.
    pub isr: Vec<i32>,
    /// Replicas that a reassignment takes away.
    pub removing_replicas: Vec<i32>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<i32>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<i32>,
    /// Eligible leader replicas of last resort.
    pub last_known_elr: Vec<i32>,
    /// Broker that leads, or [`NO_LEADER`].
    pub leader: i32,
    /// Whether the leader's log is whole.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Goes up with every new leader.
    pub leader_epoch: i32,
    /// Goes up with every change.
    pub partition_epoch: i32,
}

impl PartitionImage {
    fn from_record(topic: &Str, record: &PartitionRecord) -> Result<Self, ApplyError> {
        let partition = Self {
            replicas: record.replicas.clone(),
            directories: directories_or_migrating(&record.directories, record.replicas.len()),
            isr: record.isr.clone(),
            removing_replicas: record.removing_replicas.clone(),
            adding_replicas: record.adding_replicas.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
            leader: record.leader,
            leader_recovery_state: LeaderRecoveryState::from_value(record.leader_recovery_state),
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        };
        partition.check(topic, record.partition_id)
    }

    /// The partition after the change; `topic` is for the error.
    ///
    /// # Errors
    /// The record does not fit: replicas and directories would be lists of different lengths.
    pub fn changed(&self, topic: &Str, record: &PartitionChangeRecord) -> Result<Self, ApplyError> {
        let replaced = |new: &Option<Vec<i32>>, old: &Vec<i32>| new.as_ref().unwrap_or(old).clone();
        let replicas = replaced(&record.replicas, &self.replicas);
        let directories = match &record.directories {
            Some(directories) => directories_or_migrating(directories, replicas.len()),
            None if self.is_migrating() => vec![directory_id::MIGRATING; replicas.len()],
            None => self.directories.clone(),
        };
        let (leader, leader_epoch) = match record.leader {
            LEADER_UNCHANGED => (self.leader, self.leader_epoch),
            leader => (leader, self.leader_epoch.saturating_add(1)),
        };
        let leader_recovery_state = match record.leader_recovery_state {
            -1 => self.leader_recovery_state,
            value => LeaderRecoveryState::from_value(value),
        };
        let partition = Self {
            replicas,
            directories,
            isr: replaced(&record.isr, &self.isr),
            removing_replicas: replaced(&record.removing_replicas, &self.removing_replicas),
            adding_replicas: replaced(&record.adding_replicas, &self.adding_replicas),
            elr: replaced(&record.eligible_leader_replicas, &self.elr),
            last_known_elr: replaced(&record.last_known_elr, &self.last_known_elr),
            leader,
            leader_recovery_state,
            leader_epoch,
            partition_epoch: self.partition_epoch.saturating_add(1),
        };
        partition.check(topic, record.partition_id)
    }

    /// Whether nobody ever said in which directories the replicas lie, as before KIP-858.
    fn is_migrating(&self) -> bool {
        self.directories.iter().all(|directory| *directory == directory_id::MIGRATING)
    }

    /// The leader that the order of replicas asks for.
    pub fn preferred_leader(&self) -> Option<i32> {
        self.replicas.first().copied()
    }

    /// Whether replicas are being added or taken away.
    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    fn check(self, topic: &Str, partition: i32) -> Result<Self, ApplyError> {
        if self.replicas.len() == self.directories.len() {
            return Ok(self);
        }
        Err(ApplyError::Directories {
            topic: topic.clone(),
            partition,
            replicas: self.replicas.len(),
            directories: self.directories.len(),
        })
    }

    /// The partition as a record; what the level cannot express is left out, as Kafka does.
    pub fn to_record(&self, topic_id: Uuid, partition: i32, level: MetadataVersion) -> PartitionRecord {
        let listed = |replicas: &Vec<i32>| {
            (level.has_eligible_leader_replicas() && !replicas.is_empty()).then(|| replicas.clone())
        };
        PartitionRecord {
            partition_id: partition,
            topic_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader,
            leader_recovery_state: self.leader_recovery_state.value(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: if level.has_directory_assignment() { self.directories.clone() } else { Vec::new() },
            eligible_leader_replicas: listed(&self.elr),
            last_known_elr: listed(&self.last_known_elr),
            ..Default::default()
        }
    }

    /// The log directory that the broker keeps its replica in, if it is one of the replicas.
    pub fn directory_of(&self, broker: i32) -> Option<Uuid> {
        let index = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(index).copied()
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Id, unique over all time.
    pub id: Uuid,
    /// Name, unique among the topics that exist.
    pub name: Str,
    /// Partitions by index.
    pub partitions: BTreeMap<i32, Arc<PartitionImage>>,
}

/// All topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsImage {
    by_name: BTreeMap<Str, Arc<TopicImage>>,
    names: BTreeMap<Uuid, Str>,
}

impl TopicsImage {
    /// The topic with the name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic with the id.
    pub fn by_id(&self, id: &Uuid) -> Option<&Arc<TopicImage>> {
        self.names.get(id).and_then(|name| self.by_name.get(name))
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// Topics whose names are not before `name`, in order.
    pub fn from_name(&self, name: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        let bounds = (std::ops::Bound::Included(name), std::ops::Bound::Unbounded);
        self.by_name.range::<str, _>(bounds).map(|(_, topic)| topic)
    }

    /// Number of topics.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are no topics.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn add(&mut self, record: &TopicRecord) -> Result<(), ApplyError> {
        if self.by_name.contains_key(&record.name) || self.names.contains_key(&record.topic_id) {
            return Err(ApplyError::DuplicateTopic(record.name.clone()));
        }
        let topic =
            TopicImage { id: record.topic_id, name: record.name.clone(), partitions: BTreeMap::new() };
        self.names.insert(topic.id, topic.name.clone());
        self.by_name.insert(topic.name.clone(), Arc::new(topic));
        Ok(())
    }

    pub(super) fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(&record.topic_id)?;
        let partition = PartitionImage::from_record(&topic.name, record)?;
        topic.partitions.insert(record.partition_id, Arc::new(partition));
        Ok(())
    }

    pub(super) fn change(&mut self, record: &PartitionChangeRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(&record.topic_id)?;
        let Some(partition) = topic.partitions.get_mut(&record.partition_id) else {
            return Err(ApplyError::UnknownPartition {
                topic: topic.name.clone(),
                partition: record.partition_id,
            });
        };
        *partition = Arc::new(partition.changed(&topic.name, record)?);
        Ok(())
    }

    pub(super) fn remove(&mut self, record: &RemoveTopicRecord) -> Result<Str, ApplyError> {
        let name = self.names.remove(&record.topic_id).ok_or(ApplyError::UnknownTopic(record.topic_id))?;
        self.by_name.remove(&name);
        Ok(name)
    }

    /// An empty name means every topic.
    pub(super) fn clear_elr(&mut self, record: &ClearElrRecord) {
        let all = record.topic_name.is_empty();
        for (name, topic) in &mut self.by_name {
            if all || *name == record.topic_name {
                clear_topic_elr(topic);
            }
        }
    }

    fn topic_mut(&mut self, id: &Uuid) -> Result<&mut TopicImage, ApplyError> {
        let name = self.names.get(id).ok_or(ApplyError::UnknownTopic(*id))?;
        let topic = self.by_name.get_mut(name).ok_or(ApplyError::UnknownTopic(*id))?;
        Ok(Arc::make_mut(topic))
    }

    pub(super) fn write(&self, level: MetadataVersion, records: &mut Vec<MetadataRecord>) {
        for topic in self.by_name.values() {
            records.push(MetadataRecord::Topic(TopicRecord {
                name: topic.name.clone(),
                topic_id: topic.id,
                ..Default::default()
            }));
            records.extend(topic.partitions.iter().map(|(index, partition)| {
                MetadataRecord::Partition(partition.to_record(topic.id, *index, level))
            }));
        }
    }
}

fn clear_topic_elr(topic: &mut Arc<TopicImage>) {
    let listed =
        |partition: &Arc<PartitionImage>| !partition.elr.is_empty() || !partition.last_known_elr.is_empty();
    if !topic.partitions.values().any(listed) {
        return;
    }
    for partition in Arc::make_mut(topic).partitions.values_mut().filter(|p| listed(p)) {
        let partition = Arc::make_mut(partition);
        partition.elr.clear();
        partition.last_known_elr.clear();
        partition.partition_epoch = partition.partition_epoch.saturating_add(1);
    }
}

/// Records from before KIP-858 have no directories.
fn directories_or_migrating(directories: &[Uuid], replicas: usize) -> Vec<Uuid> {
    if directories.is_empty() { vec![directory_id::MIGRATING; replicas] } else { directories.to_vec() }
}

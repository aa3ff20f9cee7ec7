//! Replicas of new partitions: checked if they were chosen by hand, and written as records.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, PartitionImage};
use ottla_wire::{ErrorCode, Uuid};

use crate::controller::TopicError;
use crate::controller::view::default_directory;

/// Whether the brokers chosen by hand can hold a partition.
pub(crate) fn check_assignment(
    image: &MetadataImage,
    replicas: &[i32],
    replication_factor: Option<usize>,
) -> Result<(), TopicError> {
    let refused = |message: String| Err(TopicError::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return refused("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut previous = None;
    for id in sorted {
        if image.broker(id).is_none() {
            return refused(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if previous == Some(id) {
            return refused(format!(
                "The manual partition assignment includes the broker {id} more than once."
            ));
        }
        previous = Some(id);
    }
    match replication_factor {
        Some(expected) if expected != replicas.len() => refused(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// The record of a new partition: every active replica is in sync and the first of them leads.
pub(crate) fn new_partition(
    image: &MetadataImage,
    topic_id: Uuid,
    index: i32,
    replicas: &[i32],
) -> Result<MetadataRecord, TopicError> {
    let isr: Vec<i32> = replicas.iter().copied().filter(|id| image.active_broker(*id).is_some()).collect();
    let Some(leader) = isr.first().copied() else {
        return Err(TopicError::new(
            ErrorCode::InvalidReplicaAssignment,
            format!(
                "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                 controlled shutdown."
            ),
        ));
    };
    let partition = PartitionImage {
        replicas: replicas.to_vec(),
        directories: replicas.iter().map(|id| default_directory(image, *id)).collect(),
        isr,
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader,
        leader_recovery_state: Default::default(),
        leader_epoch: 0,
        partition_epoch: 0,
    };
    let level = image.metadata_version().unwrap_or(ottla_quorum::MetadataVersion::LATEST);
    Ok(MetadataRecord::Partition(partition.to_record(topic_id, index, level)))
}

//! Where replicas lie (KIP-858): what a broker with several log directories chose, and directories that failed.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::BrokerImage;
use ottla_wire::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use ottla_wire::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, assign_replicas_to_dirs_request,
};
use ottla_wire::{ErrorCode, Uuid};

use super::draft::Draft;
use super::partition_change::{Election, PartitionChange};
use super::view::View;
use super::{ControllerError, Decision};

/// A replica's place: topic, partition, and `directory.id`.
pub type Placement = (Uuid, i32, Uuid);

/// AssignReplicasToDirs: a broker says where it keeps its replicas. What it put into a directory that it has no more, it
/// does not lead.
///
/// # Errors
/// `UNSUPPORTED_VERSION` at levels before KIP-858, `STALE_BROKER_EPOCH`.
pub(crate) fn assign_replicas(
    view: &View<'_>,
    request: &AssignReplicasToDirsRequest,
) -> Result<Decision<AssignReplicasToDirsResponse>, ControllerError> {
    if !view.level().has_directory_assignment() {
        return Err(ControllerError::Refused(ErrorCode::UnsupportedVersion));
    }
    let broker = view.broker_at(request.broker_id, request.broker_epoch)?;
    let mut draft = Draft::new(view.image);
    let mut directories = Vec::new();
    for asked in &request.directories {
        let topic = |topic: &assign_replicas_to_dirs_request::TopicData| {
            let assigned = |it: &assign_replicas_to_dirs_request::PartitionData| {
                let index = it.partition_index;
                let place = (topic.topic_id, index, asked.id);
                let error_code = assign_replica(view, &mut draft, broker, place).err();
                let error_code = error_code.unwrap_or(ErrorCode::None).code();
                PartitionData { partition_index: index, error_code, ..Default::default() }
            };
            let partitions = topic.partitions.iter().map(assigned).collect();
            TopicData { topic_id: topic.topic_id, partitions, ..Default::default() }
        };
        let topics = asked.topics.iter().map(topic).collect();
        directories.push(DirectoryData { id: asked.id, topics, ..Default::default() });
    }
    let response = AssignReplicasToDirsResponse { directories, ..Default::default() };
    Ok(Decision { records: draft.into_records(), response })
}

/// The answer when nothing is done.
pub(crate) fn refuse(code: ErrorCode) -> AssignReplicasToDirsResponse {
    AssignReplicasToDirsResponse { error_code: code.code(), ..Default::default() }
}

fn assign_replica(
    view: &View<'_>,
    draft: &mut Draft,
    broker: &BrokerImage,
    (topic_id, index, directory): Placement,
) -> Result<(), ErrorCode> {
    let record = {
        let view = view.over(draft.image());
        let topic = view.image.topics.by_id(&topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partitions.get(&index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if !partition.replicas.contains(&broker.id) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let rules = view.rules(topic);
        let change = PartitionChange::of(&view, topic, index, partition, rules);
        if broker.has_online(directory) {
            change.found_in(broker.id, directory).record()
        } else {
            let moved = change.directory(broker.id, directory);
            moved.election(Election::allowed(rules)).leaving(broker.id).record()
        }
    };
    draft.push(record.map(MetadataRecord::PartitionChange));
    Ok(())
}

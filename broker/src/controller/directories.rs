//! Where replicas lie (KIP-858): what a broker with several log directories chose, and directories that failed.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{BrokerImage, MetadataImage};
use ottla_wire::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use ottla_wire::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, assign_replicas_to_dirs_request,
};
use ottla_wire::records::metadata::{BrokerRegistrationChangeRecord, PartitionChangeRecord};
use ottla_wire::{ErrorCode, Uuid};

use super::draft::Draft;
use super::partition_change::{Election, PartitionChange};
use super::view::View;
use super::{ControllerError, Decision, leadership};

/// A replica's place: topic, partition, and `directory.id`.
pub type Placement = (Uuid, i32, Uuid);

/// Notes where the broker keeps its replicas. What it does not host, or what is noted already, is passed over.
pub(crate) fn assign(image: &MetadataImage, broker: i32, placements: &[Placement]) -> Decision<()> {
    if !knows_directories(image) {
        return Decision::answer(());
    }
    let record = |(topic_id, partition_id, directory): &Placement| {
        let partition = image.topics.by_id(topic_id)?.partitions.get(partition_id)?;
        let at = partition.replicas.iter().position(|replica| *replica == broker)?;
        let mut directories = partition.directories.clone();
        let noted = directories.get_mut(at).filter(|noted| *noted != directory)?;
        *noted = *directory;
        let (topic_id, partition_id, directories) = (*topic_id, *partition_id, Some(directories));
        let record = PartitionChangeRecord { partition_id, topic_id, directories, ..Default::default() };
        Some(MetadataRecord::PartitionChange(record))
    };
    Decision { records: placements.iter().filter_map(record).collect(), response: () }
}

/// Only `online` of the broker's directories are left: it leads nothing that lies in the others.
pub(crate) fn fail(view: &View<'_>, id: i32, online: &[Uuid]) -> Decision<()> {
    let image = view.image;
    let Some(broker) = image.broker(id).filter(|_| knows_directories(image) && !online.is_empty()) else {
        return Decision::answer(());
    };
    let lost: Vec<Uuid> = broker.log_dirs.iter().copied().filter(|known| !online.contains(known)).collect();
    if lost.is_empty() {
        return Decision::answer(());
    }
    let change = BrokerRegistrationChangeRecord {
        broker_id: id,
        broker_epoch: broker.epoch,
        log_dirs: online.to_vec(),
        ..Default::default()
    };
    let mut records = vec![MetadataRecord::BrokerRegistrationChange(change)];
    records.extend(leadership::leave_directories(view, id, &lost));
    Decision { records, response: () }
}

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
        let moved =
            PartitionChange::of(&view, topic, index, partition, rules).directory(broker.id, directory);
        if broker.has_online(directory) {
            moved.record()
        } else {
            moved.election(Election::allowed(rules)).leaving(broker.id).record()
        }
    };
    draft.push(record.map(MetadataRecord::PartitionChange));
    Ok(())
}

fn knows_directories(image: &MetadataImage) -> bool {
    image.metadata_version().is_some_and(|level| level.has_directory_assignment())
}

//! Reassignments (KIP-455): partitions move to other brokers. What is added is a replica at once, what is taken away stays
//! one until the added ones are in sync.
//!
//! A new target for a partition that moves already counts from where the first one began, as in Kafka before KRaft: what
//! the first one added and the new one does not want is dropped at once.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, PartitionImage, TopicImage};
use ottla_wire::messages::alter_partition_reassignments_request::ReassignablePartition;
use ottla_wire::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use ottla_wire::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use ottla_wire::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use ottla_wire::records::metadata::PartitionChangeRecord;
use ottla_wire::{ErrorCode, Str};

use super::draft::Draft;
use super::partition_change::{Election, PartitionChange};
use super::topics::check_assignment;
use super::view::View;
use super::{Decision, TopicError};

/// Records that one request may lead to, as in Kafka.
const MAX_CHANGES: usize = 10_000;

/// Begins, changes and cancels reassignments; partitions that cannot move are refused one by one.
pub(crate) fn alter_reassignments(
    view: &View<'_>,
    request: &AlterPartitionReassignmentsRequest,
) -> Decision<AlterPartitionReassignmentsResponse> {
    let mut draft = Draft::new(view.image);
    let mut responses = Vec::new();
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|wanted| {
            let outcome = reassign(
                &view.over(draft.image()),
                &topic.name,
                wanted,
                request.allow_replication_factor_change,
            );
            let error = outcome.map(|record| draft.push(record.map(MetadataRecord::PartitionChange))).err();
            ReassignablePartitionResponse {
                partition_index: wanted.partition_index,
                error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
                error_message: error.map(|error| error.message),
                ..Default::default()
            }
        });
        responses.push(ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        });
    }
    let records = draft.into_records();
    if records.len() > MAX_CHANGES {
        let error = TopicError::new(ErrorCode::PolicyViolation, "more than 10000 changes in one request");
        return Decision::answer(refuse_alter(request, &error));
    }
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        // As Kafka: nothing asked is answered with no words, anything else with none at all.
        error_message: request.topics.is_empty().then(Str::default),
        responses,
        ..Default::default()
    };
    Decision { records, response }
}

/// The answer when nothing is done.
pub(crate) fn refuse_alter(
    request: &AlterPartitionReassignmentsRequest,
    error: &TopicError,
) -> AlterPartitionReassignmentsResponse {
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}

/// Those of the partitions asked for that move; of all if none are named.
pub(crate) fn list_reassignments(
    image: &MetadataImage,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let topics: Vec<OngoingTopicReassignment> = match &request.topics {
        None => image.topics.iter().filter_map(|topic| ongoing(topic, None)).collect(),
        Some(asked) => asked
            .iter()
            .filter_map(|asked| ongoing(image.topics.by_name(&asked.name)?, Some(&asked.partition_indexes)))
            .collect(),
    };
    ListPartitionReassignmentsResponse { error_message: None, topics, ..Default::default() }
}

fn ongoing(topic: &TopicImage, asked: Option<&[i32]>) -> Option<OngoingTopicReassignment> {
    let listed = |index: &i32, partition: &PartitionImage| {
        partition.is_reassigning().then(|| OngoingPartitionReassignment {
            partition_index: *index,
            replicas: partition.replicas.clone(),
            adding_replicas: partition.adding_replicas.clone(),
            removing_replicas: partition.removing_replicas.clone(),
            ..Default::default()
        })
    };
    let partitions: Vec<_> = match asked {
        None => topic.partitions.iter().filter_map(|(index, it)| listed(index, it)).collect(),
        Some(indexes) => {
            indexes.iter().filter_map(|index| listed(index, topic.partitions.get(index)?)).collect()
        }
    };
    let name: Str = topic.name.clone();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment { name, partitions, ..Default::default() })
}

fn reassign(
    view: &View<'_>,
    name: &str,
    wanted: &ReassignablePartition,
    other_replication_factor: bool,
) -> Result<Option<PartitionChangeRecord>, TopicError> {
    let unknown = |what: String| TopicError::new(ErrorCode::UnknownTopicOrPartition, what);
    let topic = view
        .image
        .topics
        .by_name(name)
        .ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let index = wanted.partition_index;
    let partition = topic
        .partitions
        .get(&index)
        .ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    match &wanted.replicas {
        None => cancel(view, topic, index, partition),
        Some(target) => {
            check_assignment(view.image, target, None)?;
            if !other_replication_factor {
                check_replication_factor(partition, target)?;
            }
            change(view, topic, index, partition, target)
        }
    }
}

/// Back to the replicas from before. What was added may be all that is in sync: then going back may lose acked records.
fn cancel(
    view: &View<'_>,
    topic: &TopicImage,
    index: i32,
    partition: &PartitionImage,
) -> Result<Option<PartitionChangeRecord>, TopicError> {
    if !partition.is_reassigning() {
        let code = ErrorCode::NoReassignmentInProgress;
        return Err(TopicError::from(code));
    }
    let replicas = original_replicas(partition);
    let Some(first) = replicas.first() else {
        return Err(TopicError::new(
            ErrorCode::InvalidReplicaAssignment,
            "Invalid replica assignment: addingReplicas contains all replicas.",
        ));
    };
    let mut isr = without(&partition.isr, &partition.adding_replicas);
    let rules = view.rules(topic);
    if isr.is_empty() && !partition.isr.is_empty() {
        if !rules.unclean {
            return Err(unclean(topic, index));
        }
        isr.push(*first);
    }
    Ok(PartitionChange::of(view, topic, index, partition, rules)
        .election(Election::allowed(rules))
        .isr(isr)
        .replicas(replicas, Vec::new(), Vec::new())
        .record())
}

fn change(
    view: &View<'_>,
    topic: &TopicImage,
    index: i32,
    partition: &PartitionImage,
    target: &[i32],
) -> Result<Option<PartitionChangeRecord>, TopicError> {
    let original = original_replicas(partition);
    let mut adding = without(target, &original);
    let mut removing = without(&original, target);
    adding.sort_unstable();
    removing.sort_unstable();
    let replicas: Vec<i32> = target.iter().chain(&removing).copied().collect();
    let isr: Vec<i32> = partition.isr.iter().copied().filter(|id| replicas.contains(id)).collect();
    if isr.is_empty() && !partition.isr.is_empty() {
        return Err(unclean(topic, index));
    }
    Ok(PartitionChange::of(view, topic, index, partition, view.rules(topic))
        .isr(isr)
        .replicas(replicas, adding, removing)
        .record())
}

/// The replicas from before the reassignment.
fn original_replicas(partition: &PartitionImage) -> Vec<i32> {
    without(&partition.replicas, &partition.adding_replicas)
}

fn without(ids: &[i32], excluded: &[i32]) -> Vec<i32> {
    ids.iter().copied().filter(|id| !excluded.contains(id)).collect()
}

/// The replication factor is that at which a reassignment under way aims.
fn check_replication_factor(partition: &PartitionImage, target: &[i32]) -> Result<(), TopicError> {
    let current = without(&partition.replicas, &partition.removing_replicas).len();
    if current == target.len() {
        return Ok(());
    }
    Err(TopicError::new(
        ErrorCode::InvalidReplicationFactor,
        format!(
            "The replication factor is changed from {current} to {}, which is not allowed by the request.",
            target.len()
        ),
    ))
}

fn unclean(topic: &TopicImage, index: i32) -> TopicError {
    TopicError::new(
        ErrorCode::InvalidReplicaAssignment,
        format!(
            "The reassignment of partition {}:{index} cannot be taken back: it would require an unclean leader election.",
            topic.name
        ),
    )
}

//! CreatePartitions: topics grow, never shrink.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, TopicImage};
use ottla_wire::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use ottla_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use ottla_wire::{ErrorCode, Str};

use super::create::{cannot_place, start_of};
use super::placement::place;
use super::replicas::{check_assignment, new_partition};
use super::{Charge, MAX_PARTITIONS};
use crate::controller::{Decision, TopicError};

/// Adds partitions; topics that cannot grow are refused one by one.
pub(crate) fn create_partitions(
    image: &MetadataImage,
    request: &CreatePartitionsRequest,
    charge: Charge<'_>,
) -> Decision<CreatePartitionsResponse> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let mut records = Vec::new();
    let mut results = Vec::new();
    let mut answered = BTreeSet::new();
    for topic in &request.topics {
        if !answered.insert(&topic.name) {
            continue;
        }
        let outcome = if counts.get(&*topic.name).is_some_and(|count| *count > 1) {
            Err(TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else if request.timeout_ms <= 0 {
            Err(TopicError::out_of_time())
        } else {
            grow(image, topic, MAX_PARTITIONS - records.len(), &mut *charge)
        };
        match outcome {
            Ok(added) => {
                records.extend(added);
                results.push(result(&topic.name, None));
            }
            Err(error) => results.push(result(&topic.name, Some(&error))),
        }
    }
    if request.validate_only {
        records.clear();
    }
    Decision { records, response: CreatePartitionsResponse { results, ..Default::default() } }
}

/// The answer when nothing can be done at all.
pub(crate) fn refuse_all(request: &CreatePartitionsRequest, error: &TopicError) -> CreatePartitionsResponse {
    let results = request.topics.iter().map(|topic| result(&topic.name, Some(error))).collect();
    CreatePartitionsResponse { results, ..Default::default() }
}

fn grow(
    image: &MetadataImage,
    wanted: &CreatePartitionsTopic,
    room: usize,
    charge: Charge<'_>,
) -> Result<Vec<MetadataRecord>, TopicError> {
    let topic = image.topics.by_name(&wanted.name).ok_or_else(|| {
        TopicError::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
    })?;
    let additional = additional(topic, wanted.count)?;
    let asked = wanted.assignments.as_ref().map_or(additional, Vec::len);
    if asked > room {
        return Err(TopicError::new(ErrorCode::PolicyViolation, "more than 10000 partitions in one request"));
    }
    let replication_factor = topic.partitions.values().next().map_or(1, |partition| partition.replicas.len());
    let replicas = match &wanted.assignments {
        None => place(image, additional, replication_factor, start_of(&topic.id) + topic.partitions.len())
            .map_err(|error| cannot_place(additional, replication_factor, &error))?,
        Some(assignments) => {
            if assignments.len() != additional {
                return Err(TopicError::new(
                    ErrorCode::InvalidReplicaAssignment,
                    format!(
                        "Attempted to add {additional} additional partition(s), but only {} assignment(s) were \
                         specified.",
                        assignments.len()
                    ),
                ));
            }
            assignments
                .iter()
                .map(|assignment| {
                    check_assignment(image, &assignment.broker_ids, Some(replication_factor))
                        .map(|()| assignment.broker_ids.clone())
                })
                .collect::<Result<_, _>>()?
        }
    };
    charge(additional)?;
    let first = topic.partitions.keys().next_back().map_or(0, |last| last.saturating_add(1));
    (first..)
        .zip(&replicas)
        .map(|(index, replicas)| new_partition(image, topic.id, index, replicas))
        .collect()
}

fn additional(topic: &TopicImage, count: i32) -> Result<usize, TopicError> {
    let invalid = |message: String| Err(TopicError::new(ErrorCode::InvalidPartitions, message));
    let current = topic.partitions.len();
    match usize::try_from(count) {
        Ok(count) if count > current => Ok(count - current),
        Ok(count) if count == current => invalid(format!("Topic already has {current} partition(s).")),
        _ => invalid(format!(
            "The topic {} currently has {current} partition(s); {count} would not be an increase.",
            topic.name
        )),
    }
}

fn result(name: &Str, error: Option<&TopicError>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name: name.clone(),
        error_code: error.map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.map(|error| error.message.clone()),
        ..Default::default()
    }
}

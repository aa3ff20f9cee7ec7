//! OffsetCommit (8).

use std::sync::Arc;

use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestTopic};
use ottla_wire::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::RequestContext;
use crate::broker::Broker;
use crate::group::record::owned;
use crate::group::shard::{Commit, CommitPartition, Request, ShardAnswer};
use crate::security::{Operation, Resource};

/// From this version on topics are named by their ids.
const TOPIC_IDS: i16 = 10;
/// From this version on an unknown group has an error of its own.
const GROUP_ID_NOT_FOUND: i16 = 9;

/// A partition of the request: where it is in it, and its fate; undecided ones go to the coordinator.
struct Entry {
    topic: usize,
    partition: i32,
    fate: Option<ErrorCode>,
}

/// Stores how far a group has come.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    if !broker.allows(context, Operation::Read, Resource::Group(&request.group_id)) {
        return respond(&request, &refused(&request, ErrorCode::GroupAuthorizationFailed));
    }
    let image = broker.image();
    // Of a topic that is there, and about which nothing is said, nothing is answered.
    request
        .topics
        .retain(|topic| !topic.partitions.is_empty() || find_topic(broker, context, &image, topic).is_err());
    let (mut entries, accepted) = examine(broker, context, &image, &request);
    if !accepted.is_empty() {
        let fates = commit(broker, context, &request, accepted).await;
        let mut fates = fates.into_iter();
        for entry in entries.iter_mut().filter(|entry| entry.fate.is_none()) {
            entry.fate = fates.next();
        }
    }
    respond(&request, &entries)
}

/// Sorts out what is not allowed or does not exist.
fn examine(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    request: &OffsetCommitRequest,
) -> (Vec<Entry>, Vec<CommitPartition>) {
    let (mut entries, mut accepted) = (Vec::new(), Vec::new());
    for (index, topic) in request.topics.iter().enumerate() {
        let found = find_topic(broker, context, image, topic);
        for partition in &topic.partitions {
            let fate = match &found {
                Err(error) => Some(*error),
                Ok((name, topic_id)) if image.partition(name, partition.partition_index).is_some() => {
                    accepted.push(CommitPartition {
                        topic: name.clone(),
                        topic_id: *topic_id,
                        partition: partition.partition_index,
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: partition.committed_metadata.as_ref().map(owned).unwrap_or_default(),
                    });
                    None
                }
                Ok(_) => Some(ErrorCode::UnknownTopicOrPartition),
            };
            entries.push(Entry { topic: index, partition: partition.partition_index, fate });
        }
    }
    (entries, accepted)
}

fn find_topic(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    topic: &OffsetCommitRequestTopic,
) -> Result<(Str, Uuid), ErrorCode> {
    let by_id = context.api_version >= TOPIC_IDS;
    let found = if by_id { image.topics.by_id(&topic.topic_id) } else { image.topics.by_name(&topic.name) };
    let name = match found {
        Some(found) => &found.name,
        None if by_id => return Err(ErrorCode::UnknownTopicId),
        None => &topic.name,
    };
    if !broker.allows(context, Operation::Read, Resource::Topic(name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let found = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok((found.name.clone(), found.id))
}

/// The fates of the accepted partitions, in order.
async fn commit(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &OffsetCommitRequest,
    partitions: Vec<CommitPartition>,
) -> Vec<ErrorCode> {
    let (group, count) = (owned(&request.group_id), partitions.len());
    let commit = |token| Commit {
        token,
        group: group.clone(),
        member_id: owned(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(owned),
        generation: request.generation_id_or_member_epoch,
        retention_ms: (request.retention_time_ms != -1).then_some(request.retention_time_ms),
        knows_group_id_not_found: context.api_version >= GROUP_ID_NOT_FOUND,
        partitions,
    };
    match broker.groups.ask(&group, |token| Request::Commit(commit(token))).await {
        Ok(ShardAnswer::Commit(Ok(fates))) => {
            fates.into_iter().map(|fate| fate.err().map_or(ErrorCode::None, |error| error.code())).collect()
        }
        Ok(ShardAnswer::Commit(Err(error))) | Err(error) => vec![error.code(); count],
        Ok(_) => vec![ErrorCode::UnknownServerError; count],
    }
}

fn refused(request: &OffsetCommitRequest, error: ErrorCode) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, topic) in request.topics.iter().enumerate() {
        entries.extend(topic.partitions.iter().map(|partition| Entry {
            topic: index,
            partition: partition.partition_index,
            fate: Some(error),
        }));
    }
    entries
}

fn respond(request: &OffsetCommitRequest, entries: &[Entry]) -> OffsetCommitResponse {
    // Entries are in the order of the topics.
    let mut entries = entries.iter().peekable();
    let topic = |(index, topic): (usize, &OffsetCommitRequestTopic)| {
        let own = std::iter::from_fn(|| entries.next_if(|entry| entry.topic == index));
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: own.map(partition).collect(),
            ..Default::default()
        }
    };
    let topics = request.topics.iter().enumerate().map(topic).collect();
    OffsetCommitResponse { topics, ..Default::default() }
}

fn partition(entry: &Entry) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition {
        partition_index: entry.partition,
        error_code: entry.fate.unwrap_or(ErrorCode::UnknownServerError).code(),
        ..Default::default()
    }
}

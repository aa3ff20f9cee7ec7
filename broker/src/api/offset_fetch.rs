//! OffsetFetch (9).

use std::sync::Arc;

use futures::future::join_all;
use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_wire::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::{RequestContext, repeats};
use crate::broker::Broker;
use crate::group::record::owned;
use crate::group::shard::{Fetch, FetchedOffset, FetchedTopic, Request, ShardAnswer, WantedTopic};
use crate::security::{Operation, Resource};

/// From this version on there are many groups.
const MANY_GROUPS: i16 = 8;
/// From this version on topics are named by their ids.
const TOPIC_IDS: i16 = 10;
/// From this version on the group has an error of its own.
const GROUP_ERROR: i16 = 2;

/// What is stored for a partition that has nothing.
const NO_OFFSET: i64 = -1;

/// Tells how far groups have come.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    mut request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    repeats::bound(&mut request.groups, |group| group.topics.is_none().then(|| group.group_id.clone()));
    let stable = request.require_stable;
    if context.api_version >= MANY_GROUPS {
        let groups = request.groups.iter().map(|group| fetch_group(broker, context, group, stable));
        return OffsetFetchResponse { groups: join_all(groups).await, ..Default::default() };
    }
    let group = only_group(request);
    let fetched = fetch_group(broker, context, &group, stable).await;
    single_response(context, &group, fetched)
}

async fn fetch_group(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let fetched = match &request.topics {
        Some(topics) => fetch_topics(broker, context, request, topics, require_stable).await,
        None => fetch_all(broker, context, request, require_stable).await,
    };
    let group_id = request.group_id.clone();
    match fetched {
        Ok(topics) => OffsetFetchResponseGroup { group_id, topics, ..Default::default() },
        Err(error) => OffsetFetchResponseGroup { group_id, error_code: error.code(), ..Default::default() },
    }
}

async fn fetch_topics(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &OffsetFetchRequestGroup,
    topics: &[OffsetFetchRequestTopics],
    require_stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let image = broker.image();
    let found: Vec<_> = topics.iter().map(|topic| find_topic(broker, context, &image, topic)).collect();
    let wanted = found.iter().flatten().cloned().collect();
    let mut fetched = ask(broker, context, request, Some(wanted), require_stable).await?.into_iter();
    let mut responses = Vec::with_capacity(topics.len());
    for (topic, found) in topics.iter().zip(found) {
        let response = match found {
            Ok(_) => fetched.next().map(|fetched| answer(context, topic.topic_id, fetched)),
            Err(error) => Some(refused_topic(topic, error)),
        };
        responses.extend(response);
    }
    Ok(responses)
}

async fn fetch_all(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &OffsetFetchRequestGroup,
    require_stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let fetched = ask(broker, context, request, None, require_stable).await?;
    let image = broker.image();
    let visible =
        |topic: &FetchedTopic| broker.allows(context, Operation::Describe, Resource::Topic(&topic.name));
    let identified = |topic: FetchedTopic| {
        let topic_id = image.topics.by_name(&topic.name).map_or(Uuid::ZERO, |topic| topic.id);
        // A client that knows topics by their ids could not make sense of one without.
        let named = context.api_version < TOPIC_IDS || topic_id != Uuid::ZERO;
        named.then(|| answer(context, topic_id, topic))
    };
    Ok(fetched.into_iter().filter(visible).filter_map(identified).collect())
}

async fn ask(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &OffsetFetchRequestGroup,
    topics: Option<Vec<WantedTopic>>,
    require_stable: bool,
) -> Result<Vec<FetchedTopic>, ErrorCode> {
    if !broker.allows(context, Operation::Describe, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let group = owned(&request.group_id);
    let fetch = |token| Fetch { token, group: group.clone(), topics, require_stable };
    match broker.groups.ask(&group, |token| Request::Fetch(fetch(token))).await {
        Ok(ShardAnswer::Fetch(Ok(topics))) => Ok(topics),
        Ok(ShardAnswer::Fetch(Err(error))) | Err(error) => Err(error.code()),
        Ok(_) => Err(ErrorCode::UnknownServerError),
    }
}

fn find_topic(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    topic: &OffsetFetchRequestTopics,
) -> Result<WantedTopic, ErrorCode> {
    let by_id = context.api_version >= TOPIC_IDS;
    let found = if by_id { image.topics.by_id(&topic.topic_id) } else { image.topics.by_name(&topic.name) };
    let name = match found {
        Some(found) => &found.name,
        None if by_id => return Err(ErrorCode::UnknownTopicId),
        None => &topic.name,
    };
    if !broker.allows(context, Operation::Describe, Resource::Topic(name)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let topic_id = found.map_or(Uuid::ZERO, |found| found.id);
    Ok(WantedTopic { name: name.clone(), topic_id, partitions: topic.partition_indexes.clone() })
}

fn answer(context: &RequestContext, topic_id: Uuid, topic: FetchedTopic) -> OffsetFetchResponseTopics {
    let partitions = topic.partitions.into_iter().map(|(index, offset)| partition(index, offset)).collect();
    let by_id = context.api_version >= TOPIC_IDS;
    OffsetFetchResponseTopics {
        name: if by_id { Str::default() } else { topic.name },
        topic_id: if by_id { topic_id } else { Uuid::ZERO },
        partitions,
        ..Default::default()
    }
}

fn partition(partition_index: i32, offset: FetchedOffset) -> OffsetFetchResponsePartitions {
    match offset {
        FetchedOffset::Committed(offset) => OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch,
            metadata: Some(offset.metadata),
            ..Default::default()
        },
        FetchedOffset::Absent => nothing(partition_index, ErrorCode::None),
        FetchedOffset::Unstable => nothing(partition_index, ErrorCode::UnstableOffsetCommit),
    }
}

fn nothing(partition_index: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code: error.code(),
        ..Default::default()
    }
}

fn refused_topic(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|index| nothing(*index, error)).collect(),
        ..Default::default()
    }
}

/// Before there were many groups the fields of the only one were at the top.
fn only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topic = |topic: OffsetFetchRequestTopic| OffsetFetchRequestTopics {
        name: topic.name,
        partition_indexes: topic.partition_indexes,
        ..Default::default()
    };
    OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(|topics| topics.into_iter().map(topic).collect()),
        ..Default::default()
    }
}

fn single_response(
    context: &RequestContext,
    request: &OffsetFetchRequestGroup,
    mut fetched: OffsetFetchResponseGroup,
) -> OffsetFetchResponse {
    if context.api_version < GROUP_ERROR && fetched.error_code != 0 {
        let error = ErrorCode::try_from(fetched.error_code).unwrap_or(ErrorCode::UnknownServerError);
        fetched.topics = request.topics.iter().flatten().map(|topic| refused_topic(topic, error)).collect();
    }
    let partition = |partition: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..Default::default()
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    OffsetFetchResponse {
        topics: fetched.topics.into_iter().map(topic).collect(),
        error_code: fetched.error_code,
        ..Default::default()
    }
}

//! OffsetDelete (47).

use std::sync::Arc;

use ottla_wire::ErrorCode;
use ottla_wire::messages::offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestTopic};
use ottla_wire::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::RequestContext;
use crate::broker::Broker;
use crate::group::offsets::TopicIndex;
use crate::group::record::owned;
use crate::group::shard::{Request, ShardAnswer};
use crate::security::{Operation, Resource};

/// Makes a group forget how far it has come in partitions that it does not consume.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    match delete(broker, context, &request).await {
        Ok(topics) => OffsetDeleteResponse { topics, ..Default::default() },
        Err(error) => OffsetDeleteResponse { error_code: error.code(), ..Default::default() },
    }
}

async fn delete(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: &OffsetDeleteRequest,
) -> Result<Vec<OffsetDeleteResponseTopic>, ErrorCode> {
    let group = owned(&request.group_id);
    if !broker.allows(context, Operation::Delete, Resource::Group(&group)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    if group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let (mut topics, partitions) = examine(broker, context, request);
    let id = group.clone();
    let fates =
        match broker.groups.ask(&id, |token| Request::DeleteOffsets { token, group, partitions }).await {
            Ok(ShardAnswer::DeleteOffsets(Ok(fates))) => fates,
            Ok(ShardAnswer::DeleteOffsets(Err(error))) | Err(error) => return Err(error.code()),
            Ok(_) => return Err(ErrorCode::UnknownServerError),
        };
    let undecided = topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
        .filter(|partition| partition.error_code == 0);
    for (partition, fate) in undecided.zip(fates) {
        partition.error_code = fate.err().map_or(ErrorCode::None, |error| error.code()).code();
    }
    Ok(topics)
}

/// The answer so far, and what the coordinator shall decide: the partitions without an error.
fn examine(
    broker: &Broker,
    context: &RequestContext,
    request: &OffsetDeleteRequest,
) -> (Vec<OffsetDeleteResponseTopic>, Vec<TopicIndex>) {
    let image = broker.image();
    let (mut topics, mut accepted) = (Vec::with_capacity(request.topics.len()), Vec::new());
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let allowed = broker.allows(context, Operation::Read, Resource::Topic(&topic.name));
        let name = owned(&topic.name);
        let judge = |index: i32| {
            if !allowed {
                ErrorCode::TopicAuthorizationFailed
            } else if image.partition(&name, index).is_none() {
                ErrorCode::UnknownTopicOrPartition
            } else {
                accepted.push((name.clone(), index));
                ErrorCode::None
            }
        };
        // Of a topic about which nothing is asked nothing is answered.
        let asks_nothing = topic.partitions.is_empty() && allowed && image.topics.by_name(&name).is_some();
        if !asks_nothing {
            topics.push(response(topic, judge));
        }
    }
    (topics, accepted)
}

fn response(
    topic: &OffsetDeleteRequestTopic,
    mut judge: impl FnMut(i32) -> ErrorCode,
) -> OffsetDeleteResponseTopic {
    let partition = |index: i32| OffsetDeleteResponsePartition {
        partition_index: index,
        error_code: judge(index).code(),
    };
    let partitions =
        topic.partitions.iter().map(|partition| partition.partition_index).map(partition).collect();
    OffsetDeleteResponseTopic { name: topic.name.clone(), partitions }
}

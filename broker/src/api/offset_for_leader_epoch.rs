//! OffsetForLeaderEpoch (23): where leader epochs end, by which consumers and replicas find where logs part (KIP-101, KIP-320).

use std::sync::Arc;

use ottla_log::LeaderEpoch;
use ottla_wire::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use ottla_wire::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use ottla_wire::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

/// Epoch and offset of an epoch that is not known.
const UNDEFINED: (i32, i64) = (-1, -1);

/// Looks up every partition by itself.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let as_broker = broker.allows(context, Operation::ClusterAction, Resource::Cluster);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let allowed = as_broker || broker.allows(context, Operation::Describe, Resource::Topic(&topic.topic));
        let look_up = |asked: &OffsetForLeaderPartition| {
            let found = if allowed {
                look_up(broker, &topic.topic, asked)
            } else {
                Err(ErrorCode::TopicAuthorizationFailed)
            };
            row(asked.partition, found)
        };
        let partitions = topic.partitions.iter().map(look_up).collect();
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions, ..Default::default() });
    }
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

fn look_up(broker: &Broker, topic: &Str, asked: &OffsetForLeaderPartition) -> Result<(i32, i64), ErrorCode> {
    let partition = broker.find_partition(topic, asked.partition)?;
    if partition.directory().is_offline() {
        return Err(ErrorCode::KafkaStorageError);
    }
    partition.check_leader(asked.current_leader_epoch).map_err(|error| error.code())?;
    let known = Some(asked.leader_epoch).filter(|epoch| *epoch != UNDEFINED.0);
    let end = known.and_then(|epoch| partition.end_offset_for_epoch(LeaderEpoch(epoch)));
    Ok(end.map_or(UNDEFINED, |(epoch, offset)| (epoch.0, offset.0)))
}

fn row(partition: i32, found: Result<(i32, i64), ErrorCode>) -> EpochEndOffset {
    let (leader_epoch, end_offset) = found.unwrap_or(UNDEFINED);
    EpochEndOffset {
        partition,
        error_code: found.err().unwrap_or_default().code(),
        leader_epoch,
        end_offset,
        ..Default::default()
    }
}

//! DescribeProducers (61): the idempotent producers that a partition remembers (KIP-664).

use std::sync::Arc;

use ottla_log::ActiveProducer;
use ottla_wire::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use ottla_wire::messages::{DescribeProducersRequest, DescribeProducersResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::controller::check_topic_name;
use crate::security::{Operation, Resource};

/// An error and what is said about it.
type Refusal = (ErrorCode, Option<Str>);

/// Answers partition by partition from the logs' producer state.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let refused = refusal(broker, context, &topic.name);
        let describe = |index: &i32| {
            let found = match &refused {
                Some(refusal) => Err(refusal.clone()),
                None => producers(broker, &topic.name, *index).map_err(|code| (code, None)),
            };
            row(*index, found)
        };
        let partitions = topic.partition_indexes.iter().map(describe).collect();
        topics.push(TopicResponse { name: topic.name, partitions, ..Default::default() });
    }
    DescribeProducersResponse { topics, ..Default::default() }
}

fn refusal(broker: &Broker, context: &RequestContext, topic: &Str) -> Option<Refusal> {
    if let Err(error) = check_topic_name(topic) {
        return Some((error.code, Some(error.message)));
    }
    let code = if !broker.allows(context, Operation::Read, Resource::Topic(topic)) {
        ErrorCode::TopicAuthorizationFailed
    } else if broker.image().topics.by_name(topic).is_none() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        return None;
    };
    Some((code, Some(Str::from(code.to_string()))))
}

fn producers(broker: &Broker, topic: &Str, index: i32) -> Result<Vec<ActiveProducer>, ErrorCode> {
    let partition = broker.find_partition(topic, index)?;
    partition.active_producers().map_err(|error| error.code())
}

fn row(partition_index: i32, found: Result<Vec<ActiveProducer>, Refusal>) -> PartitionResponse {
    let state = |producer: ActiveProducer| ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: i32::from(producer.epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp.0,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.txn_start.map_or(-1, |offset| offset.0),
        ..Default::default()
    };
    match found {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers.into_iter().map(state).collect(),
            ..Default::default()
        },
        Err((code, error_message)) => PartitionResponse {
            partition_index,
            error_code: code.code(),
            error_message,
            ..Default::default()
        },
    }
}

//! DescribeTopicPartitions (75): topics and partitions page by page (KIP-966).

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_quorum::image::{MetadataImage, PartitionImage, TopicImage};
use ottla_wire::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use ottla_wire::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use ottla_wire::{ErrorCode, Str};

use super::{RequestContext, metadata, operations};
use crate::broker::Broker;
use crate::partition;
use crate::security::{Operation, Resource};

/// Answers from the metadata image, at most `max.request.partition.size.limit` partitions.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = broker.image();
    let limit = request.response_partition_limit.min(broker.config.fetch.max_described_partitions).max(1);
    let (from_topic, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.clone(), cursor.partition_index),
        None => (Str::default(), 0),
    };
    // A page goes on within the topics that are asked for.
    let goes_on_elsewhere = request.cursor.is_some()
        && !request.topics.is_empty()
        && !request.topics.iter().any(|topic| topic.name == from_topic);
    if from_partition < 0 || goes_on_elsewhere {
        return refused(&request);
    }
    let page = Page { broker, context, image: &image, left: usize::try_from(limit).unwrap_or(1) };
    let names: BTreeSet<Str> = match request.topics.is_empty() {
        true => image.topics.from_name(&from_topic).map(|topic| topic.name.clone()).collect(),
        false => {
            request.topics.into_iter().map(|topic| topic.name).filter(|name| *name >= from_topic).collect()
        }
    };
    page.fill(names, &from_topic, from_partition)
}

fn refused(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let row = |name: &Str| failed(name.clone(), ErrorCode::InvalidRequest);
    DescribeTopicPartitionsResponse {
        topics: request.topics.iter().map(|topic| row(&topic.name)).collect(),
        ..Default::default()
    }
}

struct Page<'a> {
    broker: &'a Broker,
    context: &'a RequestContext,
    image: &'a MetadataImage,
    left: usize,
}

impl Page<'_> {
    fn fill(
        mut self,
        names: BTreeSet<Str>,
        from_topic: &Str,
        from_partition: i32,
    ) -> DescribeTopicPartitionsResponse {
        let mut response = DescribeTopicPartitionsResponse::default();
        for name in names {
            if self.left == 0 {
                response.next_cursor = Some(cursor(name, 0));
                break;
            }
            if !self.broker.allows(self.context, Operation::Describe, Resource::Topic(&name)) {
                response.topics.push(failed(name, ErrorCode::TopicAuthorizationFailed));
                continue;
            }
            let Some(topic) = self.image.topics.by_name(&name) else {
                let operations = operations::of_topic(self.broker, self.context, &name);
                let error = metadata::unknown(&name);
                response.topics.push(DescribeTopicPartitionsResponseTopic {
                    topic_authorized_operations: operations,
                    ..failed(name, error)
                });
                continue;
            };
            let first = if name == *from_topic { from_partition } else { 0 };
            let (row, next) = self.topic(topic, first);
            response.topics.push(row);
            if let Some(next) = next {
                response.next_cursor = Some(cursor(name, next));
                break;
            }
        }
        response
    }

    /// The topic with the partitions that fit, and the first that does not.
    fn topic(
        &mut self,
        topic: &TopicImage,
        first: i32,
    ) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
        let mut partitions = Vec::new();
        let mut next = None;
        for (index, state) in topic.partitions.range(first..) {
            if self.left == 0 {
                next = Some(*index);
                break;
            }
            self.left -= 1;
            partitions.push(self.partition(*index, state));
        }
        let row = DescribeTopicPartitionsResponseTopic {
            name: Some(topic.name.clone()),
            topic_id: topic.id,
            is_internal: partition::is_internal(&topic.name),
            partitions,
            topic_authorized_operations: operations::of_topic(self.broker, self.context, &topic.name),
            ..Default::default()
        };
        (row, next)
    }

    fn partition(&self, index: i32, state: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
        let led = self.image.broker(state.leader).is_some_and(|leader| !leader.fenced);
        let error = if led { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
        DescribeTopicPartitionsResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: if led { state.leader } else { -1 },
            leader_epoch: state.leader_epoch,
            replica_nodes: state.replicas.clone(),
            isr_nodes: state.isr.clone(),
            eligible_leader_replicas: Some(state.elr.clone()),
            last_known_elr: Some(state.last_known_elr.clone()),
            offline_replicas: metadata::offline(self.image, self.context, state),
            ..Default::default()
        }
    }
}

fn cursor(topic_name: Str, partition_index: i32) -> Cursor {
    Cursor { topic_name, partition_index, ..Default::default() }
}

fn failed(name: Str, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        is_internal: partition::is_internal(&name),
        name: Some(name),
        topic_authorized_operations: operations::NOT_ASKED,
        ..Default::default()
    }
}

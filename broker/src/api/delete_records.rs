//! DeleteRecords (21): moves log starts up (KIP-107). The new starts are on disk here, and taken over by all replicas that
//! live, before the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::Offset;
use ottla_wire::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use ottla_wire::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::partition::is_internal;
use crate::security::{Operation, Resource};

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// The low watermark of a partition that was refused.
const NO_LOW_WATERMARK: i64 = -1;

/// Hides the records below the offsets asked for; the files go with the next retention check.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    // Of a partition that is named twice the last offset counts.
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = tokio::time::Instant::now() + timeout;
    let mut asked: BTreeMap<Str, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in request.topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
        let offsets = topic.partitions.iter().map(|partition| (partition.partition_index, partition.offset));
        asked.entry(topic.name).or_default().extend(offsets);
    }
    let mut topics = Vec::with_capacity(asked.len());
    let mut moved = false;
    for (name, offsets) in asked {
        let refused = refusal(broker, context, &name);
        let mut partitions = Vec::with_capacity(offsets.len());
        for (index, offset) in offsets {
            let start = match refused {
                Some(code) => Err(code),
                None => delete(broker, &name, index, offset),
            };
            moved |= start.is_ok();
            partitions.push(row(index, start));
        }
        topics.push(DeleteRecordsTopicResult { name, partitions, ..Default::default() });
    }
    if moved && !checkpoint(broker).await {
        let rows = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        rows.filter(|row| row.error_code == 0)
            .for_each(|it| *it = row(it.partition_index, Err(ErrorCode::KafkaStorageError)));
    }
    for topic in &mut topics {
        for it in topic.partitions.iter_mut().filter(|it| it.error_code == 0) {
            let start = Offset(it.low_watermark);
            *it = row(
                it.partition_index,
                replicated(broker, &topic.name, it.partition_index, start, deadline).await,
            );
        }
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

fn refusal(broker: &Broker, context: &RequestContext, topic: &Str) -> Option<ErrorCode> {
    if !broker.allows(context, Operation::Delete, Resource::Topic(topic)) {
        Some(ErrorCode::TopicAuthorizationFailed)
    } else if broker.image().topics.by_name(topic).is_none() {
        Some(ErrorCode::UnknownTopicOrPartition)
    } else {
        None
    }
}

fn delete(broker: &Broker, topic: &Str, index: i32, offset: i64) -> Result<Offset, ErrorCode> {
    if is_internal(topic) && broker.image().partition(topic, index).is_some() {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = broker.find_partition(topic, index)?;
    let before = (offset != HIGH_WATERMARK).then_some(Offset(offset));
    partition.delete_records(before).map_err(|error| error.code())
}

/// Waits until no replica that lives has anything below `start`.
async fn replicated(
    broker: &Broker,
    topic: &str,
    index: i32,
    start: Offset,
    deadline: tokio::time::Instant,
) -> Result<Offset, ErrorCode> {
    let partition = broker.find_partition(topic, index)?;
    match tokio::time::timeout_at(deadline, partition.wait_low_watermark(start)).await {
        Ok(low) => low.map_err(|error| error.code()),
        Err(_) => Err(ErrorCode::RequestTimedOut),
    }
}

/// Writes the log starts down; whether it worked.
async fn checkpoint(broker: &Broker) -> bool {
    let partitions = Arc::clone(&broker.partitions);
    tokio::task::spawn_blocking(move || partitions.checkpoint_log_starts()).await.unwrap_or(false)
}

fn row(partition_index: i32, start: Result<Offset, ErrorCode>) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark: start.map_or(NO_LOW_WATERMARK, |start| start.0),
        error_code: start.err().unwrap_or_default().code(),
        ..Default::default()
    }
}

//! ListOffsets (2): offsets by time, and the special ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ottla_log::{LeaderEpoch, TimestampMs};
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use ottla_wire::messages::{ListOffsetsRequest, ListOffsetsResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::blocking;
use crate::broker::Broker;
use crate::partition::{Isolation, Partition, PartitionError};
use crate::security::{Operation, Resource};

/// Negative timestamps with a meaning, and the versions from which on they are allowed.
mod special {
    pub(super) const LATEST: i64 = -1;
    pub(super) const EARLIEST: i64 = -2;
    pub(super) const MAX_TIMESTAMP: i64 = -3;
    pub(super) const EARLIEST_LOCAL: i64 = -4;
    pub(super) const LATEST_TIERED: i64 = -5;
    pub(super) const EARLIEST_PENDING_UPLOAD: i64 = -6;

    pub(super) fn is_known(timestamp: i64, version: i16) -> bool {
        match timestamp {
            MAX_TIMESTAMP => version >= 7,
            EARLIEST_LOCAL => version >= 8,
            LATEST_TIERED => version >= 9,
            EARLIEST_PENDING_UPLOAD => version >= 11,
            other => other >= EARLIEST,
        }
    }
}

/// The replica id of consumers.
const CONSUMER: i32 = -1;
/// The replica id of tools that look at any replica, up to its log end.
const DEBUGGING_CONSUMER: i32 = -2;
/// From this version on clients know OFFSET_NOT_AVAILABLE.
const NOT_AVAILABLE_FROM: i16 = 5;

/// What a client says that knows no leader epoch.
const NO_EPOCH: i32 = -1;

/// Timestamp, offset and leader epoch; -1 where there is none.
type Found = (i64, i64, i32);

const NOTHING: Found = (-1, -1, -1);

/// Looks up every partition by itself.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = match (request.replica_id, request.isolation_level) {
        (CONSUMER, 1) => Isolation::ReadCommitted,
        (CONSUMER, _) => Isolation::ReadUncommitted,
        _ => Isolation::LogEnd,
    };
    let from_any = request.replica_id == DEBUGGING_CONSUMER;
    let repeated = repeated(&request);
    let is_known = matches!(request.isolation_level, 0 | 1);
    let mut topics: Vec<ListOffsetsTopicResponse> = Vec::with_capacity(request.topics.len());
    for topic in distinct(request.topics) {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = if !is_known || repeated.contains(&(topic.name.clone(), asked.partition_index)) {
                Err(ErrorCode::InvalidRequest)
            } else {
                look_up(broker, context, &topic.name, &asked, isolation, from_any).await
            };
            // Older clients have no field for the epoch.
            let known = |(at, offset, epoch)| (at, offset, if context.api_version >= 4 { epoch } else { -1 });
            partitions.push(row(asked.partition_index, found.map(known)));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions, ..Default::default() });
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

/// Each topic and each of its partitions once; what has no partitions is passed over.
fn distinct(topics: Vec<ListOffsetsTopic>) -> Vec<ListOffsetsTopic> {
    let mut places: HashMap<Str, usize> = HashMap::with_capacity(topics.len());
    let mut distinct: Vec<ListOffsetsTopic> = Vec::with_capacity(topics.len());
    let mut seen = HashSet::new();
    for mut topic in topics {
        let name = topic.name.clone();
        topic.partitions.retain(|partition| seen.insert((name.clone(), partition.partition_index)));
        if topic.partitions.is_empty() {
            continue;
        }
        let place = *places.entry(name).or_insert(distinct.len());
        match distinct.get_mut(place) {
            Some(first) => first.partitions.extend(topic.partitions),
            None => distinct.push(topic),
        }
    }
    distinct
}

fn repeated(request: &ListOffsetsRequest) -> HashSet<(Str, i32)> {
    let mut seen = HashSet::new();
    let all = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index))
    });
    all.filter(|partition| !seen.insert(partition.clone())).collect()
}

async fn look_up(
    broker: &Arc<Broker>,
    context: &RequestContext,
    topic: &Str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
    from_any: bool,
) -> Result<Found, ErrorCode> {
    if !broker.allows(context, Operation::Describe, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let index = asked.partition_index;
    let partition = broker.find_partition(topic, index)?;
    if !special::is_known(asked.timestamp, context.api_version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    if asked.current_leader_epoch < NO_EPOCH {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    let known = asked.current_leader_epoch;
    let checked = if from_any { partition.check_replica(known) } else { partition.check_leader(known) };
    checked.map_err(|error| error.code())?;
    let timestamp = asked.timestamp;
    let unsettled = unsettled(&partition, context, isolation);
    match timestamp {
        special::LATEST => {
            unsettled?;
            Ok((-1, end_for(&partition, isolation), epoch(partition.last_epoch())))
        }
        special::EARLIEST | special::EARLIEST_LOCAL => Ok(earliest(&partition)),
        special::LATEST_TIERED | special::EARLIEST_PENDING_UPLOAD => Ok(NOTHING),
        _ => {
            // By time: reads index and log, from disk if need be.
            let search = move || by_time(&partition, timestamp, isolation);
            let found = blocking::disk_read(move || Ok(search())).await;
            let found = found.map_err(|_| ErrorCode::UnknownServerError)?.map_err(|error| error.code())?;
            // What is asked for may lie between here and where the last leader's high watermark was.
            if found == NOTHING {
                unsettled?;
            }
            Ok(found)
        }
    }
}

/// A new leader does not tell clients the end while that may be behind what the last one told (KIP-207).
fn unsettled(partition: &Partition, context: &RequestContext, isolation: Isolation) -> Result<(), ErrorCode> {
    if isolation == Isolation::LogEnd || partition.is_settled() {
        return Ok(());
    }
    let is_known = context.api_version >= NOT_AVAILABLE_FROM;
    Err(if is_known { ErrorCode::OffsetNotAvailable } else { ErrorCode::LeaderNotAvailable })
}

fn earliest(partition: &Partition) -> Found {
    (-1, partition.log_start_offset().0, epoch(partition.first_epoch()))
}

fn by_time(partition: &Partition, timestamp: i64, isolation: Isolation) -> Result<Found, PartitionError> {
    let end = end_for(partition, isolation);
    let found = match timestamp {
        special::MAX_TIMESTAMP => partition.offset_of_max_timestamp()?,
        _ => partition.offset_for_timestamp(TimestampMs(timestamp))?,
    };
    let visible = found.filter(|found| found.offset.0 < end);
    Ok(visible.map_or(NOTHING, |found| (found.timestamp.0, found.offset.0, found.leader_epoch.0)))
}

fn end_for(partition: &Partition, isolation: Isolation) -> i64 {
    match isolation {
        Isolation::ReadUncommitted => partition.high_watermark().0,
        Isolation::ReadCommitted => partition.last_stable_offset().0,
        Isolation::LogEnd => partition.log_end_offset().0,
    }
}

fn epoch(epoch: Option<LeaderEpoch>) -> i32 {
    epoch.map_or(-1, |epoch| epoch.0)
}

fn row(partition_index: i32, found: Result<Found, ErrorCode>) -> ListOffsetsPartitionResponse {
    let error_code = found.err().unwrap_or_default().code();
    let (timestamp, offset, leader_epoch) = found.unwrap_or(NOTHING);
    ListOffsetsPartitionResponse {
        partition_index,
        error_code,
        timestamp,
        offset,
        leader_epoch,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::special;

    #[test]
    fn special_timestamps_came_one_by_one() {
        assert!(special::is_known(-2, 1));
        assert!(!special::is_known(-3, 6) && special::is_known(-3, 7));
        assert!(!special::is_known(-4, 7) && special::is_known(-4, 8));
        assert!(!special::is_known(-5, 8) && special::is_known(-5, 9));
        assert!(!special::is_known(-6, 10) && special::is_known(-6, 11));
        assert!(!special::is_known(-7, 11));
    }
}

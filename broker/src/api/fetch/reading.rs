//! One pass over the wanted partitions.

use std::sync::Arc;
use std::time::Duration;

use ottla_log::{LeaderEpoch, Lookup, Offset};
use ottla_quorum::image::MetadataImage;
use ottla_wire::messages::FetchRequest;
use ottla_wire::messages::fetch_response::{AbortedTransaction, EpochEndOffset, PartitionData};
use ottla_wire::{ErrorCode, Records, Str};

use super::super::RequestContext;
use super::preferred;
use super::replica::{self, Replica};
use crate::blocking;
use crate::broker::Broker;
use crate::fetch_session::{PartitionKey, Wanted};
use crate::partition::{Isolation, Partition, PartitionError, Told, Waiter};
use crate::quota::QuotaKind;
use crate::security::{Operation, Resource};

/// From this version on consumers may read from followers (KIP-392).
const FROM_ANY_FROM: i16 = 11;

/// What a request allows, bounded by the broker's own limits.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) max_wait: Option<Duration>,
    pub(super) min_bytes: usize,
    max_bytes: usize,
    /// Whether the limits make no sense at all.
    negative: bool,
    isolation: Isolation,
    /// The follower that asks, if it is one.
    pub(super) replica: Option<Replica>,
    /// Consumers of these versions may read from followers, and be sent to them (KIP-392).
    from_any: bool,
    /// Where the consumer is; empty if it does not say.
    rack: Str,
}

impl Limits {
    pub(super) fn of(broker: &Broker, context: &RequestContext, request: &FetchRequest) -> Self {
        let replica = Replica::of(context, request);
        let max_bytes = request.max_bytes.min(broker.config.fetch.max_bytes);
        let max_bytes = match quota(broker, context) {
            Some(quota) if replica.is_none() => max_bytes.min(quota),
            _ => max_bytes,
        };
        let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
        Self {
            max_wait: super::max_wait(request.max_wait_ms),
            min_bytes: size(request.min_bytes).min(size(max_bytes)),
            max_bytes: size(max_bytes),
            negative: request.max_bytes < 0,
            isolation: match request.isolation_level {
                _ if replica.is_some() => Isolation::LogEnd,
                1 => Isolation::ReadCommitted,
                _ => Isolation::ReadUncommitted,
            },
            from_any: replica.is_none() && context.api_version >= FROM_ANY_FROM,
            replica,
            rack: request.rack_id.clone(),
        }
    }
}

/// The most that the client's quota allows at once.
fn quota(broker: &Broker, context: &RequestContext) -> Option<i32> {
    let client = context.client_id.as_deref().unwrap_or_default();
    let largest = broker.quotas.largest(QuotaKind::Fetch, &context.principal.name, client)?;
    Some(i32::try_from(largest).unwrap_or(i32::MAX))
}

/// What a pass found.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) answers: Vec<(PartitionKey, PartitionData)>,
    /// For each answer the topic's name, if the partition is hosted here.
    pub(super) topics: Vec<Option<Str>>,
    /// Those that were read, and what their readers had been told before.
    partitions: Vec<(Arc<Partition>, Told)>,
    pub(super) bytes: usize,
    pub(super) urgent: bool,
}

impl Reading {
    /// Whether the answer should go out now: enough bytes, or something that the client must know.
    pub(super) fn is_enough(&self, limits: &Limits) -> bool {
        self.urgent || self.bytes >= limits.min_bytes
    }

    /// Lets `waiter` hear of all that comes; `false` if something has come since it was read.
    pub(super) fn watch(&self, waiter: &Arc<Waiter>, limits: &Limits) -> bool {
        let watch = |(partition, told): &(Arc<Partition>, Told)| {
            partition.watch(Arc::downgrade(waiter), limits.isolation, *told)
        };
        // All of them, also after one that has something.
        self.partitions.iter().filter(|partition| !watch(partition)).count() == 0
    }
}

/// Reads in the order of the request: the first partition that has data gives a batch whatever its size, the others
/// only what still fits. Where files must be looked into, that is done on other threads first.
pub(super) async fn read(
    broker: &Broker,
    context: &RequestContext,
    wanted: &[Wanted],
    limits: &Limits,
) -> Reading {
    let mut lookups = Vec::new();
    let reading = pass(broker, context, wanted, limits, Some(&mut lookups));
    if lookups.is_empty() {
        return reading;
    }
    let left = limits.max_bytes;
    // What fails here fails again when it is read, and is told there.
    let _ = blocking::disk_read(move || {
        look_up(&lookups, left);
        Ok(())
    })
    .await;
    pass(broker, context, wanted, limits, None)
}

/// Until there is as much as the response may have.
fn look_up(lookups: &[(Lookup, usize)], mut left: usize) {
    for (lookup, max_bytes) in lookups {
        left = left.saturating_sub(lookup.run((*max_bytes).min(left)).unwrap_or(0));
        if left == 0 {
            return;
        }
    }
}

/// With `lookups`, what must be looked up first is noted there and not read.
fn pass(
    broker: &Broker,
    context: &RequestContext,
    wanted: &[Wanted],
    limits: &Limits,
    mut lookups: Option<&mut Vec<(Lookup, usize)>>,
) -> Reading {
    let image = broker.image();
    let mut reading = Reading { answers: Vec::with_capacity(wanted.len()), ..Reading::default() };
    for wanted in wanted {
        let found = find(broker, context, &image, &wanted.key, limits.replica.is_some());
        if let (Ok(partition), Some(lookups)) = (&found, &mut lookups)
            && let Some(lookup) = partition.lookup(Offset(wanted.offset))
        {
            lookups.push((lookup, usize::try_from(wanted.max_bytes).unwrap_or(0)));
            continue;
        }
        reading.topics.push(found.as_ref().ok().map(|partition| partition.name().topic.clone()));
        let data = match found {
            Ok(partition) => {
                let left = limits.max_bytes.saturating_sub(reading.bytes);
                let told = partition.told(limits.isolation);
                let data = if limits.negative || wanted.max_bytes < 0 {
                    Err(ErrorCode::InvalidRequest)
                } else {
                    read_or_send(broker, context, &partition, wanted, limits, (left, reading.bytes == 0))
                };
                reading.partitions.push((partition, told));
                data.unwrap_or_else(|error| failed(wanted.key.partition, error))
            }
            Err(error @ ErrorCode::NotLeaderOrFollower) => failed(wanted.key.partition, error),
            Err(error) => unheard(wanted.key.partition, error),
        };
        reading.bytes += data.records.as_ref().map_or(0, Records::len);
        reading.urgent |=
            data.error_code != 0 || data.diverging_epoch.end_offset >= 0 || data.preferred_read_replica >= 0;
        reading.answers.push((wanted.key.clone(), data));
    }
    reading
}

pub(super) fn find(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    key: &PartitionKey,
    is_replica: bool,
) -> Result<Arc<Partition>, ErrorCode> {
    let topic: Str = if context.api_version < super::IDS_FROM {
        key.topic.clone()
    } else {
        image.topics.by_id(&key.topic_id).map(|topic| topic.name.clone()).ok_or(ErrorCode::UnknownTopicId)?
    };
    // What replicas may was decided for the whole request.
    if !is_replica && !broker.allows(context, Operation::Read, Resource::Topic(&topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    broker.find_partition(&topic, key.partition)
}

/// Reads, unless the consumer had better read from another replica.
fn read_or_send(
    broker: &Broker,
    context: &RequestContext,
    partition: &Partition,
    wanted: &Wanted,
    limits: &Limits,
    (left, min_one): (usize, bool),
) -> Result<PartitionData, ErrorCode> {
    check(partition, wanted, limits)?;
    if limits.from_any
        && broker.config.replication.rack_aware
        && let Some(replica) = preferred::replica(broker, context, partition, wanted.offset, &limits.rack)
    {
        return Ok(PartitionData { preferred_read_replica: replica, ..bounds(partition, wanted) });
    }
    let mut data = read_one(partition, wanted, limits.isolation, left, min_one)?;
    if limits.replica.is_some_and(|replica| replica::is_held(broker, partition, replica)) {
        data.records = Some(Records::default());
    }
    Ok(data)
}

/// Whether this broker may answer.
fn check(partition: &Partition, wanted: &Wanted, limits: &Limits) -> Result<(), ErrorCode> {
    // Here, unlike in ListOffsets, any negative epoch means none.
    let epoch = wanted.leader_epoch.max(-1);
    let checked =
        if limits.from_any { partition.check_replica(epoch) } else { partition.check_leader(epoch) };
    checked.map_err(|error| error.code())?;
    match &limits.replica {
        Some(replica) => replica.check(partition, epoch),
        None => Ok(()),
    }
}

pub(super) fn read_one(
    partition: &Partition,
    wanted: &Wanted,
    isolation: Isolation,
    left: usize,
    min_one: bool,
) -> Result<PartitionData, ErrorCode> {
    if let Some(diverging) = diverging(partition, wanted)? {
        let (epoch, end) = diverging;
        let diverging_epoch = EpochEndOffset { epoch: epoch.0, end_offset: end.0, ..Default::default() };
        return Ok(PartitionData { diverging_epoch, ..bounds(partition, wanted) });
    }
    let max_bytes = usize::try_from(wanted.max_bytes).unwrap_or(0).min(left);
    let read = partition.read(Offset(wanted.offset), max_bytes, isolation, min_one);
    let read = read.map_err(|error: PartitionError| error.code())?;
    let aborted = |txn: &ottla_log::AbortedTxn| AbortedTransaction {
        producer_id: txn.producer_id,
        first_offset: txn.first_offset.0,
        ..Default::default()
    };
    Ok(PartitionData {
        partition_index: wanted.key.partition,
        high_watermark: read.high_watermark.0,
        last_stable_offset: read.last_stable_offset.0,
        log_start_offset: read.log_start_offset.0,
        aborted_transactions: (isolation == Isolation::ReadCommitted)
            .then(|| read.aborted.iter().map(aborted).collect()),
        records: Some(read.records),
        ..Default::default()
    })
}

/// Where the reader's history leaves the leader's, if it does (KIP-595).
pub(super) fn diverging(
    partition: &Partition,
    wanted: &Wanted,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let end = partition.end_offset_for_epoch(LeaderEpoch(wanted.last_fetched_epoch));
    // An epoch that is still to come.
    let (epoch, end) = end.ok_or(ErrorCode::OffsetOutOfRange)?;
    Ok((epoch.0 < wanted.last_fetched_epoch || end.0 < wanted.offset).then_some((epoch, end)))
}

/// An answer without records.
fn bounds(partition: &Partition, wanted: &Wanted) -> PartitionData {
    PartitionData {
        partition_index: wanted.key.partition,
        high_watermark: partition.high_watermark().0,
        last_stable_offset: partition.last_stable_offset().0,
        log_start_offset: partition.log_start_offset().0,
        aborted_transactions: None,
        records: Some(Records::default()),
        ..Default::default()
    }
}

/// The answer for a partition that was not read at all.
pub(super) fn unheard(partition_index: i32, error: ErrorCode) -> PartitionData {
    PartitionData { aborted_transactions: Some(Vec::new()), ..failed(partition_index, error) }
}

fn failed(partition_index: i32, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: error.code(),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        aborted_transactions: None,
        records: Some(Records::default()),
        ..Default::default()
    }
}

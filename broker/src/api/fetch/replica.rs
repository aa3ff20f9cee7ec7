//! Fetches by followers: up to the log's end, and what they say about how far the follower is.

use std::sync::Arc;
use std::time::Instant;

use ottla_log::Offset;
use ottla_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use ottla_wire::messages::{FetchRequest, FetchResponse};
use ottla_wire::{ErrorCode, Records};

use super::super::RequestContext;
use super::reading::{self, Reading};
use crate::broker::Broker;
use crate::clock::Millis;
use crate::fetch_session::{PartitionKey, Wanted};
#[cfg(test)]
use crate::partition::Isolation;
use crate::partition::{FollowerFetch, NO_BROKER_EPOCH, Partition};

/// From this version on followers say their broker epoch (KIP-903).
const BROKER_EPOCH_FROM: i16 = 15;

/// A follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replica {
    id: i32,
    broker_epoch: i64,
}

impl Replica {
    /// The follower that sent the request, if it is one.
    pub(super) fn of(context: &RequestContext, request: &FetchRequest) -> Option<Self> {
        let (id, broker_epoch) = if context.api_version < BROKER_EPOCH_FROM {
            (request.replica_id, NO_BROKER_EPOCH)
        } else {
            (request.replica_state.replica_id, request.replica_state.replica_epoch)
        };
        (id >= 0).then_some(Self { id, broker_epoch })
    }

    /// Whether it may fetch of the partition.
    pub(super) fn check(self, partition: &Partition, leader_epoch: i32) -> Result<(), ErrorCode> {
        let checked = partition.check_follower(self.id, self.broker_epoch, leader_epoch >= 0);
        checked.map_err(|error| error.code())
    }
}

/// Whether the replica is out of sync and has had what such replicas may have for now (KIP-73).
pub(super) fn is_held(broker: &Broker, partition: &Partition, replica: Replica) -> bool {
    let quota = &broker.partitions.surroundings().quotas.leader;
    partition.leadership().throttled.leading
        && quota.is_exceeded(Instant::now())
        && !partition.isr().contains(&replica.id)
}

/// Counts what replicas are sent of throttled partitions.
pub(super) fn count(broker: &Broker, reading: &Reading) {
    let quota = &broker.partitions.surroundings().quotas.leader;
    if !quota.is_limited() {
        return;
    }
    for ((key, data), topic) in reading.answers.iter().zip(&reading.topics) {
        let bytes = data.records.as_ref().map_or(0, Records::len);
        let Some(topic) = topic.as_ref().filter(|_| bytes > 0) else { continue };
        let Some(partition) = broker.partitions.find(topic, key.partition) else { continue };
        if partition.leadership().throttled.leading {
            quota.record(bytes, Instant::now());
        }
    }
}

/// Takes in how far the follower is, once for each request: that it is asked again from memory says nothing. Returns the
/// partitions of which it asks again for what it was sent; nearly always none.
pub(super) fn note(
    broker: &Broker,
    context: &RequestContext,
    wanted: &[Wanted],
    replica: &Replica,
) -> Vec<(PartitionKey, Arc<Partition>)> {
    let image = broker.image();
    let at = broker.partitions.surroundings().now();
    let mut asked_again = Vec::new();
    for wanted in wanted {
        let Ok(partition) = reading::find(broker, context, &image, &wanted.key, true) else { continue };
        if note_one(&partition, wanted, *replica, at) {
            asked_again.push((wanted.key.clone(), partition));
        }
    }
    asked_again
}

/// What is sent again is counted: a follower that takes nothing is not waited for.
pub(super) fn note_sent(asked_again: &[(PartitionKey, Arc<Partition>)], reading: &Reading, replica: Replica) {
    for (key, partition) in asked_again {
        if reading.answers.iter().any(|(answered, data)| answered == key && has_records(data)) {
            partition.follower_sent_again(replica.id);
        }
    }
}

pub(super) fn has_records(data: &PartitionData) -> bool {
    data.records.as_ref().is_some_and(|records| !records.is_empty())
}

fn note_one(partition: &Arc<Partition>, wanted: &Wanted, replica: Replica, at: Millis) -> bool {
    let epoch = wanted.leader_epoch.max(-1);
    let is_answered = partition.check_leader(epoch).is_ok()
        && reading::diverging(partition, wanted).is_ok_and(|diverging| diverging.is_none());
    let fetch = FollowerFetch {
        replica: replica.id,
        broker_epoch: replica.broker_epoch,
        offset: Offset(wanted.offset),
        log_start: Offset(wanted.log_start),
        at,
    };
    is_answered && partition.follower_fetched(&fetch, epoch)
}

/// The answer to a follower without a broker around it, whose fetch came `at` that time; `None` where it is asked again from
/// memory.
#[cfg(test)]
pub(crate) fn answer(
    partition: Option<&Arc<Partition>>,
    wanted: &Wanted,
    (id, broker_epoch): (i32, i64),
    at: Option<Millis>,
) -> PartitionData {
    let replica = Replica { id, broker_epoch };
    let read = |partition: &Arc<Partition>| {
        let asks_again = at.is_some_and(|at| note_one(partition, wanted, replica, at));
        let epoch = wanted.leader_epoch.max(-1);
        partition.check_leader(epoch).map_err(|error| error.code())?;
        replica.check(partition, epoch)?;
        let data = reading::read_one(partition, wanted, Isolation::LogEnd, usize::MAX, true)?;
        if asks_again && has_records(&data) {
            partition.follower_sent_again(id);
        }
        Ok(data)
    };
    let data = partition.ok_or(ErrorCode::UnknownTopicId).and_then(read);
    data.unwrap_or_else(|error| reading::unheard(wanted.key.partition, error))
}

/// The answer to a client that is no broker.
pub(super) fn unauthorised(wanted: Vec<Wanted>) -> FetchResponse {
    let row = |wanted: Wanted| FetchableTopicResponse {
        topic: wanted.key.topic,
        topic_id: wanted.key.topic_id,
        partitions: vec![reading::unheard(wanted.key.partition, ErrorCode::TopicAuthorizationFailed)],
        ..Default::default()
    };
    FetchResponse { responses: wanted.into_iter().map(row).collect(), ..Default::default() }
}

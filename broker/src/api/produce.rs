//! Produce (0): appends one batch per partition, in the order of arrival; acks=all waits for the high watermark.
//!
//! No transactions yet: a transactional id gets TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which no client retries.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_log::{AppendError, Appended, Offset, Origin};
use ottla_quorum::image::MetadataImage;
use ottla_wire::batch::{BatchHeader, Compression};
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use ottla_wire::messages::{ProduceRequest, ProduceResponse};
use ottla_wire::{Decoder, ErrorCode, Records, Str, Uuid};
use tokio::time::Instant;
use tracing::debug;

use super::call::Call;
use super::leader_hint::LeaderHints;
use super::{Refusal, RequestContext};
use crate::blocking;
use crate::broker::Broker;
use crate::clock;
use crate::net::{Answer, Handling};
use crate::partition::{Partition, ProduceError, RequiredAcks};
use crate::quota::QuotaKind;
use crate::security::{Operation, Resource};

/// From this version on zstd is allowed (KIP-110).
const ZSTD_FROM: i16 = 7;
/// From this version on topics come by id (KIP-516).
const IDS_FROM: i16 = 13;
/// Requests from this size on are appended away from the threads that serve connections, in bytes.
const LARGE: usize = 2 * 1024 * 1024;
/// The client that tools use to write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// Decodes the request; the future appends at its first poll and leaves the waiting for replication to its answer.
pub(super) fn start(broker: Arc<Broker>, call: Call, body: Decoder) -> Result<Handling, Refusal> {
    let request = call.decode::<ProduceRequest>(body)?;
    Ok(Box::pin(async move {
        let (mut production, spent) = if call.size() < LARGE {
            timed_begin(&broker, &call.context, request)
        } else {
            let (broker, context) = (Arc::clone(&broker), call.context.clone());
            let append = move || timed_begin(&broker, &context, request);
            blocking::large_append(append).await.map_err(|_| Refusal::Stopping)?
        };
        production.throttle_time_ms = throttle(&broker, &call.context, call.size());
        if production.acks == Some(RequiredAcks::None) {
            return production.unacknowledged();
        }
        let pause = call.context.throttle_time(&broker.quotas, spent);
        production.throttle_time_ms = production.throttle_time_ms.max(pause);
        if !production.is_waiting() {
            let response = production.response(&broker, &call.context);
            return call.encode(&response).map(Answer::Now);
        }
        Ok(Answer::Later(Box::pin(async move {
            production.wait().await;
            let response = production.response(&broker, &call.context);
            call.encode(&response)
        })))
    }))
}

/// The appends, and how long they took.
fn timed_begin(broker: &Broker, context: &RequestContext, request: ProduceRequest) -> (Production, Duration) {
    let began = std::time::Instant::now();
    let production = Production::begin(broker, context, request);
    (production, began.elapsed())
}

/// A produce request after its appends.
struct Production {
    acks: Option<RequiredAcks>,
    deadline: Instant,
    throttle_time_ms: i32,
    topics: Vec<TopicProduction>,
}

struct TopicProduction {
    name: Str,
    id: Uuid,
    partitions: Vec<PartitionProduction>,
}

struct PartitionProduction {
    index: i32,
    partition: Option<Arc<Partition>>,
    outcome: Result<Appended, Failure>,
    waiting: bool,
}

/// An error with what the response says about it.
struct Failure {
    code: ErrorCode,
    log_start_offset: i64,
    message: Option<Str>,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self { code, log_start_offset: -1, message: None, records: Vec::new() }
    }
}

impl From<ProduceError> for Failure {
    fn from(error: ProduceError) -> Self {
        let row = |row: &ottla_log::RecordError| BatchIndexAndErrorMessage {
            batch_index: row.batch_index,
            batch_index_error_message: Some(Str::from(row.message.as_str())),
            ..Default::default()
        };
        let records = error.record_errors().iter().map(row).collect();
        let told = matches!(error, ProduceError::Append(_) | ProduceError::NoSpace { .. });
        let message = told.then(|| Str::from(error.to_string()));
        Self { code: error.code(), log_start_offset: -1, message, records }
    }
}

impl Production {
    /// Appends everything. Without a pause: what arrives next on this connection must come after.
    fn begin(broker: &Broker, context: &RequestContext, request: ProduceRequest) -> Self {
        let acks = match request.acks {
            0 => Some(RequiredAcks::None),
            1 => Some(RequiredAcks::Leader),
            -1 => Some(RequiredAcks::All),
            _ => None,
        };
        let refused = if is_transactional(&request) {
            Some(ErrorCode::TransactionalIdAuthorizationFailed)
        } else if acks.is_none() {
            Some(ErrorCode::InvalidRequiredAcks)
        } else {
            None
        };
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let image = broker.image();
        let mut production = Self {
            acks,
            deadline: Instant::now() + timeout,
            throttle_time_ms: 0,
            topics: Vec::with_capacity(request.topic_data.len()),
        };
        for topic in without_repeats(request.topic_data) {
            let name = topic_name(&image, context, topic.name, topic.topic_id);
            let refused = refused.or_else(|| refusal(broker, context, &image, name.as_ref()));
            let name = name.unwrap_or_default();
            let append = |data| append(broker, context, &name, data, refused, acks);
            let partitions = topic.partition_data.into_iter().map(append).collect();
            production.topics.push(TopicProduction { name, id: topic.topic_id, partitions });
        }
        production
    }

    fn is_waiting(&self) -> bool {
        self.topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.waiting)
    }

    /// Waits until everything is replicated, or the request's timeout. What was appended stays in either case.
    async fn wait(&mut self) {
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let (Some(target), Ok(appended), true) =
                (&partition.partition, &partition.outcome, partition.waiting)
            else {
                continue;
            };
            let end = Offset(appended.last_offset.0 + 1);
            let committed = target.wait_committed_under(appended.leader_epoch, end);
            match tokio::time::timeout_at(self.deadline, committed).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => partition.outcome = Err(error.into()),
                Err(_) => partition.outcome = Err(ErrorCode::RequestTimedOut.into()),
            }
        }
    }

    /// acks=0: silence, or the end of the connection.
    fn unacknowledged(self) -> Result<Answer, Refusal> {
        let mut outcomes = self.topics.into_iter().flat_map(|topic| topic.partitions).map(|p| p.outcome);
        match outcomes.find_map(Result::err) {
            None => Ok(Answer::Nothing),
            Some(failure) => Err(Refusal::UnackedProduce(failure.code)),
        }
    }

    fn response(self, broker: &Broker, context: &RequestContext) -> ProduceResponse {
        let throttle_time_ms = self.throttle_time_ms;
        let image = broker.image();
        let mut hints = LeaderHints::new(&image, &context.listener);
        let mut responses = Vec::with_capacity(self.topics.len());
        for topic in self.topics {
            let row = |partition| partition_response(&topic.name, partition, &mut hints);
            responses.push(TopicProduceResponse {
                partition_responses: topic.partitions.into_iter().map(row).collect(),
                name: if context.api_version < IDS_FROM { topic.name.clone() } else { Str::default() },
                topic_id: topic.id,
                ..Default::default()
            });
        }
        let node = |(node_id, node): (i32, super::leader_hint::HintedNode)| NodeEndpoint {
            node_id,
            host: node.host,
            port: node.port,
            rack: node.rack,
            ..Default::default()
        };
        let node_endpoints =
            if context.api_version >= 10 { hints.into_nodes().map(node).collect() } else { Vec::new() };
        ProduceResponse { responses, throttle_time_ms, node_endpoints, ..Default::default() }
    }
}

/// Counts the request's bytes; a client beyond its quota is not read for as long as is returned, in ms.
fn throttle(broker: &Broker, context: &RequestContext, bytes: usize) -> i32 {
    let client = context.client_id.as_deref().unwrap_or_default();
    let user = &context.principal.name;
    let pause = broker.quotas.record(QuotaKind::Produce, user, client, bytes, std::time::Instant::now());
    context.mute.pause(pause)
}

/// Whether any batch says that it is part of a transaction; the transactional id alone means nothing.
fn is_transactional(request: &ProduceRequest) -> bool {
    let mut data = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    data.any(|data| match &data.records {
        Some(Records::Bytes(records)) => {
            BatchHeader::parse(records).is_ok_and(|header| header.is_transactional())
        }
        _ => false,
    })
}

/// Of a partition that comes twice the last one counts; topics without partitions are passed over.
fn without_repeats(mut topics: Vec<TopicProduceData>) -> Vec<TopicProduceData> {
    if let [topic] = topics.as_slice()
        && topic.partition_data.len() == 1
    {
        return topics;
    }
    let mut seen = HashSet::new();
    for topic in topics.iter_mut().rev() {
        let (name, id) = (topic.name.clone(), topic.topic_id);
        let mut kept = std::mem::take(&mut topic.partition_data);
        kept.reverse();
        kept.retain(|data| seen.insert((name.clone(), id, data.index)));
        kept.reverse();
        topic.partition_data = kept;
    }
    topics.retain(|topic| !topic.partition_data.is_empty());
    merged(topics)
}

/// One row a topic.
fn merged(topics: Vec<TopicProduceData>) -> Vec<TopicProduceData> {
    let mut places: HashMap<(Str, Uuid), usize> = HashMap::with_capacity(topics.len());
    let mut merged: Vec<TopicProduceData> = Vec::with_capacity(topics.len());
    for topic in topics {
        let place = *places.entry((topic.name.clone(), topic.topic_id)).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(first) => first.partition_data.extend(topic.partition_data),
            None => merged.push(topic),
        }
    }
    merged
}

/// The name of the topic, `None` for an unknown id.
fn topic_name(image: &MetadataImage, context: &RequestContext, name: Str, id: Uuid) -> Option<Str> {
    if context.api_version < IDS_FROM {
        return Some(name);
    }
    image.topics.by_id(&id).map(|topic| topic.name.clone())
}

/// Why nothing may be produced to the topic, if so.
fn refusal(
    broker: &Broker,
    context: &RequestContext,
    image: &MetadataImage,
    name: Option<&Str>,
) -> Option<ErrorCode> {
    let Some(name) = name else { return Some(ErrorCode::UnknownTopicId) };
    if !broker.allows(context, Operation::Write, Resource::Topic(name)) {
        Some(ErrorCode::TopicAuthorizationFailed)
    } else if image.topics.by_name(name).is_none() {
        Some(ErrorCode::UnknownTopicOrPartition)
    } else if crate::partition::is_internal(name) && context.client_id.as_deref() != Some(ADMIN_CLIENT) {
        Some(ErrorCode::InvalidTopicException)
    } else {
        None
    }
}

fn append(
    broker: &Broker,
    context: &RequestContext,
    topic: &Str,
    data: PartitionProduceData,
    refused: Option<ErrorCode>,
    acks: Option<RequiredAcks>,
) -> PartitionProduction {
    let index = data.index;
    let partition = broker.partitions.find(topic, index);
    let outcome = match (refused, &partition, acks) {
        (Some(code), ..) => Err(code.into()),
        (None, Some(partition), Some(acks)) => append_to(context, partition, data, acks),
        _ => {
            let absent = broker.find_partition(topic, index);
            Err(absent.err().unwrap_or(ErrorCode::NotLeaderOrFollower).into())
        }
    };
    let all = acks == Some(RequiredAcks::All);
    let waiting = match (&outcome, &partition) {
        (Ok(appended), Some(partition)) => all && !partition.is_committed_alone(appended.last_offset),
        _ => false,
    };
    if let Err(failure) = &outcome {
        debug!(%topic, partition = index, error = %failure.code, "produce refused");
    }
    broker.metrics.topics.produced(topic, outcome.as_ref().map_err(|failure| failure.code));
    PartitionProduction { index, partition, outcome, waiting }
}

fn append_to(
    context: &RequestContext,
    partition: &Arc<Partition>,
    data: PartitionProduceData,
    acks: RequiredAcks,
) -> Result<Appended, Failure> {
    let Some(Records::Bytes(records)) = data.records else { return Err(ErrorCode::InvalidRecord.into()) };
    if context.api_version < ZSTD_FROM
        && let Ok(header) = BatchHeader::parse(&records)
        && header.compression() == Ok(Compression::Zstd)
    {
        return Err(ErrorCode::UnsupportedCompressionType.into());
    }
    partition.append(records, Origin::Client, acks, clock::now()).map_err(|error| {
        let log_start_offset = if tells_log_start(&error) { partition.log_start_offset().0 } else { -1 };
        Failure { log_start_offset, ..Failure::from(error) }
    })
}

/// Kafka tells where the log begins with those errors only that come from judging the batch against the log.
fn tells_log_start(error: &ProduceError) -> bool {
    let before = [
        ErrorCode::CorruptMessage,
        ErrorCode::MessageTooLarge,
        ErrorCode::RecordListTooLarge,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::KafkaStorageError,
    ];
    !before.contains(&error.code()) && !matches!(error, ProduceError::Append(AppendError::NotOneBatch(_)))
}

fn partition_response(
    topic: &str,
    produced: PartitionProduction,
    hints: &mut LeaderHints<'_>,
) -> PartitionProduceResponse {
    let index = produced.index;
    match produced.outcome {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset.0,
            log_append_time_ms: appended.log_append_time.0,
            log_start_offset: appended.log_start_offset.0,
            ..Default::default()
        },
        Err(failure) => {
            let mut current_leader = LeaderIdAndEpoch::default();
            if failure.code == ErrorCode::NotLeaderOrFollower {
                (current_leader.leader_id, current_leader.leader_epoch) = hints.leader(topic, index);
            }
            PartitionProduceResponse {
                index,
                error_code: failure.code.code(),
                base_offset: -1,
                log_append_time_ms: -1,
                log_start_offset: failure.log_start_offset,
                record_errors: failure.records,
                error_message: failure.message,
                current_leader,
                ..Default::default()
            }
        }
    }
}

//! Fetch (1): whole batches out of the logs as file regions, in sessions, with a long poll.

mod gathering;
mod preferred;
mod reading;
pub(crate) mod replica;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_wire::messages::fetch_request::FetchTopic;
use ottla_wire::messages::fetch_response::{FetchableTopicResponse, NodeEndpoint, PartitionData};
use ottla_wire::messages::{FetchRequest, FetchResponse};
use ottla_wire::{ErrorCode, Str};

use self::gathering::Gathering;
use self::reading::{Limits, Reading};
use super::RequestContext;
use super::leader_hint::{HintedNode, LeaderHints};
use crate::broker::Broker;
use crate::fetch_session::{PartitionKey, Wanted};
use crate::net::timed;
use crate::partition::Waiter;
use crate::quota::QuotaKind;
use crate::security::{Operation, Resource};

/// What a partition takes in a response beside its records, in bytes, more or less.
const ROW_BYTES: usize = 48;
/// From this version on there are sessions, and an error of the whole response (KIP-227).
const SESSIONS_FROM: i16 = 7;
/// From this version on topics come by id (KIP-516).
const IDS_FROM: i16 = 13;
/// From this version on the response points to new leaders (KIP-951).
const HINTS_FROM: i16 = 16;

/// Session, read, wait until there is enough, read again, tell the news.
pub async fn handle(broker: &Arc<Broker>, context: &RequestContext, request: FetchRequest) -> FetchResponse {
    if !matches!(request.isolation_level, 0 | 1) {
        return refused(context, request, ErrorCode::InvalidRequest);
    }
    let by_id = context.api_version >= IDS_FROM;
    let limits = Limits::of(broker, context, &request);
    let deadline = limits.max_wait.map(|wait| tokio::time::Instant::now() + wait);
    let epoch = (request.session_id, request.session_epoch);
    let (wanted, forgotten) = partitions(request);
    if limits.replica.is_some() && !broker.allows(context, Operation::ClusterAction, Resource::Cluster) {
        return replica::unauthorised(wanted);
    }
    let gathering = limits.replica.and_then(|_| Gathering::after(&wanted, tokio::time::Instant::now()));
    let sessions = &broker.fetch_sessions;
    let (session, wanted) = match sessions.begin(epoch, by_id, wanted, &forgotten, Instant::now()) {
        Ok(begun) => begun,
        Err(error) => return FetchResponse { error_code: error.code(), ..Default::default() },
    };
    let (mut session, mut asked_again) = (session, Vec::new());
    if let Some(replica) = &limits.replica {
        session = session.of_replica();
        asked_again = replica::note(broker, context, &wanted, replica);
    }
    let (reading, spent) = timed(poll(broker, context, &wanted, &limits, deadline, gathering)).await;
    if let Some(throttle_time_ms) = throttle(broker, context, &limits, &reading, spent) {
        // Nothing is sent, and the session stays as it was: the client asks again after the pause.
        return FetchResponse { session_id: session.id(), throttle_time_ms, ..Default::default() };
    }
    count(broker, &reading);
    if let Some(replica) = limits.replica {
        replica::count(broker, &reading);
        replica::note_sent(&asked_again, &reading, replica);
    }
    let (session_id, answers) = sessions.finish(session, by_id, wanted, reading.answers, Instant::now());
    respond(broker, context, session_id, answers)
}

/// Counts the answer's bytes and the time it took; how long a client beyond its quotas has to wait, in ms.
fn throttle(
    broker: &Broker,
    context: &RequestContext,
    limits: &Limits,
    reading: &Reading,
    spent: Duration,
) -> Option<i32> {
    if limits.replica.is_some() {
        return None;
    }
    let client = context.client_id.as_deref().unwrap_or_default();
    let user = &context.principal.name;
    let bytes = reading.bytes + ROW_BYTES * reading.answers.len();
    let pause = broker.quotas.record(QuotaKind::Fetch, user, client, bytes, Instant::now());
    let for_time = context.throttle_time(&broker.quotas, spent);
    if pause.is_zero() && for_time == 0 {
        return None;
    }
    broker.quotas.take_back(QuotaKind::Fetch, user, client, bytes);
    Some(context.mute.pause(pause).max(for_time))
}

/// An error of the whole request; versions without a field for it tell it partition by partition.
fn refused(context: &RequestContext, request: FetchRequest, error: ErrorCode) -> FetchResponse {
    if context.api_version >= SESSIONS_FROM {
        return FetchResponse { error_code: error.code(), ..Default::default() };
    }
    let row = |topic: FetchTopic| FetchableTopicResponse {
        topic: topic.topic,
        partitions: topic.partitions.iter().map(|one| reading::unheard(one.partition, error)).collect(),
        ..Default::default()
    };
    FetchResponse { responses: request.topics.into_iter().map(row).collect(), ..Default::default() }
}

fn count(broker: &Broker, reading: &Reading) {
    for ((_, data), topic) in reading.answers.iter().zip(&reading.topics) {
        broker.metrics.topics.fetched(topic.as_deref(), data);
    }
}

/// Reads until there are `min_bytes`, an error, or no time left; for a follower a moment longer.
async fn poll(
    broker: &Arc<Broker>,
    context: &RequestContext,
    wanted: &[Wanted],
    limits: &Limits,
    deadline: Option<tokio::time::Instant>,
    mut gathering: Option<Gathering>,
) -> Reading {
    loop {
        let reading = reading::read(broker, context, wanted, limits).await;
        let gathers = |it: &Gathering| it.until(&reading, tokio::time::Instant::now());
        if let Some(until) = deadline.and(gathering.as_ref()).and_then(gathers) {
            tokio::time::sleep_until(until).await;
            gathering = None;
            continue;
        }
        let Some(deadline) = deadline.filter(|_| !reading.is_enough(limits) && !wanted.is_empty()) else {
            return reading;
        };
        let waiter = Arc::new(Waiter::new(limits.min_bytes.saturating_sub(reading.bytes)));
        if !reading.watch(&waiter, limits) {
            let again = reading::read(broker, context, wanted, limits).await;
            if again.is_enough(limits) {
                return again;
            }
        }
        let stopping = broker.stopping.cancelled();
        tokio::select! {
            () = waiter.woken() => {}
            () = stopping => return reading,
            () = tokio::time::sleep_until(deadline) => return reading::read(broker, context, wanted, limits).await,
        }
    }
}

/// What is wanted, each partition once: of repetitions the last one counts, in the place of the first.
pub(crate) fn partitions(request: FetchRequest) -> (Vec<Wanted>, Vec<PartitionKey>) {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut places: HashMap<PartitionKey, usize> = HashMap::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let key = PartitionKey {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partition: partition.partition,
            };
            let one = Wanted {
                key: key.clone(),
                leader_epoch: partition.current_leader_epoch,
                offset: partition.fetch_offset,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start: partition.log_start_offset,
                max_bytes: partition.partition_max_bytes,
            };
            let place = *places.entry(key).or_insert(wanted.len());
            match wanted.get_mut(place) {
                Some(repeated) => *repeated = one,
                None => wanted.push(one),
            }
        }
    }
    let mut forgotten = Vec::new();
    for topic in request.forgotten_topics_data {
        for partition in topic.partitions {
            forgotten.push(PartitionKey { topic: topic.topic.clone(), topic_id: topic.topic_id, partition });
        }
    }
    (wanted, forgotten)
}

/// Groups the answers by topic, as long as they follow each other, and adds the hints.
fn respond(
    broker: &Broker,
    context: &RequestContext,
    session_id: i32,
    answers: Vec<(PartitionKey, PartitionData)>,
) -> FetchResponse {
    let image = broker.image();
    let mut hints = LeaderHints::new(&image, &context.listener);
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    for (key, mut data) in answers {
        if context.api_version >= HINTS_FROM && is_about_the_leader(data.error_code) {
            let name = topic_name(&image, &key);
            let (leader, epoch) = hints.leader(&name, key.partition);
            data.current_leader.leader_id = leader;
            data.current_leader.leader_epoch = epoch;
        }
        match responses.last_mut() {
            Some(last) if last.topic == key.topic && last.topic_id == key.topic_id => {
                last.partitions.push(data);
            }
            _ => responses.push(FetchableTopicResponse {
                topic: key.topic,
                topic_id: key.topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }
    let node = |(node_id, node): (i32, HintedNode)| NodeEndpoint {
        node_id,
        host: node.host,
        port: node.port,
        rack: node.rack,
        ..Default::default()
    };
    let node_endpoints = hints.into_nodes().map(node).collect();
    FetchResponse { session_id, responses, node_endpoints, ..Default::default() }
}

fn is_about_the_leader(code: i16) -> bool {
    [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch].iter().any(|error| error.code() == code)
}

fn topic_name(image: &ottla_quorum::image::MetadataImage, key: &PartitionKey) -> Str {
    if !key.topic.is_empty() {
        return key.topic.clone();
    }
    image.topics.by_id(&key.topic_id).map(|topic| topic.name.clone()).unwrap_or_default()
}

/// How long a request may wait; nothing for zero or less.
fn max_wait(ms: i32) -> Option<Duration> {
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

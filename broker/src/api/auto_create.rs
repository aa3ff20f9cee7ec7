//! Topics that come to be because somebody asks for them (`auto.create.topics.enable`).

use std::sync::Arc;
use std::time::Duration;

use ottla_quorum::MetadataImage;
use ottla_wire::messages::CreateTopicsRequest;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::{ErrorCode, Str};
use tracing::{debug, info};

use super::{RequestContext, forward};
use crate::broker::Broker;
use crate::group::offsets_topic;
use crate::quota::Mute;
use crate::security::{Operation, Resource};

/// The topic of committed offsets.
const OFFSETS: &str = "__consumer_offsets";
/// Of the request; one that knows every error.
const VERSION: i16 = 7;
/// How long the client waits for its answer; creation goes on beyond.
const PATIENCE: Duration = Duration::from_secs(2);

/// Creates the topics with the broker's defaults; returns those that are not there now, and why.
pub async fn create(
    broker: &Arc<Broker>,
    context: &RequestContext,
    names: Vec<Str>,
) -> Vec<(Str, ErrorCode)> {
    let allowed = |name: &Str| {
        broker.allows(context, Operation::Create, Resource::Cluster)
            || broker.allows(context, Operation::Create, Resource::Topic(name))
    };
    let (allowed, forbidden): (Vec<_>, Vec<_>) = names.into_iter().partition(allowed);
    let mut refused: Vec<_> =
        forbidden.into_iter().map(|name| (name, ErrorCode::TopicAuthorizationFailed)).collect();
    let waiting: Vec<Str> = allowed.clone();
    // On the client's behalf, and without its connection being kept waiting for it.
    let context = RequestContext { api_version: VERSION, mute: Mute::default(), ..context.clone() };
    let creation = tokio::spawn(create_allowed(Arc::clone(broker), context, allowed));
    match tokio::time::timeout(PATIENCE, creation).await {
        Ok(Ok(failed)) => refused.extend(failed),
        _ => refused.extend(waiting.into_iter().map(|name| (name, ErrorCode::LeaderNotAvailable))),
    }
    refused
}

async fn create_allowed(
    broker: Arc<Broker>,
    context: RequestContext,
    names: Vec<Str>,
) -> Vec<(Str, ErrorCode)> {
    let topics = names.iter().map(|name| creatable(&broker, name)).collect();
    let request = CreateTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() };
    let response = forward::handle(&broker, &context, request).await;
    let there = |image: &MetadataImage| {
        let mut made = response.topics.iter().filter(|topic| topic.error_code == 0);
        made.all(|topic| image.topics.by_name(&topic.name).is_some())
    };
    // Another node that decided is ahead of this one. The client does not wait longer either.
    drop(tokio::time::timeout(PATIENCE, broker.until(there)).await);
    let mut refused = Vec::new();
    for topic in response.topics {
        match ErrorCode::try_from(topic.error_code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => info!(topic = %topic.name, "topic created on first use"),
            ErrorCode::TopicAlreadyExists => {}
            // Clients ask again; the error itself is not for them.
            ErrorCode::ThrottlingQuotaExceeded => {
                refused.push((topic.name, ErrorCode::UnknownTopicOrPartition));
            }
            error => {
                debug!(topic = %topic.name, %error, "topic not created on first use");
                refused.push((topic.name, error));
            }
        }
    }
    refused
}

fn creatable(broker: &Broker, name: &Str) -> CreatableTopic {
    if &**name == OFFSETS {
        return offsets_topic(&broker.config, broker.image().cluster.brokers.len());
    }
    CreatableTopic { name: name.clone(), num_partitions: -1, replication_factor: -1, ..Default::default() }
}

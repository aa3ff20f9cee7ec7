//! Topics that are made without anybody creating them: on a client's Metadata request, and for committed offsets.

use ottla_quorum::MetadataImage;
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::create_topics_response::CreatableTopicResult;
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::{ErrorCode, Str};

use super::ControllerHandle;
use crate::config::Config;

/// Name of the topic of committed offsets and groups.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

impl ControllerHandle {
    /// Makes topics that a client asked for and that do not exist, as the broker's defaults say. Topics that exist by
    /// now are answered as if they had been made.
    pub async fn auto_create(&self, config: &Config, names: &[Str]) -> CreateTopicsResponse {
        let image = self.image();
        let topics = names.iter().map(|name| automatic_topic(&image, config, name)).collect();
        let mut response = self.create_topics(CreateTopicsRequest { topics, ..Default::default() }).await;
        for topic in &mut response.topics {
            settle_race(topic);
        }
        response
    }

    /// Makes the topic of committed offsets if it does not exist.
    ///
    /// # Errors
    /// Kafka's error code if it can neither be found nor made.
    pub async fn ensure_offsets_topic(&self, config: &Config) -> Result<(), ErrorCode> {
        if self.image().topics.by_name(OFFSETS_TOPIC).is_some() {
            return Ok(());
        }
        let response = self.auto_create(config, &[Str::from(OFFSETS_TOPIC)]).await;
        match response.topics.first().map(|topic| ErrorCode::try_from(topic.error_code)) {
            Some(Ok(ErrorCode::None)) => Ok(()),
            Some(Ok(code)) => Err(code),
            _ => Err(ErrorCode::UnknownServerError),
        }
    }
}

/// The request for a topic with this name: internal topics have partitions and configs of their own.
pub(crate) fn automatic_topic(image: &MetadataImage, config: &Config, name: &Str) -> CreatableTopic {
    if **name != *OFFSETS_TOPIC {
        return CreatableTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            ..Default::default()
        };
    }
    let set = |name: &str, value: String| CreatableTopicConfig {
        name: Str::from(name),
        value: Some(Str::from(value)),
        ..Default::default()
    };
    CreatableTopic {
        name: name.clone(),
        num_partitions: config.offsets.num_partitions,
        replication_factor: offsets_replication_factor(image, config),
        configs: vec![
            set("cleanup.policy", "compact".to_owned()),
            set("compression.type", "producer".to_owned()),
            set("segment.bytes", config.offsets.segment_bytes.to_string()),
        ],
        ..Default::default()
    }
}

/// What was asked for; where nobody asked, the default as far as there are brokers.
fn offsets_replication_factor(image: &MetadataImage, config: &Config) -> i16 {
    let configured = config.offsets.replication_factor;
    if config.settings.is_set("offsets.topic.replication.factor") {
        return configured;
    }
    let brokers = i16::try_from(image.cluster.brokers.len()).unwrap_or(i16::MAX);
    configured.min(brokers.max(1))
}

/// Two clients may ask at once; the second finds what it wanted.
fn settle_race(topic: &mut CreatableTopicResult) {
    if topic.error_code == ErrorCode::TopicAlreadyExists.code() {
        topic.error_code = ErrorCode::None.code();
        topic.error_message = None;
    }
}

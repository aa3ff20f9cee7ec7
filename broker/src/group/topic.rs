//! `__consumer_offsets` comes into being when the first group asks for its coordinator.

use ottla_wire::ErrorCode;
use ottla_wire::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};

use super::placement::OFFSETS_TOPIC;
use crate::config::Config;
use crate::controller::ControllerHandle;

/// Milliseconds that the controller may take.
const TIMEOUT_MS: i32 = 30_000;

/// Creates the topic with the node's settings; that it exists already is fine.
///
/// # Errors
/// The controller refuses, because there are fewer brokers than replicas for example.
pub async fn create_offsets_topic(controller: &ControllerHandle, config: &Config) -> Result<(), ErrorCode> {
    let request = CreateTopicsRequest {
        topics: vec![offsets_topic(config)],
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let response = controller.create_topics(request).await;
    let Some(result) = response.topics.first() else {
        return Err(ErrorCode::UnknownServerError);
    };
    match ErrorCode::try_from(result.error_code) {
        Ok(ErrorCode::None | ErrorCode::TopicAlreadyExists) => Ok(()),
        Ok(error) => {
            tracing::warn!(%error, message = result.error_message.as_deref().unwrap_or_default(),
                replication_factor = config.offsets.replication_factor,
                "cannot create __consumer_offsets; see offsets.topic.replication.factor");
            Err(error)
        }
        Err(_) => Err(ErrorCode::UnknownServerError),
    }
}

/// The topic as the node's settings want it.
pub fn offsets_topic(config: &Config) -> CreatableTopic {
    let setting = |name: &str, value: String| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    CreatableTopic {
        name: OFFSETS_TOPIC.into(),
        num_partitions: config.offsets.num_partitions,
        replication_factor: config.offsets.replication_factor,
        configs: vec![
            setting("cleanup.policy", "compact".to_owned()),
            setting("compression.type", "producer".to_owned()),
            setting("segment.bytes", config.offsets.segment_bytes.to_string()),
        ],
        ..Default::default()
    }
}

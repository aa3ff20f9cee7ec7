//! Traffic by topic, and of all topics (`kafka.server:type=BrokerTopicMetrics`).

use std::fmt::Error;

use ottla_log::Appended;
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::{ErrorCode, Records};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The topic, or no label for the sum over all, as Kafka has both.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TopicLabel {
    topic: Option<String>,
}

impl EncodeLabelSet for TopicLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        match &self.topic {
            Some(topic) => [("topic", topic.as_str())].encode(encoder),
            None => Ok(()),
        }
    }
}

impl TopicLabel {
    const ALL: Self = Self { topic: None };
}

/// Counts per topic.
#[derive(Debug, Default)]
pub struct TopicMetrics {
    messages_in: Family<TopicLabel, Counter>,
    bytes_in: Family<TopicLabel, Counter>,
    bytes_out: Family<TopicLabel, Counter>,
    produce_requests: Family<TopicLabel, Counter>,
    fetch_requests: Family<TopicLabel, Counter>,
    failed_produce_requests: Family<TopicLabel, Counter>,
    failed_fetch_requests: Family<TopicLabel, Counter>,
}

impl TopicMetrics {
    /// One partition's part of a produce request.
    pub fn produced(&self, topic: &str, outcome: Result<&Appended, ErrorCode>) {
        let one = TopicLabel { topic: Some(topic.to_owned()) };
        let exists = !matches!(
            outcome,
            Err(ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::InvalidTopicException)
        );
        let labels = [Some(&TopicLabel::ALL), Some(&one).filter(|_| exists)];
        for label in labels.into_iter().flatten() {
            self.produce_requests.get_or_create(label).inc();
            match outcome {
                Ok(appended) if !appended.duplicate => {
                    let records = u64::try_from(appended.record_count).unwrap_or(0);
                    self.messages_in.get_or_create(label).inc_by(records);
                    self.bytes_in.get_or_create(label).inc_by(appended.size as u64);
                }
                Ok(_) => {}
                Err(_) => {
                    self.failed_produce_requests.get_or_create(label).inc();
                }
            }
        }
    }

    /// One partition's part of a fetch request, with the name of an existing topic.
    pub fn fetched(&self, topic: Option<&str>, data: &PartitionData) {
        let one = topic.map(|topic| TopicLabel { topic: Some(topic.to_owned()) });
        for label in [Some(&TopicLabel::ALL), one.as_ref()].into_iter().flatten() {
            self.fetch_requests.get_or_create(label).inc();
            if data.error_code == 0 {
                let bytes = data.records.as_ref().map_or(0, Records::len);
                self.bytes_out.get_or_create(label).inc_by(bytes as u64);
            } else {
                self.failed_fetch_requests.get_or_create(label).inc();
            }
        }
    }

    /// A topic is gone, and its counts with it.
    pub fn forget(&self, topic: &str) {
        let label = TopicLabel { topic: Some(topic.to_owned()) };
        for family in self.families() {
            family.2.remove(&label);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, help, family) in self.families() {
            drop(family.get_or_create(&TopicLabel::ALL));
            registry.register(format!("kafka_server_brokertopicmetrics_{name}"), help, family.clone());
        }
    }

    fn families(&self) -> [(&'static str, &'static str, &Family<TopicLabel, Counter>); 7] {
        [
            ("messagesin", "Records appended for producers", &self.messages_in),
            ("bytesin", "Bytes appended for producers", &self.bytes_in),
            ("bytesout", "Bytes sent to consumers", &self.bytes_out),
            ("totalproducerequests", "Partitions in produce requests", &self.produce_requests),
            ("totalfetchrequests", "Partitions in fetch requests", &self.fetch_requests),
            (
                "failedproducerequests",
                "Partitions in produce requests that failed",
                &self.failed_produce_requests,
            ),
            ("failedfetchrequests", "Partitions in fetch requests that failed", &self.failed_fetch_requests),
        ]
    }
}

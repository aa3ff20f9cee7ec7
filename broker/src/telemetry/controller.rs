//! What a controller tells of the cluster and of the quorum, active or not (`ControllerMetadataMetrics`, KIP-595).

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::state::{Number, number};
use crate::node::NodeContext;

/// Reads the newest committed metadata of a node with the controller's role.
#[derive(Debug)]
pub struct ControllerState(pub Arc<NodeContext>);

impl Collector for ControllerState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, help, value) in metadata(&self.0).into_iter().chain(quorum(&self.0)) {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        Ok(())
    }
}

fn metadata(node: &NodeContext) -> Vec<Number> {
    let image = node.controller.image();
    let brokers = |fenced: bool| {
        number(image.cluster.brokers.values().filter(|broker| broker.fenced == fenced).count())
    };
    let partitions = || image.topics.iter().flat_map(|topic| topic.partitions.values());
    let has_other_leader = |leader: i32, replicas: &[i32]| replicas.first() != Some(&leader);
    vec![
        (
            "kafka_controller_kafkacontroller_activecontrollercount",
            "1 on the active controller, 0 on the others",
            i64::from(node.controller.is_active()),
        ),
        ("kafka_controller_kafkacontroller_activebrokercount", "Brokers that are not fenced", brokers(false)),
        ("kafka_controller_kafkacontroller_fencedbrokercount", "Fenced brokers", brokers(true)),
        ("kafka_controller_kafkacontroller_globaltopiccount", "Topics", number(image.topics.len())),
        ("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions", number(partitions().count())),
        (
            "kafka_controller_kafkacontroller_offlinepartitionscount",
            "Partitions without a leader",
            number(partitions().filter(|partition| partition.leader < 0).count()),
        ),
        (
            "kafka_controller_kafkacontroller_preferredreplicaimbalancecount",
            "Partitions that are not led by their preferred replica",
            number(partitions().filter(|it| has_other_leader(it.leader, &it.replicas)).count()),
        ),
        (
            "kafka_controller_kafkacontroller_lastappliedrecordoffset",
            "Offset of the last metadata record that is in effect in this controller",
            image.offset(),
        ),
    ]
}

fn quorum(node: &NodeContext) -> Vec<Number> {
    let leader = node.controller.leader();
    let leader = leader.borrow();
    vec![
        (
            "kafka_server_raftmetrics_current_leader",
            "Node that leads the quorum; -1: none is known",
            i64::from(leader.id.unwrap_or(-1)),
        ),
        ("kafka_server_raftmetrics_current_epoch", "Epoch of the quorum", i64::from(leader.epoch)),
    ]
}

//! Metrics under the names that the JMX exporter's usual Kafka rules give to Kafka's own, so that dashboards fit. Only
//! what is really fed is there.
//!
//! Counters are fed on the request path; what is a state of the broker (sizes, offsets, counts) is read when asked.
//! Beside them the levels of what is logged.

mod controller;
pub mod loggers;
mod network;
mod requests;
mod state;
mod topics;

use prometheus_client::registry::Registry;

pub use controller::ControllerState;
pub use network::{ConnectionGauge, NetworkMetrics};
pub use requests::{RequestMetrics, Timing};
pub use state::BrokerState;
pub use topics::TopicMetrics;

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By API.
    pub requests: RequestMetrics,
    /// By topic.
    pub topics: TopicMetrics,
    /// By listener.
    pub network: NetworkMetrics,
}

impl Metrics {
    /// All metrics in a registry of their own; `state` is asked at every scrape.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        self.requests.register(&mut registry);
        self.topics.register(&mut registry);
        self.network.register(&mut registry);
        registry
    }
}

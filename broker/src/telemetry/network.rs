//! Connections by listener (`kafka.server:type=socket-server-metrics`).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::config::ListenerName;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: String,
}

/// Open and accepted connections.
#[derive(Debug, Default)]
pub struct NetworkMetrics {
    open: Family<ListenerLabel, Gauge>,
    created: Family<ListenerLabel, Counter>,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct ConnectionGauge(Gauge);

impl Drop for ConnectionGauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl NetworkMetrics {
    /// A connection was accepted.
    pub fn connection_opened(&self, listener: &ListenerName) -> ConnectionGauge {
        let label = ListenerLabel { listener: listener.as_str().to_owned() };
        self.created.get_or_create(&label).inc();
        let gauge = self.open.get_or_create(&label).clone();
        gauge.inc();
        ConnectionGauge(gauge)
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "kafka_server_socket_server_metrics_connection_count",
            "Open connections",
            self.open.clone(),
        );
        registry.register(
            "kafka_server_socket_server_metrics_connection_creation",
            "Accepted connections",
            self.created.clone(),
        );
    }
}

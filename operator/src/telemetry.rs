//! Health, metrics, logs.

use crate::lease::Leadership;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Labels of a reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reconcile {
    /// Kind of the resource.
    pub kind: &'static str,
    /// What it came to: a reason from a fixed set.
    pub result: &'static str,
}

/// Counters of this process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    durations: Histogram,
    leader: Gauge,
    kafka_requests: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ottla_operator");
        let reconciles = Family::default();
        registry.register("reconciles", "Reconciles by kind and result", reconciles.clone());
        let durations = Histogram::new(exponential_buckets(0.005, 2.0, 12));
        registry.register("reconcile_duration_seconds", "Duration of reconciles", durations.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 while this instance holds the Lease", leader.clone());
        let kafka_requests = Counter::default();
        registry.register("kafka_requests", "Requests sent to brokers", kafka_requests.clone());
        Self { registry, reconciles, durations, leader, kafka_requests }
    }
}

impl Metrics {
    /// Counts a reconcile.
    pub fn reconciled(&self, kind: &'static str, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Reconcile { kind, result }).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts a request to a broker.
    pub fn asked_kafka(&self) {
        self.kafka_requests.inc();
    }
}

/// What the endpoints answer from.
#[derive(Clone)]
pub struct Health {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set once the caches are filled.
    pub warm: Arc<AtomicBool>,
    /// For the metric.
    pub leadership: Leadership,
}

/// Serves `/livez`, `/readyz` and `/metrics` until `stop`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr, health: Health, stop: CancellationToken) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    let listener = match TcpListener::bind(address).await {
        // Without IPv6 in the kernel.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?
        }
        result => result?,
    };
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    match health.warm.load(Ordering::Acquire) {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "reading the cluster's state\n"),
    }
}

async fn metrics(
    State(health): State<Health>,
) -> Result<([(&'static str, &'static str); 1], String), StatusCode> {
    health.metrics.leader.set(i64::from(health.leadership.check().is_ok()));
    let mut text = String::new();
    encode(&mut text, &health.metrics.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

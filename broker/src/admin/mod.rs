//! HTTP for probes and metrics, open: `/livez`, `/readyz`, `/metrics`, on `ottla.http.listener`. Questions are answered on
//! the admin port, `ottla.admin.listener`, to who shows a certificate: [`Questions`].

mod addresses;
mod certificates;
mod port;
mod questions;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::broker::Broker;
use crate::node::NodeContext;
use crate::telemetry::{BrokerState, ControllerState};

pub use questions::Questions;

/// The media type of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a node tells of itself.
pub struct Admin {
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    registry: Registry,
}

impl Admin {
    /// Of a broker.
    pub fn of_broker(broker: &Arc<Broker>) -> Self {
        let mut registry = broker.metrics.registry();
        registry.register_collector(Box::new(BrokerState(Arc::downgrade(broker))));
        if broker.config.roles.controller {
            registry.register_collector(Box::new(ControllerState(Arc::clone(&broker.node))));
        }
        let broker = Arc::clone(broker);
        Self { is_ready: Box::new(move || broker.is_ready()), registry }
    }

    /// Of a controller that is no broker: it is ready when it knows who leads the quorum.
    pub fn of_controller(node: &Arc<NodeContext>) -> Self {
        let leader = node.controller.leader();
        let mut registry = node.metrics.registry();
        registry.register_collector(Box::new(ControllerState(Arc::clone(node))));
        Self { is_ready: Box::new(move || leader.borrow().id.is_some()), registry }
    }
}

/// Empty until there is something to tell: before, the process lives and is not ready.
type Begun = Arc<OnceLock<Admin>>;

/// Binds host and port; an empty host is every address.
///
/// # Errors
/// The address cannot be had.
pub async fn bind(listener: Option<&(String, u16)>) -> io::Result<Option<TcpListener>> {
    let Some((host, port)) = listener else { return Ok(None) };
    if !host.is_empty() {
        return TcpListener::bind((host.as_str(), *port)).await.map(Some);
    }
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
        // Without IPv6 in the kernel.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await.map(Some)
        }
        result => result.map(Some),
    }
}

/// Serves as long as the process runs, or the runtime.
pub async fn serve(listener: TcpListener, begun: Begun, stopping: CancellationToken) {
    let app = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(begun);
    let server = axum::serve(listener, app).with_graceful_shutdown(stopping.cancelled_owned());
    if let Err(error) = server.await {
        warn!(%error, "http server failed");
    }
}

/// For a process that cannot start its broker yet: it lives and is not ready. Returns after `time`, whether or not it
/// could answer.
pub async fn wait(listener: Option<&(String, u16)>, time: Duration) {
    let unready = get(async || (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"));
    let app = Router::new().route("/livez", get(livez)).route("/readyz", unready);
    let until = tokio::time::Instant::now() + time;
    if let Ok(Some(listener)) = bind(listener).await {
        // It ends with the time.
        drop(tokio::time::timeout_at(until, axum::serve(listener, app).into_future()).await);
    }
    tokio::time::sleep_until(until).await;
}

/// The process runs.
async fn livez() -> &'static str {
    "ok\n"
}

/// Unfenced, logs recovered, not stopping.
async fn readyz(State(begun): State<Begun>) -> Response {
    match begun.get().is_some_and(|admin| (admin.is_ready)()) {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn metrics(State(begun): State<Begun>) -> Response {
    let mut text = String::new();
    let Some(admin) = begun.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the broker has not started yet\n").into_response();
    };
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

//! The controller's listeners (`controller.listener.names`): what the nodes of the cluster ask of its controllers, and what
//! clients ask of them directly (KIP-919) or through brokers (KIP-590). Every node with the controller role has them.
//!
//! They have threads, memory and connections of their own, so that no load of clients delays heartbeats or the quorum.

mod among_nodes;
mod envelope;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ottla_quorum::MetadataImage;
use ottla_wire::messages::{
    ApiVersionsRequest, DescribeClusterRequest, DescribeConfigsRequest, EnvelopeRequest,
};
use ottla_wire::{ApiKey, Decoder};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::api::controlled::{self, CONTROLLED};
use crate::api::{Call, Opened, Refusal, api_versions, describe_cluster, describe_configs};
use crate::config::{Config, ListenerName};
use crate::net::{
    Answer, BindError, ConnectionSlots, Frame, Handling, Listener, MemoryBudget, Peer, Service,
    SocketOptions, timed,
};
use crate::node::{NodeContext, connection_limits, current_config};
use crate::quota::Quotas;
use crate::telemetry::Metrics;

/// The most that requests may hold in memory, in bytes; less if `queued.max.request.bytes` is less.
const MEMORY: usize = 32 << 20;
/// How long requests in hand may take to finish when it stops.
const DRAIN: Duration = Duration::from_secs(5);

/// APIs that are answered by every controller, beside [`CONTROLLED`] and those among nodes.
const OWN: &[ApiKey] =
    &[ApiKey::ApiVersions, ApiKey::DescribeConfigs, ApiKey::DescribeCluster, ApiKey::Envelope];

/// The controller's listeners, serving.
#[derive(Debug)]
pub struct ControllerServer {
    stopping: CancellationToken,
    tasks: TaskTracker,
    connections: TaskTracker,
    addresses: Vec<(ListenerName, SocketAddr)>,
}

/// Binds the listeners of `controller.listener.names` that this node has, on the runtime that is to serve them.
///
/// # Errors
/// An address cannot be had.
pub async fn bind(config: &Config, runtime: &Handle) -> Result<Vec<Listener>, BindError> {
    let options = SocketOptions::of(&config.network);
    let mut bound = Vec::new();
    let own = |listener: &&crate::config::Listener| config.controller_listener_names.contains(&listener.name);
    for listener in config.listeners.iter().filter(own) {
        let (name, host, port) = (listener.name.clone(), listener.host.clone(), listener.port);
        let options = options.clone();
        let binding = runtime.spawn(async move { Listener::bind(name, &host, port, options).await });
        // Aborted only with its runtime.
        if let Ok(listener) = binding.await {
            bound.push(listener?);
        }
    }
    Ok(bound)
}

/// Serves listeners from [`bind`] on the same runtime, until [`ControllerServer::stop`].
pub fn start(node: Arc<NodeContext>, listeners: Vec<Listener>, runtime: &Handle) -> ControllerServer {
    let stopping = CancellationToken::new();
    let now = current_config(&node.config, &node.controller.image());
    let size = now.network.queued_max_bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let service = Arc::new(ControllerService {
        memory: MemoryBudget::new(size.unwrap_or(MEMORY).min(MEMORY)),
        connections: ConnectionSlots::new(connection_limits(&now)),
        stopping: stopping.clone(),
        node,
    });
    let (tasks, connections) = (TaskTracker::new(), TaskTracker::new());
    let addresses = listeners.iter().filter_map(|it| Some((it.name().clone(), it.local_addr().ok()?)));
    let addresses = addresses.collect();
    tasks.spawn_on(follow_metadata(Arc::clone(&service)), runtime);
    for listener in listeners {
        tasks.spawn_on(listener.serve(Arc::clone(&service), connections.clone()), runtime);
    }
    ControllerServer { stopping, tasks, connections, addresses }
}

impl ControllerServer {
    /// Where all of them listen.
    pub fn addresses(&self) -> &[(ListenerName, SocketAddr)] {
        &self.addresses
    }

    /// No new connections; requests in hand are answered. The controller itself goes on.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.close();
        self.connections.close();
        let ended = async {
            self.tasks.wait().await;
            self.connections.wait().await;
        };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            warn!(
                connections = self.connections.len(),
                "connections to the controller did not finish in time"
            );
        }
    }
}

/// What the connections share.
#[derive(Debug)]
struct ControllerService {
    node: Arc<NodeContext>,
    memory: MemoryBudget,
    connections: Arc<ConnectionSlots>,
    stopping: CancellationToken,
}

impl ControllerService {
    /// Whether the images have other limits.
    fn differ(&self, before: &MetadataImage, now: &MetadataImage) -> bool {
        let id = self.node.node_id;
        let configs = |image: &MetadataImage| (image.configs.default_broker(), image.configs.broker(id));
        !Arc::ptr_eq(&before.security, &now.security) || configs(before) != configs(now)
    }

    fn limit(&self, image: &MetadataImage) {
        self.node.quotas.set(&image.security);
        self.connections.limit(connection_limits(&current_config(&self.node.config, image)));
    }
}

impl Service for ControllerService {
    fn start(self: &Arc<Self>, peer: &Peer, frame: Frame) -> Result<Handling, Refusal> {
        match Call::open(&SERVED, &self.node, peer, frame)? {
            Opened::Call(call, body) => route(Arc::clone(&self.node), call, body),
            Opened::Answered(handling) => Ok(handling),
        }
    }

    fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    fn connections(&self) -> &Arc<ConnectionSlots> {
        &self.connections
    }

    fn quotas(&self) -> &Quotas {
        &self.node.quotas
    }

    fn metrics(&self) -> &Metrics {
        &self.node.metrics
    }

    fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }
}

/// The APIs that are served, each in all its stable versions.
static SERVED: LazyLock<Vec<ApiKey>> = LazyLock::new(|| [OWN, CONTROLLED, among_nodes::SERVED].concat());

fn route(node: Arc<NodeContext>, call: Call, body: Decoder) -> Result<Handling, Refusal> {
    match call.api {
        ApiKey::ApiVersions => {
            let request: ApiVersionsRequest = call.decode(body)?;
            Ok(Box::pin(async move {
                let image = node.controller.image();
                let served = SERVED.iter().copied().map(api_versions::range);
                let response = api_versions::answer(served, &image, &call.context, &request);
                call.encode(&response).map(Answer::Now)
            }))
        }
        ApiKey::DescribeConfigs => {
            let request: DescribeConfigsRequest = call.decode(body)?;
            Ok(Box::pin(async move {
                let image = node.controller.image();
                let answered =
                    timed(async { describe_configs::answer(&node, &image, &call.context, request) });
                let (mut response, spent) = answered.await;
                response.throttle_time_ms = call.context.throttle_time(&node.quotas, spent);
                call.encode(&response).map(Answer::Now)
            }))
        }
        ApiKey::DescribeCluster => {
            let request: DescribeClusterRequest = call.decode(body)?;
            Ok(Box::pin(async move {
                let answered = timed(describe_cluster::controllers(&node, &call.context, request));
                let (mut response, spent) = answered.await;
                response.throttle_time_ms = call.context.throttle_time(&node.quotas, spent);
                call.encode(&response).map(Answer::Now)
            }))
        }
        ApiKey::Envelope => {
            let request: EnvelopeRequest = call.decode(body)?;
            Ok(Box::pin(async move {
                let response = envelope::answer(&node, &call, request).await;
                call.encode(&response).map(Answer::Now)
            }))
        }
        api if CONTROLLED.contains(&api) => Ok(Box::pin(async move {
            let decided = controlled::decide(&node, call, body)?.await?;
            Ok(Answer::Now(decided.response))
        })),
        _ => among_nodes::route(node, call, body),
    }
}

/// Puts limits into effect as the metadata has them.
async fn follow_metadata(service: Arc<ControllerService>) {
    let mut changes = service.node.controller.image_changes();
    let mut before: Option<Arc<MetadataImage>> = None;
    loop {
        let image = Arc::clone(&changes.borrow_and_update());
        if before.replace(Arc::clone(&image)).is_none_or(|before| service.differ(&before, &image)) {
            let following = Arc::clone(&service);
            // May wait for the name server.
            if tokio::task::spawn_blocking(move || following.limit(&image)).await.is_err() {
                error!("putting limits into effect panicked");
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = service.stopping.cancelled() => return,
        }
    }
}

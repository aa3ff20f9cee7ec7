//! What is answered on the admin port. All of it comes from memory; a permit is decided on the controller's thread.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use ottla_client::admin::{
    ADDRESSES, AT_MOST, Addresses, Blocker, BrokerState, CAUGHT_UP, CaughtUp, Cost, Logs, NodeState,
    NotActive, PERMIT, Permit, PermitRequest, QuorumState, STATE,
};
use ottla_quorum::image::PartitionImage;
use ottla_quorum::{MetadataImage, QuorumError};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{addresses, port};
use crate::broker::Broker;
use crate::clock;
use crate::controller::ControllerError;
use crate::controller::permits::{self, Verdict};
use crate::node::NodeContext;
use crate::partition::LogDirectory;

/// The longest question, in bytes.
const LONGEST_QUESTION: usize = 4096;

/// Who answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Questions(Arc<Asked>);

#[derive(Debug)]
struct Asked {
    node: Arc<NodeContext>,
    /// Of a broker, whose logs may still be opened.
    directories: Vec<Arc<LogDirectory>>,
    broker: OnceLock<Arc<Broker>>,
}

impl Questions {
    /// Of a node; `directories` have the logs of its broker, if it is one.
    pub fn new(node: Arc<NodeContext>, directories: Vec<Arc<LogDirectory>>) -> Self {
        Self(Arc::new(Asked { node, directories, broker: OnceLock::new() }))
    }

    /// The node's broker, once its logs are open.
    pub fn tell_of(&self, broker: &Arc<Broker>) {
        // Told once; a second time it is the same one.
        drop(self.0.broker.set(Arc::clone(broker)));
    }

    /// Answers until `stopping`, to whoever has a certificate that counts.
    pub async fn serve(self, listener: TcpListener, stopping: CancellationToken) {
        let files = self.0.node.config.admin.clone();
        let app = Router::new()
            .route(PERMIT, post(ask_permit))
            .route(&format!("{PERMIT}/{{node}}"), delete(return_permit))
            .route(CAUGHT_UP, get(async |State(it): State<Self>| json(StatusCode::OK, &it.caught_up())))
            .route(ADDRESSES, get(registered_addresses).put(set_addresses))
            .route(STATE, get(async |State(it): State<Self>| json(StatusCode::OK, &it.state())))
            .layer(DefaultBodyLimit::max(LONGEST_QUESTION))
            .with_state(self);
        port::serve(listener, files, app, stopping).await;
    }

    fn state(&self) -> NodeState {
        let node = &self.0.node;
        let (image, leader) = (node.controller.image(), node.controller.leader().borrow().clone());
        let roles = node.config.roles;
        let roles = [("broker", roles.broker), ("controller", roles.controller)];
        let broker = image.broker(node.node_id).map(|broker| BrokerState {
            epoch: broker.epoch,
            fenced: broker.fenced,
            in_controlled_shutdown: broker.in_controlled_shutdown,
        });
        NodeState {
            node: node.node_id,
            cluster_id: node.cluster_id.to_string(),
            roles: roles.iter().filter(|(_, has)| *has).map(|(role, _)| (*role).to_owned()).collect(),
            ready: self.is_ready(),
            broker,
            quorum: QuorumState {
                leader: leader.id,
                epoch: leader.epoch,
                is_active_here: leader.is_active_here,
                metadata_offset: image.offset(),
            },
        }
    }

    fn is_ready(&self) -> bool {
        match self.0.node.config.roles.broker {
            true => self.0.broker.get().is_some_and(|broker| broker.is_ready()),
            false => self.0.node.controller.leader().borrow().id.is_some(),
        }
    }

    fn caught_up(&self) -> CaughtUp {
        let mut answer = CaughtUp { caught_up: self.is_ready(), ..CaughtUp::default() };
        if !self.0.node.config.roles.broker {
            answer.coordinators_loaded = true;
            return answer;
        }
        let progress = self.0.directories.iter().map(|directory| directory.opening());
        let logs = progress.fold(Logs::default(), |sum, (found, opened)| Logs {
            found: sum.found + found,
            opened: sum.opened + opened,
        });
        answer.logs = Some(logs);
        if let Some(broker) = self.0.broker.get() {
            let (image, id) = (broker.image(), broker.node_id);
            (answer.lagging, answer.lagging_count) = lagging(&image, id);
            answer.coordinators_loaded = broker.groups.is_loaded();
            let serves = image.active_broker(id).is_some();
            answer.caught_up &= serves && answer.lagging_count == 0;
        }
        answer
    }
}

/// Partitions with a leader of which the broker has a replica that is not in sync.
fn lagging(image: &MetadataImage, id: i32) -> (Vec<String>, usize) {
    let lags = |it: &PartitionImage| it.leader >= 0 && it.replicas.contains(&id) && !it.isr.contains(&id);
    let (mut names, mut count) = (Vec::new(), 0);
    for topic in image.topics.iter() {
        for (index, _) in topic.partitions.iter().filter(|(_, partition)| lags(partition)) {
            count += 1;
            if names.len() < AT_MOST {
                names.push(format!("{}-{index}", topic.name));
            }
        }
    }
    (names, count)
}

async fn ask_permit(State(it): State<Questions>, body: Bytes) -> Response {
    let PermitRequest { node } = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match it.0.node.controller.ask_restart_permit(node).await {
        Ok(verdict) => {
            info!(node, ?verdict, "asked whether a node may stop");
            json(StatusCode::OK, &permit(verdict, clock::monotonic_ms()))
        }
        Err(error) => it.refuse(&error),
    }
}

async fn return_permit(State(it): State<Questions>, Path(node): Path<i32>) -> Response {
    match it.0.node.controller.return_restart_permit(node).await {
        Ok(()) => {
            info!(node, "a node does not stop after all");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => it.refuse(&error),
    }
}

async fn registered_addresses(State(it): State<Questions>) -> Response {
    if !it.0.node.config.roles.broker {
        return no_broker();
    }
    match it.0.node.controller.image().broker(it.0.node.node_id) {
        Some(broker) => json(StatusCode::OK, &addresses::registered(&it.0.node.config, &broker.endpoints)),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the broker is not registered yet").into_response(),
    }
}

async fn set_addresses(State(it): State<Questions>, body: Bytes) -> Response {
    if !it.0.node.config.roles.broker {
        return no_broker();
    }
    let asked = match serde_json::from_slice::<Addresses>(&body) {
        Ok(asked) => asked,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let endpoints = match addresses::endpoints(&it.0.node.config, &asked) {
        Ok(endpoints) => endpoints,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let Some(broker) = it.0.broker.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the broker has not started yet").into_response();
    };
    info!(addresses = ?asked.0, "the broker is to be found here");
    broker.lifecycle.advertise(endpoints);
    StatusCode::ACCEPTED.into_response()
}

fn no_broker() -> Response {
    (StatusCode::NOT_FOUND, "this node is no broker").into_response()
}

impl Questions {
    fn refuse(&self, error: &ControllerError) -> Response {
        match error {
            ControllerError::Quorum(QuorumError::NotLeader) => {
                let active_controller = self.0.node.controller.leader().borrow().id;
                json(StatusCode::MISDIRECTED_REQUEST, &NotActive { active_controller })
            }
            _ => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        }
    }
}

/// The verdict as it is told at `now`, in the controller's milliseconds.
fn permit(verdict: Verdict, now: i64) -> Permit {
    let left = |until_ms: i64| u64::try_from(until_ms.saturating_sub(now)).unwrap_or(0);
    match verdict {
        Verdict::Granted { until_ms, cost } => {
            Permit::Granted { for_ms: left(until_ms), cost: self::cost(&cost) }
        }
        Verdict::NotNeeded => Permit::NotNeeded,
        Verdict::Refused(blockers) => Permit::Refused {
            count: blockers.len(),
            blockers: blockers.into_iter().take(AT_MOST).map(|it| blocker(it, left)).collect(),
        },
    }
}

fn cost(cost: &permits::Cost) -> Cost {
    let partitions = cost.partitions.iter().take(AT_MOST);
    let partitions = partitions.map(|(topic, index)| format!("{topic}-{index}")).collect();
    Cost { partitions, majority: cost.majority }
}

fn blocker(blocker: permits::Blocker, left: impl Fn(i64) -> u64) -> Blocker {
    match blocker {
        permits::Blocker::BelowMinIsr { topic, partition, in_sync, min_isr } => {
            Blocker::BelowMinIsr { partition: format!("{topic}-{partition}"), in_sync, min_isr }
        }
        permits::Blocker::Majority { voters } => Blocker::Majority { voters },
        permits::Blocker::Away { node } => Blocker::Away { node },
        permits::Blocker::NewController { until_ms } => Blocker::NewController { for_ms: left(until_ms) },
    }
}

fn json(code: StatusCode, answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(text) => (code, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

//! What a pass came to, folded from the claims and pods: conditions, addresses, ids. Nothing in it changes by itself.

use super::{
    build::address::Addresses,
    carry_out::Outcome as Done,
    identity::NodeId,
    names,
    observe::{Observed, StorageClasses},
    quorum, restart,
    validate::{Node, ValidatedCluster},
};
use crate::crd::{
    KafkaClusterStatus,
    cluster::{Listener, ListenerStatus, NodeStatus},
    conditions::{Outcome, State},
};
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use std::collections::BTreeSet;

/// The whole status but for the conditions' times, which follow from the outcome.
pub fn fold(cluster: &ValidatedCluster, observed: &Observed, done: &Done) -> (KafkaClusterStatus, Outcome) {
    let mut warnings = cluster.warnings.clone();
    warnings.extend(rack_warning(cluster, &observed.pods));
    let status = KafkaClusterStatus {
        observed_generation: None,
        conditions: Vec::new(),
        cluster_id: Some(cluster.cluster_id.to_string()),
        node_ids: cluster.nodes.iter().map(|n| n.id.0).collect(),
        nodes: nodes(cluster, observed, done),
        voters: done
            .voters
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        warnings,
        listeners: cluster
            .listeners
            .iter()
            .map(|l| listener(cluster, l, observed, &done.addresses))
            .collect(),
    };
    (status, outcome(cluster, observed, done))
}

/// Those asked for and those on their way out, by id.
fn nodes(cluster: &ValidatedCluster, observed: &Observed, done: &Done) -> Vec<NodeStatus> {
    let status = |id: NodeId, name: &str, pool: &str, pending: Option<&String>| {
        let pod = observed.pods.iter().find(|p| p.name_any() == names::pod(name));
        NodeStatus {
            id: id.0,
            name: name.to_owned(),
            pool: pool.to_owned(),
            ready: pod.is_some_and(restart::is_ready),
            rack: pod.and_then(|p| rack(cluster, p)),
            pending: pending.cloned(),
        }
    };
    let asked = cluster.nodes.iter().map(|n| status(n.id, &n.name, &n.pool, done.restart.pending.get(&n.id)));
    let held = done.leaving.iter().filter_map(|n| Some((n, done.leave.held.get(&n.id)?)));
    let leaving = held.map(|(n, why)| status(n.id, &n.name, &n.pool, Some(why)));
    let mut all: Vec<_> = asked.chain(leaving).collect();
    all.sort_by_key(|n| n.id);
    all
}

/// The rack that a broker's pod takes from its label.
fn rack(cluster: &ValidatedCluster, pod: &Pod) -> Option<String> {
    let label = cluster.rack?.as_str();
    pod.labels().get(label).filter(|_| pod.labels().contains_key(names::BROKER)).cloned()
}

fn rack_warning(cluster: &ValidatedCluster, pods: &[Pod]) -> Option<String> {
    let label = cluster.rack?.as_str();
    let is_placed = |p: &&Pod| p.spec.as_ref().is_some_and(|s| s.node_name.is_some());
    let mut brokers = pods.iter().filter(|p| p.labels().contains_key(names::BROKER)).filter(is_placed);
    let pod = brokers.find(|p| !p.labels().contains_key(label))?;
    Some(format!(
        "spec.rack: pod {} has no label {label}, its broker no rack: its machine has none, or Kubernetes is older than 1.35",
        pod.name_any()
    ))
}

fn outcome(cluster: &ValidatedCluster, observed: &Observed, done: &Done) -> Outcome {
    let classes = observed.storage_classes.as_ref();
    let claims = cluster.nodes.iter().find_map(|node| claim_problem(node, &observed.claims, classes));
    if let Some(problem) = claims {
        return problem;
    }
    let mut problems = cluster.nodes.iter().filter_map(|node| pod_problem(node, &observed.pods));
    if let Some(mut problem) = problems.next() {
        let others = problems.count();
        match others {
            0 => {}
            1 => problem.message += "; another one is not ready",
            _ => problem.message += &format!("; {others} others are not ready"),
        }
        return problem;
    }
    if let Some((id, why)) = done.leave.held.iter().find(|(id, _)| done.leave.blocked.contains(id)) {
        return blocked(done, *id, why);
    }
    if let Some(quorum::Plan::Waits(why)) = &done.quorum {
        return progressing("QuorumChanging", format!("the controllers that vote are to change: {why}"));
    }
    if let Some(quorum::Plan::Step(step)) = &done.quorum {
        let what = match step {
            quorum::Step::Add { id, .. } => format!("controller {id} votes from now on"),
            quorum::Step::Remove { id, .. } => format!("controller {id} votes no more"),
        };
        return progressing("QuorumChanging", what);
    }
    if let Some((id, why)) = done.leave.held.iter().next() {
        return progressing("ScalingDown", format!("node {id} {why}"));
    }
    let pending = |id: &NodeId, why: &String| format!("node {id} {why}");
    let all: Vec<_> = done.restart.pending.iter().map(|(id, why)| pending(id, why)).collect();
    if done.restart.is_asked {
        return progressing("Restarting", all.join("; "));
    }
    match all.as_slice() {
        [] => Outcome::ready("all nodes serve"),
        _ => Outcome::ready(format!("all nodes serve; {}", all.join("; "))),
    }
}

/// What serves goes on serving meanwhile.
fn progressing(reason: &'static str, message: String) -> Outcome {
    Outcome { reason, message, state: State::ReadyProgressing }
}

fn blocked(done: &Done, id: NodeId, why: &str) -> Outcome {
    let pool = done.leaving.iter().find(|n| n.id == id).map(|n| n.pool.as_str()).unwrap_or_default();
    let message = format!(
        "spec.nodePools[{pool}].replicas: node {id} {why}; the operator moves no replicas yet: move them with kafka-reassign-partitions, or ask for as many nodes as before"
    );
    Outcome::degraded("ScaleDownBlocked", message, true)
}

fn claim_problem(
    node: &Node,
    claims: &[PersistentVolumeClaim],
    classes: Option<&StorageClasses>,
) -> Option<Outcome> {
    let classes = classes?;
    node.volumes.iter().find_map(|volume| {
        let name = names::claim(&node.name, volume.id);
        let claim = claims.iter().find(|c| c.name_any() == name);
        let phase = claim.and_then(|c| c.status.as_ref()?.phase.as_deref());
        if phase == Some("Bound") {
            return None;
        }
        if phase == Some("Lost") {
            return Some(Outcome::degraded(
                "VolumeLost",
                format!("claim {name}: its volume does not exist any more"),
                false,
            ));
        }
        let field = format!("spec.nodePools[{}].storage.volumes[{}].class", node.pool, volume.id);
        let class =
            claim.and_then(|c| c.spec.as_ref()?.storage_class_name.clone()).or_else(|| volume.class.clone());
        match class {
            Some(class) if !classes.names.contains(&class) => {
                let message =
                    format!("{field}: claim {name} is not bound, and StorageClass {class} does not exist");
                Some(Outcome::degraded("StorageClassNotFound", message, false))
            }
            None if !classes.has_default => {
                let message =
                    format!("{field}: claim {name} is not bound, and no StorageClass is the default");
                Some(Outcome::degraded("NoDefaultStorageClass", message, false))
            }
            _ => None,
        }
    })
}

fn pod_problem(node: &Node, pods: &[Pod]) -> Option<Outcome> {
    let name = names::pod(&node.name);
    let Some(pod) = pods.iter().find(|p| p.name_any() == name) else {
        return Some(Outcome::progressing("PodMissing", format!("pod {name} is not there yet")));
    };
    if restart::is_ready(pod) {
        return None;
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(Outcome::progressing("PodTerminating", format!("pod {name} is stopping")));
    }
    Some(
        failure(pod)
            .or_else(|| unscheduled(pod))
            .unwrap_or_else(|| Outcome::progressing("PodStarting", format!("pod {name} is not ready yet"))),
    )
}

/// A container that does not come up by itself.
fn failure(pod: &Pod) -> Option<Outcome> {
    const HOPELESS: [&str; 8] = [
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    ];
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    let mut containers = init.chain(status.container_statuses.iter().flatten());
    containers.find_map(|container| {
        let state = container.state.as_ref()?;
        let waiting =
            state.waiting.as_ref().filter(|w| w.reason.as_deref().is_some_and(|r| HOPELESS.contains(&r)));
        let failed = state.terminated.as_ref().filter(|t| t.exit_code != 0);
        let reason = match (waiting, failed) {
            (Some(waiting), _) => waiting.reason.clone()?,
            (None, Some(_)) => "Failed".to_owned(),
            (None, None) => return None,
        };
        let cause = last_words(container).or_else(|| waiting?.message.clone()).unwrap_or_default();
        let message =
            format!("pod {}, container {}: {reason}: {}", pod.name_any(), container.name, last_lines(&cause));
        Some(Outcome::degraded("PodFailing", message, false))
    })
}

/// What the container said before it ended, now or the time before.
fn last_words(container: &ContainerStatus) -> Option<String> {
    let now = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    let before = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let ended = now.or(before)?;
    Some(ended.message.clone().unwrap_or_else(|| format!("exit code {}", ended.exit_code)))
}

/// The end of a log, short enough for a condition.
fn last_lines(text: &str) -> String {
    const LIMIT: usize = 1000;
    let text = text.trim();
    let start = text.len().saturating_sub(LIMIT);
    let start = (start..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text.get(start..).unwrap_or_default().to_owned()
}

fn unscheduled(pod: &Pod) -> Option<Outcome> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    let why = scheduled.message.clone().unwrap_or_default();
    Some(Outcome::progressing("PodUnschedulable", format!("pod {}: {why}", pod.name_any())))
}

fn listener(
    cluster: &ValidatedCluster,
    listener: &Listener,
    observed: &Observed,
    addresses: &Addresses,
) -> ListenerStatus {
    ListenerStatus {
        name: listener.name.clone(),
        type_: listener.type_,
        bootstrap_servers: addresses.bootstrap(cluster, listener, observed),
        pending: addresses.pending(cluster, listener),
    }
}

/// What keeps clients from reaching all brokers on all listeners: reason and message; none where nothing does.
pub fn unreachable(status: &KafkaClusterStatus, done: &Done) -> Option<(&'static str, String)> {
    let pending: Vec<_> = status
        .listeners
        .iter()
        .filter(|l| !l.pending.is_empty())
        .map(|l| format!("listener {}: {}", l.name, l.pending.join(", ")))
        .collect();
    if !pending.is_empty() {
        return Some(("AddressPending", pending.join("; ")));
    }
    let untold = |(id, why): (&NodeId, &String)| format!("node {id} cannot be told its addresses: {why}");
    let untold: Vec<_> = done.told.unreached.iter().map(untold).collect();
    (!untold.is_empty()).then(|| ("BrokerUnreached", untold.join("; ")))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;

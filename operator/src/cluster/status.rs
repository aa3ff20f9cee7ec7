//! What a pass came to, folded from the claims and pods: conditions, addresses, ids. Nothing in it changes by itself.

use super::{
    build::service::NodePorts,
    names,
    observe::{Observed, StorageClasses},
    restart,
    validate::{Node, ValidatedCluster},
};
use crate::crd::{
    KafkaClusterStatus,
    cluster::{Listener, ListenerStatus, ListenerType},
    conditions::{Outcome, State},
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ContainerStatus, PersistentVolumeClaim, Pod},
};
use kube::ResourceExt;

/// The whole status but for the conditions' times, which follow from the outcome.
pub fn fold(
    cluster: &ValidatedCluster,
    observed: &Observed,
    sets: &[StatefulSet],
    ports: &NodePorts,
    pending: &[String],
) -> (KafkaClusterStatus, Outcome) {
    let status = KafkaClusterStatus {
        observed_generation: None,
        conditions: Vec::new(),
        cluster_id: Some(cluster.cluster_id.to_string()),
        node_ids: cluster.nodes.iter().map(|n| n.id.0).collect(),
        listeners: cluster.listeners.iter().map(|l| listener(cluster, l, observed, ports)).collect(),
    };
    (status, outcome(cluster, observed, sets, pending))
}

fn outcome(
    cluster: &ValidatedCluster,
    observed: &Observed,
    sets: &[StatefulSet],
    pending: &[String],
) -> Outcome {
    let classes = observed.storage_classes.as_ref();
    let claims = cluster.nodes.iter().find_map(|node| claim_problem(node, &observed.claims, classes));
    if let Some(problem) = claims {
        return problem;
    }
    let pods = cluster.nodes.iter().find_map(|node| pod_problem(node, &observed.pods));
    if let Some(problem) = pods {
        return problem;
    }
    let current = |set: &StatefulSet| {
        let pod = observed.pods.iter().find(|p| p.name_any() == names::pod(&set.name_any()));
        pod.is_some_and(|p| p.annotations().get(names::TEMPLATE) == set.annotations().get(names::TEMPLATE))
    };
    if let Some(behind) = sets.iter().find(|set| !current(set)) {
        let message = format!("node {} restarts to take its new configuration", behind.name_any());
        return Outcome { reason: "Restarting", message, state: State::ReadyProgressing };
    }
    match pending {
        [] => Outcome::ready("all nodes serve"),
        nodes => Outcome::ready(format!(
            "all nodes serve; this release of the operator renders {} differently, which waits for a change of the spec or of the annotation {}",
            nodes.join(", "),
            names::RESTART
        )),
    }
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
    ports: &NodePorts,
) -> ListenerStatus {
    let bootstrap_servers = match listener.type_ {
        ListenerType::Internal => {
            let host =
                names::service_host(&names::bootstrap(&cluster.name, &listener.name), &cluster.namespace);
            Some(format!("{host}:{}", listener.port))
        }
        ListenerType::Nodeport => told(cluster, listener, ports).or_else(|| {
            let port = ports.bootstrap(&cluster.name, &listener.name)?;
            let host = observed.pods.iter().find_map(|p| p.status.as_ref()?.host_ip.clone())?;
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            Some(format!("{host}:{port}"))
        }),
    };
    ListenerStatus { name: listener.name.clone(), type_: listener.type_, bootstrap_servers }
}

/// Where hosts are overridden, the nodes' own addresses: clients must reach those in any case, the bootstrap Service perhaps not.
fn told(cluster: &ValidatedCluster, listener: &Listener, ports: &NodePorts) -> Option<String> {
    let addresses: Vec<_> = cluster
        .nodes
        .iter()
        .filter_map(|node| {
            let told = ValidatedCluster::advertised(listener, node.id)?;
            let port = told.port.or_else(|| ports.node(&node.name, &listener.name))?;
            Some(format!("{}:{port}", told.host.as_ref()?))
        })
        .collect();
    Some(addresses.join(",")).filter(|a| !a.is_empty())
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;

//! Which node takes a changed spec now: a function of what was rendered, observed and answered; at most one node at a time.
//!
//! A set's template is written only when its node's turn has come, because a pod that is made anew for any other reason takes the template that is
//! there. A node whose process does not run may take it at once: nothing is lost by it, and a spec that kept it from starting is mended so.

use super::{
    answers::Answers,
    build::Workload,
    identity::NodeId,
    names,
    observe::Observed,
    quorum::majority_without,
    validate::{Node, ValidatedCluster},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, PodCondition},
};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// A pod that is ready is reached through its Services only when every machine has its new address: kube-proxy takes in changes once a second, and
/// on a busy machine later. Seen in rolls of three nodes: for a second or two clients found no address at all that worked.
const SETTLING: SignedDuration = SignedDuration::from_secs(4);

/// What this pass does about changed nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes whose ConfigMap and StatefulSet are written: new, unchanged, or released.
    pub write: BTreeSet<NodeId>,
    /// The pod to delete, so that its StatefulSet makes it anew.
    pub restart: Option<Restart>,
    /// Nodes that are not as rendered, and why they wait.
    pub pending: BTreeMap<NodeId, String>,
    /// A change that was asked for is under way or waits.
    pub is_asked: bool,
}

/// A pod to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The node.
    pub node: NodeId,
    /// Its process runs, so that others may have to do without it.
    pub is_running: bool,
    /// Name of the pod.
    pub pod: String,
    /// The very pod that was looked at, and no successor of it.
    pub uid: String,
}

/// Whether a running node is to change, so that others have to be asked before.
pub fn is_due(cluster: &ValidatedCluster, workload: &Workload, observed: &Observed) -> bool {
    views(cluster, workload, observed)
        .iter()
        .any(|v| v.is_running() && (v.is_behind || v.change == Change::Asked))
}

/// Plans the pass.
pub fn plan(cluster: &ValidatedCluster, workload: &Workload, observed: &Observed, answers: &Answers) -> Plan {
    let views = views(cluster, workload, observed);
    let mut plan = Plan::default();
    for view in &views {
        if let Some(why) = view.pending() {
            plan.pending.insert(view.node.id, why.to_owned());
        }
        if view.change == Change::None || (view.change == Change::Asked && !view.is_running()) {
            plan.write.insert(view.node.id);
        }
        plan.is_asked |= view.is_behind || view.change == Change::Asked;
    }
    if let Some(down) = views.iter().find(|v| v.is_behind && !v.is_running()) {
        plan.restart = down.restart();
        return plan;
    }
    let Some(next) = next(&views, answers) else { return plan };
    match may_go(next, &views, answers, observed.at) {
        Err(why) => {
            plan.pending.insert(next.node.id, format!("is the next to take the changed spec; waits: {why}"));
        }
        Ok(()) if next.is_behind => plan.restart = next.restart(),
        Ok(()) => {
            plan.write.insert(next.node.id);
        }
    }
    plan
}

/// Whether the pod's condition `Ready` holds and it is not on its way out.
pub fn is_ready(pod: &Pod) -> bool {
    readiness(pod).is_some()
}

fn readiness(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let is_there = pod.metadata.deletion_timestamp.is_none();
    conditions.iter().find(|c| is_there && c.type_ == "Ready" && c.status == "True")
}

/// How what is rendered differs from what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Not at all, or nothing is there yet.
    None,
    /// By another release of the operator, or by the number of nodes: waits until the user asks for something, or for a restart.
    Unasked,
    /// By what the user asked for.
    Asked,
}

struct View<'a> {
    node: &'a Node,
    set: Option<&'a StatefulSet>,
    pod: Option<&'a Pod>,
    change: Change,
    /// The pod has another template than its set.
    is_behind: bool,
}

fn views<'a>(cluster: &'a ValidatedCluster, workload: &Workload, observed: &'a Observed) -> Vec<View<'a>> {
    let view = |(node, rendered): (&'a Node, &super::build::NodeWorkload)| {
        let set = observed.stateful_sets.iter().find(|s| s.name_any() == node.name);
        let name = names::pod(&node.name);
        let pod = observed.pods.iter().find(|p| p.name_any() == name);
        let template = |s: &StatefulSet| s.annotations().get(names::TEMPLATE).cloned();
        let is_behind = match (set, pod) {
            (Some(set), Some(pod)) => {
                template(set).is_some() && pod.annotations().get(names::TEMPLATE).cloned() != template(set)
            }
            _ => false,
        };
        let change = set.map_or(Change::None, |set| change(set, &rendered.stateful_set));
        View { node, set, pod, change, is_behind }
    };
    cluster.nodes.iter().zip(&workload.nodes).map(view).collect()
}

fn change(present: &StatefulSet, rendered: &StatefulSet) -> Change {
    let same = |key| present.annotations().get(key) == rendered.annotations().get(key);
    match (same(names::TEMPLATE), same(names::REQUEST)) {
        (true, _) => Change::None,
        (false, true) => Change::Unasked,
        (false, false) => Change::Asked,
    }
}

impl View<'_> {
    fn is_ready(&self) -> bool {
        self.pod.is_some_and(is_ready)
    }

    /// It has become ready only now. A kubelet whose clock is far off is not waited for.
    fn is_settling(&self, now: Timestamp) -> bool {
        let since = self.pod.and_then(readiness).and_then(|c| c.last_transition_time.as_ref());
        since.is_some_and(|since| now.duration_since(since.0).abs() < SETTLING)
    }

    /// Its process serves, or may be about to.
    fn is_running(&self) -> bool {
        let statuses = self.pod.and_then(|p| p.status.as_ref()?.container_statuses.as_ref());
        let runs = statuses.into_iter().flatten().any(|s| {
            s.name == names::BROKER_CONTAINER && s.state.as_ref().is_some_and(|s| s.running.is_some())
        });
        runs || self.is_ready()
    }

    fn pending(&self) -> Option<&'static str> {
        match self.change {
            _ if self.is_behind => Some("restarts to take the changed spec"),
            Change::None => None,
            Change::Unasked => Some(
                "is rendered differently by this release of the operator or with this number of nodes; that waits for a change of the spec or of the annotation ottla.dev/restart",
            ),
            Change::Asked => Some("takes the changed spec when its turn comes"),
        }
    }

    /// Its pod, once the StatefulSet controller knows the template, and unless it is going already.
    fn restart(&self) -> Option<Restart> {
        let (set, pod) = (self.set?, self.pod?);
        let observed = set.status.as_ref().and_then(|s| s.observed_generation);
        let is_known = observed == set.metadata.generation && pod.metadata.deletion_timestamp.is_none();
        let (node, is_running) = (self.node.id, self.is_running());
        is_known.then_some(Restart { node, is_running, pod: pod.name_any(), uid: pod.uid()? })
    }
}

/// Who is next: whoever has been released already; brokers, then controllers, the active one last.
fn next<'a, 'b>(views: &'b [View<'a>], answers: &Answers) -> Option<&'b View<'a>> {
    let leader = answers.quorum.as_ref().and_then(|q| q.leader);
    let order = |v: &&View<'_>| (v.node.is_controller(), leader == Some(v.node.id.0), v.node.id);
    let released = views.iter().filter(|v| v.is_behind).min_by_key(order);
    released
        .or_else(|| views.iter().filter(|v| v.change == Change::Asked && v.is_running()).min_by_key(order))
}

/// Whether all others do without this node for a while.
fn may_go(view: &View<'_>, views: &[View<'_>], answers: &Answers, now: Timestamp) -> Result<(), String> {
    let mut others = views.iter().filter(|v| v.node.id != view.node.id);
    if let Some(other) = others.clone().find(|v| !v.is_ready()) {
        return Err(format!("pod {} is not ready", names::pod(&other.node.name)));
    }
    if let Some(other) = others.clone().find(|v| v.is_settling(now)) {
        let pod = names::pod(&other.node.name);
        return Err(format!("pod {pod} has been ready for less than {} s", SETTLING.as_secs()));
    }
    let id = view.node.id.0;
    if view.node.is_broker() && others.clone().any(|v| v.node.is_broker()) {
        let placement = answers.placement.as_ref().ok_or("the brokers do not answer")?;
        if let Some(partition) = placement.on(id).find(|p| p.lacks_others_than(id)) {
            return Err(format!("partition {} has replicas elsewhere that are not in sync", partition.name));
        }
    }
    if view.node.is_controller() && others.any(|v| v.node.is_controller()) {
        let quorum = answers.quorum.as_ref().ok_or("the active controller is not known")?;
        let (up, majority) = majority_without(quorum, id);
        if quorum.voters.iter().any(|v| v.id == id) && quorum.voters.len() > 1 && up < majority {
            return Err("too few of the other controllers keep up".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;

//! The disruption budget: one over all nodes of a cluster, so that a drain takes one at a time, and only while all others are ready
//! (docs/decisions/0009-one-budget-per-cluster.md).

use super::names;
use crate::cluster::{observe::Observed, validate::ValidatedCluster};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};

/// Open for one node; closed while a broker runs and is not ready, because recovering a log begins anew when it is interrupted, and what catches up
/// is what the others wait for. The bound is a number of nodes, not one of pods that are there: a pod that is being made anew counts as away.
pub fn build(cluster: &ValidatedCluster, observed: &Observed) -> PodDisruptionBudget {
    let wanted = cluster.nodes.iter().map(|n| n.name.clone());
    let present = observed.stateful_sets.iter().map(ResourceExt::name_any);
    let nodes = wanted.chain(present).collect::<BTreeSet<_>>().len();
    let is_closed = observed.pods.iter().any(is_recovering);
    let available = nodes.saturating_sub(usize::from(!is_closed));
    // A crashed broker protects nothing, and must not hang a drain; one that recovers is protected by the number.
    let policy = if is_closed { "IfHealthyBudget" } else { "AlwaysAllow" };
    PodDisruptionBudget {
        metadata: ObjectMeta {
            name: Some(cluster.name.clone()),
            namespace: Some(cluster.namespace.clone()),
            labels: Some(names::labels(&cluster.name)),
            owner_references: Some(vec![cluster.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(i32::try_from(available).unwrap_or(i32::MAX))),
            selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::from([(names::CLUSTER.to_owned(), cluster.name.clone())])),
                match_expressions: None,
            }),
            unhealthy_pod_eviction_policy: Some(policy.to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

fn is_recovering(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.into_iter().flatten().any(|s| {
        s.name == names::BROKER_CONTAINER && !s.ready && s.state.as_ref().is_some_and(|s| s.running.is_some())
    })
}

//! Disruption budgets: one per node, none wider.

use super::names;
use crate::cluster::validate::{Node, ValidatedCluster};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// The budget of a node: closed while its broker runs and is not ready, because recovering a log begins anew when it is interrupted; else
/// open, because a cluster of one node has nowhere to move to and a drain must not hang.
pub fn build(cluster: &ValidatedCluster, node: &Node, pods: &[Pod]) -> PodDisruptionBudget {
    let name = names::pod(&node.name);
    let closed = pods.iter().any(|pod| pod.name_any() == name && is_recovering(pod));
    let selector = BTreeMap::from([
        (names::CLUSTER.to_owned(), cluster.name.clone()),
        (names::NODE.to_owned(), node.id.to_string()),
    ]);
    PodDisruptionBudget {
        metadata: super::node_metadata(cluster, node),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(i32::from(!closed))),
            selector: Some(LabelSelector { match_labels: Some(selector), match_expressions: None }),
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

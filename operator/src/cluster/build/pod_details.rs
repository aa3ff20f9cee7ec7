//! What the user says about pods, put into a rendered template. `podOverrides` are merged after it.

use super::names;
use crate::{
    cluster::validate::{Node, ValidatedCluster},
    crd::pods::{ProbeSettings, Spread},
};
use k8s_openapi::api::core::v1::{
    Container, LocalObjectReference, PodSpec, PodTemplateSpec, Probe, TopologySpreadConstraint,
};

/// Puts `node.pods` into `template`.
pub fn apply(template: &mut PodTemplateSpec, cluster: &ValidatedCluster, node: &Node) {
    let details = &node.pods;
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels.get_or_insert_default().extend(details.labels.clone());
    if !details.annotations.is_empty() {
        metadata.annotations.get_or_insert_default().extend(details.annotations.clone());
    }
    let Some(spec) = &mut template.spec else { return };
    place(spec, cluster, node);
    spec.service_account_name.clone_from(&details.service_account);
    let secret = |name: &String| LocalObjectReference { name: name.clone() };
    spec.image_pull_secrets = some(details.pull_secrets.iter().map(secret).collect());
    if details.grace.is_some() {
        spec.termination_grace_period_seconds = details.grace;
    }
    let volumes = details.volumes.iter().map(|(volume, _)| volume.clone());
    spec.volumes.get_or_insert_default().extend(volumes);
    spec.containers.iter_mut().filter(|c| c.name == names::BROKER_CONTAINER).for_each(|c| serve(c, node));
}

/// Which machine it may run on, and before which others.
fn place(spec: &mut PodSpec, cluster: &ValidatedCluster, node: &Node) {
    let details = &node.pods;
    spec.node_selector = Some(details.node_selector.clone()).filter(|m| !m.is_empty());
    spec.tolerations = some(details.tolerations.clone());
    spec.priority_class_name.clone_from(&details.priority_class);
    if let Some(affinity) = &details.affinity {
        spec.affinity = Some(affinity.clone()).filter(|a| *a != Default::default());
    }
    if let Some(spread) = &details.spread {
        let constraint = |given: &Spread| TopologySpreadConstraint {
            max_skew: given.max_skew,
            topology_key: given.topology_key.clone(),
            when_unsatisfiable: given.when_unsatisfiable.as_str().to_owned(),
            label_selector: Some(super::stateful_set::alike(cluster, node)),
            ..TopologySpreadConstraint::default()
        };
        spec.topology_spread_constraints = some(spread.iter().map(constraint).collect());
    }
}

fn serve(container: &mut Container, node: &Node) {
    let details = &node.pods;
    container.env.get_or_insert_default().extend(details.env.clone());
    container.volume_mounts.get_or_insert_default().extend(details.volumes.iter().map(|(_, m)| m.clone()));
    adjust(&mut container.liveness_probe, details.liveness);
    adjust(&mut container.readiness_probe, details.readiness);
}

fn adjust(probe: &mut Option<Probe>, given: ProbeSettings) {
    let Some(probe) = probe else { return };
    probe.initial_delay_seconds = given.initial_delay_seconds.or(probe.initial_delay_seconds);
    probe.period_seconds = given.period_seconds.or(probe.period_seconds);
    probe.timeout_seconds = given.timeout_seconds.or(probe.timeout_seconds);
    probe.failure_threshold = given.failure_threshold.or(probe.failure_threshold);
}

/// Kubernetes drops empty lists, and what is written must be what is read.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

#[cfg(test)]
#[path = "pod_details_tests.rs"]
mod tests;

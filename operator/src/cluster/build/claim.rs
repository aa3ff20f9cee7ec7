//! Claims: made by name, annotated with the ids, owned by the cluster only while the policy says that they go with it.

use super::names;
use crate::{
    cluster::validate::{Node, NodeVolume, ValidatedCluster},
    crd::DeletionPolicy,
};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::collections::BTreeMap;

/// The claims of one node.
pub fn build(cluster: &ValidatedCluster, node: &Node) -> Vec<PersistentVolumeClaim> {
    node.volumes.iter().map(|volume| claim(cluster, node, volume)).collect()
}

fn claim(cluster: &ValidatedCluster, node: &Node, volume: &NodeVolume) -> PersistentVolumeClaim {
    let mut annotations = node.claim_metadata.annotations.clone();
    annotations.extend([
        (names::CLUSTER_ID.to_owned(), cluster.cluster_id.to_string()),
        (names::DIRECTORY_ID.to_owned(), volume.directory.id.to_string()),
        (names::VOLUME.to_owned(), volume.id.to_string()),
    ]);
    if volume.directory.formatted {
        annotations.insert(names::FORMATTED.to_owned(), "true".to_owned());
    }
    if node.first_voter {
        annotations.insert(names::FIRST_VOTER.to_owned(), "true".to_owned());
    }
    let mut labels = node.claim_metadata.labels.clone();
    labels.extend(names::node_labels(&cluster.name, &node.pool, node.id));
    let owner = match node.deletion_policy {
        DeletionPolicy::Delete => Some(vec![cluster.owner.clone()]),
        DeletionPolicy::Retain => None,
    };
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::claim(&node.name, volume.id)),
            namespace: Some(cluster.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: owner,
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), volume.size.clone())])),
                limits: None,
            }),
            storage_class_name: volume.class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

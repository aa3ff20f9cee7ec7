//! Who a node is: its id, the cluster's id and its directories' ids. All are assigned before the node's first pod exists, and
//! recorded on its claims, so that a kept claim is taken up again by the same node and never by another.
//!
//! The same claims say who the quorum began with. That is settled when the first pod may exist, and never changes: each of the first voters writes
//! the same list into its empty log, however late it comes. Whoever is added afterwards starts with an empty list and is made a voter later.

use super::names;
use crate::crd::{
    KafkaCluster,
    cluster::{NodePool, Role},
};
use crate::ids::Uuid;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kube::ResourceExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Kafka's `node.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ids of a whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Kafka's cluster id.
    pub cluster_id: Uuid,
    /// The nodes, by id.
    pub nodes: BTreeMap<NodeId, NodeIdentity>,
    /// Those that the quorum begins or began with, by id; they need not be among `nodes` any more.
    pub first_voters: Vec<FirstVoter>,
}

/// The ids of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The pool that it belongs to.
    pub pool: String,
    /// Directory id and formatted, by volume id.
    pub directories: BTreeMap<i32, Directory>,
}

/// A member of the first quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstVoter {
    /// Its id.
    pub id: NodeId,
    /// Its pool.
    pub pool: String,
    /// Id of the directory with the metadata log.
    pub directory: Uuid,
}

/// A log directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Kafka's directory id.
    pub id: Uuid,
    /// Formatted once already.
    pub formatted: bool,
}

/// What the claims say, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recorded {
    node: NodeId,
    pool: String,
    volume: i32,
    cluster_id: Uuid,
    directory: Directory,
    first_voter: bool,
}

/// Why ids cannot be assigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A claim carries the cluster's label and not what the operator writes beside it.
    #[error(
        "claim {claim}: annotation or label {key} is missing or not understood; the claim cannot be taken up"
    )]
    Unreadable {
        /// Name of the claim.
        claim: String,
        /// Which label or annotation.
        key: &'static str,
    },
    /// Claims of two clusters.
    #[error("claim {claim} belongs to cluster id {found}, others to {expected}")]
    ClusterIds {
        /// Name of the claim.
        claim: String,
        /// Its cluster id.
        found: Uuid,
        /// The cluster id in use.
        expected: Uuid,
    },
}

/// Ids for every node that `cluster` asks for: those on its claims and StatefulSets, then the lowest free ones over all pools.
///
/// `fresh` is asked for each id that is not recorded yet.
///
/// # Errors
/// When the claims contradict each other or the status.
pub fn assign(
    cluster: &KafkaCluster,
    claims: &[PersistentVolumeClaim],
    sets: &[StatefulSet],
    mut fresh: impl FnMut() -> Uuid,
) -> Result<Identity, IdentityError> {
    let recorded = claims.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let cluster_id = cluster_id(cluster, claims, &recorded, &mut fresh)?;
    let known: BTreeSet<(String, NodeId)> =
        recorded.iter().map(|r| (r.pool.clone(), r.node)).chain(sets.iter().filter_map(labelled)).collect();
    let mut taken: BTreeSet<NodeId> = known.iter().map(|(_, node)| *node).collect();
    let mut nodes = BTreeMap::new();
    for pool in &cluster.spec.node_pools {
        let own: BTreeSet<NodeId> =
            known.iter().filter(|(name, _)| *name == pool.name).map(|(_, node)| *node).collect();
        for index in 0..usize::try_from(pool.replicas).unwrap_or(0) {
            let node = own.iter().nth(index).copied().unwrap_or_else(|| lowest_free(&mut taken));
            let directories = pool.storage.volumes.iter().map(|volume| {
                let known = recorded.iter().find(|r| r.node == node && r.volume == volume.id);
                let directory =
                    known.map_or_else(|| Directory { id: fresh(), formatted: false }, |r| r.directory);
                (volume.id, directory)
            });
            let directories = directories.collect();
            nodes.insert(node, NodeIdentity { pool: pool.name.clone(), directories });
        }
    }
    let first_voters = first_voters(cluster, &nodes, &recorded, !sets.is_empty());
    Ok(Identity { cluster_id, nodes, first_voters })
}

impl Identity {
    /// Marks as formatted the directories of every node whose pod has run [`names::FORMAT_CONTAINER`] to its end.
    pub fn note_formatted(&mut self, pods: &[Pod]) {
        for pod in pods.iter().filter(|p| has_formatted(p)) {
            let id = pod.labels().get(names::NODE).and_then(|v| v.parse().ok()).map(NodeId);
            if let Some(node) = id.and_then(|id| self.nodes.get_mut(&id)) {
                node.directories.values_mut().for_each(|d| d.formatted = true);
            }
        }
    }
}

/// The controllers of the spec while no pod can have been made; afterwards those whose claims say so.
fn first_voters(
    cluster: &KafkaCluster,
    nodes: &BTreeMap<NodeId, NodeIdentity>,
    recorded: &[Recorded],
    has_sets: bool,
) -> Vec<FirstVoter> {
    let controllers: Vec<&NodePool> =
        cluster.spec.node_pools.iter().filter(|p| p.roles.contains(&Role::Controller)).collect();
    let metadata_volume = |pool: &str| {
        let pool = controllers.iter().find(|p| p.name == pool)?;
        pool.storage.volumes.first().map(|v| v.id)
    };
    let is_settled = !recorded.is_empty() && (has_sets || recorded.iter().any(|r| r.directory.formatted));
    if !is_settled {
        let voter = |(id, node): (&NodeId, &NodeIdentity)| {
            let directory = node.directories.get(&metadata_volume(&node.pool)?)?.id;
            Some(FirstVoter { id: *id, pool: node.pool.clone(), directory })
        };
        return nodes.iter().filter_map(voter).collect();
    }
    // The first releases ran one node and noted nothing of the kind.
    let is_noted = recorded.iter().any(|r| r.first_voter);
    let of_the_first = recorded.iter().filter(|r| r.first_voter || !is_noted);
    let metadata = of_the_first.filter(|r| metadata_volume(&r.pool) == Some(r.volume));
    let voters = metadata
        .map(|r| (r.node, FirstVoter { id: r.node, pool: r.pool.clone(), directory: r.directory.id }));
    voters.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn has_formatted(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|s| s.init_container_statuses.as_ref());
    statuses.into_iter().flatten().filter(|s| s.name == names::FORMAT_CONTAINER).any(|s| {
        let ended = s.state.as_ref().and_then(|s| s.terminated.as_ref());
        ended.is_some_and(|t| t.exit_code == 0)
    })
}

/// The claims' cluster id; without claims the status's, so that a cluster whose disks are lost is not taken for another one's.
fn cluster_id(
    cluster: &KafkaCluster,
    claims: &[PersistentVolumeClaim],
    recorded: &[Recorded],
    fresh: &mut impl FnMut() -> Uuid,
) -> Result<Uuid, IdentityError> {
    let Some(first) = recorded.first() else {
        let known =
            cluster.status.as_ref().and_then(|s| s.cluster_id.as_ref()).and_then(|id| id.parse().ok());
        return Ok(known.unwrap_or_else(fresh));
    };
    let expected = first.cluster_id;
    match recorded.iter().position(|r| r.cluster_id != expected) {
        None => Ok(expected),
        Some(other) => Err(IdentityError::ClusterIds {
            claim: claims.get(other).map(ResourceExt::name_any).unwrap_or_default(),
            found: recorded.get(other).map_or(expected, |r| r.cluster_id),
            expected,
        }),
    }
}

fn lowest_free(taken: &mut BTreeSet<NodeId>) -> NodeId {
    let node = (0..).map(NodeId).find(|id| !taken.contains(id)).unwrap_or(NodeId(i32::MAX));
    taken.insert(node);
    node
}

/// Pool and id that the labels of a node's object say.
pub fn labelled<K: kube::Resource>(object: &K) -> Option<(String, NodeId)> {
    let id = object.labels().get(names::NODE)?.parse().ok().map(NodeId)?;
    Some((object.labels().get(names::POOL)?.clone(), id))
}

fn read(claim: &PersistentVolumeClaim) -> Result<Recorded, IdentityError> {
    let unreadable = |key| IdentityError::Unreadable { claim: claim.name_any(), key };
    let label = |key| claim.labels().get(key).ok_or_else(|| unreadable(key));
    let annotation = |key| claim.annotations().get(key).ok_or_else(|| unreadable(key));
    let says = |key: &str| claim.annotations().get(key).is_some_and(|v| v == "true");
    Ok(Recorded {
        node: NodeId(label(names::NODE)?.parse().map_err(|_| unreadable(names::NODE))?),
        pool: label(names::POOL)?.clone(),
        volume: annotation(names::VOLUME)?.parse().map_err(|_| unreadable(names::VOLUME))?,
        cluster_id: annotation(names::CLUSTER_ID)?.parse().map_err(|_| unreadable(names::CLUSTER_ID))?,
        directory: Directory {
            id: annotation(names::DIRECTORY_ID)?.parse().map_err(|_| unreadable(names::DIRECTORY_ID))?,
            formatted: says(names::FORMATTED),
        },
        first_voter: says(names::FIRST_VOTER),
    })
}

//! From the spec and what is there to a [`ValidatedCluster`]: everything that the builders need, resolved once; or what is wrong, naming
//! the field.

use super::{
    identity::{self, Directory, Identity, IdentityError, NodeId},
    names,
    observe::Observed,
    overrides,
    pods::{self, PodDetails, Reference},
    quantity, warnings,
};
use crate::{
    crd::{
        DeletionPolicy, KafkaCluster, OPERATOR_OWNED_KEYS,
        cluster::{Advertised, Listener, NodePool, Role, TopologyKey, Volume},
        network::NetworkPolicies,
        pods::{Metadata, Resources},
    },
    ids::Uuid,
};
use k8s_openapi::{
    api::core::v1::{Container, PersistentVolumeClaim, PodTemplateSpec},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::OwnerReference},
};
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};

/// A cluster whose spec can be carried out.
#[derive(Clone, Debug)]
pub struct ValidatedCluster {
    /// Name of the resource.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// For children.
    pub owner: OwnerReference,
    /// Kafka's cluster id.
    pub cluster_id: Uuid,
    /// Nodes, by id.
    pub nodes: Vec<Node>,
    /// `id@host:port:directory-id` of those that the quorum begins with, joined by commas.
    pub first_voters: String,
    /// As in the spec.
    pub listeners: Vec<Listener>,
    /// `spec.config`, rendered.
    pub config: BTreeMap<String, String>,
    /// Whether NetworkPolicies are made.
    pub network_policies: NetworkPolicies,
    /// The label that a broker's rack is taken from.
    pub rack: Option<TopologyKey>,
    /// Image of the broker.
    pub image: String,
    /// The user chose the image: it may be of another release than the operator.
    pub image_is_chosen: bool,
    /// What works and is not advisable.
    pub warnings: Vec<String>,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its pool.
    pub pool: String,
    /// Name of its objects.
    pub name: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// Its log directories, in the order of the spec.
    pub volumes: Vec<NodeVolume>,
    /// What becomes of its claims.
    pub deletion_policy: DeletionPolicy,
    /// CPU and memory.
    pub resources: Option<Resources>,
    /// Labels and annotations of its claims.
    pub claim_metadata: Metadata,
    /// What else its pod has.
    pub pods: PodDetails,
    /// Merged into the pod template.
    pub overrides: Option<PodTemplateSpec>,
    /// Among those that the quorum begins with.
    pub first_voter: bool,
    /// Digest of what was asked for this node, leaving out what the operator's release decides and how many others there are.
    pub request: String,
}

/// A volume of a node.
#[derive(Clone, Debug)]
pub struct NodeVolume {
    /// As in the spec.
    pub id: i32,
    /// At least what the claim has already.
    pub size: Quantity,
    /// As in the spec.
    pub class: Option<String>,
    /// Its directory.
    pub directory: Directory,
}

/// Why a spec cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A field of the spec.
    #[error("{field}: {reason}")]
    Spec {
        /// Path of the field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The claims.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Old claims of the same name are on their way out; this passes.
    #[error("claim {0} of an earlier cluster is being deleted; waiting until it is gone")]
    ClaimTerminating(String),
    /// A changed spec refers to what is not there.
    #[error(
        "spec.nodePools[{pool}]: {reference} does not exist, and pods would not start without it: make it, or take it out of pods"
    )]
    Missing {
        /// The pool whose pods refer to it.
        pool: String,
        /// What is not there.
        reference: Reference,
    },
}

impl Invalid {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Spec { .. } => "InvalidSpec",
            Self::Identity(_) => "ClaimConflict",
            Self::ClaimTerminating(_) => "ClaimTerminating",
            Self::Missing { .. } => "ReferenceNotFound",
        }
    }
}

/// Judges `cluster` by what is there. `fresh` is asked for each id that is not assigned yet.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(
    cluster: &KafkaCluster,
    observed: &Observed,
    default_image: &str,
    fresh: impl FnMut() -> Uuid,
) -> Result<ValidatedCluster, Invalid> {
    if let Some(leaving) = observed.claims.iter().find(|c| c.metadata.deletion_timestamp.is_some()) {
        return Err(Invalid::ClaimTerminating(leaving.name_any()));
    }
    let config = config(cluster)?;
    listeners(&cluster.spec.listeners)?;
    let mut identity = identity::assign(cluster, &observed.claims, &observed.stateful_sets, fresh)?;
    identity.note_formatted(&observed.pods);
    let nodes = nodes(cluster, &identity, &observed.claims)?;
    let chooses = |node: &Node| node.container().is_some_and(|c| c.image.is_some());
    let image_is_chosen = cluster.spec.image.is_some() || nodes.iter().any(chooses);
    Ok(ValidatedCluster {
        name: cluster.name_any(),
        namespace: cluster.namespace().unwrap_or_default(),
        owner: cluster.controller_owner_ref(&()).ok_or_else(|| spec("metadata.uid", "is missing"))?,
        cluster_id: identity.cluster_id,
        first_voters: first_voters(cluster, &identity),
        warnings: warnings::of(&nodes),
        nodes,
        listeners: cluster.spec.listeners.clone(),
        config,
        network_policies: cluster.spec.network_policies,
        rack: cluster.spec.rack.as_ref().map(|r| r.topology_key),
        image_is_chosen,
        image: cluster.spec.image.clone().unwrap_or_else(|| default_image.to_owned()),
    })
}

fn first_voters(cluster: &KafkaCluster, identity: &Identity) -> String {
    let namespace = cluster.namespace().unwrap_or_default();
    let voters = identity.first_voters.iter().map(|voter| {
        let name = names::node(&cluster.name_any(), &voter.pool, voter.id);
        format!("{}@{}:{}", voter.id, names::voter_address(&name, &namespace), voter.directory)
    });
    voters.collect::<Vec<_>>().join(",")
}

fn spec(field: impl Into<String>, reason: impl Into<String>) -> Invalid {
    Invalid::Spec { field: field.into(), reason: reason.into() }
}

fn config(cluster: &KafkaCluster) -> Result<BTreeMap<String, String>, Invalid> {
    let config =
        cluster.spec.config.rendered().map_err(|e| spec(format!("spec.config[{}]", e.key), e.reason))?;
    for key in config.keys() {
        let owned = OPERATOR_OWNED_KEYS.iter().find(|(k, _)| k == key).map(|(_, hint)| *hint);
        let family = ["controller.quorum.voters", "listener.name.controller.", "listener.name.replication."];
        if let Some(hint) = owned {
            return Err(spec(format!("spec.config[{key}]"), format!("is set by the operator: {hint}")));
        }
        if family.iter().any(|prefix| key.starts_with(prefix)) {
            return Err(spec(format!("spec.config[{key}]"), "is set by the operator"));
        }
    }
    Ok(config)
}

/// What no CEL rule can see: node ports across listeners, keys of labels.
fn listeners(listeners: &[Listener]) -> Result<(), Invalid> {
    let mut ports = BTreeSet::new();
    for listener in listeners {
        let nodes = listener
            .advertised
            .iter()
            .filter_map(|a| a.node_port.map(|p| (format!("advertised[{}].", a.node), p)));
        let field = format!("spec.listeners[{}]", listener.name);
        for map in [&listener.metadata.labels, &listener.metadata.annotations] {
            pods::keys(&format!("{field}.metadata"), map)?;
        }
        for given in &listener.advertised {
            pods::keys(&format!("{field}.advertised[{}].annotations", given.node), &given.annotations)?;
        }
        let own = listener.node_port.map(|p| (String::new(), p));
        for (part, port) in own.into_iter().chain(nodes) {
            if !ports.insert(port) {
                let field = format!("spec.listeners[{}].{part}nodePort", listener.name);
                return Err(spec(field, format!("{port} is asked for twice")));
            }
        }
    }
    Ok(())
}

fn nodes(
    cluster: &KafkaCluster,
    identity: &Identity,
    claims: &[PersistentVolumeClaim],
) -> Result<Vec<Node>, Invalid> {
    let pool_of = |name: &str| cluster.spec.node_pools.iter().find(|p| p.name == name);
    let pools = identity.nodes.iter().filter_map(|(id, node)| Some((*id, node, pool_of(&node.pool)?)));
    pools
        .map(|(id, node, pool)| {
            let name = names::node(&cluster.name_any(), &pool.name, id);
            let volumes = pool.storage.volumes.iter().map(|volume| {
                let directory = *node
                    .directories
                    .get(&volume.id)
                    .ok_or_else(|| spec("spec.nodePools", "volume without an id"))?;
                Ok(NodeVolume {
                    id: volume.id,
                    size: size(pool, volume, &name, claims)?,
                    class: volume.class.clone(),
                    directory,
                })
            });
            let claim_metadata = pool.storage.metadata.clone();
            for map in [&claim_metadata.labels, &claim_metadata.annotations] {
                pods::keys(&format!("spec.nodePools[{}].storage.metadata", pool.name), map)?;
            }
            Ok(Node {
                id,
                pool: pool.name.clone(),
                volumes: volumes.collect::<Result<_, Invalid>>()?,
                roles: pool.roles.clone(),
                deletion_policy: pool.storage.deletion_policy,
                claim_metadata,
                resources: resources(cluster, pool)?,
                pods: pods::resolve(cluster, pool)?,
                overrides: overrides::parse(pool)?,
                first_voter: identity.first_voters.iter().any(|v| v.id == id),
                request: request(cluster, pool),
                name,
            })
        })
        .collect()
}

/// The larger of what is asked for and what the claim has: a claim never shrinks, whoever grew it.
fn size(
    pool: &NodePool,
    volume: &Volume,
    node: &str,
    claims: &[PersistentVolumeClaim],
) -> Result<Quantity, Invalid> {
    let field = || format!("spec.nodePools[{}].storage.volumes[{}].size", pool.name, volume.id);
    let asked = Quantity(volume.size.clone());
    let bytes =
        quantity::bytes(&asked).ok_or_else(|| spec(field(), format!("{} is not a size", volume.size)))?;
    if bytes == 0 {
        return Err(spec(field(), "is zero"));
    }
    let claim = claims.iter().find(|c| c.name_any() == names::claim(node, volume.id));
    let has = claim.and_then(|c| c.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage"));
    Ok(match has {
        Some(has) if quantity::bytes(has).is_some_and(|b| b > bytes) => has.clone(),
        _ => asked,
    })
}

/// The pool's, or else the cluster's.
fn resources(cluster: &KafkaCluster, pool: &NodePool) -> Result<Option<Resources>, Invalid> {
    let (field, given) = match &pool.resources {
        Some(own) => (format!("spec.nodePools[{}].resources", pool.name), Some(own)),
        None => ("spec.resources".to_owned(), cluster.spec.resources.as_ref()),
    };
    let parts = given.into_iter().flat_map(|r| [("requests", &r.requests), ("limits", &r.limits)]);
    let mut amounts =
        parts.flat_map(|(part, amounts)| amounts.iter().map(move |(name, amount)| (part, name, amount)));
    if let Some((part, name, amount)) = amounts.find(|(_, _, amount)| quantity::bytes(amount).is_none()) {
        let reason = format!("{} is not a quantity, such as 500m, 2 or 4Gi", amount.0);
        return Err(spec(format!("{field}.{part}[{name}]"), reason));
    }
    Ok(given.cloned())
}

/// Digest of what the user asked for a node of `pool`. An operator of another release that renders the same request differently restarts nothing;
/// nor do other pools, or more nodes.
fn request(cluster: &KafkaCluster, pool: &NodePool) -> String {
    let volumes: Vec<_> = pool.storage.volumes.iter().map(|v| v.id).collect();
    let pods = pods::settings(cluster, pool);
    let resources = pool.resources.as_ref().or(cluster.spec.resources.as_ref());
    let pool = serde_json::json!([pool.name, pool.roles, resources, pool.pod_overrides, volumes]);
    let restart = cluster.annotations().get(names::RESTART);
    let spec = &cluster.spec;
    let mut asked = vec![
        serde_json::json!([pool]),
        serde_json::json!(spec.listeners.iter().map(told_to_pods).collect::<Vec<_>>()),
        serde_json::json!(spec.config),
        serde_json::json!(spec.image),
        serde_json::json!(restart),
    ];
    // Last, and only where it is: without it the digest is that of the releases that did not know it.
    asked.extend(spec.rack.as_ref().map(|rack| serde_json::json!(rack)));
    asked.extend((!pods.is_empty()).then(|| serde_json::json!({ "pods": pods })));
    digest(&serde_json::Value::Array(asked))
}

/// Without what concerns its Services and policies alone. What brokers are told while they run is not all left out: the digest is that of the
/// releases that restarted them for it, and a digest that differs restarts nobody whose pod is rendered as before.
fn told_to_pods(listener: &Listener) -> Listener {
    let mut told = listener.clone();
    told.advertised.iter_mut().for_each(|a| a.annotations.clear());
    told.advertised.retain(|a| a.host.is_some() || a.port.is_some() || a.node_port.is_some());
    let (metadata, allow_from, preferred_address_types) = Default::default();
    Listener { metadata, allow_from, preferred_address_types, ..told }
}

/// FNV-1a over the canonical JSON (keys in order), in hexadecimal: stable over releases, not meant against forgery.
pub fn digest(value: &serde_json::Value) -> String {
    let hash = value.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Node {
    /// Holds partitions.
    pub fn is_broker(&self) -> bool {
        self.roles.contains(&Role::Broker)
    }

    /// Votes, or is to vote.
    pub fn is_controller(&self) -> bool {
        self.roles.contains(&Role::Controller)
    }

    /// What the overrides say about the container that serves.
    pub fn container(&self) -> Option<&Container> {
        let containers = &self.overrides.as_ref()?.spec.as_ref()?.containers;
        containers.iter().find(|c| c.name == names::BROKER_CONTAINER)
    }
}

impl ValidatedCluster {
    /// A node's override on a listener.
    pub fn advertised(listener: &Listener, node: NodeId) -> Option<&Advertised> {
        listener.advertised.iter().find(|a| a.node == node.0)
    }

    /// Those that vote or are to vote.
    pub fn controllers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|n| n.is_controller())
    }

    /// Those that hold partitions.
    pub fn brokers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|n| n.is_broker())
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;

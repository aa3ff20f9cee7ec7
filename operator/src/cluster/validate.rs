//! From the spec and what is there to a [`ValidatedCluster`]: everything that the builders need, resolved once; or what is wrong, naming
//! the field.

use super::{
    identity::{self, Directory, Identity, IdentityError, NodeId},
    names,
    observe::Observed,
    quantity,
};
use crate::{
    crd::{
        DeletionPolicy, KafkaCluster, OPERATOR_OWNED_KEYS,
        cluster::{Advertised, Listener, NodePool, Resources, Role, Volume},
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
    /// As in the spec.
    pub listeners: Vec<Listener>,
    /// `spec.config`, rendered.
    pub config: BTreeMap<String, String>,
    /// Image of the broker.
    pub image: String,
    /// The user chose the image: it may be of another release than the operator.
    pub image_is_chosen: bool,
    /// Digest of what was asked for, leaving out what the operator's release decides.
    pub request: String,
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
    /// Merged into the pod template.
    pub overrides: Option<PodTemplateSpec>,
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
}

impl Invalid {
    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Spec { .. } => "InvalidSpec",
            Self::Identity(_) => "ClaimConflict",
            Self::ClaimTerminating(_) => "ClaimTerminating",
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
    let mut identity = identity::assign(cluster, &observed.claims, fresh)?;
    identity.note_formatted(&observed.pods);
    let nodes = nodes(cluster, &identity, &observed.claims)?;
    let chooses = |node: &Node| node.container().is_some_and(|c| c.image.is_some());
    let image_is_chosen = cluster.spec.image.is_some() || nodes.iter().any(chooses);
    Ok(ValidatedCluster {
        name: cluster.name_any(),
        namespace: cluster.namespace().unwrap_or_default(),
        owner: cluster.controller_owner_ref(&()).ok_or_else(|| spec("metadata.uid", "is missing"))?,
        cluster_id: identity.cluster_id,
        nodes,
        listeners: cluster.spec.listeners.clone(),
        config,
        image_is_chosen,
        image: cluster.spec.image.clone().unwrap_or_else(|| default_image.to_owned()),
        request: request(cluster),
    })
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

/// What no CEL rule can see: node ports across listeners.
fn listeners(listeners: &[Listener]) -> Result<(), Invalid> {
    let mut ports = BTreeSet::new();
    for listener in listeners {
        let nodes = listener
            .advertised
            .iter()
            .filter_map(|a| a.node_port.map(|p| (format!("advertised[{}].", a.node), p)));
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
            Ok(Node {
                id,
                pool: pool.name.clone(),
                volumes: volumes.collect::<Result<_, Invalid>>()?,
                roles: pool.roles.clone(),
                deletion_policy: pool.storage.deletion_policy,
                resources: pool.resources.clone(),
                overrides: overrides(pool)?,
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

/// The overrides as a pod template; a field that Kubernetes does not know is refused, not dropped.
fn overrides(pool: &NodePool) -> Result<Option<PodTemplateSpec>, Invalid> {
    let Some(value) = &pool.pod_overrides else { return Ok(None) };
    let field = |path: &str| format!("spec.nodePools[{}].podOverrides{path}", pool.name);
    let mut value = value.clone();
    default_container_name(&mut value);
    let template: PodTemplateSpec =
        serde_json::from_value(value.clone()).map_err(|e| spec(field(""), e.to_string()))?;
    let understood = serde_json::to_value(&template).map_err(|e| spec(field(""), e.to_string()))?;
    match lost(&value, &understood) {
        Some(path) => Err(spec(field(&path), "is not a field of a pod template")),
        None => Ok(Some(template)),
    }
}

/// `spec.containers` is required in the type and optional in an override.
fn default_container_name(template: &mut serde_json::Value) {
    if let Some(spec) = template.get_mut("spec").and_then(serde_json::Value::as_object_mut) {
        spec.entry("containers").or_insert_with(|| serde_json::json!([]));
    }
}

/// The first path of `given` that is not in `understood`.
fn lost(given: &serde_json::Value, understood: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Null, Object};
    match (given, understood) {
        (Object(given), Object(understood)) => {
            given.iter().filter(|(_, v)| **v != Null).find_map(|(key, value)| {
                let inner = match understood.get(key) {
                    None => String::new(),
                    Some(other) => lost(value, other)?,
                };
                Some(format!(".{key}{inner}"))
            })
        }
        (Array(given), Array(understood)) => {
            given.iter().zip(understood).enumerate().find_map(|(index, (value, other))| {
                lost(value, other).map(|inner| format!("[{index}]{inner}"))
            })
        }
        _ => None,
    }
}

/// Digest of what the user asked for. An operator of another release that renders the same request differently restarts nothing.
fn request(cluster: &KafkaCluster) -> String {
    let pools: Vec<_> = cluster
        .spec
        .node_pools
        .iter()
        .map(|p| {
            let volumes: Vec<_> = p.storage.volumes.iter().map(|v| v.id).collect();
            serde_json::json!([p.name, p.roles, p.resources, p.pod_overrides, volumes])
        })
        .collect();
    let restart = cluster.annotations().get(names::RESTART);
    digest(&serde_json::json!([
        pools,
        cluster.spec.listeners,
        cluster.spec.config,
        cluster.spec.image,
        restart
    ]))
}

/// FNV-1a over the canonical JSON (keys in order), in hexadecimal: stable over releases, not meant against forgery.
pub fn digest(value: &serde_json::Value) -> String {
    let hash = value.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Node {
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

    /// Those that vote.
    pub fn controllers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|n| n.roles.contains(&Role::Controller))
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;

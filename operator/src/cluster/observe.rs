//! Reading what is there: the children of one cluster, by label, and what its claims need to be judged.

use super::{machines::Machines, names};
use crate::crd::KafkaCluster;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use kube::{
    Api, Client, Resource, api::ListParams, core::NamespaceResourceScope, runtime::reflector::Lookup,
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt::Debug};

/// What is there of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Claims with the cluster's label, kept ones of an earlier cluster of the name among them.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Services.
    pub services: Vec<Service>,
    /// Configuration of nodes; the record of topics is not among them.
    pub config_maps: Vec<ConfigMap>,
    /// One per node.
    pub stateful_sets: Vec<StatefulSet>,
    /// One per node.
    pub budgets: Vec<PodDisruptionBudget>,
    /// Of nodes and listeners.
    pub policies: Vec<NetworkPolicy>,
    /// Running or not.
    pub pods: Vec<Pod>,
    /// The storage classes, where a claim is not bound yet and the operator may read them; else not asked for.
    pub storage_classes: Option<StorageClasses>,
    /// Addresses of the machines, where the operator may read them.
    pub machines: Option<Machines>,
    /// When it was looked at.
    pub at: Timestamp,
}

/// The storage classes of the Kubernetes cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageClasses {
    /// All names.
    pub names: BTreeSet<String>,
    /// Whether one is the default.
    pub has_default: bool,
}

/// Reads all of it.
///
/// # Errors
/// The first request that fails.
pub async fn observe(
    client: &Client,
    cluster: &KafkaCluster,
    machines: Option<Machines>,
) -> Result<Observed, kube::Error> {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let (claims, services, config_maps, stateful_sets, budgets, policies, pods) = futures::try_join!(
        list(client, namespace, name),
        list(client, namespace, name),
        list::<ConfigMap>(client, namespace, name),
        list(client, namespace, name),
        list(client, namespace, name),
        list(client, namespace, name),
        list(client, namespace, name),
    )?;
    let unbound = |claim: &PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Bound")
    };
    let storage_classes = match claims.is_empty() || claims.iter().any(unbound) {
        true => permitted(storage_classes(client).await)?,
        false => None,
    };
    let record = names::topic_record(name);
    let config_maps =
        config_maps.into_iter().filter(|m| m.metadata.name.as_deref() != Some(&record)).collect();
    let at = Timestamp::now();
    Ok(Observed {
        claims,
        services,
        config_maps,
        stateful_sets,
        budgets,
        policies,
        pods,
        storage_classes,
        machines,
        at,
    })
}

async fn list<K>(client: &Client, namespace: &str, cluster: &str) -> Result<Vec<K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Lookup + Clone + Debug + DeserializeOwned,
{
    let parameters = ListParams::default().labels(&names::cluster_selector(cluster));
    Ok(Api::namespaced(client.clone(), namespace).list(&parameters).await?.items)
}

/// None where the operator may not ask: what belongs to no namespace is out of reach of one that was given some namespaces and no more.
///
/// # Errors
/// Any other.
pub fn permitted<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            tracing::debug!(message = status.message, "may not be asked for");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn storage_classes(client: &Client) -> Result<StorageClasses, kube::Error> {
    const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
    let classes = Api::<StorageClass>::all(client.clone()).list(&ListParams::default()).await?;
    let has_default = classes
        .iter()
        .any(|c| c.metadata.annotations.as_ref().and_then(|a| a.get(DEFAULT)).is_some_and(|v| v == "true"));
    let names = classes.into_iter().filter_map(|c| c.metadata.name).collect();
    Ok(StorageClasses { names, has_default })
}

//! Whether what pods refer to by name is there. A pod that refers to what is not there does not come up: found before anything is restarted, the
//! running ones go on.

use super::{
    build::Workload,
    names,
    observe::{Observed, permitted},
    pods::{Kind, Reference, references},
    validate::{Invalid, ValidatedCluster},
};
use k8s_openapi::api::{
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, ServiceAccount},
    scheduling::v1::PriorityClass,
};
use kube::{Api, Client, Resource, ResourceExt, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt::Debug};

/// Those of `workload`'s references that are not there, asked by name.
///
/// # Errors
/// When the API server cannot be asked. Where the operator may not ask, nothing is missing.
pub async fn missing(
    client: &Client,
    namespace: &str,
    workload: &Workload,
) -> Result<BTreeSet<Reference>, kube::Error> {
    let templates = workload.nodes.iter().filter_map(|n| n.stateful_set.spec.as_ref()).map(|s| &s.template);
    let mut missing = BTreeSet::new();
    for reference in templates.flat_map(references).collect::<BTreeSet<_>>() {
        let name = reference.name.as_str();
        let is_there = match reference.kind {
            Kind::PriorityClass => exists(&Api::<PriorityClass>::all(client.clone()), name).await,
            Kind::ServiceAccount => within::<ServiceAccount>(client, namespace, name).await,
            Kind::Secret => within::<Secret>(client, namespace, name).await,
            Kind::ConfigMap => within::<ConfigMap>(client, namespace, name).await,
            Kind::PersistentVolumeClaim => within::<PersistentVolumeClaim>(client, namespace, name).await,
        };
        if !is_there? {
            missing.insert(reference);
        }
    }
    Ok(missing)
}

async fn within<K>(client: &Client, namespace: &str, name: &str) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    exists(&Api::<K>::namespaced(client.clone(), namespace), name).await
}

async fn exists<K>(api: &Api<K>, name: &str) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    Ok(permitted(api.get_metadata_opt(name).await)?.is_none_or(|found| found.is_some()))
}

/// What is missing stops a cluster from taking a spec that needs it: a node that is new, or that is asked to change. Where all is as before, it
/// is a warning: what runs does not need it before its next start.
///
/// # Errors
/// The first reference that is missing, where a node is to be made or changed.
pub fn judge(
    cluster: &ValidatedCluster,
    workload: &Workload,
    observed: &Observed,
    missing: &BTreeSet<Reference>,
) -> Result<Vec<String>, Invalid> {
    let set_of = |name: &str| observed.stateful_sets.iter().find(|s| s.name_any() == name);
    for (node, rendered) in cluster.nodes.iter().zip(&workload.nodes) {
        let changes =
            set_of(&node.name).is_none_or(|set| set.annotations().get(names::REQUEST) != Some(&node.request));
        let template = rendered.stateful_set.spec.as_ref().map(|s| &s.template);
        let lacks = template.map(references).unwrap_or_default();
        if let Some(first) = lacks.intersection(missing).next().filter(|_| changes) {
            return Err(Invalid::Missing { pool: node.pool.clone(), reference: first.clone() });
        }
    }
    let warning = |reference: &Reference| {
        format!("{reference} does not exist any more: pods run on and do not start again without it")
    };
    Ok(missing.iter().map(warning).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::build::{address::Addresses, workload},
        fixtures::{cluster, validated},
    };
    use serde_json::json;

    #[test]
    fn what_is_missing_stops_a_change_and_not_what_runs() {
        let with = |account: &str| {
            let cluster = cluster(|s| s["pods"] = json!({"serviceAccountName": account}));
            validated(&cluster, &Observed::default()).unwrap()
        };
        let (old, new) = (with("old"), with("new"));
        let render = |c: &ValidatedCluster| workload(c, &Observed::default(), &Addresses::default());
        let missing =
            |name: &str| BTreeSet::from([Reference { kind: Kind::ServiceAccount, name: name.into() }]);
        let error = judge(&old, &render(&old), &Observed::default(), &missing("old")).unwrap_err();
        assert_eq!(error.reason(), "ReferenceNotFound");
        assert!(error.to_string().contains("ServiceAccount old does not exist"), "{error}");

        let sets = render(&old).nodes.into_iter().map(|n| n.stateful_set).collect();
        let running = Observed { stateful_sets: sets, ..Observed::default() };
        let warnings = judge(&old, &render(&old), &running, &missing("old")).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(judge(&new, &render(&new), &running, &missing("new")).is_err());
        assert_eq!(judge(&new, &render(&new), &running, &BTreeSet::new()), Ok(Vec::new()));
    }
}

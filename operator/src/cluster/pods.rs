//! `pods` of the spec and of the pools, resolved into Kubernetes' own types; and the objects that pods refer to by name.

use super::{names, overrides::strict, validate::Invalid};
use crate::crd::{
    KafkaCluster, OPERATOR_OWNED_KEYS,
    cluster::NodePool,
    pods::{
        ExtraVolume, KeyOf, PodSettings, ProbeSettings, Spread, Toleration, TolerationOperator, Variable,
    },
};
use k8s_openapi::api::core::v1::{
    self as core, Affinity, ConfigMapKeySelector, EnvVar, EnvVarSource, PodTemplateSpec, SecretKeySelector,
    Volume, VolumeMount,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a node's pod has, beside what follows from the rest of the spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodDetails {
    /// Beside the operator's labels.
    pub labels: BTreeMap<String, String>,
    /// Beside the operator's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Labels that a machine must have.
    pub node_selector: BTreeMap<String, String>,
    /// None where none are asked for.
    pub tolerations: Vec<core::Toleration>,
    /// In place of the operator's.
    pub affinity: Option<Affinity>,
    /// In place of the operator's.
    pub spread: Option<Vec<Spread>>,
    /// As in the spec.
    pub priority_class: Option<String>,
    /// Names of Secrets.
    pub pull_secrets: Vec<String>,
    /// As in the spec.
    pub service_account: Option<String>,
    /// Seconds.
    pub grace: Option<i64>,
    /// Of the container that serves.
    pub env: Vec<EnvVar>,
    /// Beside those with data.
    pub volumes: Vec<(Volume, VolumeMount)>,
    /// As in the spec.
    pub liveness: ProbeSettings,
    /// As in the spec.
    pub readiness: ProbeSettings,
}

/// What a pool's pods are asked to have: its own words over the cluster's.
pub fn settings(cluster: &KafkaCluster, pool: &NodePool) -> PodSettings {
    pool.pods.over(&cluster.spec.pods)
}

/// Resolves them. What is wrong is named by the field where it was written.
///
/// # Errors
/// The first field that is wrong.
pub fn resolve(cluster: &KafkaCluster, pool: &NodePool) -> Result<PodDetails, Invalid> {
    details("spec.pods", &cluster.spec.pods)?;
    let field = format!("spec.nodePools[{}].pods", pool.name);
    details(&field, &pool.pods)?;
    details(&field, &settings(cluster, pool))
}

fn refuse(field: String, reason: impl Into<String>) -> Invalid {
    Invalid::Spec { field, reason: reason.into() }
}

fn details(field: &str, given: &PodSettings) -> Result<PodDetails, Invalid> {
    for (part, map) in [
        ("metadata.labels", &given.metadata.labels),
        ("metadata.annotations", &given.metadata.annotations),
        ("nodeSelector", &given.node_selector),
    ] {
        keys(&format!("{field}.{part}"), map)?;
    }
    let affinity = given.affinity.as_ref();
    let affinity =
        affinity.map(|a| strict(&format!("{field}.affinity"), &serde_json::json!(a), "an affinity"));
    let env = given.env.iter().map(|v| variable(&format!("{field}.env[{}]", v.name), v));
    let volumes = given.volumes.iter().map(|v| volume(&format!("{field}.volumes[{}]", v.name), v));
    let volumes = volumes.collect::<Result<Vec<_>, _>>()?;
    let mut paths = BTreeSet::new();
    if let Some((twice, mount)) = volumes.iter().find(|(_, mount)| !paths.insert(&mount.mount_path)) {
        let reason = format!("another volume is mounted at {}", mount.mount_path);
        return Err(refuse(format!("{field}.volumes[{}].mountPath", twice.name), reason));
    }
    Ok(PodDetails {
        labels: given.metadata.labels.clone(),
        annotations: given.metadata.annotations.clone(),
        node_selector: given.node_selector.clone(),
        tolerations: given.tolerations.iter().flatten().map(toleration).collect(),
        affinity: affinity.transpose()?,
        spread: given.topology_spread_constraints.clone(),
        priority_class: given.priority_class_name.clone(),
        pull_secrets: given.image_pull_secrets.iter().flatten().map(|s| s.name.clone()).collect(),
        service_account: given.service_account_name.clone(),
        grace: given.termination_grace_period_seconds,
        env: env.collect::<Result<_, _>>()?,
        volumes,
        liveness: given.liveness_probe.unwrap_or_default(),
        readiness: given.readiness_probe.unwrap_or_default(),
    })
}

/// Keys of labels and annotations: Kubernetes' qualified names, and none of the operator's.
pub fn keys(field: &str, map: &BTreeMap<String, String>) -> Result<(), Invalid> {
    map.keys().try_for_each(|key| {
        let at = || format!("{field}[{key}]");
        if !is_qualified(key) {
            return Err(refuse(
                at(),
                "is not a key: an optional DNS name and '/', then at most 63 letters, digits, '-', '_', '.'",
            ));
        }
        if names::is_own_key(key) {
            return Err(refuse(at(), "is set by the operator"));
        }
        Ok(())
    })
}

fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let is_name = |s: &str, most: usize, is_inner: fn(char) -> bool| {
        !s.is_empty()
            && s.len() <= most
            && s.starts_with(is_end)
            && s.ends_with(is_end)
            && s.chars().all(is_inner)
    };
    let dns = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    is_name(name, 63, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && prefix.is_none_or(|p| is_name(p, 253, dns))
}

fn toleration(given: &Toleration) -> core::Toleration {
    let operator = given.operator.map(|operator| match operator {
        TolerationOperator::Equal => "Equal".to_owned(),
        TolerationOperator::Exists => "Exists".to_owned(),
    });
    core::Toleration {
        key: given.key.clone(),
        operator,
        value: given.value.clone(),
        effect: given.effect.map(|effect| format!("{effect:?}")),
        toleration_seconds: given.toleration_seconds,
    }
}

fn variable(field: &str, given: &Variable) -> Result<EnvVar, Invalid> {
    is_free(field, &given.name)?;
    let source = given.value_from.as_ref().map(|from| -> Result<EnvVarSource, Invalid> {
        let at = |part: &str| format!("{field}.valueFrom.{part}");
        let field_ref = from.field_ref.as_ref().map(|v| strict(&at("fieldRef"), v, "an ObjectFieldSelector"));
        let resource = from.resource_field_ref.as_ref();
        let resource = resource.map(|v| strict(&at("resourceFieldRef"), v, "a ResourceFieldSelector"));
        Ok(EnvVarSource {
            config_map_key_ref: from
                .config_map_key_ref
                .clone()
                .map(|KeyOf { name, key, optional }| ConfigMapKeySelector { name, key, optional }),
            secret_key_ref: from
                .secret_key_ref
                .clone()
                .map(|KeyOf { name, key, optional }| SecretKeySelector { name, key, optional }),
            field_ref: field_ref.transpose()?,
            resource_field_ref: resource.transpose()?,
        })
    });
    Ok(EnvVar { name: given.name.clone(), value: given.value.clone(), value_from: source.transpose()? })
}

/// A variable is configuration, too: none sets what the operator writes itself.
pub fn is_free(field: &str, variable: &str) -> Result<(), Invalid> {
    let Some(rest) = variable.strip_prefix("KAFKA_") else {
        return match variable {
            names::HOST_IP | names::POD_IP => Err(refuse(field.to_owned(), "is set by the operator")),
            _ => Ok(()),
        };
    };
    let key = rest.strip_prefix("CFG_").unwrap_or(rest).to_ascii_lowercase().replace('_', ".");
    let owned = OPERATOR_OWNED_KEYS.iter().find(|(owned, _)| *owned == key).map(|(_, hint)| *hint);
    let owned = owned.or((variable == names::RACK).then_some("set spec.rack"));
    match owned {
        Some(hint) => Err(refuse(field.to_owned(), format!("is set by the operator: {hint}"))),
        None => Ok(()),
    }
}

fn volume(field: &str, given: &ExtraVolume) -> Result<(Volume, VolumeMount), Invalid> {
    let source = serde_json::json!({
        "name": given.name,
        "configMap": given.config_map,
        "secret": given.secret,
        "projected": given.projected,
        "emptyDir": given.empty_dir,
        "persistentVolumeClaim": given.persistent_volume_claim,
        "csi": given.csi,
    });
    let volume: Volume = strict(field, &source, "a volume")?;
    let config_map = volume.config_map.as_ref().is_some_and(|c| c.name.is_empty());
    let secret =
        volume.secret.as_ref().is_some_and(|s| s.secret_name.as_deref().unwrap_or_default().is_empty());
    for (is_nameless, part) in [(config_map, "configMap.name"), (secret, "secret.secretName")] {
        if is_nameless {
            return Err(refuse(format!("{field}.{part}"), "is missing"));
        }
    }
    let mount = VolumeMount {
        name: given.name.clone(),
        mount_path: given.mount_path.clone(),
        sub_path: given.sub_path.clone(),
        read_only: given.read_only,
        ..VolumeMount::default()
    };
    Ok((volume, mount))
}

/// An object without which a pod does not come up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Kind of the object.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// Kinds that pods refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of all namespaces.
    PriorityClass,
    /// Of the cluster's namespace, as all below.
    ServiceAccount,
    /// By volumes, variables, or to pull an image.
    Secret,
    /// By volumes or variables.
    ConfigMap,
    /// By volumes.
    PersistentVolumeClaim,
}

/// What a template refers to, but for what the operator itself makes and what may be missing.
pub fn references(template: &PodTemplateSpec) -> BTreeSet<Reference> {
    let Some(spec) = &template.spec else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    let mut add = |kind, name: Option<&String>, optional: Option<bool>| {
        if let Some(name) = name.filter(|name| !name.is_empty() && optional != Some(true)) {
            found.insert(Reference { kind, name: name.clone() });
        }
    };
    add(Kind::PriorityClass, spec.priority_class_name.as_ref(), None);
    add(Kind::ServiceAccount, spec.service_account_name.as_ref(), None);
    spec.image_pull_secrets.iter().flatten().for_each(|s| add(Kind::Secret, Some(&s.name), None));
    let own = |volume: &&Volume| !names::is_own_volume(&volume.name);
    for volume in spec.volumes.iter().flatten().filter(own) {
        let (config_map, secret) = (volume.config_map.as_ref(), volume.secret.as_ref());
        add(Kind::ConfigMap, config_map.map(|c| &c.name), config_map.and_then(|c| c.optional));
        add(Kind::Secret, secret.and_then(|s| s.secret_name.as_ref()), secret.and_then(|s| s.optional));
        let claim = volume.persistent_volume_claim.as_ref();
        add(Kind::PersistentVolumeClaim, claim.map(|c| &c.claim_name), None);
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    // Its value is in the node's own ConfigMap, which is made with it.
    let variables =
        containers.flat_map(|c| c.env.iter().flatten()).filter(|v| v.name != names::ADVERTISED_LISTENERS);
    for source in variables.filter_map(|v| v.value_from.as_ref()) {
        let (config_map, secret) = (source.config_map_key_ref.as_ref(), source.secret_key_ref.as_ref());
        add(Kind::ConfigMap, config_map.map(|c| &c.name), config_map.and_then(|c| c.optional));
        add(Kind::Secret, secret.map(|s| &s.name), secret.and_then(|s| s.optional));
    }
    found
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;

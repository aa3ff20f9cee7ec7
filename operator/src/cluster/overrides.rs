//! `podOverrides`: a partial pod template, read strictly, as is every other part of a Kubernetes object in the spec.

use super::{names, pods, validate::Invalid};
use crate::crd::cluster::NodePool;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The overrides as a pod template; a field that Kubernetes does not know is refused, not dropped.
///
/// # Errors
/// The field that is wrong, not known, or the operator's own.
pub fn parse(pool: &NodePool) -> Result<Option<PodTemplateSpec>, Invalid> {
    let Some(value) = &pool.pod_overrides else { return Ok(None) };
    let field = format!("spec.nodePools[{}].podOverrides", pool.name);
    let mut value = value.clone();
    default_container_name(&mut value);
    text_quantities(&mut value);
    let template: PodTemplateSpec = strict(&field, &value, "a pod template")?;
    leaves_ours(&field, &template)?;
    Ok(Some(template))
}

/// Labels, annotations and variables that the operator counts on stay what they are.
fn leaves_ours(field: &str, template: &PodTemplateSpec) -> Result<(), Invalid> {
    if let Some(metadata) = &template.metadata {
        pods::keys(&format!("{field}.metadata.labels"), &metadata.labels.clone().unwrap_or_default())?;
        pods::keys(
            &format!("{field}.metadata.annotations"),
            &metadata.annotations.clone().unwrap_or_default(),
        )?;
    }
    let containers = template.spec.iter().flat_map(|s| &s.containers);
    let broker = containers.filter(|c| c.name == names::BROKER_CONTAINER);
    broker
        .flat_map(|c| c.env.iter().flatten())
        .try_for_each(|v| pods::is_free(&format!("{field}, variable {}", v.name), &v.name))
}

/// Reads a part of a Kubernetes object; a field that Kubernetes does not know is refused, not dropped. `what` it is, for people.
///
/// # Errors
/// The field that is wrong or not known.
pub fn strict<T: DeserializeOwned + Serialize>(field: &str, value: &Value, what: &str) -> Result<T, Invalid> {
    let wrong = |e: serde_json::Error| refuse(field.to_owned(), e.to_string());
    let read: T = serde_json::from_value(value.clone()).map_err(wrong)?;
    let understood = serde_json::to_value(&read).map_err(wrong)?;
    match lost(value, &understood) {
        Some(path) => Err(refuse(format!("{field}{path}"), format!("is not a field of {what}"))),
        None => Ok(read),
    }
}

/// `cpu: 2` is as good as `cpu: "2"`, here as for Kubernetes.
fn text_quantities(value: &mut Value) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, inner)| match inner {
            Value::Object(amounts) if key == "requests" || key == "limits" => {
                for amount in amounts.values_mut().filter(|v| v.is_number()) {
                    *amount = Value::String(amount.to_string());
                }
            }
            _ => text_quantities(inner),
        }),
        Value::Array(list) => list.iter_mut().for_each(text_quantities),
        _ => {}
    }
}

/// `spec.containers` is required in the type and optional in an override.
fn default_container_name(template: &mut Value) {
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("containers").or_insert_with(|| serde_json::json!([]));
    }
}

/// The first path of `given` that is not in `understood`.
fn lost(given: &Value, understood: &Value) -> Option<String> {
    use Value::{Array, Null, Object};
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

fn refuse(field: String, reason: impl Into<String>) -> Invalid {
    Invalid::Spec { field, reason: reason.into() }
}

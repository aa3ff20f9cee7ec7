//! `podOverrides`: a partial pod template, read strictly.

use super::validate::Invalid;
use crate::crd::cluster::NodePool;
use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The overrides as a pod template; a field that Kubernetes does not know is refused, not dropped.
///
/// # Errors
/// The field that is wrong or not known.
pub fn parse(pool: &NodePool) -> Result<Option<PodTemplateSpec>, Invalid> {
    let Some(value) = &pool.pod_overrides else { return Ok(None) };
    let field = |path: &str| format!("spec.nodePools[{}].podOverrides{path}", pool.name);
    let mut value = value.clone();
    default_container_name(&mut value);
    let template: PodTemplateSpec =
        serde_json::from_value(value.clone()).map_err(|e| refuse(field(""), e.to_string()))?;
    let understood = serde_json::to_value(&template).map_err(|e| refuse(field(""), e.to_string()))?;
    match lost(&value, &understood) {
        Some(path) => Err(refuse(field(&path), "is not a field of a pod template")),
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

fn refuse(field: String, reason: impl Into<String>) -> Invalid {
    Invalid::Spec { field, reason: reason.into() }
}

//! The API `ottla.dev/v1alpha1`: types, CEL rules, status, and the YAML that is made of them.
//!
//! What can be judged from the object alone is refused at admission, by the schema or a CEL rule. What needs the
//! cluster's state becomes a condition. A field that has no effect does not exist.

pub mod cluster;
pub mod conditions;
pub mod network;
pub mod pods;
pub mod topic;
pub mod yaml;

pub use cluster::{KafkaCluster, KafkaClusterSpec, KafkaClusterStatus};
pub use topic::{KafkaTopic, KafkaTopicSpec, KafkaTopicStatus};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The API group.
pub const GROUP: &str = "ottla.dev";

/// What happens to the data when the resource that asked for it is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The data stays.
    #[default]
    Retain,
    /// The data goes with the resource.
    Delete,
}

/// Kafka's own configuration names with values as strings, numbers or booleans.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigMapping(pub BTreeMap<String, serde_json::Value>);

/// Why an entry of a [`ConfigMapping`] has no rendering.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("config[{key}]: {reason}")]
pub struct ConfigValueError {
    /// The key in question.
    pub key: String,
    /// What is wrong with its value.
    pub reason: &'static str,
}

impl ConfigMapping {
    /// The entries as Kafka takes them: `name → text`.
    ///
    /// # Errors
    /// The first value that is null, a list or an object, or text that would not fit a line of a properties file.
    pub fn rendered(&self) -> Result<BTreeMap<String, String>, ConfigValueError> {
        self.0.iter().map(|(key, value)| Ok((key.clone(), render(key, value)?))).collect()
    }
}

fn render(key: &str, value: &serde_json::Value) -> Result<String, ConfigValueError> {
    let refuse = |reason| ConfigValueError { key: key.to_owned(), reason };
    if key.is_empty()
        || key.len() > 255
        || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
    {
        return Err(refuse("not a configuration name (letters, digits, '.', '-', '_', at most 255)"));
    }
    match value {
        serde_json::Value::String(text) if text.contains(['\n', '\r', '\0']) => {
            Err(refuse("a value is one line of text"))
        }
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Bool(flag) => Ok(flag.to_string()),
        serde_json::Value::Number(number) => Ok(render_number(number)),
        _ => Err(refuse("a value is a string, a number or a boolean")),
    }
}

/// Whole numbers without a fraction, also where YAML wrote `1e9`: Kafka reads `long`, not `double`.
fn render_number(number: &serde_json::Number) -> String {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            format!("{float:.0}")
        }
        _ => number.to_string(),
    }
}

/// Keys of `spec.config` that the operator writes itself, and what to set in their place.
pub const OPERATOR_OWNED_KEYS: &[(&str, &str)] = &[
    ("node.id", "node ids are assigned by the operator and shown in status.nodeIds"),
    ("broker.id", "node ids are assigned by the operator and shown in status.nodeIds"),
    ("process.roles", "set spec.nodePools[].roles"),
    ("listeners", "set spec.listeners"),
    ("advertised.listeners", "set spec.listeners[].advertised"),
    ("listener.security.protocol.map", "set spec.listeners[].protocol"),
    ("inter.broker.listener.name", "the operator adds a listener for the brokers themselves"),
    ("security.inter.broker.protocol", "the operator adds a listener for the brokers themselves"),
    ("controller.listener.names", "the operator adds a listener for the controllers"),
    ("controller.quorum.voters", "the voters follow spec.nodePools"),
    ("controller.quorum.bootstrap.servers", "the voters follow spec.nodePools"),
    ("log.dir", "set spec.nodePools[].storage.volumes"),
    ("log.dirs", "set spec.nodePools[].storage.volumes"),
    ("metadata.log.dir", "set spec.nodePools[].storage.volumes"),
    ("config.providers", "the pods' variables are its only provider"),
    ("ottla.http.listener", "health and metrics answer on port 9404"),
    ("ottla.admin.listener", "the operator asks the nodes on port 9405"),
    ("ottla.admin.tls.ca.path", "the operator makes the certificates"),
    ("ottla.admin.tls.certificate.path", "the operator makes the certificates"),
    ("ottla.admin.tls.key.path", "the operator makes the certificates"),
];

/// `spec.config` of a cluster: any key, but those that the operator owns are declared, so that CEL sees them.
pub(crate) fn cluster_config_schema(_: &mut SchemaGenerator) -> Schema {
    let owned: serde_json::Map<_, _> = OPERATOR_OWNED_KEYS
        .iter()
        .map(|(key, hint)| {
            let never = serde_json::json!({
                "description": format!("Not allowed: {hint}."),
                "x-kubernetes-int-or-string": true,
            });
            ((*key).to_owned(), never)
        })
        .collect();
    let rules: Vec<_> = OPERATOR_OWNED_KEYS
        .iter()
        .map(|(key, hint)| {
            serde_json::json!({
                "rule": format!("!has(self.{})", key.replace('.', "__dot__")),
                "message": format!("spec.config[{key}] is set by the operator: {hint}"),
                "reason": "FieldValueForbidden",
            })
        })
        .collect();
    json_schema!({
        "type": "object",
        "maxProperties": 512,
        "properties": owned,
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": rules,
    })
}

/// Resource names to quantities.
pub(crate) fn quantities_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "pattern": r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$",
        },
    })
}

/// A map whose keys and values the operator checks itself.
pub(crate) fn open_object_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

#[cfg(test)]
mod cel_tests;
#[cfg(test)]
mod wrong_specs;

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(value: serde_json::Value) -> ConfigMapping {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn values_render_as_kafka_reads_them() {
        let config = mapping(serde_json::json!({
            "a": "text", "b": 1, "c": true, "d": 1e9, "e": 9_223_372_036_854_775_807_i64, "f": 0.5, "g": -1
        }));
        let rendered: Vec<_> = config.rendered().unwrap().into_values().collect();
        assert_eq!(rendered, ["text", "1", "true", "1000000000", "9223372036854775807", "0.5", "-1"]);
    }

    #[test]
    fn a_value_that_is_no_scalar_is_refused_by_name() {
        for bad in [serde_json::json!(null), serde_json::json!([1]), serde_json::json!({"x": 1})] {
            let error = mapping(serde_json::json!({ "retention.ms": bad })).rendered().unwrap_err();
            assert_eq!(error.to_string(), "config[retention.ms]: a value is a string, a number or a boolean");
        }
    }

    #[test]
    fn a_value_cannot_smuggle_in_a_second_line() {
        let error = mapping(serde_json::json!({"a": "1\nnode.id=7"})).rendered().unwrap_err();
        assert_eq!(error.key, "a");
        let error = mapping(serde_json::json!({"a=1\nb": "1"})).rendered().unwrap_err();
        assert!(error.reason.starts_with("not a configuration name"));
    }
}

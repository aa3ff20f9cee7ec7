//! Who may connect: peers as in a `NetworkPolicy`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether the operator makes NetworkPolicies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NetworkPolicies {
    /// Listeners are open to those whom they name, or to everybody; the nodes' own ports to the cluster and the operator.
    #[default]
    Enabled,
    /// None are made; those that were are deleted.
    Disabled,
}

/// Pods, namespaces, or a range of addresses.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.ipBlock) ? !has(self.podSelector) && !has(self.namespaceSelector) : has(self.podSelector) || has(self.namespaceSelector)")
        .message("spec.listeners[].allowFrom[]: set podSelector, namespaceSelector or both; or ipBlock alone"),
)]
pub struct Peer {
    /// Pods with these labels, in the namespaces of `namespaceSelector`; in the cluster's own without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<Selector>,
    /// Namespaces with these labels; an empty object is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<Selector>,
    /// A range of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_block: Option<IpBlock>,
}

/// A Kubernetes label selector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::pods::labels_schema")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels; all of them hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub match_expressions: Vec<Expression>,
}

/// A condition on a label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)")
        .message("matchExpressions[]: In and NotIn take values, Exists and DoesNotExist none"),
)]
pub struct Expression {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How its value is compared.
    pub operator: SelectorOperator,
    /// With what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
    /// Any value.
    Exists,
    /// No such label.
    DoesNotExist,
}

/// A range of addresses.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("isCIDR(self.cidr)")
        .message("ipBlock.cidr: not a range of addresses such as 10.0.0.0/8"),
    validation = Rule::new("!has(self.except) || !isCIDR(self.cidr) || self.except.all(e, isCIDR(e) && cidr(self.cidr).containsCIDR(cidr(e)))")
        .message("ipBlock.except: a range of addresses within cidr"),
)]
pub struct IpBlock {
    /// The range, such as `10.0.0.0/8`.
    #[schemars(length(min = 1, max = 49))]
    pub cidr: String,
    /// Ranges within it that may not connect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 49)))]
    pub except: Vec<String>,
}

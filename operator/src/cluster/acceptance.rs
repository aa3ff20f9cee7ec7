//! Whether the running brokers know what a changed configuration says. A static key takes effect by a restart, and a broker that does not know a
//! key does not start: asked before, the running one goes on.

use super::{
    names,
    observe::Observed,
    restart,
    validate::{Invalid, ValidatedCluster},
};
use crate::kafka::{ConfigKind, KafkaError, Pool};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Prefixes under which Kafka leaves names open: overrides per listener, and the settings of plugins.
const OPEN: [&str; 6] = [
    "listener.name.",
    "config.providers.",
    "rlmm.config.",
    "rsm.config.",
    "metrics.context.",
    "principal.builder.",
];

/// The entries of `spec.config` that no running pod has yet. Empty before the first start: then there is nobody to ask, and nothing to lose.
pub fn news(cluster: &ValidatedCluster, observed: &Observed) -> BTreeMap<String, String> {
    if !observed.pods.iter().any(restart::is_ready) {
        return BTreeMap::new();
    }
    let known: Vec<_> = observed
        .config_maps
        .iter()
        .filter_map(|map| map.data.as_ref()?.get(names::CONFIG_FILE))
        .flat_map(|text| text.lines())
        .collect();
    let is_known = |key: &str, value: &str| {
        let line = super::build::properties::line(key, value);
        known.contains(&line.as_str())
    };
    cluster.config.iter().filter(|(k, v)| !is_known(k, v)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Asks the node with the lowest id that is ready.
///
/// # Errors
/// When it does not answer.
pub async fn ask(
    cluster: &ValidatedCluster,
    observed: &Observed,
    kafka: &Pool,
) -> Result<BTreeMap<String, ConfigKind>, KafkaError> {
    let ready =
        |name: &str| observed.pods.iter().any(|p| p.name_any() == names::pod(name) && restart::is_ready(p));
    let Some(node) = cluster.nodes.iter().find(|n| ready(&n.name)) else { return Ok(BTreeMap::new()) };
    let host = names::service_host(&names::bootstrap(&cluster.name, "replication"), &cluster.namespace);
    kafka.admin(&format!("{host}:{}", names::REPLICATION_PORT)).broker_keys(node.id.0).await
}

/// Judges `news` by the keys that the broker has.
///
/// # Errors
/// The first key that it does not know, or whose value is of another kind.
pub fn judge(news: &BTreeMap<String, String>, keys: &BTreeMap<String, ConfigKind>) -> Result<(), Invalid> {
    for (key, value) in news.iter().filter(|(key, _)| !OPEN.iter().any(|p| key.starts_with(p))) {
        let refuse = |reason: String| Invalid::Spec { field: format!("spec.config[{key}]"), reason };
        match keys.get(key) {
            None => return Err(refuse("the broker has no such configuration".to_owned())),
            Some(kind) if !kind.accepts(value) => {
                return Err(refuse(format!("{value:?} is not {}", kind.describe())));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(key: &str, value: &str) -> Result<(), String> {
        let keys = BTreeMap::from([
            ("num.partitions".to_owned(), ConfigKind::Int),
            ("log.retention.ms".to_owned(), ConfigKind::Long),
            ("auto.create.topics.enable".to_owned(), ConfigKind::Boolean),
            ("log.cleaner.min.cleanable.ratio".to_owned(), ConfigKind::Double),
            ("log.cleanup.policy".to_owned(), ConfigKind::Other),
        ]);
        judge(&BTreeMap::from([(key.to_owned(), value.to_owned())]), &keys).map_err(|e| e.to_string())
    }

    #[test]
    fn values_of_the_right_kind_pass() {
        for (key, value) in [
            ("num.partitions", "3"),
            ("log.retention.ms", "-1"),
            ("auto.create.topics.enable", "TRUE"),
            ("log.cleaner.min.cleanable.ratio", "0.5"),
            ("log.cleanup.policy", "anything"),
            ("listener.name.internal.max.connections", "5"),
        ] {
            assert_eq!(judged(key, value), Ok(()), "{key}");
        }
    }

    #[test]
    fn what_would_keep_a_broker_from_starting_is_named() {
        for (key, value, expected) in [
            ("no.such.key", "1", "spec.config[no.such.key]: the broker has no such configuration"),
            (
                "num.partitions",
                "many",
                "spec.config[num.partitions]: \"many\" is not a whole number of 32 bits",
            ),
            (
                "num.partitions",
                "9999999999",
                "spec.config[num.partitions]: \"9999999999\" is not a whole number of 32 bits",
            ),
            (
                "auto.create.topics.enable",
                "1",
                "spec.config[auto.create.topics.enable]: \"1\" is not true or false",
            ),
        ] {
            assert_eq!(judged(key, value), Err(expected.to_owned()));
        }
    }
}

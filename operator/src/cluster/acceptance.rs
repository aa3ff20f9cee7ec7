//! Whether a broker would start with what the spec says. A changed configuration takes effect by a restart, and a broker that finds a fault in it
//! does not start: found here, before anything is touched, the running one goes on.
//!
//! Two judge. The broker's own tables, as of the operator's release, see everything: names, types, ranges, contradictions. The running broker
//! is asked about what is new to it, because its image may be of another release.

use super::{
    build::{self, address::Addresses},
    names,
    observe::Observed,
    restart,
    validate::{Invalid, Node, ValidatedCluster},
};
use crate::kafka::{ConfigKind, KafkaError, Pool};
use kube::ResourceExt;
use ottla_config::{Config, ConfigError, Origin, Sources, keys, passes_through};
use std::collections::BTreeMap;

/// Judges what every node would be started with, as its broker would.
///
/// # Errors
/// The first thing that it would refuse.
pub fn judge(cluster: &ValidatedCluster) -> Result<(), Invalid> {
    cluster.nodes.iter().try_for_each(|node| {
        let sources = Sources {
            text: Some(build::properties::build(&known(cluster), node)),
            environment: environment(cluster, node),
            host_name: node.name.clone(),
            ..Sources::default()
        };
        let errors = Config::load(&sources).err().map(|errors| errors.0).unwrap_or_default();
        errors.into_iter().next().map_or(Ok(()), |error| Err(told(error, node)))
    })
}

/// Without the keys that only another release may know, where the image may be of one.
fn known(cluster: &ValidatedCluster) -> ValidatedCluster {
    let mut known = cluster.clone();
    if cluster.image_is_chosen {
        let is_known = |key: &str| keys::broker(key).is_some() || keys::removed(key).is_some();
        known.config.retain(|key, _| is_known(key) || passes_through(key));
    }
    known
}

/// The pod's environment, as far as it is known before there is a pod.
fn environment(cluster: &ValidatedCluster, node: &Node) -> Vec<(String, String)> {
    let advertised = build::properties::advertised_listeners(cluster, node, &Addresses::default(), None);
    // An address, as good as any.
    let known = [names::HOST_IP, names::POD_IP].map(|name| (name.to_owned(), "2001:db8::1".to_owned()));
    let own = (names::ADVERTISED_LISTENERS.to_owned(), advertised);
    let asked = node.container().and_then(|c| c.env.as_ref()).into_iter().flatten().chain(&node.pods.env);
    let asked = asked.filter_map(|e| Some((e.name.clone(), e.value.clone().filter(|v| !v.contains("$("))?)));
    [own].into_iter().chain(known).chain(asked).collect()
}

fn told(error: ConfigError, node: &Node) -> Invalid {
    let field = |origin: &Origin, key: &str| match origin {
        Origin::Environment(name) if name == names::ADVERTISED_LISTENERS => "spec.listeners".to_owned(),
        Origin::Environment(name) if node.pods.env.iter().any(|v| v.name == *name) => {
            format!("spec.nodePools[{}].pods.env[{name}]", node.pool)
        }
        Origin::Environment(name) => format!("spec.nodePools[{}].podOverrides, variable {name}", node.pool),
        _ => format!("spec.config[{key}]"),
    };
    let (field, reason) = match &error {
        ConfigError::Unknown { key, origin, suggestion } => {
            let nearest = suggestion.map_or_else(String::new, |name| format!("; did you mean {name}?"));
            (field(origin, key), format!("the broker has no such configuration{nearest}"))
        }
        ConfigError::Removed { key, origin, advice } => {
            (field(origin, key), format!("Kafka has this configuration no longer: {advice}"))
        }
        ConfigError::Invalid { key, value, reason, origin } => {
            (field(origin, key), format!("{value:?} is not valid: {reason}"))
        }
        other => ("spec.config".to_owned(), other.to_string()),
    };
    Invalid::Spec { field, reason }
}

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

/// Asks the broker with the lowest id that is ready; each knows its own keys alone.
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
    let Some(node) = cluster.brokers().find(|n| ready(&n.name)) else { return Ok(BTreeMap::new()) };
    let address = names::replication_address(&node.name, &cluster.namespace);
    kafka.admin(&address).broker_keys(node.id.0).await
}

/// Judges `news` by the keys that the broker has.
///
/// # Errors
/// The first key that it does not know, or whose value is of another kind.
pub fn judge_by_kinds(
    news: &BTreeMap<String, String>,
    keys: &BTreeMap<String, ConfigKind>,
) -> Result<(), Invalid> {
    for (key, value) in news.iter().filter(|(key, _)| !passes_through(key)) {
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
    use crate::fixtures::{cluster, validated};
    use serde_json::{Value, json};

    fn verdict(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        judge(&validated(&cluster(change), &Observed::default()).unwrap()).map_err(|e| e.to_string())
    }

    fn with(entries: Value) -> Result<(), String> {
        verdict(|spec| spec["config"] = entries)
    }

    #[test]
    fn what_a_broker_starts_with_passes() {
        assert_eq!(verdict(|_| {}), Ok(()));
        assert_eq!(
            with(json!({"num.partitions": 3, "log.retention.ms": -1, "compression.type": "zstd"})),
            Ok(())
        );
        assert_eq!(
            with(json!({"listener.name.internal.max.connections": 5, "log.message.format.version": "3.0"})),
            Ok(())
        );
        let hosts = |s: &mut Value| {
            s["listeners"][1]["advertised"] = json!([{"node": 0, "host": "[fd00::1]", "port": 1}]);
        };
        assert_eq!(verdict(hosts), Ok(()));
        for type_ in ["internal", "cluster-ip", "nodeport", "pod-ip"] {
            let listener = json!([{"name": "clients", "port": 9092, "type": type_}]);
            assert_eq!(verdict(|s| s["listeners"] = listener), Ok(()), "{type_}");
        }
    }

    #[test]
    fn the_examples_pass() {
        for text in [
            include_str!("../../../examples/kafka-cluster.yaml"),
            include_str!("../../../examples/clusters/one-node.yaml"),
            include_str!("../../../examples/clusters/controllers-and-brokers.yaml"),
            include_str!("../../../kind/demo.yaml"),
        ] {
            let mut example: crate::crd::KafkaCluster = serde_yaml::from_str(text).unwrap();
            example.metadata.uid = Some("uid".to_owned());
            let example = validated(&example, &Observed::default()).unwrap();
            assert_eq!(judge(&example).map_err(|e| e.to_string()), Ok(()));
        }
    }

    #[test]
    fn what_a_broker_would_refuse_is_told_by_its_field() {
        for (entries, told) in [
            (
                json!({"num.partitions": 0}),
                "spec.config[num.partitions]: \"0\" is not valid: must be at least 1",
            ),
            (json!({"num.partitions": "many"}), "spec.config[num.partitions]: \"many\""),
            (json!({"compression.type": "rar"}), "spec.config[compression.type]: \"rar\""),
            (json!({"num.partition": 3}), "did you mean num.partitions?"),
            (json!({"no.such.key": 1}), "spec.config[no.such.key]: the broker has no such configuration"),
            (
                json!({"zookeeper.connect": "z"}),
                "spec.config[zookeeper.connect]: Kafka has this configuration no longer",
            ),
            (json!({"log.retention.ms": 0}), "spec.config: log.retention.ms"),
            (
                json!({"broker.heartbeat.interval.ms": 9000}),
                "spec.config: broker.heartbeat.interval.ms must be at most half",
            ),
        ] {
            let error = with(entries).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_variable_of_the_pod_is_judged_unless_it_is_made_of_others() {
        let variable = |name: &str, value: &str| {
            let container = json!({"name": "broker", "env": [{"name": name, "value": value}]});
            verdict(|s| s["nodePools"][0]["podOverrides"] = json!({"spec": {"containers": [container]}}))
        };
        let error = variable("KAFKA_NUM_PARTITIONS", "0").unwrap_err();
        assert!(
            error.starts_with("spec.nodePools[main].podOverrides, variable KAFKA_NUM_PARTITIONS: "),
            "{error}"
        );
        assert_eq!(variable("KAFKA_NUM_PARTITIONS", "$(COUNT)"), Ok(()));
        assert_eq!(variable("RUST_LOG", "debug"), Ok(()));
    }

    #[test]
    fn another_release_may_know_other_keys_but_not_other_ranges() {
        let chosen = |entries: Value| {
            verdict(|s| {
                s["image"] = json!("registry.example/ottla-broker:9");
                s["config"] = entries;
            })
        };
        assert_eq!(chosen(json!({"key.of.the.future": 1})), Ok(()));
        assert!(chosen(json!({"num.partitions": 0})).is_err());
    }

    fn judged(key: &str, value: &str) -> Result<(), String> {
        let keys = BTreeMap::from([
            ("num.partitions".to_owned(), ConfigKind::Int),
            ("log.retention.ms".to_owned(), ConfigKind::Long),
            ("auto.create.topics.enable".to_owned(), ConfigKind::Boolean),
            ("log.cleaner.min.cleanable.ratio".to_owned(), ConfigKind::Double),
            ("log.cleanup.policy".to_owned(), ConfigKind::Other),
        ]);
        judge_by_kinds(&BTreeMap::from([(key.to_owned(), value.to_owned())]), &keys)
            .map_err(|e| e.to_string())
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

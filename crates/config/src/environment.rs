//! Settings in environment variables, as Kafka's container images take them: `KAFKA_LOG_RETENTION_MS` is
//! `log.retention.ms`; `__` is an underscore and `___` a dash.

use super::keys;

/// What an environment variable means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EnvironmentSetting {
    /// It sets this key.
    Key(String),
    /// It looks like a setting of this key, which does not exist.
    Unknown(String),
    /// It is no setting.
    Foreign,
}

/// Variables that images, start scripts and tools read themselves.
const FOREIGN: [&str; 15] = [
    "KAFKA_CLUSTER_ID",
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_KRAFT_CLUSTER_ID",
    "KAFKA_OPTS",
    "KAFKA_VERSION",
    "KAFKA_CLASSPATH",
    "KAFKA_USER",
    "KAFKA_GROUP",
    "KAFKA_MODE",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_ENABLE_KRAFT",
];
const FOREIGN_PREFIXES: [&str; 3] = ["KAFKA_LOG4J_", "KAFKA_JMX_", "KAFKA_DEBUG_"];

/// The id to format empty directories with, as Kafka's images take it.
pub(super) fn cluster_id(environment: &[(String, String)]) -> Option<&str> {
    ["CLUSTER_ID", "KAFKA_CLUSTER_ID", "KAFKA_KRAFT_CLUSTER_ID"].iter().find_map(|wanted| {
        environment
            .iter()
            .find(|(name, value)| name == wanted && !value.is_empty())
            .map(|(_, value)| value.as_str())
    })
}

/// What a variable of that name and value sets.
pub(super) fn setting(variable: &str, value: &str) -> EnvironmentSetting {
    let Some(rest) = variable.strip_prefix("KAFKA_") else { return EnvironmentSetting::Foreign };
    if is_foreign(variable, value) || rest.is_empty() {
        return EnvironmentSetting::Foreign;
    }
    let key = key_of(rest);
    if is_known(&key) {
        return EnvironmentSetting::Key(key);
    }
    // Some images put CFG_ before every key.
    match key.strip_prefix("cfg.") {
        Some(inner) if is_known(inner) => EnvironmentSetting::Key(inner.to_owned()),
        _ if is_of_a_kubernetes_service(rest) => EnvironmentSetting::Foreign,
        _ => EnvironmentSetting::Unknown(key),
    }
}

fn is_known(key: &str) -> bool {
    keys::broker(key).is_some() || keys::removed(key).is_some() || keys::passes_through(key)
}

/// The order of the replacements is that of Kafka's image, which settles runs of underscores.
fn key_of(rest: &str) -> String {
    rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_")
}

fn is_foreign(variable: &str, value: &str) -> bool {
    FOREIGN.contains(&variable)
        || FOREIGN_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
        // A Kubernetes service called kafka leaves KAFKA_PORT=tcp://10.0.0.1:9092 in every pod.
        || (variable.ends_with("_PORT") && (value.starts_with("tcp://") || value.starts_with("udp://")))
}

/// Kubernetes describes a service `kafka-x` by KAFKA_X_SERVICE_HOST, KAFKA_X_SERVICE_PORT(_NAME) and KAFKA_X_PORT….
fn is_of_a_kubernetes_service(rest: &str) -> bool {
    let rest = format!("_{rest}");
    rest.ends_with("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || rest.split_once("_PORT_").is_some_and(|(_, tail)| {
            let mut parts = tail.split('_');
            parts.next().is_some_and(|port| port.parse::<u16>().is_ok())
                && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(variable: &str) -> EnvironmentSetting {
        setting(variable, "x")
    }

    #[test]
    fn variables_name_keys_as_in_kafkas_images() {
        for (variable, expected) in [
            ("KAFKA_BROKER_ID", "broker.id"),
            ("KAFKA_ADVERTISED_LISTENERS", "advertised.listeners"),
            ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "auto.create.topics.enable"),
            ("KAFKA_CFG_NODE_ID", "node.id"),
            ("KAFKA_LISTENER_NAME_MY__NAME_SSL_X", "listener.name.my_name.ssl.x"),
            ("KAFKA_LISTENER_NAME_MY___NAME_SSL_X", "listener.name.my-name.ssl.x"),
            ("KAFKA_ZOOKEEPER_CONNECT", "zookeeper.connect"),
        ] {
            assert_eq!(key(variable), EnvironmentSetting::Key(expected.into()), "{variable}");
        }
    }

    #[test]
    fn variables_of_scripts_and_kubernetes_are_not_settings() {
        for variable in [
            "PATH",
            "KAFKA_HEAP_OPTS",
            "KAFKA_JMX_PORT",
            "KAFKA_LOG4J_ROOT_LOGLEVEL",
            "KAFKA_SERVICE_HOST",
            "KAFKA_SERVICE_PORT",
            "KAFKA_SERVICE_PORT_TCP_CLIENT",
            "KAFKA_PORT_9092_TCP",
            "KAFKA_PORT_9092_TCP_ADDR",
            "KAFKA_0_INTERNAL_PORT_9092_TCP_PROTO",
        ] {
            assert_eq!(key(variable), EnvironmentSetting::Foreign, "{variable}");
        }
        assert_eq!(setting("KAFKA_PORT", "tcp://10.96.0.1:9092"), EnvironmentSetting::Foreign);
        assert_eq!(setting("KAFKA_CONTROLLER_PORT", "tcp://10.96.0.1:9092"), EnvironmentSetting::Foreign);
        assert_eq!(key("KAFKA_NO_SUCH_KEY"), EnvironmentSetting::Unknown("no.such.key".into()));
    }
}

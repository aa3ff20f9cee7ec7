//! A node's `server.properties`. What others are told (`advertised.listeners`) is not in it: that lies beside it, as it changes while the node runs,
//! and comes from the pod's environment; so does `broker.rack`.

use super::{
    address::{Addresses, When},
    names,
};
use crate::cluster::validate::{Node, ValidatedCluster};
use k8s_openapi::api::core::v1::Pod;

/// The listener of the controllers.
pub const CONTROLLER: &str = "CONTROLLER";
/// The listener of the brokers among themselves.
pub const REPLICATION: &str = "REPLICATION";
/// Replicas of a partition, unless there are fewer brokers.
const REPLICAS: usize = 3;

/// The text of the file: the operator's keys, then the user's in order.
pub fn build(cluster: &ValidatedCluster, node: &Node) -> String {
    let admin = |file: &str| format!("{}/{file}", names::ADMIN_DIRECTORY);
    let own = [
        ("process.roles", join(node.roles.iter().map(|r| r.as_str().to_owned()))),
        ("node.id", node.id.to_string()),
        ("listeners", join(listeners(cluster, node).map(|(name, port, _)| format!("{name}://:{port}")))),
        ("listener.security.protocol.map", join(protocols(cluster, node))),
        ("inter.broker.listener.name", REPLICATION.to_owned()),
        ("controller.listener.names", CONTROLLER.to_owned()),
        (
            "controller.quorum.bootstrap.servers",
            join(cluster.controllers().map(|n| names::voter_address(&n.name, &cluster.namespace))),
        ),
        ("log.dirs", join(node.volumes.iter().map(|v| names::log_directory(v.id)))),
        ("metadata.log.dir", node.volumes.first().map(|v| names::log_directory(v.id)).unwrap_or_default()),
        // For variables of the pod in `advertised.listeners`.
        ("config.providers", "env".to_owned()),
        (
            "config.providers.env.class",
            "org.apache.kafka.common.config.provider.EnvVarConfigProvider".to_owned(),
        ),
        ("ottla.admin.listener", format!(":{}", names::ADMIN_PORT)),
        ("ottla.admin.tls.certificate.path", admin(names::CERTIFICATE_FILE)),
        ("ottla.admin.tls.key.path", admin(names::KEY_FILE)),
        ("ottla.admin.tls.ca.path", admin(names::AUTHORITIES_FILE)),
    ];
    let own = own.iter().map(|(key, value)| line(key, value));
    let defaults = defaults(cluster).into_iter().filter(|(key, _)| !cluster.config.contains_key(*key));
    let defaults = defaults.map(|(key, value)| line(key, &value.to_string()));
    let asked = cluster.config.iter().map(|(key, value)| line(key, value));
    own.chain(defaults).chain(asked).fold(String::new(), |text, line| text + &line + "\n")
}

/// What follows from the number of brokers, unless the user says otherwise: as many copies as survive the loss of a broker, and writes that go on
/// without one.
fn defaults(cluster: &ValidatedCluster) -> [(&'static str, usize); 3] {
    let replicas = cluster.brokers().count().clamp(1, REPLICAS);
    [
        ("default.replication.factor", replicas),
        ("min.insync.replicas", (replicas - 1).max(1)),
        ("offsets.topic.replication.factor", replicas),
    ]
}

/// Name, port and security protocol of every listener that the node binds, the operator's own last.
fn listeners<'a>(
    cluster: &'a ValidatedCluster,
    node: &'a Node,
) -> impl Iterator<Item = (String, i32, &'static str)> + 'a {
    let plain = |name: &str, port| (name.to_owned(), port, "PLAINTEXT");
    let asked =
        cluster.listeners.iter().map(|l| (names::kafka_listener(&l.name), l.port, l.protocol.as_str()));
    let broker = asked.chain([plain(REPLICATION, names::REPLICATION_PORT)]).filter(|_| node.is_broker());
    let controller = node.is_controller().then(|| plain(CONTROLLER, names::CONTROLLER_PORT));
    broker.chain(controller)
}

/// Every listener that the node binds or connects to.
fn protocols<'a>(cluster: &'a ValidatedCluster, node: &'a Node) -> impl Iterator<Item = String> + 'a {
    let bound: Vec<_> = listeners(cluster, node).map(|(name, _, protocol)| (name, protocol)).collect();
    let peers = [REPLICATION, CONTROLLER].map(|name| (name.to_owned(), "PLAINTEXT"));
    let peers: Vec<_> = peers.into_iter().filter(|(name, _)| bound.iter().all(|(b, _)| b != name)).collect();
    bound.into_iter().chain(peers).map(|(name, protocol)| format!("{name}:{protocol}"))
}

/// What the node tells others when it starts, as `advertised.listeners`; `pod` is the one that there is. A listener whose address is not known yet is
/// left out: bound, but not registered.
pub fn advertised_listeners(
    cluster: &ValidatedCluster,
    node: &Node,
    addresses: &Addresses,
    pod: Option<&Pod>,
) -> String {
    let asked = cluster.listeners.iter().filter(|_| node.is_broker()).filter_map(|listener| {
        let address = addresses.told(cluster, listener, node, When::Start(pod))?;
        Some(format!("{}://{address}", names::kafka_listener(&listener.name)))
    });
    let replication = || names::replication_address(&node.name, &cluster.namespace);
    let replication = node.is_broker().then(|| format!("{REPLICATION}://{}", replication()));
    let controller = || names::voter_address(&node.name, &cluster.namespace);
    let controller = node.is_controller().then(|| format!("{CONTROLLER}://{}", controller()));
    join(asked.chain(replication).chain(controller))
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

/// One line, with what the format of Java's properties takes for syntax escaped.
pub fn line(key: &str, value: &str) -> String {
    let mut line = format!("{key}=");
    for (index, c) in value.chars().enumerate() {
        match c {
            '\\' => line.push_str("\\\\"),
            ' ' if index == 0 => line.push_str("\\ "),
            '\t' => line.push_str("\\t"),
            '\u{c}' => line.push_str("\\f"),
            _ => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_properties_syntax() {
        assert_eq!(line("a", r" DEFAULT\u0041 = #x"), r"a=\ DEFAULT\\u0041 = #x");
    }
}

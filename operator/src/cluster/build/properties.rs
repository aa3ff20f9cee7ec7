//! A node's `server.properties`. What clients are told (`advertised.listeners`) is not in it: that comes from the pod's environment, where the
//! address of the machine is known.

use super::names;
use crate::cluster::validate::{Node, ValidatedCluster};

const CONTROLLER: &str = "CONTROLLER";
const REPLICATION: &str = "REPLICATION";

/// The text of the file: the operator's keys, then the user's in order.
pub fn build(cluster: &ValidatedCluster, node: &Node) -> String {
    let own = [
        ("process.roles", join(node.roles.iter().map(|r| r.as_str().to_owned()))),
        ("node.id", node.id.to_string()),
        ("listeners", join(listeners(cluster).map(|(name, port, _)| format!("{name}://:{port}")))),
        (
            "listener.security.protocol.map",
            join(listeners(cluster).map(|(name, _, protocol)| format!("{name}:{protocol}"))),
        ),
        ("inter.broker.listener.name", REPLICATION.to_owned()),
        ("controller.listener.names", CONTROLLER.to_owned()),
        (
            "controller.quorum.bootstrap.servers",
            join(cluster.controllers().map(|n| voter_address(cluster, n))),
        ),
        ("log.dirs", join(node.volumes.iter().map(|v| names::log_directory(v.id)))),
        ("metadata.log.dir", node.volumes.first().map(|v| names::log_directory(v.id)).unwrap_or_default()),
    ];
    let own = own.iter().map(|(key, value)| line(key, value));
    let asked = cluster.config.iter().map(|(key, value)| line(key, value));
    own.chain(asked).fold(String::new(), |text, line| text + &line + "\n")
}

/// Name, port and security protocol of every listener, the operator's own last.
fn listeners(cluster: &ValidatedCluster) -> impl Iterator<Item = (String, i32, &'static str)> + '_ {
    let asked =
        cluster.listeners.iter().map(|l| (names::kafka_listener(&l.name), l.port, l.protocol.as_str()));
    let own = [(REPLICATION, names::REPLICATION_PORT), (CONTROLLER, names::CONTROLLER_PORT)];
    asked.chain(own.map(|(name, port)| (name.to_owned(), port, "PLAINTEXT")))
}

/// Where a controller is reached.
pub fn voter_address(cluster: &ValidatedCluster, node: &Node) -> String {
    format!("{}:{}", names::service_host(&node.name, &cluster.namespace), names::CONTROLLER_PORT)
}

/// What the node tells clients, as `advertised.listeners`; `$(HOST_IP)` stands for the machine's address, in brackets
/// because it may be an IPv6 one: the broker takes the brackets off any address. A listener whose node port is not
/// assigned yet is left out: bound, but not registered.
pub fn advertised_listeners(cluster: &ValidatedCluster, node: &Node, ports: &super::NodePorts) -> String {
    use crate::crd::cluster::ListenerType::{Internal, Nodeport};
    let asked = cluster.listeners.iter().filter_map(|listener| {
        let told = ValidatedCluster::advertised(listener, node.id);
        let (host, port) = match listener.type_ {
            Internal => (names::service_host(&node.name, &cluster.namespace), Some(listener.port)),
            Nodeport => ("[$(HOST_IP)]".to_owned(), ports.node(&node.name, &listener.name)),
        };
        let host = told.and_then(|t| t.host.clone()).unwrap_or(host);
        let port = told.and_then(|t| t.port).or(port)?;
        Some(format!("{}://{host}:{port}", names::kafka_listener(&listener.name)))
    });
    let own = names::service_host(&node.name, &cluster.namespace);
    let own = format!("{REPLICATION}://{own}:{}", names::REPLICATION_PORT);
    join(asked.chain([own]))
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

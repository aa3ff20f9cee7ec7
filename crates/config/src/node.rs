//! Who a node is: id, roles, listeners and the quorum it belongs to, and how these have to fit together.

use super::listener::{self, ProtocolMap, check_ports, host_and_port, protocol_map};
use super::reader::Reader;
use super::{
    ConfigError, ConfigErrors, Listener, ListenerName, Origin, Roles, SecurityProtocol, Settings, Voter,
};

/// The part of a configuration that says who the node is.
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) roles: Roles,
    pub(super) listeners: Vec<Listener>,
    pub(super) advertised: Vec<Listener>,
    pub(super) advertised_controllers: Vec<Listener>,
    pub(super) controller_names: Vec<ListenerName>,
    pub(super) inter_broker: ListenerName,
    pub(super) voters: Vec<Voter>,
    pub(super) bootstrap_servers: Vec<(String, u16)>,
}

const CONTROLLER: &str = "CONTROLLER";
const CONTROLLER_ADDRESS: &str = "localhost:9093";

/// Where `process.roles` is not set, the node is a whole cluster: broker and controller, its data in `./data`. Whatever
/// else is set stays. Says whether that is so.
pub(super) fn assume_single_node(settings: &mut Settings) -> bool {
    if settings.is_set("process.roles") {
        return false;
    }
    if !settings.is_set("listeners") && !settings.is_set("advertised.listeners") {
        settings.assume("advertised.listeners", "PLAINTEXT://localhost:9092");
    }
    settings.assume("process.roles", "broker,controller");
    settings.assume("node.id", "1");
    settings.assume("broker.id", "1");
    if !settings.is_set("log.dir") {
        settings.assume("log.dirs", "data");
    }
    // Kafka's default of 3 would leave a cluster of one without consumer groups.
    settings.assume("offsets.topic.replication.factor", "1");
    assume_controller_listener(settings);
    true
}

fn assume_controller_listener(settings: &mut Settings) {
    settings.assume("controller.listener.names", CONTROLLER);
    let name = settings.text("controller.listener.names").unwrap_or(CONTROLLER);
    let name = name.split(',').next().unwrap_or(CONTROLLER).trim().to_uppercase();
    let listeners = settings.text("listeners").unwrap_or("PLAINTEXT://:9092").to_owned();
    let bound = listeners.split(',').find_map(|entry| {
        let (listener, address) = entry.trim().split_once("://")?;
        listener.eq_ignore_ascii_case(&name).then_some(address)
    });
    let servers = match bound.map(host_and_port) {
        None => CONTROLLER_ADDRESS.to_owned(),
        Some(Some((host, port))) if !listener::is_wildcard(&host) && !host.contains(':') => {
            format!("{host}:{port}")
        }
        Some(address) => format!("localhost:{}", address.map_or(9093, |(_, port)| port)),
    };
    if bound.is_none() {
        extend(settings, "listeners", &listeners, &format!("{name}://{CONTROLLER_ADDRESS}"));
    }
    if !settings.is_set("controller.quorum.voters") {
        settings.assume("controller.quorum.bootstrap.servers", &servers);
    }
    const MAP: &str = "listener.security.protocol.map";
    if let Some(protocols) = settings.text(MAP).map(str::to_owned).filter(|map| !names(map, &name)) {
        extend(settings, MAP, &protocols, &format!("{name}:PLAINTEXT"));
    }
}

/// Adds to a list; it stays the setting of whoever made it.
fn extend(settings: &mut Settings, key: &str, list: &str, element: &str) {
    let origin = settings.get(key).map_or(Origin::SingleNode, |setting| setting.origin.clone());
    settings.set(key, &format!("{list},{element}"), origin);
}

fn names(map: &str, name: &str) -> bool {
    map.split(',')
        .any(|pair| pair.trim().rsplit_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)))
}

/// Reads and cross-checks the node's keys.
pub(super) fn resolve(read: &Reader<'_>, host_name: &str) -> Result<Node, ConfigErrors> {
    let id = node_id(read)?;
    let roles = roles(read)?;
    if read.list("controller.listener.names").is_empty() {
        return Err(conflict(
            "controller.listener.names has to be set, as process.roles is set: CONTROLLER is usual",
        )
        .into());
    }
    let controller_names: Vec<_> =
        read.list("controller.listener.names").iter().map(|name| ListenerName::new(name)).collect();
    let protocols = protocols(read, &controller_names)?;
    let listeners = parse_listeners(read, "listeners", &read.list("listeners"), &protocols)?;
    check_ports(&listeners).map_err(|reason| read.invalid("listeners", reason))?;
    let (advertised, advertised_controllers) = advertised(read, &listeners, &protocols, host_name)?
        .into_iter()
        .partition(|listener| !controller_names.contains(&listener.name));
    let node = Node {
        id,
        roles,
        inter_broker: inter_broker(read)?,
        voters: voters(read)?,
        bootstrap_servers: bootstrap_servers(read)?,
        listeners,
        advertised,
        advertised_controllers,
        controller_names,
    };
    check_controllers(read, &node)?;
    check_broker(read, &node)?;
    check_quorum(read, &node)?;
    Ok(node)
}

fn node_id(read: &Reader<'_>) -> Result<i32, ConfigError> {
    if !read.is_set("node.id") {
        return Err(conflict("node.id has to be set, as process.roles is set"));
    }
    let id: i32 = read.number("node.id");
    if read.number::<i32>("broker.id") < 0 {
        return Err(read.invalid("broker.id", "must be at least 0: ids are not generated".into()));
    }
    if read.number::<i32>("broker.id") != id {
        return Err(conflict("node.id and broker.id mean the same and differ: remove broker.id"));
    }
    Ok(id)
}

fn roles(read: &Reader<'_>) -> Result<Roles, ConfigError> {
    let list = read.list("process.roles");
    let has = |role: &str| list.iter().any(|it| it == role);
    let roles = Roles { broker: has("broker"), controller: has("controller") };
    if list.is_empty() {
        Err(conflict("process.roles has to name broker, controller or both"))
    } else {
        Ok(roles)
    }
}

/// `listener.security.protocol.map`; unless it is set, controller listeners are PLAINTEXT too.
fn protocols(read: &Reader<'_>, controllers: &[ListenerName]) -> Result<ProtocolMap, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let mut map = protocol_map(&read.text(KEY)).map_err(|reason| read.invalid(KEY, reason))?;
    if !read.is_set(KEY) {
        for name in controllers {
            map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(map)
}

fn parse_listeners(
    read: &Reader<'_>,
    key: &str,
    entries: &[String],
    protocols: &ProtocolMap,
) -> Result<Vec<Listener>, ConfigError> {
    let found =
        listener::listeners(&entries.join(","), protocols).map_err(|reason| read.invalid(key, reason))?;
    match found.iter().find(|listener| listener.protocol != SecurityProtocol::Plaintext) {
        Some(Listener { name, protocol, .. }) => Err(read.invalid(
            key,
            format!("security protocol {protocol} of listener {name} is not supported yet, only PLAINTEXT"),
        )),
        None => Ok(found),
    }
}

/// What clients, brokers and controllers are told: `advertised.listeners`, and for names that are not in it the bound
/// address, with this host's name for an empty host.
fn advertised(
    read: &Reader<'_>,
    listeners: &[Listener],
    protocols: &ProtocolMap,
    host_name: &str,
) -> Result<Vec<Listener>, ConfigError> {
    const KEY: &str = "advertised.listeners";
    let explicit = parse_listeners(read, KEY, &read.list(KEY), protocols)?;
    for listener in &explicit {
        if !listeners.iter().any(|bound| bound.name == listener.name) {
            return Err(read.invalid(KEY, format!("{} is not a name in listeners", listener.name)));
        }
        if listener.is_wildcard() && !listener.host.is_empty() {
            return Err(read.invalid(
                KEY,
                format!(
                    "clients cannot connect to {}: advertise a name or address that they reach",
                    listener.host
                ),
            ));
        }
    }
    let derive_all = explicit.is_empty();
    let controllers = read.list("controller.listener.names");
    let is_controller =
        |listener: &Listener| controllers.iter().any(|name| ListenerName::new(name) == listener.name);
    let mut all = explicit;
    for bound in listeners.iter().filter(|bound| derive_all || is_controller(bound)) {
        if !all.iter().any(|listener| listener.name == bound.name) {
            all.push(derived(read, bound, is_controller(bound))?);
        }
    }
    for listener in &mut all {
        if listener.host.is_empty() {
            host_name.clone_into(&mut listener.host);
        }
    }
    Ok(all)
}

fn derived(read: &Reader<'_>, bound: &Listener, is_controller: bool) -> Result<Listener, ConfigError> {
    let mut listener = bound.clone();
    if listener.is_wildcard() && !listener.host.is_empty() {
        if !is_controller {
            return Err(read.invalid("listeners", format!("clients cannot connect to {}: set advertised.listeners to a name or address that they reach", bound.host)));
        }
        listener.host.clear();
    }
    Ok(listener)
}

fn inter_broker(read: &Reader<'_>) -> Result<ListenerName, ConfigError> {
    let name = read.optional_text("inter.broker.listener.name");
    if name.is_some() && read.is_set("security.inter.broker.protocol") {
        return Err(conflict(
            "inter.broker.listener.name and security.inter.broker.protocol are both set: set only one",
        ));
    }
    Ok(ListenerName::new(&name.unwrap_or_else(|| read.text("security.inter.broker.protocol"))))
}

fn voters(read: &Reader<'_>) -> Result<Vec<Voter>, ConfigError> {
    const KEY: &str = "controller.quorum.voters";
    let voter = |entry: &String| {
        let (id, address) = entry.split_once('@')?;
        let (host, port) = host_and_port(address)?;
        let id = id.parse().ok().filter(|id: &i32| *id >= 0)?;
        (!host.is_empty()).then_some(Voter { id, host, port })
    };
    let voters = read.list(KEY).iter().map(voter).collect::<Option<Vec<_>>>();
    let voters = voters.ok_or_else(|| read.invalid(KEY, "must be a list of ID@HOST:PORT".into()))?;
    let twice =
        voters.iter().enumerate().find(|(i, voter)| voters.iter().take(*i).any(|other| other.id == voter.id));
    match twice {
        Some((_, voter)) => Err(read.invalid(KEY, format!("node {} is there twice", voter.id))),
        None => Ok(voters),
    }
}

fn bootstrap_servers(read: &Reader<'_>) -> Result<Vec<(String, u16)>, ConfigError> {
    const KEY: &str = "controller.quorum.bootstrap.servers";
    let server = |entry: &String| host_and_port(entry).filter(|(host, _)| !host.is_empty());
    let servers = read.list(KEY).iter().map(server).collect::<Option<Vec<_>>>();
    servers.ok_or_else(|| read.invalid(KEY, "must be a list of HOST:PORT".into()))
}

fn check_controllers(read: &Reader<'_>, node: &Node) -> Result<(), ConfigError> {
    const KEY: &str = "controller.listener.names";
    let bound = |name: &ListenerName| node.listeners.iter().any(|listener| listener.name == *name);
    if node.roles.controller {
        if let Some(name) = node.controller_names.iter().find(|name| !bound(name)) {
            let reason = format!(
                "{name} is not a name in listeners: add {name}://:9093 there, as this node is a controller"
            );
            return Err(read.invalid(KEY, reason));
        }
    } else if let Some(name) = node.controller_names.iter().find(|name| bound(name)) {
        return Err(
            read.invalid(KEY, format!("{name} must not be in listeners, as this node is no controller"))
        );
    }
    if node.controller_names.contains(&node.inter_broker) {
        return Err(read.invalid(
            KEY,
            format!("{} is the inter-broker listener, and cannot be the controllers' too", node.inter_broker),
        ));
    }
    Ok(())
}

fn check_broker(read: &Reader<'_>, node: &Node) -> Result<(), ConfigError> {
    let bound =
        node.listeners.iter().filter(|listener| !node.controller_names.contains(&listener.name)).count();
    if !node.roles.broker {
        return if bound == 0 {
            Ok(())
        } else {
            Err(read.invalid(
                "listeners",
                "a node that is only a controller may have controller listeners only".into(),
            ))
        };
    }
    if bound == 0 {
        return Err(read.invalid("listeners", "a broker needs a listener that is not a controller's".into()));
    }
    if !node.advertised.iter().any(|listener| listener.name == node.inter_broker) {
        let names: Vec<_> = node.advertised.iter().map(|listener| listener.name.as_str()).collect();
        return Err(conflict(&format!(
            "inter.broker.listener.name is {}, which is not advertised: set it to one of {}",
            node.inter_broker,
            names.join(", ")
        )));
    }
    Ok(())
}

fn check_quorum(read: &Reader<'_>, node: &Node) -> Result<(), ConfigError> {
    if node.voters.is_empty() {
        if node.bootstrap_servers.is_empty() {
            return Err(conflict(
                "controller.quorum.bootstrap.servers (or controller.quorum.voters) has to be set, as process.roles is set",
            ));
        }
        return Ok(());
    }
    let votes = node.voters.iter().any(|voter| voter.id == node.id);
    if votes == node.roles.controller {
        return Ok(());
    }
    let reason = if votes {
        format!("node {} is in it, and has to be a controller in process.roles", node.id)
    } else {
        format!("node {} is a controller, and has to be in it", node.id)
    };
    Err(read.invalid("controller.quorum.voters", reason))
}

fn conflict(text: &str) -> ConfigError {
    ConfigError::Conflict(text.to_owned())
}

//! Addresses under which a broker is to be known, as they are asked for on the admin port: judged before anything is made of
//! them. What they are meant for is [`crate::broker::Lifecycle::advertise`].

use std::net::{IpAddr, Ipv6Addr};

use ottla_client::admin::{Address, Addresses};
use ottla_quorum::image::Endpoint;
use ottla_wire::Str;

use crate::config::{Config, Listener, ListenerName};

/// The longest name in DNS.
const LONGEST_HOST: usize = 253;

/// Why a broker cannot be known by such addresses.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error("{listener} is no listener of this broker: it has {has}")]
    Unknown { listener: String, has: String },
    #[error("listener {0} is there twice")]
    Twice(ListenerName),
    #[error("listener {0}: port 0 is none")]
    Port(ListenerName),
    #[error("listener {listener}: {host:?} is {what}")]
    Host { listener: ListenerName, host: String, what: &'static str },
    #[error("listener {0} has to be among them: the other brokers connect to it")]
    InterBroker(ListenerName),
}

/// Of each listener for clients and brokers, what the metadata has.
pub(super) fn registered(config: &Config, endpoints: &[Endpoint]) -> Addresses {
    let address = |listener: &Listener| {
        let endpoint = endpoints.iter().find(|it| *it.name == *listener.name.as_str());
        let address = endpoint.map(|it| Address { host: it.host.to_string(), port: it.port });
        (listener.name.to_string(), address)
    };
    Addresses(bound(config).map(address).collect())
}

/// What the broker registers with, in the order of its listeners.
///
/// # Errors
/// The first address with which it cannot be registered.
pub(super) fn endpoints(config: &Config, asked: &Addresses) -> Result<Vec<Endpoint>, AddressError> {
    for name in asked.0.keys().map(|name| ListenerName::new(name)) {
        if !bound(config).any(|it| it.name == name) {
            let listener = name.as_str().chars().take(LONGEST_HOST).collect();
            let has: Vec<_> = bound(config).map(|it| it.name.as_str()).collect();
            return Err(AddressError::Unknown { listener, has: has.join(", ") });
        }
    }
    let mut endpoints = Vec::new();
    for listener in bound(config) {
        let mut given = asked.0.iter().filter(|(name, _)| ListenerName::new(name) == listener.name);
        match (given.next().and_then(|(_, address)| address.as_ref()), given.next()) {
            (_, Some(_)) => return Err(AddressError::Twice(listener.name.clone())),
            (Some(address), None) => endpoints.push(endpoint(listener, address)?),
            (None, None) if listener.name == config.inter_broker_listener_name => {
                return Err(AddressError::InterBroker(listener.name.clone()));
            }
            (None, None) => {}
        }
    }
    Ok(endpoints)
}

/// The listeners that are no controller's.
fn bound(config: &Config) -> impl Iterator<Item = &Listener> {
    config.listeners.iter().filter(|it| !config.controller_listener_names.contains(&it.name))
}

fn endpoint(listener: &Listener, address: &Address) -> Result<Endpoint, AddressError> {
    let (name, host) = (&listener.name, &address.host);
    if let Some(what) = fault(host) {
        // Short, whatever was sent.
        let host = host.chars().take(LONGEST_HOST).collect();
        return Err(AddressError::Host { listener: name.clone(), host, what });
    }
    if address.port == 0 {
        return Err(AddressError::Port(name.clone()));
    }
    Ok(Endpoint {
        name: Str::from(name.as_str()),
        host: Str::from(host.as_str()),
        port: address.port,
        security_protocol: listener.protocol.id(),
    })
}

/// Why nobody can connect to a host, if that can be seen.
fn fault(host: &str) -> Option<&'static str> {
    if host.is_empty() || host.len() > LONGEST_HOST {
        return Some("not between 1 and 253 characters long");
    }
    if host.contains(':') {
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        return match address.parse::<Ipv6Addr>() {
            Ok(address) if address.is_unspecified() => Some("every address, and clients need a certain one"),
            Ok(_) => None,
            Err(_) => Some("no IPv6 address (without brackets and port), and no name"),
        };
    }
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => Some("every address, and clients need a certain one"),
        Ok(_) => None,
        Err(_) => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            (!host.chars().all(allowed)).then_some("neither a name nor an address")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a node that is controller and broker, with two listeners for clients.
    fn judge(asked: &[(&str, &str, u16)]) -> Result<Vec<(String, String, u16)>, String> {
        let config = Config::from_overrides(&[
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.bootstrap.servers", "localhost:9090"),
            ("listeners", "INSIDE://:9092,OUTSIDE://:9094,CONTROLLER://:9090"),
            ("advertised.listeners", "INSIDE://one:9092"),
            ("listener.security.protocol.map", "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT"),
            ("inter.broker.listener.name", "INSIDE"),
        ])
        .expect("valid");
        let address = |&(name, host, port): &(&str, &str, u16)| {
            (name.to_owned(), Some(Address { host: host.to_owned(), port }))
        };
        let asked = Addresses(asked.iter().map(address).collect());
        let plain = |it: Endpoint| (it.name.to_string(), it.host.to_string(), it.port);
        let found = endpoints(&config, &asked).map_err(|error| error.to_string())?;
        let told = registered(&config, &found);
        assert_eq!(told.0.len(), 2, "each of its listeners");
        assert_eq!(endpoints(&config, &told), Ok(found.clone()), "what is told can be asked for");
        Ok(found.into_iter().map(plain).collect())
    }

    #[test]
    fn the_listeners_that_are_named_are_registered_and_no_others() {
        let inside = ("INSIDE".to_owned(), "one".to_owned(), 9092);
        assert_eq!(judge(&[("inside", "one", 9092)]), Ok(vec![inside.clone()]));
        for host in ["kafka-1.example.org", "192.0.2.7", "2001:db8::1", "fe80::1%eth0", "with_underscore"] {
            let outside = ("OUTSIDE".to_owned(), host.to_owned(), 31_005);
            let asked = [("Outside", host, 31_005), ("INSIDE", "one", 9092)];
            assert_eq!(judge(&asked), Ok(vec![inside.clone(), outside]));
        }
    }

    #[test]
    fn what_nobody_can_connect_to_is_refused_by_name() {
        let long = "a".repeat(254);
        for (asked, why) in [
            (("CONTROLLER", "one", 9090), "CONTROLLER is no listener of this broker: it has INSIDE, OUTSIDE"),
            (("nothing", "one", 1), "NOTHING is no listener of this broker: it has INSIDE, OUTSIDE"),
            (("inside", "one", 1), "listener INSIDE is there twice"),
            (("outside", "one", 0), "listener OUTSIDE: port 0 is none"),
            (("outside", "", 1), "listener OUTSIDE: \"\" is not between 1 and 253"),
            (("outside", &long, 1), "is not between 1 and 253"),
            (("outside", "0.0.0.0", 1), "listener OUTSIDE: \"0.0.0.0\" is every address"),
            (("outside", "::", 1), "listener OUTSIDE: \"::\" is every address"),
            (("outside", "one:9092", 1), "no IPv6 address (without brackets and port), and no name"),
            (("outside", "[::1]", 1), "no IPv6 address (without brackets and port), and no name"),
            (("outside", "a b", 1), "listener OUTSIDE: \"a b\" is neither a name nor an address"),
        ] {
            let told = judge(&[("INSIDE", "one", 9092), asked]).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let told = judge(&[("outside", "one", 1)]).unwrap_err();
        assert_eq!(told, "listener INSIDE has to be among them: the other brokers connect to it");
    }
}

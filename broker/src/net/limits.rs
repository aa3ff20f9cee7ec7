//! The limits of connections as they are configured, with host names resolved.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};

use crate::config::Network;

/// Limits of a node's client listeners, all together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `max.connections`.
    pub all: usize,
    /// `max.connections.per.ip`.
    pub per_address: usize,
    /// `max.connections.per.ip.overrides`.
    pub overrides: HashMap<IpAddr, usize>,
}

/// A host in `max.connections.per.ip.overrides` that has no address.
#[derive(Debug, thiserror::Error)]
#[error("max.connections.per.ip.overrides: {host}:{limit}: the host {host} has no address: {source}")]
pub struct UnknownHost {
    host: String,
    limit: i32,
    source: io::Error,
}

impl ConnectionLimits {
    /// Resolves host names: every address of a name has the limit of its own. What has no address is left out and
    /// told. May wait for the name server.
    pub fn resolve(network: &Network) -> (ConnectionLimits, Vec<UnknownHost>) {
        let count = |number: i32| usize::try_from(number).unwrap_or(0);
        let mut limits = ConnectionLimits {
            all: count(network.max_connections),
            per_address: count(network.max_connections_per_ip),
            overrides: HashMap::new(),
        };
        let mut unknown = Vec::new();
        for (host, limit) in &network.max_connections_overrides {
            match addresses(host) {
                Ok(found) => {
                    limits.overrides.extend(found.into_iter().map(|address| (address, count(*limit))));
                }
                Err(source) => unknown.push(UnknownHost { host: host.clone(), limit: *limit, source }),
            }
        }
        (limits, unknown)
    }
}

fn addresses(host: &str) -> io::Result<Vec<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found: Vec<_> = (bare, 0).to_socket_addrs()?.map(|address| address.ip().to_canonical()).collect();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn resolve(overrides: &str) -> (ConnectionLimits, Vec<UnknownHost>) {
        let config = Config::from_overrides(&[("max.connections.per.ip.overrides", overrides)]).unwrap();
        ConnectionLimits::resolve(&config.network)
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        let (limits, unknown) = resolve("10.0.0.1:3, localhost:4, [::2]:5, ::3:6");
        assert!(unknown.is_empty());
        let of = |address: &str| limits.overrides.get(&address.parse().unwrap()).copied();
        assert_eq!((of("10.0.0.1"), of("::2"), of("::3")), (Some(3), Some(5), Some(6)));
        assert!(of("127.0.0.1").or(of("::1")) == Some(4), "{limits:?}");
    }

    #[test]
    fn a_host_without_an_address_is_named() {
        let (limits, unknown) = resolve("nowhere.invalid:7,10.0.0.1:3");
        assert_eq!(limits.overrides.len(), 1);
        let told = unknown[0].to_string();
        assert!(told.starts_with("max.connections.per.ip.overrides: nowhere.invalid:7: "), "{told}");
    }
}

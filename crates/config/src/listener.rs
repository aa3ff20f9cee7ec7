//! Listeners: `NAME://host:port`, the security protocol of each name, and how they have to fit together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::value::list;

/// The name of a listener, in capitals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerName(Arc<str>);

impl ListenerName {
    /// Names are compared without regard to case.
    pub fn new(name: &str) -> ListenerName {
        ListenerName(name.trim().to_uppercase().into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a listener's connections are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL without TLS.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    /// Its number in metadata records.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    /// From Kafka's name for it.
    pub fn from_name(name: &str) -> Option<SecurityProtocol> {
        use SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
        [Plaintext, Ssl, SaslPlaintext, SaslSsl]
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(name.trim()))
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An address with its listener's name and protocol: to bind, or to advertise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: ListenerName,
    /// How its connections are protected.
    pub protocol: SecurityProtocol,
    /// Host name or address; empty means all addresses, and is never advertised.
    pub host: String,
    /// Port; 0 means a free one, and then the one that was found is advertised.
    pub port: u16,
}

impl Listener {
    /// Whether it is bound to all addresses.
    pub fn is_wildcard(&self) -> bool {
        is_wildcard(&self.host)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listener { name, host, port, .. } = self;
        if host.contains(':') {
            write!(f, "{name}://[{host}]:{port}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

/// Empty, `0.0.0.0` or `::`.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.is_empty() || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// Security protocols by listener name.
pub type ProtocolMap = BTreeMap<ListenerName, SecurityProtocol>;

/// Reads `NAME:PROTOCOL,…`.
///
/// # Errors
/// The pair that is malformed, given twice, or names no protocol.
pub(super) fn protocol_map(text: &str) -> Result<ProtocolMap, String> {
    let mut map = ProtocolMap::new();
    for pair in list(text) {
        let (name, protocol) =
            pair.rsplit_once(':').ok_or_else(|| format!("{pair:?} is not of the form LISTENER:PROTOCOL"))?;
        let known = SecurityProtocol::from_name(protocol).ok_or_else(|| {
            format!("{protocol:?} is no security protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
        })?;
        if map.insert(ListenerName::new(name), known).is_some() {
            return Err(format!("listener {name} is there twice"));
        }
    }
    Ok(map)
}

/// Reads `NAME://host:port,…` and finds each name's protocol.
///
/// # Errors
/// The listener that is malformed, given twice, or without a protocol.
pub(super) fn listeners(text: &str, protocols: &ProtocolMap) -> Result<Vec<Listener>, String> {
    let mut found: Vec<Listener> = Vec::new();
    for entry in list(text) {
        let listener = listener(&entry, protocols)?;
        if found.iter().any(|other| other.name == listener.name) {
            return Err(format!("listener {} is there twice", listener.name));
        }
        found.push(listener);
    }
    Ok(found)
}

fn listener(entry: &str, protocols: &ProtocolMap) -> Result<Listener, String> {
    let malformed = || format!("{entry:?} is not of the form NAME://HOST:PORT");
    let (name, address) =
        entry.split_once("://").filter(|(name, _)| !name.is_empty()).ok_or_else(malformed)?;
    let (host, port) = host_and_port(address).ok_or_else(malformed)?;
    let name = ListenerName::new(name);
    let protocol = *protocols.get(&name).ok_or_else(|| {
        format!(
            "no security protocol for listener {name}: add {name}:PLAINTEXT to listener.security.protocol.map"
        )
    })?;
    Ok(Listener { name, protocol, host, port })
}

/// `host:port`, with an IPv6 address in brackets; brackets around anything else are taken off, as Kafka does.
pub(super) fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '%');
    let port = port.parse().ok()?;
    host.chars().all(allowed).then(|| (host.to_owned(), port))
}

/// Two listeners cannot share a port, unless one is bound to an IPv4 and the other to an IPv6 address.
///
/// # Errors
/// The two.
pub(super) fn check_ports(listeners: &[Listener]) -> Result<(), String> {
    for (index, one) in listeners.iter().enumerate() {
        let family = |l: &Listener| l.host.parse::<std::net::IpAddr>().ok().map(|address| address.is_ipv4());
        let clash = listeners.iter().skip(index + 1).find(|other| {
            one.port != 0
                && one.port == other.port
                && !matches!((family(one), family(other)), (Some(a), Some(b)) if a != b)
        });
        if let Some(other) = clash {
            return Err(format!("{one} and {other} have the same port"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> ProtocolMap {
        protocol_map("PLAINTEXT:PLAINTEXT,internal:PLAINTEXT,SSL:SSL").unwrap()
    }

    #[test]
    fn listeners_are_read() {
        let found =
            listeners("PLAINTEXT://:9092, Internal://[::1]:0,SSL://host-1.example_x:1", &map()).unwrap();
        let text: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["PLAINTEXT://:9092", "INTERNAL://[::1]:0", "SSL://host-1.example_x:1"]);
        assert_eq!(found[2].protocol, SecurityProtocol::Ssl);
    }

    /// The operator writes `[$(HOST_IP)]`, not knowing what family that will be.
    #[test]
    fn brackets_are_no_part_of_an_address_of_either_family() {
        for (text, host) in [("[10.0.0.7]:31001", "10.0.0.7"), ("[fd00::7]:31001", "fd00::7")] {
            assert_eq!(host_and_port(text), Some((host.to_owned(), 31001)));
        }
    }

    #[test]
    fn malformed_listeners_are_refused() {
        for (text, part) in [
            ("9092", "form NAME://HOST:PORT"),
            ("://a:1", "form"),
            ("PLAINTEXT://a", "form"),
            ("PLAINTEXT://a:99999", "form"),
            ("PLAINTEXT://::1:9092", "form"),
            ("PLAINTEXT://a b:9092", "form"),
            ("PLAINTEXT://:1,plaintext://:2", "twice"),
            ("OTHER://:1", "listener.security.protocol.map"),
        ] {
            let error = listeners(text, &map()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(protocol_map("A:PLAIN").unwrap_err().contains("PLAINTEXT, SSL"));
        assert!(protocol_map("A").is_err());
        assert!(protocol_map("A:SSL,a:SSL").is_err());
    }

    #[test]
    fn ports_are_shared_only_between_address_families() {
        let check = |text: &str| check_ports(&listeners(text, &map()).unwrap());
        assert!(check("PLAINTEXT://:1,INTERNAL://:2").is_ok());
        assert!(check("PLAINTEXT://:0,INTERNAL://:0").is_ok());
        assert!(check("PLAINTEXT://127.0.0.1:1,INTERNAL://[::1]:1").is_ok());
        assert!(check("PLAINTEXT://:1,INTERNAL://[::1]:1").is_err());
        assert!(check("PLAINTEXT://a:1,INTERNAL://b:1").is_err());
    }
}

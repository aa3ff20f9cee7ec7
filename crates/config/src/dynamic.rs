//! Configuration that changes while the broker runs: the layers in which a value is looked up (KIP-226), and the checks
//! on a change before it is written to the metadata log.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use super::error::{ConfigError, ConfigErrors, Origin};
use super::keys::passes_through;
use super::keys::{self, Key, Scope, UpdateMode};
use super::value::{Type, list};
use super::{Config, Settings, typed};

/// Where an effective value comes from; the numbers are those of DescribeConfigs responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// The topic's own.
    DynamicTopic = 1,
    /// Set on this broker while it ran.
    DynamicBroker = 2,
    /// Set for all brokers while they ran.
    DynamicDefaultBroker = 3,
    /// File, environment or command line.
    StaticBroker = 4,
    /// Kafka's default.
    Default = 5,
}

/// Values by key, as the metadata image keeps them.
pub trait Lookup {
    /// The value of a key.
    fn lookup(&self, key: &str) -> Option<&str>;
    /// All keys.
    fn keys(&self) -> Vec<&str>;
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Lookup for BTreeMap<K, V> {
    fn lookup(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }

    fn keys(&self) -> Vec<&str> {
        BTreeMap::keys(self).map(Borrow::borrow).collect()
    }
}

/// Nothing set.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Lookup for Nothing {
    fn lookup(&self, _: &str) -> Option<&str> {
        None
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// One place where a value, or a synonym of it, is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key under which it is set.
    pub name: &'static str,
    /// The value there.
    pub value: String,
    /// Where.
    pub source: ConfigSource,
}

/// The layers of a broker's configuration, strongest first.
#[derive(Clone, Copy)]
pub struct BrokerLayers<'a> {
    /// Configs of the broker resource with this node's id.
    pub broker: &'a dyn Lookup,
    /// Configs of the broker resource without a name: of all brokers.
    pub cluster: &'a dyn Lookup,
    /// What the node was started with.
    pub fixed: &'a Settings,
}

impl<'a> BrokerLayers<'a> {
    /// Only what the node was started with.
    pub fn fixed(fixed: &'a Settings) -> BrokerLayers<'a> {
        BrokerLayers { broker: &Nothing, cluster: &Nothing, fixed }
    }

    /// Everywhere that one of these keys is set, strongest first, and their defaults.
    pub fn synonyms(&self, names: &[&'static str]) -> Vec<Synonym> {
        type Layer<'b> = (ConfigSource, &'b dyn Fn(&str) -> Option<String>);
        let layers: [Layer<'_>; 4] = [
            (ConfigSource::DynamicBroker, &|name| self.broker.lookup(name).map(str::to_owned)),
            (ConfigSource::DynamicDefaultBroker, &|name| self.cluster.lookup(name).map(str::to_owned)),
            (ConfigSource::StaticBroker, &|name| self.fixed.text(name).map(str::to_owned)),
            (ConfigSource::Default, &|name| keys::broker(name)?.default_text().map(str::to_owned)),
        ];
        let at = |(source, get): Layer<'_>| {
            let found = names.iter().filter_map(|name| Some(Synonym { name, value: get(name)?, source }));
            found.collect::<Vec<_>>()
        };
        layers.into_iter().flat_map(at).collect()
    }
}

impl Config {
    /// The configuration with what was changed while the broker ran: keys of the whole cluster, then of this broker.
    /// Values that do not fit (written by another version, say) are left out.
    ///
    /// # Errors
    /// Values that do not fit together: each resource is checked by itself when it is changed.
    pub fn with_dynamic(&self, cluster: &dyn Lookup, broker: &dyn Lookup) -> Result<Config, ConfigErrors> {
        let mut settings = self.settings.clone();
        for layer in [cluster, broker] {
            for key in layer.keys() {
                let fits = |value: &&str| {
                    keys::broker(key).is_some_and(|key| is_dynamic(key) && key.parse(value).is_ok())
                        && (key != typed::CORDONED || self.may_cordon(value))
                };
                if let Some(value) = layer.lookup(key).filter(fits) {
                    settings.set(key, value, Origin::Request);
                }
            }
        }
        Ok(Config {
            cluster_id: self.cluster_id.clone(),
            format_if_empty: self.format_if_empty,
            settings: self.settings.clone(),
            ..typed::config(&settings, &self.host_name)?
        })
    }

    /// Whether this node can have such a value of `cordoned.log.dirs`. What directories other nodes have is not known here.
    pub fn may_cordon(&self, value: &str) -> bool {
        typed::may_be_cordoned(&list(value), &self.log_dirs)
    }
}

/// Whether a key may change while this broker runs: listeners cannot yet.
pub fn is_dynamic(key: &Key) -> bool {
    key.mode != UpdateMode::ReadOnly && !matches!(key.name, "listeners" | "listener.security.protocol.map")
}

/// Which broker resource a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerScope {
    /// One broker.
    PerBroker,
    /// All of them.
    Cluster,
}

/// Checks one key of a broker resource before it is written.
///
/// # Errors
/// An unknown key, one that may not be changed this way, or a value that does not fit.
pub fn validate_broker_config(key: &str, value: &str, scope: BrokerScope) -> Result<(), ConfigError> {
    let Some(known) = keys::broker(key) else {
        return if passes_through(key) { Ok(()) } else { Err(unknown(Scope::Broker, key)) };
    };
    if !is_dynamic(known) {
        return Err(ConfigError::NotDynamic { key: key.into(), how: "while the broker runs" });
    }
    if scope == BrokerScope::Cluster && known.mode == UpdateMode::PerBroker {
        return Err(ConfigError::NotDynamic { key: key.into(), how: "for all brokers at once" });
    }
    check(known, value)
}

/// Checks all configs of a broker resource together, as they would be after a change.
///
/// # Errors
/// Everything that is wrong with them.
pub fn validate_broker_configs(
    config: &Config,
    configs: &dyn Lookup,
    scope: BrokerScope,
) -> Result<(), ConfigErrors> {
    let mut errors = Vec::new();
    let mut settings = config.settings.clone();
    for key in configs.keys() {
        let value = configs.lookup(key).unwrap_or_default();
        errors.extend(validate_broker_config(key, value, scope).err());
        // It names directories of the broker that is meant, which may be another.
        if key != typed::CORDONED {
            settings.set(key, value, Origin::Request);
        }
    }
    if errors.is_empty() {
        return typed::config(&settings, &config.host_name).map(|_| ());
    }
    Err(ConfigErrors(errors))
}

/// Checks one key of a topic before it is written. See [`super::validate_topic_configs`] for all of them.
///
/// # Errors
/// An unknown key, or a value that does not fit.
pub fn validate_topic_config(key: &str, value: &str) -> Result<(), ConfigError> {
    let key = keys::topic(key).ok_or_else(|| unknown(Scope::Topic, key))?;
    if key.value_type == Type::List && check(key, &without_repeats(value)).is_ok() {
        return Ok(());
    }
    check(key, value)
}

/// The list after APPEND of `value` (KIP-339): elements that are there already are not added again.
///
/// # Errors
/// An unknown key, or one that is no list.
pub fn list_append(
    scope: Scope,
    key: &str,
    current: Option<&str>,
    value: &str,
) -> Result<String, ConfigError> {
    let mut elements = current_list(scope, key, current)?;
    for element in list(value) {
        if !elements.contains(&element) {
            elements.push(element);
        }
    }
    Ok(elements.join(","))
}

/// The list after SUBTRACT of `value`.
///
/// # Errors
/// An unknown key, or one that is no list.
pub fn list_subtract(
    scope: Scope,
    key: &str,
    current: Option<&str>,
    value: &str,
) -> Result<String, ConfigError> {
    let gone = list(value);
    let mut elements = current_list(scope, key, current)?;
    elements.retain(|element| !gone.contains(element));
    Ok(elements.join(","))
}

/// A list without a value of its own starts from the default of its key.
fn current_list(scope: Scope, name: &str, current: Option<&str>) -> Result<Vec<String>, ConfigError> {
    let key = keys::find(scope, name).ok_or_else(|| unknown(scope, name))?;
    if key.value_type != Type::List {
        return Err(ConfigError::Conflict(format!(
            "{name} is no list: only lists can be appended to or subtracted from"
        )));
    }
    Ok(list(current.or(key.default_text()).unwrap_or_default()))
}

fn unknown(scope: Scope, key: &str) -> ConfigError {
    ConfigError::Unknown { key: key.into(), origin: Origin::Request, suggestion: keys::nearest(scope, key) }
}

/// In a topic's lists, unlike in a broker's, what is there twice counts once (KIP-1161).
fn without_repeats(text: &str) -> String {
    let mut seen = Vec::new();
    for element in list(text) {
        if !seen.contains(&element) {
            seen.push(element);
        }
    }
    seen.join(",")
}

fn check(key: &Key, value: &str) -> Result<(), ConfigError> {
    key.parse(value).map(|_| ()).map_err(|reason| ConfigError::Invalid {
        key: key.name.into(),
        value: if key.is_sensitive() { "[hidden]".into() } else { value.into() },
        reason,
        origin: Origin::Request,
    })
}

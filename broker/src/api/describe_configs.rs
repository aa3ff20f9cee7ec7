//! DescribeConfigs (v1–4): what topics and brokers are configured to do, and where each value comes from (KIP-226).

use std::sync::Arc;

use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use ottla_wire::{ErrorCode, Str};

use crate::config::keys::{self, Key, Scope, UpdateMode, Visibility};
use crate::config::{
    BrokerLayers, ConfigSource, Lookup, Synonym, is_dynamic, passes_through, topic_synonyms, topic_value,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// Where the answers come from.
pub struct View<'a> {
    /// This node.
    pub node_id: i32,
    /// Its configuration.
    pub layers: BrokerLayers<'a>,
    /// The configs of a topic; `None` if there is no such topic.
    pub topic: &'a dyn Fn(&str) -> Option<Arc<dyn Lookup>>,
}

/// Answers for every resource, in the order of the request.
pub fn describe(view: &View<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let described = describe_resource(view, resource, request).map_err(|refusal| {
            let Refusal(code, message) = refusal;
            (code.code(), message)
        });
        let (configs, error_code, message) = match described {
            Ok(configs) => (configs, 0, None),
            Err((code, message)) => (Vec::new(), code, Some(Str::from(message))),
        };
        DescribeConfigsResult {
            error_code,
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
            ..Default::default()
        }
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

struct Refusal(ErrorCode, String);

fn describe_resource(
    view: &View<'_>,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let invalid = |reason: String| Err(Refusal(ErrorCode::InvalidRequest, reason));
    let asked = Asked::new(resource, request);
    match resource.resource_type {
        TOPIC => describe_topic(view, &resource.resource_name, &asked),
        BROKER if resource.resource_name.is_empty() => Ok(describe_cluster(view, &asked)),
        BROKER => match resource.resource_name.parse::<i32>() {
            Ok(id) if id == view.node_id => Ok(describe_broker(view, &asked)),
            Ok(id) => invalid(format!("broker {id} was asked for, this is broker {}", view.node_id)),
            Err(_) => invalid(format!("{:?} is no broker id", &*resource.resource_name)),
        },
        BROKER_LOGGER => invalid("the levels of this broker's loggers cannot be described yet".into()),
        other => invalid(format!("resources of type {other} have no configs here")),
    }
}

/// What of each key is asked for.
struct Asked<'a> {
    keys: &'a [Str],
    synonyms: bool,
    documentation: bool,
}

impl<'a> Asked<'a> {
    fn new(resource: &'a DescribeConfigsResource, request: &DescribeConfigsRequest) -> Asked<'a> {
        Asked {
            keys: resource.configuration_keys.as_deref().unwrap_or_default(),
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        }
    }

    /// No keys means all of them.
    fn wants(&self, name: &str) -> bool {
        self.keys.is_empty() || self.keys.iter().any(|key| **key == *name)
    }

    fn entry(
        &self,
        key: &Key,
        value: Option<String>,
        found: Vec<Synonym>,
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let shown = |value: String| (!key.is_sensitive()).then(|| Str::from(value));
        let found = below_the_key_itself(key, found);
        let source = found.first().map_or(ConfigSource::Default, |synonym| synonym.source);
        let synonyms = found.into_iter().filter(|_| self.synonyms).map(|synonym| DescribeConfigsSynonym {
            name: synonym.name.into(),
            value: shown(synonym.value),
            source: synonym.source as i8,
            ..Default::default()
        });
        DescribeConfigsResourceResult {
            name: key.name.into(),
            value: value.and_then(shown),
            read_only,
            config_source: source as i8,
            is_sensitive: key.is_sensitive(),
            synonyms: synonyms.collect(),
            config_type: key.value_type.code(),
            documentation: self.documentation.then(|| key.doc.into()),
            ..Default::default()
        }
    }
}

/// As Kafka answers: what comes before the first setting of the key itself, or of the broker key that a topic key is
/// named after, is left out; so `log.retention.hours` alone does not show as a source of `retention.ms`.
fn below_the_key_itself(key: &Key, found: Vec<Synonym>) -> Vec<Synonym> {
    let own = match key.scope {
        Scope::Topic => key.synonyms.first().copied().unwrap_or(key.name),
        Scope::Broker => key.name,
    };
    let (topic, broker): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|synonym| synonym.source == ConfigSource::DynamicTopic);
    topic.into_iter().chain(broker.into_iter().skip_while(|synonym| synonym.name != own)).collect()
}

fn describe_topic(
    view: &View<'_>,
    name: &str,
    asked: &Asked<'_>,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let Some(overrides) = (view.topic)(name) else {
        return Err(Refusal(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name}")));
    };
    let overrides = overrides.as_ref();
    let shown = |key: &&Key| {
        asked.wants(key.name)
            && (key.visibility == Visibility::Public || overrides.lookup(key.name).is_some())
    };
    let entry = |key: &'static Key| {
        let value = topic_value(key.name, &view.layers, overrides);
        asked.entry(key, value, topic_synonyms(key.name, &view.layers, overrides), false)
    };
    Ok(keys::all(Scope::Topic).filter(shown).map(entry).collect())
}

/// The node's configuration: every public key, and whatever else was set.
fn describe_broker(view: &View<'_>, asked: &Asked<'_>) -> Vec<DescribeConfigsResourceResult> {
    let entry = |key: &'static Key| {
        let found = view.layers.synonyms(&key.synonyms);
        let value = broker_value(key, &found);
        let is_set =
            found.iter().any(|synonym| synonym.source != ConfigSource::Default && synonym.name == key.name);
        let shown = key.visibility == Visibility::Public || is_set;
        shown.then(|| asked.entry(key, value, found, !is_dynamic(key)))
    };
    let known = keys::all(Scope::Broker).filter(|key| asked.wants(key.name)).filter_map(entry);
    known.chain(plugin_entries(view, asked)).collect()
}

/// A key's own value; synonyms do not fill it.
fn broker_value(key: &Key, found: &[Synonym]) -> Option<String> {
    found.iter().find(|synonym| synonym.name == key.name).map(|synonym| synonym.value.clone())
}

/// Settings that pass through are of no known type, so that they may be secret.
fn plugin_entries(view: &View<'_>, asked: &Asked<'_>) -> Vec<DescribeConfigsResourceResult> {
    let settings = view.layers.fixed.iter().filter(|(name, _)| passes_through(name) && asked.wants(name));
    let entry = |name: &str| DescribeConfigsResourceResult {
        name: name.into(),
        value: None,
        read_only: true,
        config_source: ConfigSource::StaticBroker as i8,
        is_sensitive: true,
        documentation: None,
        ..Default::default()
    };
    settings.map(|(name, _)| entry(name)).collect()
}

/// What is set for all brokers while they run.
fn describe_cluster(view: &View<'_>, asked: &Asked<'_>) -> Vec<DescribeConfigsResourceResult> {
    let entry = |name: &str| {
        let key = keys::broker(name)?;
        let mut found = view.layers.synonyms(&key.synonyms);
        found.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
        let value = view.layers.cluster.lookup(name).map(str::to_owned);
        Some(asked.entry(key, value, found, key.mode == UpdateMode::ReadOnly))
    };
    view.layers.cluster.keys().into_iter().filter(|name| asked.wants(name)).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, Nothing};

    fn lookup(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    /// Describes with `log.retention.minutes=5` and a password set statically.
    fn ask(
        (kind, name): (i8, &str),
        asked: &[&str],
        (broker, cluster, topic): (Pairs<'_>, Pairs<'_>, Pairs<'_>),
    ) -> DescribeConfigsResult {
        let config = Config::from_overrides(&[
            ("log.retention.minutes", "5"),
            ("ssl.key.password", "secret"),
            ("listener.name.external.ssl.key.password", "secret"),
        ])
        .unwrap();
        let topics = |asked: &str| {
            let found: Arc<dyn Lookup> = Arc::new(lookup(topic));
            (asked == "t").then_some(found)
        };
        let (broker, cluster) = (lookup(broker), lookup(cluster));
        let layers = BrokerLayers { broker: &broker, cluster: &cluster, fixed: &config.settings };
        let resource = DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: (!asked.is_empty())
                .then(|| asked.iter().map(|key| Str::from(*key)).collect()),
            ..Default::default()
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            include_synonyms: true,
            include_documentation: true,
            ..Default::default()
        };
        describe(&View { node_id: 1, layers, topic: &topics }, &request).results.remove(0)
    }

    fn value(result: &DescribeConfigsResult) -> (&str, i8, bool) {
        assert_eq!(result.configs.len(), 1, "{result:?}");
        let entry = &result.configs[0];
        (entry.value.as_deref().unwrap_or("null"), entry.config_source, entry.read_only)
    }

    fn synonyms(result: &DescribeConfigsResult) -> Vec<(&str, &str, i8)> {
        result.configs[0]
            .synonyms
            .iter()
            .map(|s| (&*s.name, s.value.as_deref().unwrap_or("null"), s.source))
            .collect()
    }

    #[test]
    fn a_topics_value_comes_from_the_strongest_layer() {
        let key = ["retention.ms"];
        let broker: &[_] = &[("log.retention.ms", "3")];
        let cluster: &[_] = &[("log.retention.ms", "2")];
        let found = ask((TOPIC, "t"), &key, (&[], &[], &[]));
        assert_eq!(value(&found), ("300000", 5, false));
        assert_eq!(synonyms(&found), []);
        assert_eq!(value(&ask((TOPIC, "t"), &key, (&[], cluster, &[]))), ("2", 3, false));
        assert_eq!(value(&ask((TOPIC, "t"), &key, (broker, cluster, &[]))), ("3", 2, false));
        let found = ask((TOPIC, "t"), &key, (broker, cluster, &[("retention.ms", "4")]));
        assert_eq!(value(&found), ("4", 1, false));
        assert_eq!(
            synonyms(&found),
            [
                ("retention.ms", "4", 1),
                ("log.retention.ms", "3", 2),
                ("log.retention.ms", "2", 3),
                ("log.retention.minutes", "5", 4),
                ("log.retention.hours", "168", 5)
            ]
        );
        assert_eq!(found.configs[0].config_type, 5);
    }

    #[test]
    fn all_public_topic_keys_are_described_without_a_filter() {
        let found = ask((TOPIC, "t"), &[], (&[], &[], &[]));
        let names: Vec<_> = found.configs.iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names.len(), keys::all(Scope::Topic).count() - 1, "{names:?}");
        assert!(!names.contains(&"internal.segment.bytes".to_owned()));
        assert!(found.configs.iter().all(|entry| entry.documentation.is_some() && entry.config_type > 0));
    }

    #[test]
    fn a_brokers_value_has_its_source_and_says_whether_it_can_change() {
        let nothing: (Pairs<'_>, Pairs<'_>, Pairs<'_>) = (&[], &[], &[]);
        assert_eq!(value(&ask((BROKER, "1"), &["node.id"], nothing)), ("1", 4, true));
        assert_eq!(value(&ask((BROKER, "1"), &["log.retention.minutes"], nothing)), ("5", 4, true));
        assert_eq!(value(&ask((BROKER, "1"), &["message.max.bytes"], nothing)), ("1048588", 5, false));
        let changed: (Pairs<'_>, Pairs<'_>, Pairs<'_>) =
            (&[("message.max.bytes", "9")], &[("message.max.bytes", "8")], &[]);
        let found = ask((BROKER, "1"), &["message.max.bytes"], changed);
        assert_eq!(value(&found), ("9", 2, false));
        let expected = [
            ("message.max.bytes", "9", 2),
            ("message.max.bytes", "8", 3),
            ("message.max.bytes", "1048588", 5),
        ];
        assert_eq!(synonyms(&found), expected);
    }

    #[test]
    fn secrets_are_not_shown() {
        for key in ["ssl.key.password", "listener.name.external.ssl.key.password"] {
            let found = ask((BROKER, "1"), &[key], (&[], &[], &[]));
            assert_eq!(value(&found).0, "null", "{key}");
            assert!(found.configs[0].is_sensitive);
            assert!(!format!("{found:?}").contains("secret"));
        }
    }

    #[test]
    fn the_default_of_all_brokers_has_only_what_was_set() {
        let found = ask((BROKER, ""), &[], (&[], &[("log.retention.ms", "2")], &[]));
        assert_eq!(value(&found), ("2", 3, false));
        assert_eq!(synonyms(&found), [("log.retention.ms", "2", 3)]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let nothing: (Pairs<'_>, Pairs<'_>, Pairs<'_>) = (&[], &[], &[]);
        for (resource, code) in [
            ((TOPIC, "u"), ErrorCode::UnknownTopicOrPartition),
            ((BROKER, "2"), ErrorCode::InvalidRequest),
            ((BROKER, "x"), ErrorCode::InvalidRequest),
            ((BROKER_LOGGER, "1"), ErrorCode::InvalidRequest),
            ((32, "g"), ErrorCode::InvalidRequest),
        ] {
            let found = ask(resource, &[], nothing);
            assert_eq!(found.error_code, code.code(), "{resource:?}");
            assert!(found.configs.is_empty() && found.error_message.is_some());
        }
        assert!(Nothing.keys().is_empty());
    }
}

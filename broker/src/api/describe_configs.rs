//! DescribeConfigs (v1–4): what topics and brokers are configured to do, and where each value comes from (KIP-226).

use std::sync::Arc;

use ottla_quorum::MetadataImage;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use ottla_wire::{ErrorCode, Str};

use super::{RequestContext, logger_levels, repeats};
use crate::broker::Broker;
use crate::config::keys::{self, Key, Scope, UpdateMode, Visibility};
use crate::config::{
    BrokerLayers, ConfigSource, Lookup, Synonym, is_dynamic, passes_through, topic_synonyms, topic_value,
};
use crate::controller::check_topic_name;
use crate::node::NodeContext;
use crate::security::{Operation, Resource};
use crate::telemetry::loggers::Loggers;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// Answers from the metadata image and this node's own settings.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    answer(broker, &broker.image(), context, request)
}

/// What a node says with this image.
pub(crate) fn answer(
    node: &NodeContext,
    image: &MetadataImage,
    context: &RequestContext,
    mut request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    repeats::bound(&mut request.resources, |it| Some((it.resource_type, it.resource_name.clone())));
    let (own, cluster) = (image.configs.broker(node.node_id), image.configs.default_broker());
    let topic = |name: &str| {
        let found: Arc<dyn Lookup> = image.configs.topic(name);
        image.topics.by_name(name).map(|_| found)
    };
    let allowed = |resource: &DescribeConfigsResource| {
        let resource = match resource.resource_type {
            TOPIC => Resource::Topic(&resource.resource_name),
            _ => Resource::Cluster,
        };
        node.allows(context, Operation::DescribeConfigs, resource)
    };
    let layers = BrokerLayers { broker: &*own, cluster: &*cluster, fixed: &node.config.settings };
    let (node_id, loggers) = (node.node_id, &node.loggers);
    describe(&View { node_id, layers, topic: &topic, loggers, allowed: &allowed }, &request)
}

/// Where the answers come from.
struct View<'a> {
    /// This node.
    node_id: i32,
    /// Its configuration.
    layers: BrokerLayers<'a>,
    /// The configs of a topic; `None` if there is no such topic.
    topic: &'a dyn Fn(&str) -> Option<Arc<dyn Lookup>>,
    /// Its loggers.
    loggers: &'a Loggers,
    /// Whether the client may see the resource.
    allowed: &'a dyn Fn(&DescribeConfigsResource) -> bool,
}

/// Answers for every resource, in the order of the request.
fn describe(view: &View<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let described = describe_resource(view, resource, request).map_err(|refusal| {
            let Refusal(code, message) = refusal;
            (code.code(), message)
        });
        let (configs, error_code, message) = match described {
            Ok(configs) => (configs, 0, Some(Str::default())),
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

fn refusal(code: ErrorCode) -> Refusal {
    Refusal(code, code.to_string())
}

fn describe_resource(
    view: &View<'_>,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let invalid = |reason: String| Err(Refusal(ErrorCode::InvalidRequest, reason));
    if !(view.allowed)(resource) {
        return Err(match resource.resource_type {
            TOPIC => refusal(ErrorCode::TopicAuthorizationFailed),
            _ => refusal(ErrorCode::ClusterAuthorizationFailed),
        });
    }
    let asked = Asked::new(resource, request);
    match resource.resource_type {
        TOPIC => describe_topic(view, &resource.resource_name, &asked),
        BROKER if resource.resource_name.is_empty() => Ok(describe_cluster(view, &asked)),
        BROKER => match resource.resource_name.parse::<i32>() {
            Ok(id) if id == view.node_id => Ok(describe_broker(view, &asked)),
            Ok(id) => invalid(format!("broker {id} was asked for, this is broker {}", view.node_id)),
            Err(_) => invalid(format!("{:?} is no broker id", &*resource.resource_name)),
        },
        BROKER_LOGGER => logger_levels::check_node(&resource.resource_name, view.node_id)
            .map(|()| logger_levels::describe(view.loggers, |name| asked.wants(name)))
            .map_err(|error| Refusal(error.code, error.message.to_string())),
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
    check_topic_name(name).map_err(|error| Refusal(error.code, error.message.to_string()))?;
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
#[path = "describe_configs_tests.rs"]
mod tests;

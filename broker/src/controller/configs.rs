//! IncrementalAlterConfigs of topics and brokers.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::image::{ConfigResource, MetadataImage, resource_type};
use ottla_quorum::{MetadataRecord, MetadataVersion};
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use ottla_wire::records::metadata::ConfigRecord;
use ottla_wire::{ErrorCode, Str};

use super::topics::{name, with_layers};
use super::{Decision, TopicError, elr};
use crate::config::keys::{self, Scope};
use crate::config::{
    BrokerScope, Config, ConfigError, list_append, list_subtract, topic_value, validate_broker_configs,
    validate_topic_configs,
};

/// Directories that get no new partitions.
const CORDONED: &str = "cordoned.log.dirs";
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// APPEND or SUBTRACT: scope, key, current value, given value.
type Edit = fn(Scope, &str, Option<&str>, &str) -> Result<String, ConfigError>;

/// What a resource's configs are checked against.
pub(super) enum Target {
    Topic,
    Broker(BrokerScope),
}

/// Changes configs; resources that cannot be changed are refused one by one.
pub(crate) fn incremental_alter_configs(
    image: &MetadataImage,
    request: &IncrementalAlterConfigsRequest,
    config: &Config,
) -> Decision<IncrementalAlterConfigsResponse> {
    let twice = twice(request.resources.iter().map(|it| (it.resource_type, &it.resource_name)));
    let mut records = Vec::new();
    let mut responses = Vec::new();
    for resource in &request.resources {
        let outcome = if twice.contains(&(resource.resource_type, &resource.resource_name)) {
            Err(TopicError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
        } else {
            alter_resource(image, resource, config)
        };
        match outcome {
            Ok(changes) => {
                records.extend(changes);
                responses.push(response(resource, None));
            }
            Err(error) => responses.push(response(resource, Some(&error))),
        }
    }
    records.extend(elr::cleared(image, &records));
    if request.validate_only {
        records.clear();
    }
    Decision { records, response: IncrementalAlterConfigsResponse { responses, ..Default::default() } }
}

/// The answer when nothing can be done at all.
pub(crate) fn refuse_all(
    request: &IncrementalAlterConfigsRequest,
    error: &TopicError,
) -> IncrementalAlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| response(resource, Some(error))).collect();
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// Those of a request's resources, by type and name, that it has more than once.
pub(crate) fn twice<'a>(resources: impl Iterator<Item = (i8, &'a Str)>) -> BTreeSet<(i8, &'a Str)> {
    let mut seen = BTreeSet::new();
    resources.filter(|id| !seen.insert(*id)).collect()
}

fn alter_resource(
    image: &MetadataImage,
    resource: &AlterConfigsResource,
    config: &Config,
) -> Result<Vec<MetadataRecord>, TopicError> {
    let target = target(image, resource.resource_type, &resource.resource_name)?;
    check_operations(&resource.configs)?;
    let id = ConfigResource { resource_type: resource.resource_type, name: resource.resource_name.clone() };
    let current = image.configs.get(&id).map(|configs| (**configs).clone()).unwrap_or_default();
    let mut changed = current.clone();
    let mut records = Vec::new();
    for change in &resource.configs {
        let value = new_value(image, &target, &current, change, config)?;
        match &value {
            Some(value) => changed.insert(change.name.clone(), value.clone()),
            None => changed.remove(&change.name),
        };
        // Even a value that stays the same is written: brokers read their stores again then.
        records.push(MetadataRecord::Config(ConfigRecord {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            name: change.name.clone(),
            value,
            ..Default::default()
        }));
    }
    elr::check(image, &records)?;
    check_result(image, &target, &changed, config)?;
    Ok(records)
}

pub(super) fn target(image: &MetadataImage, kind: i8, name: &Str) -> Result<Target, TopicError> {
    let invalid = |message: String| Err(TopicError::new(ErrorCode::InvalidRequest, message));
    match kind {
        resource_type::TOPIC if name.is_empty() => {
            invalid("Default topic resources are not allowed.".to_owned())
        }
        resource_type::TOPIC if name::check(name).is_err() => name::check(name).map(|()| Target::Topic),
        resource_type::TOPIC if image.topics.by_name(name).is_none() => Err(TopicError::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        )),
        resource_type::TOPIC => Ok(Target::Topic),
        resource_type::BROKER if name.is_empty() => Ok(Target::Broker(BrokerScope::Cluster)),
        resource_type::BROKER => match name.parse() {
            Ok(id) if image.broker(id).is_some() => Ok(Target::Broker(BrokerScope::PerBroker)),
            Ok(id) => invalid(format!("No broker with id {id} is registered.")),
            Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
        },
        other => invalid(format!("Configs of resource type {other} cannot be altered.")),
    }
}

/// That a resource's changes are such, each with what it needs, and no key twice.
pub(crate) fn check_operations(changes: &[AlterableConfig]) -> Result<(), TopicError> {
    let invalid = |message: String| Err(TopicError::new(ErrorCode::InvalidRequest, message));
    let mut seen = BTreeSet::new();
    if changes.iter().any(|change| !seen.insert(&change.name)) {
        return invalid("Error due to duplicate config keys".to_owned());
    }
    let without_value: Vec<&str> = changes
        .iter()
        .filter(|change| change.config_operation != DELETE && change.value.is_none())
        .map(|change| &*change.name)
        .collect();
    if !without_value.is_empty() {
        return invalid(format!("Null value not supported for : {}", without_value.join(", ")));
    }
    match changes.iter().find(|change| !(SET..=SUBTRACT).contains(&change.config_operation)) {
        Some(change) => invalid(format!("Unknown operation type {}", change.config_operation)),
        None => Ok(()),
    }
}

/// The value after the change, `None` if the key is unset.
fn new_value(
    image: &MetadataImage,
    target: &Target,
    current: &BTreeMap<Str, Str>,
    change: &AlterableConfig,
    config: &Config,
) -> Result<Option<Str>, TopicError> {
    let given = change.value.as_deref().unwrap_or_default();
    let (edit, verb): (Edit, _) = match change.config_operation {
        APPEND => (list_append, "APPEND"),
        SUBTRACT => (list_subtract, "SUBTRACT"),
        SET => return Ok(change.value.clone()),
        _ => return Ok(None),
    };
    let (scope, base) = match target {
        Target::Topic => {
            let base = with_layers(config, image, |layers| topic_value(&change.name, layers, current));
            (Scope::Topic, base)
        }
        Target::Broker(_) => {
            let own = current.get(&change.name).map(ToString::to_string);
            let fixed = || {
                let names = &keys::broker(&change.name)?.synonyms;
                let found = config.layers().synonyms(names);
                found.into_iter().next().map(|synonym| synonym.value)
            };
            (Scope::Broker, own.or_else(fixed))
        }
    };
    edit(scope, &change.name, base.as_deref(), given).map(|value| Some(Str::from(value))).map_err(|_| {
        TopicError::new(
            ErrorCode::InvalidConfig,
            format!("Can't {verb} to key {} because its type is not LIST.", change.name),
        )
    })
}

pub(super) fn check_result(
    image: &MetadataImage,
    target: &Target,
    changed: &BTreeMap<Str, Str>,
    config: &Config,
) -> Result<(), TopicError> {
    let (code, result) = match target {
        Target::Topic => (
            ErrorCode::InvalidConfig,
            with_layers(config, image, |layers| validate_topic_configs(layers, changed)),
        ),
        Target::Broker(_) if changed.contains_key(CORDONED) && !knows_cordons(image) => {
            let message = "cordoned.log.dirs needs metadata.version 4.3-IV0";
            return Err(TopicError::new(ErrorCode::InvalidConfig, message));
        }
        Target::Broker(scope) => {
            (ErrorCode::InvalidRequest, validate_broker_configs(config, changed, *scope))
        }
    };
    result.map_err(|errors| TopicError::new(code, errors.to_string()))
}

fn knows_cordons(image: &MetadataImage) -> bool {
    image.metadata_version().is_some_and(MetadataVersion::has_cordoned_log_dirs)
}

/// One resource's answer.
pub(crate) fn response(
    resource: &AlterConfigsResource,
    error: Option<&TopicError>,
) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: error.map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.map(|error| error.message.clone()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

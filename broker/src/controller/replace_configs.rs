//! AlterConfigs: the configs of a resource become those of the request. Deprecated since KIP-339, and still asked.

use std::collections::BTreeMap;

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{ConfigResource, MetadataImage};
use ottla_wire::messages::alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::alter_configs_response::AlterConfigsResourceResponse;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};
use ottla_wire::records::metadata::ConfigRecord;
use ottla_wire::{ErrorCode, Str};

use super::configs::{check_result, target, twice};
use super::{Decision, TopicError, elr};
use crate::config::Config;

/// Replaces configs; resources that cannot be changed are refused one by one.
pub(crate) fn alter_configs(
    image: &MetadataImage,
    request: &AlterConfigsRequest,
    config: &Config,
) -> Decision<AlterConfigsResponse> {
    let twice = twice(request.resources.iter().map(|it| (it.resource_type, &it.resource_name)));
    let mut records = Vec::new();
    let mut responses = Vec::new();
    for resource in &request.resources {
        let outcome = if twice.contains(&(resource.resource_type, &resource.resource_name)) {
            Err(TopicError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
        } else {
            replace(image, resource, config)
        };
        let error = outcome.map(|changes| records.extend(changes)).err();
        responses.push(response(resource, error.as_ref()));
    }
    records.extend(elr::cleared(image, &records));
    if request.validate_only {
        records.clear();
    }
    Decision { records, response: AlterConfigsResponse { responses, ..Default::default() } }
}

/// The answer when nothing can be done at all.
pub(crate) fn refuse_all(request: &AlterConfigsRequest, error: &TopicError) -> AlterConfigsResponse {
    let responses = request.resources.iter().map(|resource| response(resource, Some(error))).collect();
    AlterConfigsResponse { responses, ..Default::default() }
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

fn replace(
    image: &MetadataImage,
    resource: &AlterConfigsResource,
    config: &Config,
) -> Result<Vec<MetadataRecord>, TopicError> {
    let target = target(image, resource.resource_type, &resource.resource_name)?;
    let wanted = wanted(resource)?;
    check_result(image, &target, &wanted, config)?;
    let id = ConfigResource { resource_type: resource.resource_type, name: resource.resource_name.clone() };
    let current = image.configs.get(&id).map(|configs| (**configs).clone()).unwrap_or_default();
    let record = |name: &Str, value: Option<&Str>| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            name: name.clone(),
            value: value.cloned(),
            ..Default::default()
        })
    };
    let set = wanted.iter().filter(|(name, value)| current.get(*name) != Some(value));
    let gone = current.keys().filter(|name| !wanted.contains_key(*name));
    let records: Vec<_> = set
        .map(|(name, value)| record(name, Some(value)))
        .chain(gone.map(|name| record(name, None)))
        .collect();
    elr::check(image, &records)?;
    Ok(records)
}

fn wanted(resource: &AlterConfigsResource) -> Result<BTreeMap<Str, Str>, TopicError> {
    let invalid = |message: String| Err(TopicError::new(ErrorCode::InvalidRequest, message));
    let mut wanted = BTreeMap::new();
    let mut without_value = Vec::new();
    let mut twice = false;
    for config in &resource.configs {
        match &config.value {
            Some(value) => twice |= wanted.insert(config.name.clone(), value.clone()).is_some(),
            None => without_value.push(&*config.name),
        }
    }
    if twice {
        return invalid("Error due to duplicate config keys".to_owned());
    }
    if !without_value.is_empty() {
        return invalid(format!("Null value not supported for : {}", without_value.join(", ")));
    }
    Ok(wanted)
}

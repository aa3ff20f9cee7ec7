//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ottla_quorum::image::MetadataImage;
use ottla_quorum::{METADATA_TOPIC, MetadataRecord};
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use ottla_wire::messages::{CreateTopicsRequest, CreateTopicsResponse};
use ottla_wire::records::metadata::{ConfigRecord, TopicRecord};
use ottla_wire::{ErrorCode, Str, Uuid};

use super::placement::{PlacementError, place};
use super::replicas::{check_assignment, new_partition};
use super::{Context, MAX_PARTITIONS, MAX_RECORDS, name, with_layers};
use crate::config::keys::{self, Scope};
use crate::config::{topic_synonyms, topic_value, validate_topic_configs};
use crate::controller::{Decision, TopicError};

/// Makes topics. Those that cannot be made are refused one by one; the others are made all together.
pub(crate) fn create_topics(
    image: &MetadataImage,
    request: &CreateTopicsRequest,
    context: &mut Context<'_>,
) -> Decision<CreateTopicsResponse> {
    if partitions_in(request, context) > MAX_PARTITIONS {
        let response = refuse_all(request, &too_many());
        return Decision { records: Vec::new(), response };
    }
    let names = Names::of(image, request);
    let mut records = Vec::new();
    let mut results = Vec::new();
    let mut answered = BTreeSet::new();
    for topic in &request.topics {
        if !answered.insert(&topic.name) {
            continue;
        }
        let outcome = names.admit(image, &topic.name).and_then(|()| create_topic(image, topic, context));
        match outcome {
            Ok(created) if records.len() + created.records.len() > MAX_RECORDS => {
                results.push(refused(&topic.name, &too_many()));
            }
            Ok(created) => {
                records.extend(created.records);
                results.push(created.response);
            }
            Err(error) => results.push(refused(&topic.name, &error)),
        }
    }
    if request.validate_only {
        records.clear();
    }
    Decision { records, response: CreateTopicsResponse { topics: results, ..Default::default() } }
}

/// How many partitions are asked for in all.
fn partitions_in(request: &CreateTopicsRequest, context: &Context<'_>) -> usize {
    let of = |topic: &CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        -1 => usize::try_from(context.config.topics.num_partitions).unwrap_or_default(),
        wanted => usize::try_from(wanted).unwrap_or_default(),
    };
    request.topics.iter().map(of).sum()
}

/// The answer when nothing can be done at all.
pub(crate) fn refuse_all(request: &CreateTopicsRequest, error: &TopicError) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|topic| refused(&topic.name, error)).collect();
    CreateTopicsResponse { topics, ..Default::default() }
}

/// Names that cannot be had: those that the request lists twice, and those that collide with existing ones.
struct Names {
    twice: BTreeSet<Str>,
    colliding: HashMap<String, Str>,
}

impl Names {
    fn of(image: &MetadataImage, request: &CreateTopicsRequest) -> Self {
        let mut seen = BTreeSet::new();
        let twice = request
            .topics
            .iter()
            .filter(|topic| !seen.insert(topic.name.clone()))
            .map(|topic| topic.name.clone())
            .collect();
        let any_can = request.topics.iter().any(|topic| name::can_collide(&topic.name));
        let colliding = if any_can {
            let existing = image.topics.iter().filter(|topic| name::can_collide(&topic.name));
            existing.map(|topic| (name::collision_key(&topic.name), topic.name.clone())).collect()
        } else {
            HashMap::new()
        };
        Self { twice, colliding }
    }

    fn admit(&self, image: &MetadataImage, topic: &Str) -> Result<(), TopicError> {
        if self.twice.contains(topic) {
            return Err(TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
        }
        if **topic == *METADATA_TOPIC {
            return Err(TopicError::new(
                ErrorCode::InvalidRequest,
                format!("Creation of internal topic {METADATA_TOPIC} is prohibited."),
            ));
        }
        name::check(topic)?;
        if image.topics.by_name(topic).is_some() {
            return Err(TopicError::new(
                ErrorCode::TopicAlreadyExists,
                format!("Topic '{topic}' already exists."),
            ));
        }
        if !name::can_collide(topic) {
            return Ok(());
        }
        match self.colliding.get(&name::collision_key(topic)) {
            Some(other) => Err(TopicError::new(
                ErrorCode::InvalidTopicException,
                format!("Topic '{topic}' collides with existing topic: {other}"),
            )),
            None => Ok(()),
        }
    }
}

fn create_topic(
    image: &MetadataImage,
    topic: &CreatableTopic,
    context: &mut Context<'_>,
) -> Result<Decision<CreatableTopicResult>, TopicError> {
    let configs = checked_configs(image, topic, context)?;
    let replicas = replicas_of(image, topic, context)?;
    (context.charge)(replicas.len())?;
    let topic_id = (context.fresh_id)()?;
    let mut records =
        vec![MetadataRecord::Topic(TopicRecord { name: topic.name.clone(), topic_id, ..Default::default() })];
    records.extend(configs.iter().map(|(key, value)| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: ottla_quorum::image::resource_type::TOPIC,
            resource_name: topic.name.clone(),
            name: key.clone(),
            value: Some(value.clone()),
            ..Default::default()
        })
    }));
    for (index, replicas) in (0..).zip(&replicas) {
        records.push(new_partition(image, topic_id, index, replicas)?);
    }
    let response = CreatableTopicResult {
        name: topic.name.clone(),
        topic_id,
        error_code: ErrorCode::None.code(),
        error_message: None,
        num_partitions: i32::try_from(replicas.len()).unwrap_or(i32::MAX),
        replication_factor: replicas
            .first()
            .map_or(-1, |first| i16::try_from(first.len()).unwrap_or(i16::MAX)),
        configs: Some(effective_configs(image, &configs, context)),
        ..Default::default()
    };
    Ok(Decision { records, response })
}

fn checked_configs(
    image: &MetadataImage,
    topic: &CreatableTopic,
    context: &Context<'_>,
) -> Result<BTreeMap<Str, Str>, TopicError> {
    let invalid = |message: String| TopicError::new(ErrorCode::InvalidConfig, message);
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let value = config
            .value
            .clone()
            .ok_or_else(|| invalid(format!("Null value not supported for topic configs: {}", config.name)))?;
        configs.insert(config.name.clone(), value);
    }
    with_layers(context.config, image, |layers| validate_topic_configs(layers, &configs))
        .map_err(|errors| invalid(errors.to_string()))?;
    Ok(configs)
}

/// The replicas of each partition in the order of their indexes.
fn replicas_of(
    image: &MetadataImage,
    topic: &CreatableTopic,
    context: &mut Context<'_>,
) -> Result<Vec<Vec<i32>>, TopicError> {
    if topic.assignments.is_empty() { placed(image, topic, context) } else { assigned(image, topic) }
}

fn placed(
    image: &MetadataImage,
    topic: &CreatableTopic,
    context: &mut Context<'_>,
) -> Result<Vec<Vec<i32>>, TopicError> {
    let defaults = &context.config.topics;
    let replication_factor = match topic.replication_factor {
        -1 => defaults.replication_factor,
        wanted => wanted,
    };
    let replication_factor =
        usize::try_from(replication_factor).ok().filter(|count| *count > 0).ok_or_else(|| {
            TopicError::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            )
        })?;
    let count = match topic.num_partitions {
        -1 => defaults.num_partitions,
        wanted => wanted,
    };
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
        TopicError::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        )
    })?;
    if count > MAX_PARTITIONS {
        return Err(too_many());
    }
    let start = start_of(&(context.fresh_id)()?);
    place(image, count, replication_factor, start)
        .map_err(|error| cannot_place(count, replication_factor, &error))
}

pub(super) fn cannot_place(count: usize, replication_factor: usize, error: &PlacementError) -> TopicError {
    let times = format!("Unable to replicate the partition {replication_factor} time(s): {error}");
    debug_assert!(count > 0);
    TopicError::new(ErrorCode::InvalidReplicationFactor, times)
}

/// Any number will do as long as topics differ in it.
pub(super) fn start_of(id: &Uuid) -> usize {
    id.as_bytes().iter().take(4).fold(0, |start, byte| start << 8 | usize::from(*byte))
}

fn assigned(image: &MetadataImage, topic: &CreatableTopic) -> Result<Vec<Vec<i32>>, TopicError> {
    let invalid = |message: &str| Err(TopicError::new(ErrorCode::InvalidRequest, message));
    if topic.replication_factor != -1 {
        return invalid(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.num_partitions != -1 {
        return invalid("A manual partition assignment was specified, but numPartitions was not set to -1.");
    }
    let mut by_index = BTreeMap::new();
    let mut replication_factor = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        check_assignment(image, &assignment.broker_ids, replication_factor)?;
        replication_factor = Some(assignment.broker_ids.len());
        if by_index.insert(index, assignment.broker_ids.clone()).is_some() {
            return Err(TopicError::new(
                ErrorCode::InvalidReplicaAssignment,
                format!("Found multiple manual partition assignments for partition {index}"),
            ));
        }
    }
    if !by_index.keys().copied().eq(0..i32::try_from(by_index.len()).unwrap_or(i32::MAX)) {
        return Err(TopicError::new(
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    if by_index.len() > MAX_PARTITIONS {
        return Err(too_many());
    }
    Ok(by_index.into_values().collect())
}

/// All configs of the topic with where they come from, which clients show after creation.
fn effective_configs(
    image: &MetadataImage,
    own: &BTreeMap<Str, Str>,
    context: &Context<'_>,
) -> Vec<CreatableTopicConfigs> {
    with_layers(context.config, image, |layers| {
        let effective = |key: &'static keys::Key| CreatableTopicConfigs {
            name: Str::from(key.name),
            value: topic_value(key.name, layers, own).map(Str::from),
            read_only: false,
            config_source: topic_synonyms(key.name, layers, own)
                .first()
                .map_or(crate::config::ConfigSource::Default as i8, |synonym| synonym.source as i8),
            is_sensitive: key.is_sensitive(),
            ..Default::default()
        };
        let public = |key: &&keys::Key| key.visibility == keys::Visibility::Public;
        keys::all(Scope::Topic).filter(public).map(effective).collect()
    })
}

fn too_many() -> TopicError {
    TopicError::new(ErrorCode::PolicyViolation, "more than 10000 partitions in one request")
}

fn refused(name: &Str, error: &TopicError) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.clone(),
        topic_id: Uuid::ZERO,
        error_code: error.code.code(),
        error_message: Some(error.message.clone()),
        ..Default::default()
    }
}

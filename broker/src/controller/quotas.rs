//! AlterClientQuotas: which entities and keys there are, and what of it is enforced here.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, QuotaEntity};
use ottla_wire::messages::alter_client_quotas_request::{EntryData as Asked, OpData};
use ottla_wire::messages::alter_client_quotas_response::{EntityData, EntryData};
use ottla_wire::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use ottla_wire::records::metadata::{ClientQuotaRecord, client_quota_record};
use ottla_wire::{ErrorCode, Str};

use super::{Decision, TopicError};

/// Keys of users and client ids that limit something here.
const ENFORCED: [&str; 2] = ["producer_byte_rate", "consumer_byte_rate"];
/// Keys of users and client ids that Kafka has besides.
const NOT_ENFORCED: [&str; 2] = ["request_percentage", "controller_mutation_rate"];
/// The only key of addresses, not enforced here either.
const CONNECTION_RATE: &str = "connection_creation_rate";
/// What a fraction must exceed to be one.
const EPSILON: f64 = 1e-6;

/// Sets and removes quotas; entities that are refused change nothing.
pub(crate) fn alter_client_quotas(
    image: &MetadataImage,
    request: &AlterClientQuotasRequest,
) -> Decision<AlterClientQuotasResponse> {
    let mut records = Vec::new();
    let mut entries = Vec::new();
    let mut seen = BTreeSet::new();
    for asked in &request.entries {
        let entity = entity(asked);
        let outcome = if seen.insert(entity.clone()) {
            alter(image, asked, &entity)
        } else {
            invalid("an entity may appear only once in a request")
        };
        let error = outcome.map(|changes| records.extend(changes)).err();
        entries.push(entry(asked, error.as_ref()));
    }
    if request.validate_only {
        records.clear();
    }
    Decision { records, response: AlterClientQuotasResponse { entries, ..Default::default() } }
}

/// The answer when nothing can be done at all.
pub(crate) fn refuse_all(
    request: &AlterClientQuotasRequest,
    error: &TopicError,
) -> AlterClientQuotasResponse {
    let entries = request.entries.iter().map(|asked| entry(asked, Some(error))).collect();
    AlterClientQuotasResponse { entries, ..Default::default() }
}

fn entry(asked: &Asked, error: Option<&TopicError>) -> EntryData {
    let part = |(entity_type, entity_name): (Str, Option<Str>)| EntityData {
        entity_type,
        entity_name,
        ..Default::default()
    };
    EntryData {
        error_code: error.map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.map(|error| error.message.clone()),
        entity: echoed(asked).into_iter().map(part).collect(),
        ..Default::default()
    }
}

/// Of a kind that is named twice the last name counts; the order of the kinds means nothing.
fn entity(asked: &Asked) -> QuotaEntity {
    let parts = asked.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone()));
    parts.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// The entity in the order in which Kafka answers: addresses last.
fn echoed(asked: &Asked) -> QuotaEntity {
    let mut echoed = entity(asked);
    echoed.sort_by_key(|(kind, _)| &**kind == "ip");
    echoed
}

fn alter(
    image: &MetadataImage,
    asked: &Asked,
    entity: &QuotaEntity,
) -> Result<Vec<MetadataRecord>, TopicError> {
    let of_address = check_entity(entity)?;
    let mut keys = BTreeSet::new();
    if asked.ops.iter().any(|op| !keys.insert(&op.key)) {
        return invalid("a key may appear only once for an entity");
    }
    let current = image.security.quotas.get(entity);
    let mut records = Vec::new();
    for op in &asked.ops {
        let value = current.and_then(|values| values.get(&op.key));
        let changed = if op.remove {
            value.is_some()
        } else {
            check_value(op, of_address)?;
            value != Some(&op.value)
        };
        if changed {
            records.push(record(entity, op));
        }
    }
    Ok(records)
}

fn record(entity: &QuotaEntity, op: &OpData) -> MetadataRecord {
    let part = |(entity_type, entity_name): &(Str, Option<Str>)| client_quota_record::EntityData {
        entity_type: entity_type.clone(),
        entity_name: entity_name.clone(),
        ..Default::default()
    };
    MetadataRecord::ClientQuota(ClientQuotaRecord {
        entity: entity.iter().map(part).collect(),
        key: op.key.clone(),
        value: if op.remove { 0.0 } else { op.value },
        remove: op.remove,
        ..Default::default()
    })
}

/// Whether the entity is an address; otherwise it is a user, a client id or both.
fn check_entity(entity: &QuotaEntity) -> Result<bool, TopicError> {
    if entity.is_empty() {
        return invalid("Invalid empty client quota entity");
    }
    for (kind, name) in entity {
        if !["user", "client-id", "ip"].contains(&&**kind) {
            return invalid(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_ref().is_some_and(|name| name.is_empty()) {
            return invalid(format!("Empty {kind} not supported"));
        }
    }
    let of_address = entity.iter().any(|(kind, _)| &**kind == "ip");
    if of_address && entity.len() > 1 {
        return invalid("an ip cannot be combined with a user or a client-id");
    }
    Ok(of_address)
}

fn check_value(op: &OpData, of_address: bool) -> Result<(), TopicError> {
    let (key, value) = (&*op.key, op.value);
    let known = if of_address {
        key == CONNECTION_RATE
    } else {
        ENFORCED.contains(&key) || NOT_ENFORCED.contains(&key)
    };
    if !known {
        return invalid(format!("Invalid configuration key {key}"));
    }
    if value.is_nan() || value <= 0.0 {
        return invalid(format!("Quota {key} must be greater than 0"));
    }
    if !ENFORCED.contains(&key) {
        return invalid(format!("{key} is not enforced by this broker and cannot be set"));
    }
    // As a number of bytes it has to fit into 63 bits.
    if value > 9_223_372_036_854_775_807.0 {
        return invalid(format!("Proposed value for {key} is too large for a LONG."));
    }
    if value % 1.0 > EPSILON {
        return invalid(format!("{key} cannot be a fractional value."));
    }
    Ok(())
}

fn invalid<T>(message: impl Into<String>) -> Result<T, TopicError> {
    Err(TopicError::new(ErrorCode::InvalidRequest, message))
}

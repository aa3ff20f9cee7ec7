//! AlterClientQuotas: which entities and keys there are, and which values they may have.

use std::collections::{BTreeMap, BTreeSet};

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::{MetadataImage, QuotaEntity};
use ottla_wire::messages::alter_client_quotas_request::{EntryData as Asked, OpData};
use ottla_wire::messages::alter_client_quotas_response::{EntityData, EntryData};
use ottla_wire::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use ottla_wire::records::metadata::{ClientQuotaRecord, client_quota_record};
use ottla_wire::{ErrorCode, Str};

use super::{Decision, TopicError};

/// Bytes per second of users and client ids.
const BYTE_RATES: [&str; 2] = ["producer_byte_rate", "consumer_byte_rate"];
/// What else users and client ids have, which may be fractions.
const OTHERS: [&str; 2] = ["request_percentage", "controller_mutation_rate"];
/// The only key of addresses.
const CONNECTION_RATE: &str = "connection_creation_rate";
/// What a fraction must exceed to be one.
const EPSILON: f64 = 1e-6;

/// Sets and removes quotas; entities that are refused change nothing. `unknown_hosts` have no address.
pub(crate) fn alter_client_quotas(
    image: &MetadataImage,
    request: &AlterClientQuotasRequest,
    unknown_hosts: &BTreeSet<Str>,
) -> Decision<AlterClientQuotasResponse> {
    let mut records = Vec::new();
    let mut entries = Vec::new();
    let mut places = BTreeMap::new();
    for asked in &request.entries {
        let entity = entity(asked);
        let place = *places.entry(entity.clone()).or_insert(entries.len());
        if let Some(first) = entries.get_mut(place) {
            // As by Kafka: what was decided for the first stays, and what is answered is that there is another.
            let twice = TopicError::new(ErrorCode::InvalidRequest, "an entity may appear only once");
            *first = entry(asked, Some(&twice));
            continue;
        }
        let outcome = check_entity(&entity, unknown_hosts)
            .and_then(|of_address| alter(image, asked, &entity, of_address));
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
    of_address: bool,
) -> Result<Vec<MetadataRecord>, TopicError> {
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
fn check_entity(entity: &QuotaEntity, unknown_hosts: &BTreeSet<Str>) -> Result<bool, TopicError> {
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
    let host = entity.first().and_then(|(_, name)| name.as_ref()).filter(|_| of_address);
    if let Some(host) = host.filter(|host| unknown_hosts.contains(*host)) {
        return invalid(format!("{host} is neither an address nor a host that has one"));
    }
    Ok(of_address)
}

fn check_value(op: &OpData, of_address: bool) -> Result<(), TopicError> {
    let (key, value) = (&*op.key, op.value);
    let known =
        if of_address { key == CONNECTION_RATE } else { BYTE_RATES.contains(&key) || OTHERS.contains(&key) };
    if !known {
        return invalid(format!("Invalid configuration key {key}"));
    }
    if value.is_nan() || value <= 0.0 {
        return invalid(format!("Quota {key} must be greater than 0"));
    }
    if OTHERS.contains(&key) {
        return Ok(());
    }
    let (most, integer) =
        if of_address { (f64::from(i32::MAX), "an INT") } else { (9_223_372_036_854_775_807.0, "a LONG") };
    if value > most {
        return invalid(format!("Proposed value for {key} is too large for {integer}."));
    }
    if value % 1.0 > EPSILON {
        return invalid(format!("{key} cannot be a fractional value."));
    }
    Ok(())
}

fn invalid<T>(message: impl Into<String>) -> Result<T, TopicError> {
    Err(TopicError::new(ErrorCode::InvalidRequest, message))
}

//! DescribeClientQuotas (48): the quotas that match a filter (KIP-546).

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_quorum::image::QuotaEntity;
use ottla_wire::messages::describe_client_quotas_request::ComponentData;
use ottla_wire::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use ottla_wire::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use ottla_wire::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::security::{Operation, Resource};

const KINDS: [&str; 3] = ["user", "client-id", "ip"];

/// An error and what is said about it.
type Refusal = (ErrorCode, String);

/// What an entity's part of one kind has to be.
#[derive(Debug, PartialEq, Eq)]
enum Match {
    /// This name, or the default.
    Exact(Option<Str>),
    /// Any name, and the default.
    Any,
}

/// Lists from the metadata image.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    if !broker.allows(context, Operation::DescribeConfigs, Resource::Cluster) {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return refused((code, code.to_string()));
    }
    let filter = match filter(&request.components) {
        Ok(filter) => filter,
        Err(refusal) => return refused(refusal),
    };
    let image = broker.image();
    let quotas = image.security.quotas.iter();
    let found = quotas.filter(|(entity, _)| matches(entity, &filter, request.strict));
    let entries = Some(found.map(|(entity, values)| entry(entity, values)).collect());
    DescribeClientQuotasResponse { entries, ..Default::default() }
}

fn filter(components: &[ComponentData]) -> Result<BTreeMap<Str, Match>, Refusal> {
    let invalid = |message: String| Err((ErrorCode::InvalidRequest, message));
    let mut filter = BTreeMap::new();
    for component in components {
        let kind = &component.entity_type;
        if kind.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if filter.contains_key(kind) {
            return invalid(format!("Entity type {kind} cannot appear more than once in the filter."));
        }
        if !KINDS.contains(&&**kind) {
            return Err((ErrorCode::UnsupportedVersion, format!("Unsupported entity type {kind}")));
        }
        let wanted = match (component.match_type, &component.r#match) {
            (0, Some(name)) => Match::Exact(Some(name.clone())),
            (0, None) => return invalid("an exact match needs a name".to_owned()),
            (1, None) => Match::Exact(None),
            (2, None) => Match::Any,
            (1 | 2, Some(_)) => return invalid("a match of the default or of any has no name".to_owned()),
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        filter.insert(kind.clone(), wanted);
    }
    if filter.contains_key("ip") && filter.len() > 1 {
        return invalid("an ip cannot be combined with a user or a client-id".to_owned());
    }
    Ok(filter)
}

fn matches(entity: &QuotaEntity, filter: &BTreeMap<Str, Match>, strict: bool) -> bool {
    let part = |kind: &Str| entity.iter().find(|(found, _)| found == kind).map(|(_, name)| name);
    let fits = |(kind, wanted): (&Str, &Match)| match (part(kind), wanted) {
        (Some(name), Match::Exact(wanted)) => name == wanted,
        (Some(_), Match::Any) => true,
        (None, _) => false,
    };
    (!strict || entity.len() == filter.len()) && filter.iter().all(fits)
}

fn entry(entity: &QuotaEntity, values: &BTreeMap<Str, f64>) -> EntryData {
    let part = |(entity_type, entity_name): &(Str, Option<Str>)| EntityData {
        entity_type: entity_type.clone(),
        entity_name: entity_name.clone(),
        ..Default::default()
    };
    let value =
        |(key, value): (&Str, &f64)| ValueData { key: key.clone(), value: *value, ..Default::default() };
    EntryData {
        entity: entity.iter().map(part).collect(),
        values: values.iter().map(value).collect(),
        ..Default::default()
    }
}

fn refused((code, message): Refusal) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        entries: None,
        ..Default::default()
    }
}

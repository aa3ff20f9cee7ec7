//! What eligible leader replicas (KIP-966) ask of `min.insync.replicas`: who is eligible under one value is not under
//! another, so a change of it clears the ELR, and the value is the whole cluster's, never one broker's.

use ottla_quorum::image::{ConfigResource, MetadataImage, resource_type};
use ottla_quorum::{MetadataRecord, features};
use ottla_wire::records::metadata::{ClearElrRecord, ConfigRecord};
use ottla_wire::{ErrorCode, Str};

use super::TopicError;
use crate::config::{Config, Nothing, topic_value};

const MIN_ISR: &str = "min.insync.replicas";

/// Whether the ELR is kept.
fn is_kept(image: &MetadataImage) -> bool {
    image.features.level(features::ELIGIBLE_LEADER_REPLICAS) > 0
}

/// Refuses changes of configs after which brokers would differ in it, or the cluster would have none.
pub(crate) fn check(image: &MetadataImage, changes: &[MetadataRecord]) -> Result<(), TopicError> {
    if !is_kept(image) {
        return Ok(());
    }
    let refused = |message: &str| Err(TopicError::new(ErrorCode::InvalidConfig, message));
    for change in min_isr_changes(changes).filter(|it| it.resource_type == resource_type::BROKER) {
        if !change.resource_name.is_empty() {
            return refused("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
        }
        if change.value.is_none() {
            return refused("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
        }
    }
    Ok(())
}

/// The ELRs to be cleared for changes of configs.
pub(crate) fn cleared(image: &MetadataImage, changes: &[MetadataRecord]) -> Vec<MetadataRecord> {
    if !is_kept(image) {
        return Vec::new();
    }
    let clear = |change: &ConfigRecord| {
        let topic = change.resource_type == resource_type::TOPIC;
        let topic_name = if topic { change.resource_name.clone() } else { Str::default() };
        MetadataRecord::ClearElr(ClearElrRecord { topic_name, ..Default::default() })
    };
    min_isr_changes(changes).map(clear).collect()
}

/// What is written before the ELR is kept from now on: one value for the whole cluster, none of a broker's own.
pub(crate) fn prepared(image: &MetadataImage, config: &Config) -> Vec<MetadataRecord> {
    let record = |name: Str, value: Option<Str>| {
        MetadataRecord::Config(ConfigRecord {
            resource_type: resource_type::BROKER,
            resource_name: name,
            name: MIN_ISR.into(),
            value,
            ..Default::default()
        })
    };
    let mut records = Vec::new();
    if !image.configs.default_broker().contains_key(MIN_ISR) {
        let fixed = topic_value(MIN_ISR, &config.layers(), &Nothing).unwrap_or_else(|| "1".to_owned());
        records.push(record(Str::default(), Some(Str::from(fixed))));
    }
    let of_a_broker = |resource: &ConfigResource| {
        resource.resource_type == resource_type::BROKER && !resource.name.is_empty()
    };
    let own = image.configs.iter().filter(|(it, configs)| of_a_broker(it) && configs.contains_key(MIN_ISR));
    records.extend(own.map(|(resource, _)| record(resource.name.clone(), None)));
    records
}

fn min_isr_changes(changes: &[MetadataRecord]) -> impl Iterator<Item = &ConfigRecord> {
    changes.iter().filter_map(|change| match change {
        MetadataRecord::Config(record) if &*record.name == MIN_ISR => Some(record),
        _ => None,
    })
}

//! Dynamic configs by resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::Str;
use ottla_wire::records::metadata::ConfigRecord;

use crate::record::MetadataRecord;

/// Numbers of the kinds of resources that have configs.
pub mod resource_type {
    /// A topic, by name.
    pub const TOPIC: i8 = 2;
    /// A broker, by id; the empty name is the default of all brokers.
    pub const BROKER: i8 = 4;
    /// Levels of a broker's loggers.
    pub const BROKER_LOGGER: i8 = 8;
    /// A subscription of client metrics.
    pub const CLIENT_METRICS: i8 = 16;
    /// A group, by id.
    pub const GROUP: i8 = 32;
}

/// Something that has configs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Kind of the resource, see [`resource_type`]; kept even if unknown.
    pub resource_type: i8,
    /// Name within the kind.
    pub name: Str,
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: Str) -> Self {
        Self { resource_type: resource_type::TOPIC, name }
    }

    /// A broker.
    pub fn broker(id: i32) -> Self {
        Self { resource_type: resource_type::BROKER, name: Str::from(id.to_string()) }
    }

    /// What holds for every broker that has no value of its own.
    pub fn default_broker() -> Self {
        Self { resource_type: resource_type::BROKER, name: Str::default() }
    }
}

/// Dynamic configs; a resource without any is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigsImage {
    resources: BTreeMap<ConfigResource, Arc<BTreeMap<Str, Str>>>,
}

impl ConfigsImage {
    /// The resource's configs, if it has any.
    pub fn get(&self, resource: &ConfigResource) -> Option<&Arc<BTreeMap<Str, Str>>> {
        self.resources.get(resource)
    }

    /// The topic's configs, empty if it has none.
    pub fn topic(&self, name: &str) -> Arc<BTreeMap<Str, Str>> {
        self.get_or_empty(&ConfigResource::topic(Str::from(name)))
    }

    /// The broker's own configs, empty if it has none.
    pub fn broker(&self, id: i32) -> Arc<BTreeMap<Str, Str>> {
        self.get_or_empty(&ConfigResource::broker(id))
    }

    /// The configs of all brokers, empty if there are none.
    pub fn default_broker(&self) -> Arc<BTreeMap<Str, Str>> {
        self.get_or_empty(&ConfigResource::default_broker())
    }

    /// All resources with configs.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<BTreeMap<Str, Str>>)> {
        self.resources.iter()
    }

    fn get_or_empty(&self, resource: &ConfigResource) -> Arc<BTreeMap<Str, Str>> {
        self.get(resource).cloned().unwrap_or_default()
    }

    pub(super) fn apply(&mut self, record: &ConfigRecord) {
        let resource =
            ConfigResource { resource_type: record.resource_type, name: record.resource_name.clone() };
        match &record.value {
            Some(value) => {
                let configs = self.resources.entry(resource).or_default();
                Arc::make_mut(configs).insert(record.name.clone(), value.clone());
            }
            None => self.unset(&resource, &record.name),
        }
    }

    fn unset(&mut self, resource: &ConfigResource, name: &str) {
        if let Some(configs) = self.resources.get_mut(resource) {
            Arc::make_mut(configs).remove(name);
            if configs.is_empty() {
                self.resources.remove(resource);
            }
        }
    }

    pub(super) fn remove(&mut self, resource: &ConfigResource) {
        self.resources.remove(resource);
    }

    pub(super) fn write(&self, records: &mut Vec<MetadataRecord>) {
        for (resource, configs) in &self.resources {
            records.extend(configs.iter().map(|(name, value)| {
                MetadataRecord::Config(ConfigRecord {
                    resource_type: resource.resource_type,
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..Default::default()
                })
            }));
        }
    }
}

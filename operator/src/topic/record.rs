//! The record of the topics that belong to resources and go with them: a ConfigMap beside the cluster. Only what is in it is ever deleted.

use crate::ids::Uuid;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const DEFINITION: &str = "definition";
const TOPICS: &str = "topics";
const HELD: &str = "held";

/// What is recorded for one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Uid of the definition of `KafkaTopic` under which the topics were recorded.
    pub definition: Option<String>,
    /// Names and ids of the topics that go with their resources.
    pub topics: BTreeMap<String, Uuid>,
    /// Those whose resources vanished all at once. They stay until their deletion is confirmed, whatever else happens.
    pub held: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Topics(BTreeMap<String, String>);

impl Record {
    /// Reads it. What cannot be understood is left out: it is then never deleted.
    pub fn read(map: Option<&ConfigMap>) -> Self {
        let data = map.and_then(|m| m.data.as_ref());
        let text = |key| data.and_then(|d| d.get(key));
        let topics =
            text(TOPICS).and_then(|t| serde_json::from_str(t).ok()).unwrap_or(Topics(BTreeMap::new()));
        let held = text(HELD).and_then(|t| serde_json::from_str(t).ok());
        Self {
            definition: text(DEFINITION).cloned(),
            held: held.unwrap_or_default(),
            topics: topics.0.into_iter().filter_map(|(name, id)| Some((name, id.parse().ok()?))).collect(),
        }
    }

    /// The data of the ConfigMap. One text and not a key for each topic: the API server keeps book of every key.
    pub fn data(&self) -> BTreeMap<String, String> {
        let topics = Topics(self.topics.iter().map(|(name, id)| (name.clone(), id.to_string())).collect());
        let topics = serde_json::to_string(&topics).expect("a map of strings is JSON");
        let definition = self.definition.clone().map(|uid| (DEFINITION.to_owned(), uid));
        let held = (!self.held.is_empty()).then(|| {
            (HELD.to_owned(), serde_json::to_string(&self.held).expect("a list of strings is JSON"))
        });
        definition.into_iter().chain(held).chain([(TOPICS.to_owned(), topics)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let id = Uuid::from_bytes([7; 16]);
        let record = Record {
            definition: Some("uid".into()),
            topics: BTreeMap::from([("orders".into(), id)]),
            held: BTreeSet::from(["orders".into()]),
        };
        let map = ConfigMap { data: Some(record.data()), ..ConfigMap::default() };
        assert_eq!(Record::read(Some(&map)), record);
    }

    #[test]
    fn nothing_is_read_out_of_nonsense() {
        let data = BTreeMap::from([("topics".to_owned(), "{\"a\": 1".to_owned())]);
        let map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        assert_eq!(Record::read(Some(&map)), Record::default());
        assert_eq!(Record::read(None), Record::default());
    }
}

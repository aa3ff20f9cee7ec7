//! Telling users: events, and the status of objects that cannot be read.

use crate::{
    cluster::{apply::WriteError, names::FIELD_MANAGER},
    context::Context,
    crd::conditions::{self, Outcome},
    lease::WRITE,
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource,
    api::DynamicObject,
    core::{ApiResource, error_boundary::InvalidObject},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Why an object could not be reported on.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Reading its status.
    #[error("cannot read the status: {0}")]
    Read(#[from] Box<kube::Error>),
    /// Writing it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Publishes events, each note about an object once in a while.
pub struct Events {
    client: Client,
    reporter: Reporter,
    told: Mutex<HashMap<Told, Instant>>,
}

/// Uid of the object, reason and note.
type Told = (Option<String>, String, String);

/// The same is not told again before.
const AGAIN: Duration = Duration::from_secs(600);

impl Events {
    /// As `instance` of the operator.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance.to_owned()) };
        Self { client, reporter, told: Mutex::default() }
    }

    fn is_news(&self, told: Told, now: Instant) -> bool {
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        let before = all.len();
        all.entry(told).or_insert(now);
        all.len() > before
    }
}

/// Publishes an event. A failure to tell is logged and no more.
pub async fn event(
    context: &Context,
    object: &ObjectReference,
    type_: EventType,
    reason: &str,
    note: String,
) {
    let note: String = note.chars().take(1000).collect();
    let events = &context.events;
    if !events.is_news((object.uid.clone(), reason.to_owned(), note.clone()), Instant::now()) {
        return;
    }
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    // A recorder takes another note under the same reason for a repetition, and shows the first one: each event has its own.
    let recorder = Recorder::new(events.client.clone(), events.reporter.clone());
    match tokio::time::timeout(WRITE, recorder.publish(&event, object)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot publish an event"),
        Err(_) => tracing::warn!("cannot publish an event in time"),
    }
}

/// Tells an object that this release cannot read it. Nothing of what it stands for is touched.
///
/// # Errors
/// When the API server does not answer.
pub async fn invalid<K: Resource<DynamicType = ()>>(
    invalid: &InvalidObject,
    context: &Context,
) -> Result<(), ReportError> {
    let name = invalid.metadata.name.clone().unwrap_or_default();
    let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
    let before =
        read_status::<K>(context.writer.client().clone(), &namespace, &name).await.map_err(Box::new)?;
    let Some(after) = with_reason(&before, invalid, Timestamp::now()) else { return Ok(()) };
    context.writer.status::<K>(&namespace, &name, &after).await?;
    Ok(())
}

async fn read_status<K: Resource<DynamicType = ()>>(
    client: Client,
    namespace: &str,
    name: &str,
) -> Result<Value, kube::Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ApiResource::erase::<K>(&()));
    let object = api.get_opt(name).await?;
    Ok(object.and_then(|o| o.data.get("status").cloned()).unwrap_or_else(|| json!({})))
}

/// The status with conditions that say why the object cannot be read; all else stays. `None` if it says so already.
fn with_reason(before: &Value, invalid: &InvalidObject, now: Timestamp) -> Option<Value> {
    let conditions = before.get("conditions").cloned().and_then(|c| serde_json::from_value(c).ok());
    let previous: Vec<Condition> = conditions.unwrap_or_default();
    let generation = invalid.metadata.generation;
    let outcome = Outcome::degraded("InvalidSpec", invalid.error.clone(), conditions::is_ready(&previous));
    let conditions = outcome.conditions(&previous, generation, now);
    if conditions == previous {
        return None;
    }
    let mut after = before.as_object().cloned().unwrap_or_default();
    after.insert("observedGeneration".to_owned(), json!(generation));
    after.insert("conditions".to_owned(), json!(conditions));
    Some(Value::Object(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::client::Body;

    #[tokio::test]
    async fn the_same_is_told_once_in_a_while_and_anything_else_at_once() {
        let (service, _server) = tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
        let events = Events::new(Client::new(service, "shop"), "me");
        let start = Instant::now();
        let is_news = |note: &str, seconds| {
            let told = (Some("uid".to_owned()), "TopicDeleted".to_owned(), note.to_owned());
            events.is_news(told, start + Duration::from_secs(seconds))
        };
        assert!(is_news("a", 0) && is_news("b", 1));
        assert!(!is_news("a", 2) && !is_news("b", 599));
        assert!(is_news("a", 600) && !is_news("a", 700));
    }

    #[test]
    fn what_else_the_status_says_stays() {
        let metadata = serde_json::from_value(json!({"name": "demo", "generation": 2})).unwrap();
        let invalid = InvalidObject { error: "unknown variant".to_owned(), metadata };
        let ready = Outcome::ready("all nodes serve").conditions(&[], Some(1), Timestamp::UNIX_EPOCH);
        let before =
            json!({"clusterId": "abc", "nodeIds": [0], "observedGeneration": 1, "conditions": ready});
        let after = with_reason(&before, &invalid, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((&after["clusterId"], &after["nodeIds"]), (&before["clusterId"], &before["nodeIds"]));
        assert_eq!(after["observedGeneration"], 2);
        assert_eq!(after["conditions"][0]["status"], "True", "what runs goes on");
        assert_eq!(after["conditions"][2]["message"], "unknown variant");
        assert_eq!(
            with_reason(&after, &invalid, Timestamp::UNIX_EPOCH),
            None,
            "the same is not written twice"
        );
    }
}

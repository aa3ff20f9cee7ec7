//! Telling users: events, and the status of objects that cannot be read.

use crate::{
    cluster::apply::WriteError,
    context::Context,
    crd::conditions::{self, Outcome},
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource,
    api::DynamicObject,
    core::{ApiResource, error_boundary::InvalidObject},
    runtime::events::{Event, EventType},
};
use serde_json::{Value, json};
use std::time::Duration;

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

/// Publishes an event. A failure to tell is logged and no more.
pub async fn event(
    context: &Context,
    object: &ObjectReference,
    type_: EventType,
    reason: &str,
    note: String,
) {
    let note = note.chars().take(1000).collect();
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    match tokio::time::timeout(Duration::from_secs(5), context.recorder.publish(&event, object)).await {
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

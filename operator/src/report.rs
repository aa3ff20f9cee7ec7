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
    let client = context.writer.client().clone();
    let previous = read_conditions::<K>(client, &namespace, &name).await.map_err(Box::new)?;
    let outcome = Outcome::degraded("InvalidSpec", invalid.error.clone(), conditions::is_ready(&previous));
    let conditions = outcome.conditions(&previous, invalid.metadata.generation, Timestamp::now());
    if conditions != previous {
        let status = serde_json::json!({ "observedGeneration": invalid.metadata.generation, "conditions": conditions });
        context.writer.status::<K>(&namespace, &name, &status).await?;
    }
    Ok(())
}

async fn read_conditions<K: Resource<DynamicType = ()>>(
    client: Client,
    namespace: &str,
    name: &str,
) -> Result<Vec<Condition>, kube::Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &ApiResource::erase::<K>(&()));
    let object = api.get_opt(name).await?;
    let conditions =
        object.and_then(|o| serde_json::from_value(o.data.get("status")?.get("conditions")?.clone()).ok());
    Ok(conditions.unwrap_or_default())
}

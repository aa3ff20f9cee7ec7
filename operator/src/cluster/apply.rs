//! Writing: server-side apply with one field manager, and pruning of what the spec does not ask for any more. Only while the Lease is
//! held.

use super::names::{self, FIELD_MANAGER};
use crate::lease::{Leadership, WRITE};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    core::{ApiResource, NamespaceResourceScope},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::fmt::Debug;
use tokio::time::timeout;

/// The one way to change the Kubernetes cluster.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another instance of the operator writes.
    #[error("the Lease is not held")]
    NotLeader,
    /// Somebody else's object has the name.
    #[error("{kind} {name} exists and does not belong to this cluster")]
    NameTaken {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The API server did not answer in time.
    #[error("{kind} {name}: the API server does not answer")]
    Deadline {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// What was to be written cannot be made.
    #[error("{0}")]
    Certificate(String),
    /// The API server refused, or could not be asked.
    #[error("{kind} {name}: {source}")]
    Api {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// The answer.
        source: Box<kube::Error>,
    },
}

impl WriteError {
    /// The API server's message, where it judged the object and the same request would be judged the same again.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::NameTaken { .. } => Some(self.to_string()),
            Self::Api { kind, name, source } => match source.as_ref() {
                kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
                    Some(format!("{kind} {name}: {}", status.message))
                }
                _ => None,
            },
            Self::NotLeader | Self::Deadline { .. } | Self::Certificate(_) => None,
        }
    }

    /// The API server's HTTP code.
    fn status(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Writer {
    /// Writes through `client` while `leadership` lasts.
    pub fn new(client: Client, leadership: Leadership) -> Self {
        Self { client, leadership }
    }

    /// Whether this instance may write.
    ///
    /// # Errors
    /// When it may not.
    pub fn is_leading(&self) -> Result<(), WriteError> {
        self.leadership.check().map_err(|_| WriteError::NotLeader)
    }

    /// For reading.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Applies `objects` in order; `present` are those that are known to belong to the cluster.
    ///
    /// # Errors
    /// The first object that is refused. Those before it are applied.
    pub async fn apply<K>(&self, namespace: &str, objects: &[K], present: &[K]) -> Result<Vec<K>, WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let mut applied = Vec::with_capacity(objects.len());
        for object in objects {
            let name = object.name_any();
            if !present.iter().any(|p| p.name_any() == name) {
                self.refuse_foreign(&api, object, &name).await?;
            }
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            applied
                .push(self.write::<K, _>(&name, api.patch(&name, &parameters, &Patch::Apply(object))).await?);
        }
        Ok(applied)
    }

    /// An object that is there without our labels is somebody's own; applying would take it over.
    async fn refuse_foreign<K>(&self, api: &Api<K>, object: &K, name: &str) -> Result<(), WriteError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let Some(found) = api.get_metadata_opt(name).await.map_err(|e| failed::<K>(name, e))? else {
            return Ok(());
        };
        let ours = |key: &str| found.labels().get(key) == object.labels().get(key);
        if ours(names::CLUSTER) && ours("app.kubernetes.io/managed-by") {
            return Ok(());
        }
        Err(WriteError::NameTaken { kind: K::kind(&()).into_owned(), name: name.to_owned() })
    }

    /// Deletes what is `present`, owned by `owner` and not among `wanted`.
    ///
    /// # Errors
    /// The first object that cannot be deleted.
    pub async fn prune<K>(
        &self,
        namespace: &str,
        owner: &str,
        present: &[K],
        wanted: &[String],
    ) -> Result<(), WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let owned = |object: &&K| object.owner_references().iter().any(|o| o.uid == owner);
        for object in present.iter().filter(owned).filter(|o| !wanted.contains(&o.name_any())) {
            if let Some(uid) = object.uid() {
                self.delete::<K>(namespace, &object.name_any(), uid).await?;
            }
        }
        Ok(())
    }

    /// Deletes the object with this very `uid`; one that is gone or has a successor is left alone.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete<K>(&self, namespace: &str, name: &str, uid: String) -> Result<(), WriteError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
        let parameters = DeleteParams { preconditions, ..DeleteParams::default() };
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        match self.write::<K, _>(name, api.delete(name, &parameters)).await {
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Applies a status. By its text alone, so that it works for an object that does not parse.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn status<K>(
        &self,
        namespace: &str,
        name: &str,
        status: &impl Serialize,
    ) -> Result<(), WriteError>
    where
        K: Resource<DynamicType = ()>,
    {
        let kind = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        let body = json!({ "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "status": status });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match self.write::<K, _>(name, api.patch_status(name, &parameters, &Patch::Apply(&body))).await {
            // Gone meanwhile.
            Err(error) if error.status() == Some(404) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Every write goes through here: begun while the Lease is held, and given up after [`WRITE`].
    async fn write<K: Resource<DynamicType = ()>, T>(
        &self,
        name: &str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, WriteError> {
        self.is_leading()?;
        match timeout(WRITE, request).await {
            Ok(result) => result.map_err(|e| failed::<K>(name, e)),
            Err(_) => Err(WriteError::Deadline { kind: K::kind(&()).into_owned(), name: name.to_owned() }),
        }
    }
}

fn failed<K: Resource<DynamicType = ()>>(name: &str, source: kube::Error) -> WriteError {
    WriteError::Api { kind: K::kind(&()).into_owned(), name: name.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;

//! One connection per cluster, opened when it is asked for and dropped after an error.

use super::{
    admin::Admin,
    connection::{Connection, KafkaError},
};
use crate::{
    lease::{Leadership, WRITE},
    telemetry::Metrics,
};
use ottla_wire::Request;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// All connections of the operator. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    slots: Arc<Mutex<HashMap<String, Arc<Slot>>>>,
    leadership: Leadership,
    metrics: Arc<Metrics>,
}

/// The connection of one cluster.
struct Slot(tokio::sync::Mutex<Option<Connection>>);

impl Pool {
    /// Without connections; changes are made while `leadership` lasts.
    pub fn new(leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        Self { slots: Arc::default(), leadership, metrics }
    }

    /// The cluster that answers at `bootstrap`, a `host:port`.
    pub fn admin(&self, bootstrap: &str) -> Admin {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots
            .entry(bootstrap.to_owned())
            .or_insert_with(|| Arc::new(Slot(tokio::sync::Mutex::new(None))));
        Admin::new(Link {
            address: bootstrap.to_owned(),
            slot: Arc::clone(slot),
            leadership: self.leadership.clone(),
            metrics: Arc::clone(&self.metrics),
        })
    }

    /// Closes what is open to `bootstrap`.
    pub fn forget(&self, bootstrap: &str) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(bootstrap);
    }
}

/// A way to one cluster.
pub struct Link {
    address: String,
    slot: Arc<Slot>,
    leadership: Leadership,
    metrics: Arc<Metrics>,
}

impl Link {
    /// Sends a `request` that changes something: begun while the Lease is held, and given up after [`WRITE`].
    ///
    /// # Errors
    /// As [`Self::send`], and without the Lease.
    pub async fn change<R: Request>(&self, request: &R) -> Result<R::Response, KafkaError> {
        self.leadership.check().map_err(|_| KafkaError::NotLeader)?;
        let late = |_| KafkaError::Deadline(self.address.clone());
        tokio::time::timeout(WRITE, self.send(request)).await.map_err(late)?
    }

    /// Sends `request`. A connection that the broker has closed in the meantime is opened anew, once.
    ///
    /// # Errors
    /// What the second attempt came to, or the first where the request may have been carried out.
    pub async fn send<R: Request>(&self, request: &R) -> Result<R::Response, KafkaError> {
        let mut slot = self.slot.0.lock().await;
        let reused = slot.is_some();
        match self.attempt(&mut slot, request).await {
            Err(KafkaError::Io { .. }) if reused => self.attempt(&mut slot, request).await,
            result => result,
        }
    }

    async fn attempt<R: Request>(
        &self,
        slot: &mut Option<Connection>,
        request: &R,
    ) -> Result<R::Response, KafkaError> {
        // Taken out while it is in use: a call that is broken off halfway leaves no half-read connection behind.
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        self.metrics.asked_kafka();
        let result = connection.send(request).await;
        if matches!(result, Ok(_) | Err(KafkaError::Unsupported(_) | KafkaError::Encode(_))) {
            *slot = Some(connection);
        }
        result
    }
}

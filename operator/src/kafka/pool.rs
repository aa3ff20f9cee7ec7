//! One connection per cluster, opened when it is asked for and dropped after an error.

use super::{admin::Admin, error::KafkaError};
use crate::{
    lease::{Leadership, WRITE},
    telemetry::Metrics,
};
use ottla_client::{CallError, Connection, Options};
use ottla_wire::{Request, Str};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// For connecting and for each request with its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;

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
        let late = |_| CallError::Deadline(self.address.clone());
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
            Err(KafkaError::Call(CallError::Io { .. })) if reused => self.attempt(&mut slot, request).await,
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
            None => Connection::open(&self.address, options()).await?,
        };
        self.metrics.asked_kafka();
        let result = connection.send(request).await;
        if result.as_ref().err().is_none_or(CallError::is_harmless) {
            *slot = Some(connection);
        }
        Ok(result?)
    }
}

fn options() -> Options {
    let client_id = Str::from_static("ottla-operator");
    Options { client_id, deadline: DEADLINE, longest_answer: LONGEST_ANSWER }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;

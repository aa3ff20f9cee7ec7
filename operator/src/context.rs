//! What every reconcile shares: how to write, how to tell, how long to wait after an error.

use crate::{
    cluster::{apply::Writer, machines},
    crd::conditions::{Outcome, State},
    kafka::Pool,
    report::{self, Events},
    telemetry::Metrics,
    topic::controller::Triggers,
};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::runtime::events::EventType;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A reconcile that takes longer is broken off and tried again.
pub const RECONCILE_DEADLINE: Duration = Duration::from_secs(30);

/// Shared by all reconciles.
pub struct Context {
    /// The one way to change the Kubernetes cluster.
    pub writer: Writer,
    /// What users are told.
    pub events: Events,
    /// Image of brokers that name none.
    pub default_image: String,
    /// The namespace that the operator's own pods are in, if it runs in one.
    pub namespace: Option<String>,
    /// Delays after errors.
    pub backoff: Backoff,
    /// Connections to brokers.
    pub kafka: Pool,
    /// Addresses of the machines.
    pub machines: machines::Watched,
    /// Calls for passes over a cluster's topics.
    pub triggers: Triggers,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// Tells what an object came to, where that is new. A failure to tell is logged and no more.
    pub async fn tell(&self, object: &ObjectReference, previous: &[Condition], outcome: &Outcome) {
        let ready = previous.iter().find(|c| c.type_ == "Ready");
        if ready.is_some_and(|c| c.reason == outcome.reason) {
            return;
        }
        let type_ = match outcome.state {
            State::Degraded | State::ReadyDegraded => EventType::Warning,
            _ => EventType::Normal,
        };
        report::event(self, object, type_, outcome.reason, outcome.message.clone()).await;
    }
}

/// Exponential delays by key, with jitter.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(60);

    /// The delay after one more failure of `key`.
    pub fn failed(&self, key: &str) -> Duration {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(key.to_owned()).or_default();
        *attempt = attempt.saturating_add(1);
        delay(*attempt, crate::ids::jitter())
    }

    /// Forgets the failures of `key`.
    pub fn succeeded(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Delay after the `attempt`th failure in a row (from 1); `jitter` in 0..256 spreads it over the upper half.
fn delay(attempt: u32, jitter: u8) -> Duration {
    let doubled = Backoff::FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(Backoff::LONGEST);
    doubled / 2 + doubled / 2 * u32::from(jitter) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound() {
        let all: Vec<_> = (1..20).map(|attempt| delay(attempt, 255)).collect();
        assert!(all.is_sorted());
        assert_eq!(all.first(), Some(&Duration::from_millis(500)));
        assert_eq!(all.last(), Some(&Backoff::LONGEST));
        assert_eq!(delay(3, 0), Duration::from_secs(1));
    }

    #[test]
    fn success_starts_over() {
        let backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed("a");
        }
        assert!(backoff.failed("a") > Duration::from_secs(10));
        assert!(backoff.failed("b") < Duration::from_secs(1));
        backoff.succeeded("a");
        assert!(backoff.failed("a") < Duration::from_secs(1));
    }
}

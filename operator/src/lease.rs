//! One writer at a time: a `coordination.k8s.io` Lease. The others stand by with warm caches.
//!
//! [`Election`] decides, from the Lease as it was read and a clock that only counts up; nobody's wall clock is compared with anybody else's.
//! A holder stops writing before another one may start: its hold ends [`HOLD`] after the request that renewed it was *sent*, a write that
//! began before that is given up after [`WRITE`], and a rival waits [`LEASE`] after it last *saw* a change. What the
//! network delivers later still, from a connection that was dropped, the rival's watch shows it, and it is put right.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use std::time::Duration;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long a rival waits for a sign of life.
pub const LEASE: Duration = Duration::from_secs(15);
/// How long a renewal counts for its holder.
pub const HOLD: Duration = Duration::from_secs(10);
/// How long a single write may take, to Kubernetes and to Kafka.
pub const WRITE: Duration = Duration::from_secs(4);
/// Between two looks at the Lease.
const PERIOD: Duration = Duration::from_secs(3);

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not there.
    Create,
    /// It is ours, free, or its holder has gone silent.
    Write,
    /// Somebody else's.
    Wait,
}

/// What was seen of the Lease.
#[derive(Clone, Debug, Default)]
pub struct Election {
    identity: String,
    seen: Option<(String, Duration)>,
}

impl Election {
    /// Stands for election as `identity`.
    pub fn new(identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), seen: None }
    }

    /// Judges the Lease as it is at `now`, a time since any fixed point.
    pub fn step(&mut self, lease: Option<&Lease>, now: Duration) -> Step {
        let Some(lease) = lease else {
            self.seen = None;
            return Step::Create;
        };
        let holder = lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref()).unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return Step::Write;
        }
        let version = lease.resource_version().unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if *seen == version => {
                if now.saturating_sub(*since) >= LEASE {
                    Step::Write
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.seen = Some((version, now));
                Step::Wait
            }
        }
    }

    /// The Lease with this instance as its holder.
    pub fn claim(&self, lease: Option<Lease>, name: &str, now: Timestamp) -> Lease {
        let mut lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.holder_identity = Some(self.identity.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
            spec.acquire_time = Some(MicroTime(now));
        }
        spec.renew_time = Some(MicroTime(now));
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        lease
    }
}

/// Whether this instance may write. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Option<Instant>>);

/// Another instance may be writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Lease is not held")]
pub struct NotHeld;

impl Leadership {
    /// Without end, for tests and for tools that run alone.
    pub fn always() -> Self {
        let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
        Self(watch::channel(Some(far)).1)
    }

    /// Over already, for tests.
    #[cfg(test)]
    pub(crate) fn lapsed() -> Self {
        Self(watch::channel(Some(Instant::now())).1)
    }

    /// To be asked before every write.
    ///
    /// # Errors
    /// When the hold has ended or never began.
    pub fn check(&self) -> Result<(), NotHeld> {
        match *self.0.borrow() {
            Some(until) if Instant::now() < until => Ok(()),
            _ => Err(NotHeld),
        }
    }

    /// Waits until the Lease becomes this instance's.
    pub async fn acquired(&mut self) {
        // Without a sender nothing is ever acquired.
        if self.0.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it is lost or given up.
    pub async fn lost(&mut self) {
        let _ = self.0.wait_for(Option::is_none).await;
    }
}

/// Keeps the Lease, until `stop`, and gives it up then.
pub struct Keeper {
    api: Api<Lease>,
    name: String,
    election: Election,
    hold: watch::Sender<Option<Instant>>,
    epoch: Instant,
}

impl Keeper {
    /// For the Lease `name` in `namespace`, as `identity`.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> (Self, Leadership) {
        let (hold, receiver) = watch::channel(None);
        let api = Api::namespaced(client, namespace);
        let election = Election::new(identity);
        (Self { api, name: name.to_owned(), election, hold, epoch: Instant::now() }, Leadership(receiver))
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let sent = Instant::now();
            match tokio::time::timeout(HOLD / 2, self.pass()).await {
                Ok(Ok(true)) => self.set(Some(sent + HOLD)),
                Ok(Ok(false)) => self.set(None),
                Ok(Err(error)) => tracing::warn!(%error, "cannot renew the lease"),
                Err(_) => tracing::warn!("the api server does not answer about the lease"),
            }
            if self.hold.borrow().is_some_and(|until| Instant::now() >= until) {
                self.set(None);
            }
            let _ = tokio::time::timeout(PERIOD, stop.cancelled()).await;
        }
        self.give_up().await;
    }

    fn set(&self, until: Option<Instant>) {
        let held = self.hold.borrow().is_some();
        if held != until.is_some() {
            tracing::info!(lease = self.name, held = until.is_some(), "leadership changed");
        }
        self.hold.send_replace(until);
    }

    /// Whether the Lease is held now. A conflicting write means that somebody was faster, which is no error.
    async fn pass(&mut self) -> Result<bool, kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let step = self.election.step(lease.as_ref(), self.epoch.elapsed());
        let claim = self.election.claim(lease, &self.name, Timestamp::now());
        let written = match step {
            Step::Wait => return Ok(false),
            Step::Create => self.api.create(&PostParams::default(), &claim).await,
            Step::Write => self.api.replace(&self.name, &PostParams::default(), &claim).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn give_up(self) {
        let held = self.hold.borrow().is_some();
        self.hold.send_replace(None);
        if !held {
            return;
        }
        let release = async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            lease.spec.get_or_insert_with(LeaseSpec::default).holder_identity = Some(String::new());
            self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        };
        match tokio::time::timeout(Duration::from_secs(2), release).await {
            Ok(Ok(())) => tracing::info!(lease = self.name, "gave up the lease"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot give up the lease; it lapses"),
            Err(_) => tracing::warn!("cannot give up the lease in time; it lapses"),
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;

//! Quotas per user and client id (KIP-13, KIP-55, KIP-124, KIP-219, KIP-599), per address (KIP-612) and of replication
//! (KIP-73): limits as the metadata image says, rates as Kafka measures them. A client that goes beyond is answered, and
//! its connection is not read for the throttle time; a replica that goes beyond does not fetch, or is sent nothing, until
//! the rate is below the limit again.

mod addresses;
mod limits;
mod mutations;
mod mute;
mod payers;
mod rate;
mod replication;
mod token_bucket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ottla_quorum::image::SecurityImage;
use ottla_wire::Str;
use parking_lot::Mutex;

use crate::config;
use addresses::Addresses;
pub use addresses::addresses_of;
use limits::Limits;
use mutations::Buckets;
pub use mutations::{Exceeded, MutationQuota};
pub use mute::Mute;
use payers::Payers;
use rate::{Rate, Window};
pub use replication::{ReplicationQuota, ReplicationQuotas};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaKind {
    /// Bytes of produce requests, per second.
    Produce,
    /// Bytes of fetch responses, per second.
    Fetch,
    /// Time of threads for requests, in percent of one thread.
    Request,
    /// Partitions made and deleted, per second.
    Mutations,
}

impl QuotaKind {
    const ALL: [Self; 4] = [Self::Produce, Self::Fetch, Self::Request, Self::Mutations];

    /// Its key in the metadata.
    fn key(self) -> &'static str {
        match self {
            Self::Produce => "producer_byte_rate",
            Self::Fetch => "consumer_byte_rate",
            Self::Request => "request_percentage",
            Self::Mutations => "controller_mutation_rate",
        }
    }
}

/// Who shares a rate: a user with a client id, all clients of a user, or all users of a client id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Payer {
    user: Option<Str>,
    client: Option<Str>,
}

/// The limits, and how near to them everybody is.
#[derive(Debug)]
pub struct Quotas {
    window: Window,
    limits: ArcSwap<Limits>,
    rates: Mutex<Payers<(QuotaKind, Payer), Rate>>,
    buckets: Arc<Buckets>,
    addresses: Mutex<Addresses>,
}

impl Quotas {
    /// Nobody is limited.
    pub fn new(config: &config::Quotas) -> Self {
        let window = Window { sample: config.window, samples: config.windows };
        let mutations = Window { sample: config.mutation_window, samples: config.mutation_windows };
        Self {
            window,
            limits: ArcSwap::default(),
            rates: Mutex::default(),
            buckets: Arc::new(Buckets::new(mutations)),
            addresses: Mutex::default(),
        }
    }

    /// Takes over the image's limits. May ask the name server: not on a task of the runtime.
    pub fn set(&self, image: &SecurityImage) {
        self.limits.store(Limits::of(image).into());
        let addresses = addresses::Limits::of(image);
        self.addresses.lock().limit(addresses);
    }

    /// Counts `bytes`; how long to throttle then, zero within the limit or without one.
    pub fn record(&self, kind: QuotaKind, user: &Str, client: &str, bytes: usize, now: Instant) -> Duration {
        self.count(kind, user, client, float(bytes), now)
    }

    /// Takes back what was counted last for an answer that is not sent.
    pub fn take_back(&self, kind: QuotaKind, user: &Str, client: &str, bytes: usize) {
        let Some((payer, _)) = self.limits.load().find(kind, user, client) else { return };
        if let Some(rate) = self.rates.lock().get_mut(&(kind, payer)) {
            rate.take_back(float(bytes));
        }
    }

    /// The most that one request may take, in bytes: what the whole window allows. `None` without a limit.
    pub fn largest(&self, kind: QuotaKind, user: &Str, client: &str) -> Option<usize> {
        let (_, limit) = self.limits.load().find(kind, user, client)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, which is what is wanted"
        )]
        let most = self.window.holds(limit) as usize;
        Some(most)
    }

    /// Whether time counts: anybody has a limit of it.
    pub fn limits_time(&self) -> bool {
        self.limits.load().any(QuotaKind::Request)
    }

    /// Counts time that a thread had for a request; how long to throttle then, a sample's length at most.
    pub fn record_time(&self, user: &Str, client: &str, spent: Duration, now: Instant) -> Duration {
        let percent = spent.as_secs_f64() * 100.0;
        self.count(QuotaKind::Request, user, client, percent, now).min(self.window.sample)
    }

    /// What a request may change in the topics; `strict` if its version knows the error.
    pub fn mutations(&self, user: &Str, client: &str, strict: bool) -> MutationQuota {
        match self.limits.load().find(QuotaKind::Mutations, user, client) {
            Some((payer, rate)) => MutationQuota::new(&self.buckets, payer, rate, strict),
            None => MutationQuota::unlimited(),
        }
    }

    /// Counts a new connection; if there are too many from its address, it is to be closed after the pause.
    pub fn connect(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        self.addresses.lock().connect(address, self.window, now)
    }

    fn count(&self, kind: QuotaKind, user: &Str, client: &str, amount: f64, now: Instant) -> Duration {
        let Some((payer, limit)) = self.limits.load().find(kind, user, client) else { return Duration::ZERO };
        let mut rates = self.rates.lock();
        let rate = rates.of((kind, payer), |rate| rate.is_silent(self.window, now));
        rate.record(amount, self.window, now);
        rate.throttle(limit, self.window, now)
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of frames and numbers of partitions are below 2^52")]
fn float(amount: usize) -> f64 {
    amount as f64
}

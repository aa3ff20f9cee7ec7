//! Quotas of bytes per user and client id (KIP-13, KIP-55, KIP-219): limits as the metadata image says, rates as Kafka
//! measures them. Who goes beyond is answered, and its connection is not read for the throttle time.

mod limits;
mod mute;
mod rate;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ottla_quorum::image::SecurityImage;
use ottla_wire::Str;
use parking_lot::Mutex;

use limits::Limits;
pub use mute::Mute;
use rate::Rate;

/// Rates of silent clients are looked for when there are this many.
const MANY: usize = 1024;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotaKind {
    /// `producer_byte_rate`: sizes of produce requests.
    Produce,
    /// `consumer_byte_rate`: sizes of fetch responses.
    Fetch,
}

/// Who shares a rate: a user with a client id, all clients of a user, or all users of a client id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Payer {
    user: Option<Str>,
    client: Option<Str>,
}

/// The limits, and how near to them everybody is.
#[derive(Debug, Default)]
pub struct Quotas {
    limits: ArcSwap<Limits>,
    rates: Mutex<Rates>,
}

#[derive(Debug)]
struct Rates {
    rates: HashMap<(QuotaKind, Payer), Rate>,
    /// Size at which silent ones are forgotten.
    sweep_at: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self { rates: HashMap::new(), sweep_at: MANY }
    }
}

impl Quotas {
    /// Takes over the image's limits.
    pub fn set(&self, image: &SecurityImage) {
        self.limits.store(Limits::of(image).into());
    }

    /// Counts `bytes`; how long to throttle then, zero within the limit or without one.
    pub fn record(&self, kind: QuotaKind, user: &Str, client: &str, bytes: usize, now: Instant) -> Duration {
        let Some((payer, limit)) = self.limits.load().find(kind, user, client) else { return Duration::ZERO };
        let mut rates = self.rates.lock();
        if rates.rates.len() >= rates.sweep_at {
            rates.rates.retain(|_, rate| !rate.is_silent(now));
            rates.sweep_at = MANY.max(rates.rates.len() * 2);
        }
        let rate = rates.rates.entry((kind, payer)).or_default();
        rate.record(bytes, now);
        rate.throttle(limit, now)
    }

    /// Takes back what was counted last for an answer that is not sent.
    pub fn take_back(&self, kind: QuotaKind, user: &Str, client: &str, bytes: usize) {
        let Some((payer, _)) = self.limits.load().find(kind, user, client) else { return };
        if let Some(rate) = self.rates.lock().rates.get_mut(&(kind, payer)) {
            rate.take_back(bytes);
        }
    }

    /// The most that one request may take, in bytes: what the whole window allows. `None` without a limit.
    pub fn largest(&self, kind: QuotaKind, user: &Str, client: &str) -> Option<usize> {
        let (_, limit) = self.limits.load().find(kind, user, client)?;
        Some(rate::in_window(limit))
    }
}

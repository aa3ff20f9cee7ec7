//! What the active controller does by itself: brokers that are silent for too long are fenced, leadership goes back to
//! the preferred replicas, and where configured leaderless partitions get any leader.

use std::time::Duration;

use ottla_quorum::MetadataRecord;

use super::brokers::Brokers;
use super::draft::Draft;
use super::view::View;
use super::{elections, registration};
use crate::config::Elections;

/// When what is due.
#[derive(Debug)]
pub(crate) struct Upkeep {
    rebalance_every_ms: Option<i64>,
    unclean_every_ms: i64,
    rebalance_at: i64,
    unclean_at: i64,
}

impl Upkeep {
    /// Nothing is due before its interval has passed.
    pub(crate) fn new(elections: &Elections, now: i64) -> Self {
        let millis = |interval: Duration| i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let rebalance_every_ms = elections.auto_rebalance.then(|| millis(elections.rebalance_interval));
        let unclean_every_ms = millis(elections.unclean_interval);
        Self {
            rebalance_every_ms,
            unclean_every_ms,
            rebalance_at: now.saturating_add(rebalance_every_ms.unwrap_or_default()),
            unclean_at: now.saturating_add(unclean_every_ms),
        }
    }

    /// When something is due.
    pub(crate) fn next_due(&self, brokers: &Brokers) -> i64 {
        let rebalance = self.rebalance_every_ms.map(|_| self.rebalance_at);
        let due = [brokers.next_look(), rebalance, Some(self.unclean_at)];
        due.into_iter().flatten().min().unwrap_or(i64::MAX)
    }

    /// Does what is due. Heartbeats that have arrived are to be handled before.
    pub(crate) fn run(&mut self, view: &View<'_>, brokers: &mut Brokers, now: i64) -> Vec<MetadataRecord> {
        let mut draft = Draft::new(view.image);
        for (id, epoch) in brokers.take_expired(now) {
            // Who registered anew or was removed meanwhile is not concerned.
            let fenced = registration::fence_broker(&view.over(draft.image()), id, epoch);
            if let Ok(fenced) = fenced {
                tracing::warn!(broker = id, epoch, "broker is fenced: its session is over");
                draft.push(fenced.records);
            }
        }
        if let Some(every) = self.rebalance_every_ms.filter(|_| now >= self.rebalance_at) {
            let held = step(view, &mut draft, elections::rebalance);
            self.rebalance_at = if held { now } else { now.saturating_add(every) };
        }
        if now >= self.unclean_at {
            let held = step(view, &mut draft, elections::elect_uncleanly);
            self.unclean_at = if held { now } else { now.saturating_add(self.unclean_every_ms) };
        }
        draft.into_records()
    }
}

/// Whether there may be more to do at once.
fn step(view: &View<'_>, draft: &mut Draft, elections: impl Fn(&View<'_>) -> Vec<MetadataRecord>) -> bool {
    let records = elections(&view.over(draft.image()));
    let full = records.len() >= elections::MAX_AT_ONCE;
    draft.push(records);
    full
}

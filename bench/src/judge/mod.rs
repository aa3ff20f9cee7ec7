//! Judges a load by what the log holds. Pure: it is told what was sent, what was acknowledged, what groups were given, and then
//! the log in order of offsets; it answers with a [`Verdict`].
//!
//! - *lost*: acknowledged, and not in the log.
//! - *duplicated*: one record number at a second offset.
//! - *reordered*: a lower number after a higher one of the same producer, in one partition.
//! - *misplaced*: acknowledged at another offset than it lies at, or found in a partition that it was not sent to.
//! - *corrupt*: ours by its header, but never sent, or its padding is not what was written.
//!
//! A record that was not acknowledged may be in the log once, or not at all. For each group: *missed* (in the log, never
//! given), *vanished* (given, and not in the log), *changed* (given another record at that offset). Redelivery of an offset is
//! what consumer groups promise no more than to avoid, so it is counted and not held against anybody.

mod deliveries;
mod ledger;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::Serialize;

pub use self::deliveries::Deliveries;
pub use self::ledger::{Fate, Ledger};
use crate::record::RecordId;

/// How many faults are named; all are counted.
const NAMED: usize = 20;

/// One record of the log, as the reader found it.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Where.
    pub partition: i32,
    /// Where.
    pub offset: i64,
    /// Whose it is; `None` for a value that no load of ours wrote.
    pub id: Option<RecordId>,
    /// Whether the padding is as written.
    pub whole: bool,
}

/// Reads the log and compares.
#[derive(Debug)]
pub struct Judge {
    run: u64,
    ledgers: Vec<Ledger>,
    groups: Vec<Deliveries>,
    /// The highest number so far, by producer and partition.
    highest: HashMap<(u32, i32), u64>,
    counts: LogCounts,
    faults: Vec<String>,
}

/// What the log alone shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LogCounts {
    /// Records of this load in the log.
    pub in_log: u64,
    /// Of those: never acknowledged.
    pub unacknowledged_in_log: u64,
    /// Records of others.
    pub foreign: u64,
    /// Acknowledged, not in the log.
    pub lost: u64,
    /// Further offsets of records that the log has already.
    pub duplicated: u64,
    /// A lower number after a higher one.
    pub reordered: u64,
    /// Not where the acknowledgement said.
    pub misplaced: u64,
    /// Not what was sent.
    pub corrupt: u64,
}

/// What one group was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupCounts {
    /// The group's id.
    pub group: String,
    /// Distinct offsets of this load that it was given.
    pub delivered: u64,
    /// Offsets given again.
    pub redelivered: u64,
    /// In the log, never given.
    pub missed: u64,
    /// Given, not in the log.
    pub vanished: u64,
    /// Given another record than the log has there.
    pub changed: u64,
}

/// The judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Records handed to the client.
    pub sent: u64,
    /// Acknowledged by the broker.
    pub acked: u64,
    /// Given up by the client, with an error.
    pub failed: u64,
    /// Neither, at the end.
    pub unresolved: u64,
    /// What the log shows.
    #[serde(flatten)]
    pub log: LogCounts,
    /// What groups were given.
    pub groups: Vec<GroupCounts>,
    /// The first faults, in words.
    pub faults: Vec<String>,
}

impl Verdict {
    /// Whether the log and the groups are as promised. Records that failed are no fault of the log; a load of which nothing was
    /// acknowledged proves nothing, and is not good.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let log = &self.log;
        let log_is_good = log.lost + log.duplicated + log.reordered + log.misplaced + log.corrupt == 0;
        let groups_are_good =
            self.groups.iter().all(|group| group.missed + group.vanished + group.changed == 0);
        self.acked > 0 && log_is_good && groups_are_good
    }
}

impl Judge {
    /// What was sent by `run`, and what groups were given of it.
    #[must_use]
    pub fn new(run: u64, ledgers: Vec<Ledger>, groups: Vec<Deliveries>) -> Self {
        Self {
            run,
            ledgers,
            groups,
            highest: HashMap::new(),
            counts: LogCounts::default(),
            faults: Vec::new(),
        }
    }

    /// The next record of a partition's log. Offsets of a partition ascend.
    pub fn found(&mut self, found: Found) {
        let ours = found.id.filter(|id| id.run == self.run);
        self.compare_groups(&found, ours);
        let Some(id) = ours else {
            self.counts.foreign += 1;
            return;
        };
        self.counts.in_log += 1;
        if !found.whole {
            self.counts.corrupt += 1;
            self.fault(format!("corrupt: {} is damaged", at(&found, id)));
        }
        self.compare_ledger(&found, id);
    }

    /// After the last record.
    #[must_use]
    pub fn verdict(mut self) -> Verdict {
        let mut verdict = Verdict::default();
        for ledger in std::mem::take(&mut self.ledgers) {
            for (number, record) in ledger.records() {
                verdict.sent += 1;
                match record.fate() {
                    Fate::Acked(_) => verdict.acked += 1,
                    Fate::Failed => verdict.failed += 1,
                    Fate::Pending => verdict.unresolved += 1,
                }
                if matches!(record.fate(), Fate::Acked(_)) && !record.is_found() {
                    self.counts.lost += 1;
                    let (producer, partition) = (ledger.producer(), record.partition());
                    self.fault(format!(
                        "lost: producer {producer} number {number}, acknowledged by partition {partition}"
                    ));
                }
            }
        }
        for group in std::mem::take(&mut self.groups) {
            let counts = group.counts();
            if counts.missed + counts.vanished + counts.changed > 0 {
                self.fault(format!(
                    "group {}: {} missed, {} vanished, {} changed",
                    counts.group, counts.missed, counts.vanished, counts.changed
                ));
            }
            verdict.groups.push(counts);
        }
        Verdict { log: self.counts, faults: self.faults, ..verdict }
    }

    fn compare_groups(&mut self, found: &Found, ours: Option<RecordId>) {
        for group in &mut self.groups {
            group.found(found.partition, found.offset, ours);
        }
    }

    fn compare_ledger(&mut self, found: &Found, id: RecordId) {
        let ledger = self.ledgers.iter_mut().find(|ledger| ledger.producer() == id.producer);
        let Some(record) = ledger.and_then(|ledger| ledger.get_mut(id.number)) else {
            self.counts.corrupt += 1;
            return self.fault(format!("corrupt: {} was never sent", at(found, id)));
        };
        if record.mark_found() {
            self.counts.duplicated += 1;
            return self.fault(format!("duplicated: {} is in the log already", at(found, id)));
        }
        let (fate, partition) = (record.fate(), record.partition());
        match fate {
            Fate::Acked(Some(offset)) if offset != found.offset || partition != found.partition => {
                self.counts.misplaced += 1;
                self.fault(format!("misplaced: {}, acknowledged at {partition}/{offset}", at(found, id)));
            }
            _ if partition != found.partition => {
                self.counts.misplaced += 1;
                self.fault(format!("misplaced: {}, sent to partition {partition}", at(found, id)));
            }
            Fate::Acked(_) => {}
            Fate::Pending | Fate::Failed => self.counts.unacknowledged_in_log += 1,
        }
        self.compare_order(found, id);
    }

    fn compare_order(&mut self, found: &Found, id: RecordId) {
        let highest = self.highest.entry((id.producer, found.partition)).or_insert(id.number);
        let before = *highest;
        *highest = before.max(id.number);
        if id.number < before {
            self.counts.reordered += 1;
            self.fault(format!("reordered: {} comes after number {before}", at(found, id)));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < NAMED {
            self.faults.push(fault);
        }
    }
}

fn at(found: &Found, id: RecordId) -> String {
    format!("{}/{}: producer {} number {}", found.partition, found.offset, id.producer, id.number)
}

//! One partition's change: a wish (another ISR, other replicas, an election) becomes a record, with everything that
//! follows from it: a finished reassignment, eligible leader replicas (KIP-966), a new leader, new epochs.
//!
//! The rules are Kafka's. A leader is a member of the ISR, or of the ELR where the ISR is empty; if neither has anybody,
//! the last known leader, and where configured any replica that lives: those two may lack acked records, and the leader
//! recovers first. Without the ELR the last member of an ISR stays in it, leaderless: only it is known to have everything.

use ottla_quorum::image::{LEADER_UNCHANGED, LeaderRecoveryState, NO_LEADER, PartitionImage, TopicImage};
use ottla_wire::Uuid;
use ottla_wire::records::metadata::PartitionChangeRecord;

use super::view::{Rules, View};

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Election {
    /// The preferred replica if it may lead, even if another leads well.
    Preferred,
    /// Whoever leads stays if it may; else the first that may.
    Online,
    /// As `Online`, and any replica that lives before nobody.
    Unclean,
}

impl Election {
    /// What the topic's configs allow when its leader is gone.
    pub(crate) fn allowed(rules: Rules) -> Self {
        if rules.unclean { Self::Unclean } else { Self::Online }
    }
}

/// A change that is being made up.
pub(crate) struct PartitionChange<'a> {
    view: &'a View<'a>,
    topic_id: Uuid,
    index: i32,
    partition: &'a PartitionImage,
    min_isr: usize,
    election: Election,
    leaving: Option<i32>,
    joining: Option<i32>,
    unclean_shutdown: Option<i32>,
    isr: Vec<i32>,
    replicas: Vec<i32>,
    removing: Vec<i32>,
    adding: Vec<i32>,
    elr: Vec<i32>,
    recovery_state: LeaderRecoveryState,
    moved: Option<(i32, Uuid)>,
    found: Option<i32>,
}

impl<'a> PartitionChange<'a> {
    /// No change yet, except what follows from the state that the partition is in.
    pub(crate) fn of(
        view: &'a View<'a>,
        topic: &TopicImage,
        index: i32,
        partition: &'a PartitionImage,
        rules: Rules,
    ) -> Self {
        Self {
            view,
            topic_id: topic.id,
            index,
            partition,
            min_isr: rules.min_isr,
            election: Election::Online,
            leaving: None,
            joining: None,
            unclean_shutdown: None,
            isr: partition.isr.clone(),
            replicas: partition.replicas.clone(),
            removing: partition.removing_replicas.clone(),
            adding: partition.adding_replicas.clone(),
            elr: partition.elr.clone(),
            recovery_state: partition.leader_recovery_state,
            moved: None,
            found: None,
        }
    }

    /// Who may be elected; `Online` if it is not said.
    pub(crate) fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    /// The broker leaves the ISR and does not lead, whatever the image says of it.
    pub(crate) fn leaving(mut self, broker: i32) -> Self {
        self.isr.retain(|id| *id != broker);
        self.leaving = Some(broker);
        self
    }

    /// The broker may lead, whatever the image says of it.
    pub(crate) fn joining(mut self, broker: i32) -> Self {
        self.joining = Some(broker);
        self
    }

    /// The broker came back without having been stopped: what it had written last may be gone.
    pub(crate) fn unclean_shutdown(mut self, broker: i32) -> Self {
        self.isr.retain(|id| *id != broker);
        self.unclean_shutdown = Some(broker);
        self
    }

    /// Another ISR.
    pub(crate) fn isr(mut self, isr: Vec<i32>) -> Self {
        self.isr = isr;
        self
    }

    /// The leader says how far its recovery is.
    pub(crate) fn recovery_state(mut self, state: LeaderRecoveryState) -> Self {
        self.recovery_state = state;
        self
    }

    /// Other replicas, and which of them a reassignment adds and takes away.
    pub(crate) fn replicas(mut self, replicas: Vec<i32>, adding: Vec<i32>, removing: Vec<i32>) -> Self {
        (self.replicas, self.adding, self.removing) = (replicas, adding, removing);
        self
    }

    /// The broker's replica lies in another directory.
    pub(crate) fn directory(mut self, broker: i32, directory: Uuid) -> Self {
        self.moved = Some((broker, directory));
        self
    }

    /// The same of a directory that is online. It may lead with what it has there at once; Kafka leaves what nobody leads without
    /// a leader until something else happens.
    pub(crate) fn found_in(mut self, broker: i32, directory: Uuid) -> Self {
        self.found = Some(broker);
        self.directory(broker, directory)
    }

    /// The record, if anything changes.
    pub(crate) fn record(mut self) -> Option<PartitionChangeRecord> {
        let unchanged =
            PartitionChangeRecord { topic_id: self.topic_id, partition_id: self.index, ..Default::default() };
        let mut record = unchanged.clone();
        self.complete_reassignment();
        self.keep_eligible();
        self.elect(&mut record);
        self.new_epoch_for_fewer_replicas(&mut record);
        self.note_elr(&mut record);
        self.note_isr(&mut record);
        self.note_last_known_leader(&mut record);
        self.note_assignment(&mut record);
        if self.recovery_state != self.partition.leader_recovery_state {
            record.leader_recovery_state = self.recovery_state.value();
        }
        (record != unchanged).then_some(record)
    }

    /// A reassignment is done when everything added is in sync and something that stays is. One that makes the partition
    /// smaller waits for all that stay.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let staying = |ids: &[i32]| -> Vec<i32> {
            ids.iter().copied().filter(|id| !self.removing.contains(id)).collect()
        };
        let (isr, replicas) = (staying(&self.isr), staying(&self.replicas));
        let in_sync = |ids: &[i32]| ids.iter().all(|id| isr.contains(id));
        let smaller = self.adding.len() < self.removing.len();
        let nobody = !self.removing.is_empty() && (isr.is_empty() || replicas.is_empty());
        if nobody || !in_sync(&self.adding) || (smaller && !in_sync(&replicas)) {
            return;
        }
        (self.isr, self.replicas) = (isr, replicas);
        self.adding.clear();
        self.removing.clear();
    }

    /// Who leaves the ISR while that is below `min.insync.replicas` still has everything that was acked. Unlike in Kafka,
    /// whose replica is taken away does not: it may come back later, empty.
    fn keep_eligible(&mut self) {
        if !self.view.keeps_elr() {
            return;
        }
        if self.isr.len() >= self.min_isr {
            self.elr.clear();
            return;
        }
        let mut elr: Vec<i32> = self.elr.iter().chain(&self.partition.isr).copied().collect();
        elr.retain(|id| {
            self.replicas.contains(id) && !self.isr.contains(id) && self.unclean_shutdown != Some(*id)
        });
        elr.sort_unstable();
        elr.dedup();
        self.elr = elr;
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let (leader, unclean) = self.elected();
        if leader == self.partition.leader {
            return;
        }
        record.leader = leader;
        if self.elr.contains(&leader) {
            self.isr = vec![leader];
            self.elr.retain(|id| *id != leader);
        }
        if unclean {
            record.isr = Some(vec![leader]);
            if self.partition.leader_recovery_state != LeaderRecoveryState::Recovering {
                record.leader_recovery_state = LeaderRecoveryState::Recovering.value();
            }
        }
    }

    /// The leader, and whether it may lack acked records.
    fn elected(&self) -> (i32, bool) {
        let may_lead = |id: &i32| self.is_eligible(*id) && self.is_acceptable(*id);
        let current = Some(self.partition.leader).filter(may_lead);
        let any = || self.replicas.iter().copied().find(may_lead);
        let preferred = || self.replicas.first().copied().filter(may_lead);
        let clean = match self.election {
            Election::Preferred => preferred().or(current).or_else(any),
            Election::Online | Election::Unclean => current.or_else(any),
        };
        if let Some(leader) = clean {
            return (leader, false);
        }
        let living = || self.replicas.iter().copied().find(|id| self.is_acceptable(*id));
        let unclean = || if self.election == Election::Unclean { living() } else { None };
        match self.last_known_leader().or_else(unclean) {
            Some(leader) => (leader, true),
            None => (NO_LEADER, false),
        }
    }

    fn is_eligible(&self, id: i32) -> bool {
        self.isr.contains(&id) || (self.isr.is_empty() && self.elr.contains(&id))
    }

    /// Whether the broker is there, with the log.
    fn is_acceptable(&self, id: i32) -> bool {
        let there = self.joining == Some(id) || self.view.image.active_broker(id).is_some();
        let excluded = self.leaving == Some(id) || self.unclean_shutdown == Some(id);
        there && !excluded && (self.found == Some(id) || self.view.has_log(id, self.partition))
    }

    fn last_known_leader(&self) -> Option<i32> {
        let nobody_else = self.view.keeps_elr() && self.isr.is_empty() && self.elr.is_empty();
        match self.partition.last_known_elr.as_slice() {
            [leader] if nobody_else && self.replicas.contains(leader) && self.is_acceptable(*leader) => {
                Some(*leader)
            }
            _ => None,
        }
    }

    /// A replica that is taken away must notice.
    fn new_epoch_for_fewer_replicas(&self, record: &mut PartitionChangeRecord) {
        let fewer = self.partition.replicas.iter().any(|id| !self.replicas.contains(id));
        if record.leader == LEADER_UNCHANGED && fewer {
            record.leader = self.partition.leader;
        }
    }

    fn note_elr(&mut self, record: &mut PartitionChangeRecord) {
        let clean = record.isr.is_none();
        if !clean || !self.view.keeps_elr() {
            self.elr.clear();
        }
        if self.elr != self.partition.elr {
            record.eligible_leader_replicas = Some(self.elr.clone());
        }
    }

    fn note_isr(&self, record: &mut PartitionChangeRecord) {
        let may_be_empty = self.view.keeps_elr();
        if record.isr.is_none() && (may_be_empty || !self.isr.is_empty()) && self.isr != self.partition.isr {
            record.isr = Some(self.isr.clone());
        }
        let shrinks =
            record.isr.as_ref().is_some_and(|isr| self.partition.isr.iter().any(|id| !isr.contains(id)));
        if shrinks && record.leader == LEADER_UNCHANGED && !self.view.level().keeps_epoch_on_isr_shrink() {
            record.leader = self.partition.leader;
        }
    }

    fn note_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.view.keeps_elr() {
            return;
        }
        let (known, last) = (!self.partition.last_known_elr.is_empty(), self.partition.leader);
        if record.leader == NO_LEADER && !known && last != NO_LEADER {
            record.last_known_elr = Some(vec![last]);
        } else if record.leader >= 0 && known {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn note_assignment(&self, record: &mut PartitionChangeRecord) {
        if !self.replicas.is_empty() {
            if self.view.level().has_directory_assignment() {
                let directories: Vec<Uuid> = self.replicas.iter().map(|id| self.directory_of(*id)).collect();
                if directories != self.partition.directories {
                    record.directories = Some(directories);
                }
            }
            if self.replicas != self.partition.replicas {
                record.replicas = Some(self.replicas.clone());
            }
        }
        if self.removing != self.partition.removing_replicas {
            record.removing_replicas = Some(self.removing.clone());
        }
        if self.adding != self.partition.adding_replicas {
            record.adding_replicas = Some(self.adding.clone());
        }
    }

    fn directory_of(&self, broker: i32) -> Uuid {
        match self.moved {
            Some((moved, directory)) if moved == broker => directory,
            _ => self.partition.directory_of(broker).unwrap_or_else(|| self.view.default_directory(broker)),
        }
    }
}

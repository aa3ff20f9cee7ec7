//! A controller that decides at once.

use ottla_quorum::MetadataRecord;
use ottla_quorum::image::PartitionImage;
use ottla_wire::ErrorCode;
use ottla_wire::Uuid;
use ottla_wire::messages::alter_partition_request::BrokerState;
use ottla_wire::messages::{AlterPartitionRequest, AlterPartitionResponse, alter_partition_response};
use ottla_wire::records::metadata::{
    BrokerRegistrationChangeRecord, PartitionChangeRecord, RegisterBrokerRecord,
};

use super::{NODES, TOPIC, World};

impl World {
    pub(super) fn decide(&mut self, record: impl Into<MetadataRecord>) {
        self.truth.apply(&record.into()).unwrap();
    }

    pub(super) fn register(&mut self, id: i32, fenced: bool) {
        self.next_epoch += 1;
        let (broker_epoch, incarnation_id) = (self.next_epoch, Uuid::from_bytes([1; 16]));
        self.decide(RegisterBrokerRecord {
            broker_id: id,
            broker_epoch,
            incarnation_id,
            fenced,
            ..Default::default()
        });
    }

    pub(super) fn states(&self) -> Vec<(i32, PartitionImage)> {
        let topic = self.truth.topics.by_name("t").unwrap();
        topic.partitions.iter().map(|(index, state)| (*index, (**state).clone())).collect()
    }

    pub(super) fn active(&self, id: i32) -> bool {
        self.truth.cluster.brokers[&id].is_active()
    }

    /// Takes the broker out of every ISR of which it is not the last, and its leadership away.
    pub(super) fn fence(&mut self, id: i32) {
        let broker_epoch = self.truth.cluster.brokers[&id].epoch;
        let fenced =
            BrokerRegistrationChangeRecord { broker_id: id, broker_epoch, fenced: 1, ..Default::default() };
        self.decide(fenced);
        for (partition_id, state) in self.states() {
            let others: Vec<i32> = state.isr.iter().copied().filter(|member| *member != id).collect();
            let isr = if others.is_empty() { state.isr.clone() } else { others };
            let next = isr.iter().copied().find(|member| self.active(*member)).unwrap_or(-1);
            let leader = if state.leader == id { next } else { -2 };
            if isr == state.isr && leader == -2 {
                continue;
            }
            let (isr, topic_id) = (Some(isr), TOPIC);
            self.counters.elections += usize::from(leader >= 0);
            self.decide(PartitionChangeRecord { partition_id, topic_id, isr, leader, ..Default::default() });
        }
    }

    pub(super) fn unfence(&mut self, id: i32) {
        let broker_epoch = self.truth.cluster.brokers[&id].epoch;
        let record =
            BrokerRegistrationChangeRecord { broker_id: id, broker_epoch, fenced: -1, ..Default::default() };
        self.decide(record);
        for (partition_id, state) in self.states() {
            if state.leader == -1 && state.isr.contains(&id) {
                self.counters.elections += 1;
                let record =
                    PartitionChangeRecord { partition_id, topic_id: TOPIC, leader: id, ..Default::default() };
                self.decide(record);
            }
        }
    }

    pub(super) fn move_leader(&mut self) {
        let states = self.states();
        let (partition_id, state) = states[self.rng.below(states.len())].clone();
        let candidates: Vec<i32> = state.isr.iter().copied().filter(|id| self.active(*id)).collect();
        let Some(leader) = candidates.get(self.rng.below(candidates.len())).copied() else { return };
        self.counters.elections += 1;
        self.decide(PartitionChangeRecord { partition_id, topic_id: TOPIC, leader, ..Default::default() });
    }

    pub(super) fn alter(&mut self, request: &AlterPartitionRequest) -> AlterPartitionResponse {
        let mut rows = Vec::new();
        for data in request.topics.iter().flat_map(|topic| &topic.partitions) {
            let state = (*self.truth.partition("t", data.partition_index).unwrap()).clone();
            let fits = |member: &BrokerState| {
                let broker = &self.truth.cluster.brokers[&member.broker_id];
                broker.is_active() && (member.broker_epoch == -1 || member.broker_epoch == broker.epoch)
            };
            let error = if data.leader_epoch != state.leader_epoch || request.broker_id != state.leader {
                ErrorCode::FencedLeaderEpoch
            } else if data.partition_epoch != state.partition_epoch {
                ErrorCode::InvalidUpdateVersion
            } else if !data.new_isr_with_epochs.iter().all(fits) {
                ErrorCode::IneligibleReplica
            } else {
                ErrorCode::None
            };
            if error == ErrorCode::None {
                let isr: Vec<i32> = data.new_isr_with_epochs.iter().map(|member| member.broker_id).collect();
                let grows = isr.len() > state.isr.len();
                self.counters.growths += usize::from(grows);
                self.counters.shrinks += usize::from(!grows);
                let (partition_id, topic_id) = (data.partition_index, TOPIC);
                let isr = Some(isr);
                self.decide(PartitionChangeRecord { partition_id, topic_id, isr, ..Default::default() });
            }
            let state = self.truth.partition("t", data.partition_index).unwrap();
            rows.push(alter_partition_response::PartitionData {
                partition_index: data.partition_index,
                error_code: error.code(),
                leader_id: state.leader,
                leader_epoch: state.leader_epoch,
                isr: state.isr.clone(),
                partition_epoch: state.partition_epoch,
                ..Default::default()
            });
        }
        let topic =
            alter_partition_response::TopicData { topic_id: TOPIC, partitions: rows, ..Default::default() };
        AlterPartitionResponse { topics: vec![topic], ..Default::default() }
    }

    /// The controller notices who is gone.
    pub(super) fn notice(&mut self) {
        for id in NODES {
            if self.up(id).is_none() && self.active(id) {
                self.fence(id);
            }
        }
    }
}

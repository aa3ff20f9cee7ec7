//! Where replicas live, and which of them are in sync.

use super::{admin::Admin, error::KafkaError};
use ottla_wire::{ErrorCode, messages::MetadataRequest};

/// Every partition of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement(pub Vec<Partition>);

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// `topic-index`.
    pub name: String,
    /// Brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub isr: Vec<i32>,
}

impl Placement {
    /// The partitions with a replica on `broker`.
    pub fn on(&self, broker: i32) -> impl Iterator<Item = &Partition> {
        self.0.iter().filter(move |p| p.replicas.contains(&broker))
    }
}

impl Partition {
    /// A replica elsewhere is not in sync: without `broker` too few might be left.
    pub fn lacks_others_than(&self, broker: i32) -> bool {
        self.replicas.iter().any(|r| *r != broker && !self.isr.contains(r))
    }
}

impl Admin {
    /// All partitions, those of internal topics too.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn placement(&self) -> Result<Placement, KafkaError> {
        let request =
            MetadataRequest { topics: None, allow_auto_topic_creation: false, ..MetadataRequest::default() };
        let response = self.send(&request).await?;
        KafkaError::check(response.error_code, None)?;
        let mut partitions = Vec::new();
        for topic in response.topics {
            // A partition without a leader has replicas all the same.
            if topic.error_code != ErrorCode::LeaderNotAvailable.code() {
                KafkaError::check(topic.error_code, None)?;
            }
            let name = topic.name.unwrap_or_default();
            partitions.extend(topic.partitions.into_iter().map(|p| Partition {
                name: format!("{name}-{}", p.partition_index),
                replicas: p.replica_nodes,
                isr: p.isr_nodes,
            }));
        }
        Ok(Placement(partitions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_may_only_lag_itself() {
        let partition =
            |isr: &[i32]| Partition { name: "t-0".into(), replicas: vec![0, 1, 2], isr: isr.to_vec() };
        assert!(!partition(&[0, 1, 2]).lacks_others_than(0));
        assert!(!partition(&[1, 2]).lacks_others_than(0), "it is out of sync already");
        assert!(partition(&[0, 1]).lacks_others_than(0));
    }
}

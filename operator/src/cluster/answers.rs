//! What the brokers are asked before nodes change: who votes, and where replicas are.

use super::{leave::Leaving, names, observe::Observed, restart, validate::ValidatedCluster};
use crate::kafka::{Admin, KafkaError, Placement, Pool, Quorum};
use kube::ResourceExt;
use std::time::Duration;

/// For each question. What is not known in time is asked again in the next pass.
const DEADLINE: Duration = Duration::from_secs(5);

/// The answers; absent where nobody answered, or nobody was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The metadata quorum.
    pub quorum: Option<Quorum>,
    /// All partitions.
    pub placement: Option<Placement>,
}

/// Where the operator finds a broker of the cluster.
pub fn admin(cluster: &ValidatedCluster, kafka: &Pool) -> Admin {
    let service = names::bootstrap(&cluster.name, "replication");
    kafka.admin(&names::replication_address(&service, &cluster.namespace))
}

/// Asks a cluster of several nodes; one of one node has nobody who would have to do without it. The partitions, which are many, only where a node
/// is to change.
pub async fn ask(
    cluster: &ValidatedCluster,
    observed: &Observed,
    leaving: &[Leaving],
    is_due: bool,
    kafka: &Pool,
) -> Answers {
    let is_several = cluster.nodes.len() + leaving.len() > 1;
    let is_broker = |pod: &&k8s_openapi::api::core::v1::Pod| pod.labels().contains_key(names::BROKER);
    let is_served = observed.pods.iter().filter(is_broker).any(restart::is_ready);
    if !is_several || !is_served {
        return Answers::default();
    }
    let admin = admin(cluster, kafka);
    let quorum: Option<Quorum> = answer(cluster, "quorum", admin.quorum()).await;
    let placement: Option<Placement> = match is_due || !leaving.is_empty() {
        true => answer(cluster, "partitions", admin.placement()).await,
        false => None,
    };
    Answers { quorum, placement }
}

async fn answer<T>(
    cluster: &ValidatedCluster,
    question: &'static str,
    answer: impl Future<Output = Result<T, KafkaError>>,
) -> Option<T> {
    let name = cluster.name.as_str();
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(cluster = name, question, %error, "the brokers do not answer");
            None
        }
        Err(_) => {
            tracing::warn!(cluster = name, question, "the brokers do not answer in time");
            None
        }
    }
}

//! What running brokers are told of their own addresses. A broker tells the controller, and so all clients: nothing restarts for it.
//!
//! What a broker is to be known by, and what differs from that, are functions; asking and telling is not.

use super::{
    build::{
        address::{Addresses, When},
        properties::REPLICATION,
    },
    identity::NodeId,
    names,
    observe::Observed,
    permit::has_port,
    restart,
    validate::{Node, ValidatedCluster},
};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use ottla_client::admin::{self, Address, AdminClient, AdminError, Identity};
use std::{collections::BTreeMap, time::Duration};

/// For each question with its answer. Who does not answer in time is asked again in the next pass.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a broker that runs is to be known by, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    id: NodeId,
    name: String,
    /// Clients depend on it: it should answer.
    is_ready: bool,
    addresses: BTreeMap<String, Address>,
}

/// Of every broker that runs.
pub fn wanted(cluster: &ValidatedCluster, observed: &Observed, addresses: &Addresses) -> Vec<Wanted> {
    let of = |node: &Node| {
        let name = names::pod(&node.name);
        let pod =
            observed.pods.iter().find(|p| p.name_any() == name).filter(|p| is_running(p) && has_port(p))?;
        let told = cluster.listeners.iter().filter_map(|listener| {
            let address = addresses.told(cluster, listener, node, When::Now(pod))?;
            Some((names::kafka_listener(&listener.name), address))
        });
        let port = u16::try_from(names::REPLICATION_PORT).ok()?;
        let own = Address { host: names::service_host(&node.name, &cluster.namespace), port };
        Some(Wanted {
            id: node.id,
            name: node.name.clone(),
            is_ready: restart::is_ready(pod),
            addresses: told.chain([(REPLICATION.to_owned(), own)]).collect(),
        })
    };
    cluster.brokers().filter_map(of).collect()
}

fn is_running(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    let runs = |state: &k8s_openapi::api::core::v1::ContainerState| state.running.is_some();
    pod.metadata.deletion_timestamp.is_none()
        && statuses
            .into_iter()
            .flatten()
            .any(|s| s.name == names::BROKER_CONTAINER && s.state.as_ref().is_some_and(runs))
}

/// What a broker is told, if it has to be. Listeners that it does not have, because it was started before them, are not for it yet; an address that is not
/// known any more stays, until there is another one.
fn change(
    registered: &admin::Addresses,
    wanted: &BTreeMap<String, Address>,
) -> Option<(admin::Addresses, Vec<String>)> {
    let mut news = Vec::new();
    let next = registered.0.iter().map(|(listener, has)| match wanted.get(listener) {
        Some(wants) if has.as_ref() != Some(wants) => {
            news.push(format!("{listener} is {wants} now"));
            (listener.clone(), Some(wants.clone()))
        }
        _ => (listener.clone(), has.clone()),
    });
    let next = admin::Addresses(next.collect());
    (!news.is_empty()).then_some((next, news))
}

/// What came of telling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What clients are told from now on, for people.
    pub news: Vec<String>,
    /// Nodes that serve and were not reached, and why.
    pub unreached: BTreeMap<NodeId, String>,
}

/// Asks every broker what it is known by, all at once, and tells those that are known by something else.
pub async fn tell(cluster: &ValidatedCluster, wanted: &[Wanted], own: Option<&Identity>) -> Told {
    let Some(own) = own else { return Told::default() };
    let all = join_all(wanted.iter().map(|broker| tell_one(cluster, broker, own))).await;
    let mut told = Told::default();
    for (broker, answer) in wanted.iter().zip(all) {
        match answer {
            Ok(news) if news.is_empty() => {}
            Ok(news) => {
                let news = format!("broker {}: {}", broker.id, news.join(", "));
                tracing::info!(cluster = cluster.name, news, "told a broker of its addresses");
                told.news.push(news);
            }
            Err(error) if broker.is_ready => {
                tracing::warn!(cluster = cluster.name, node = broker.id.0, %error, "cannot tell a broker of its addresses");
                told.unreached.insert(broker.id, error.to_string());
            }
            Err(error) => {
                tracing::debug!(cluster = cluster.name, node = broker.id.0, %error, "a broker that starts is not told yet");
            }
        }
    }
    told
}

async fn tell_one(
    cluster: &ValidatedCluster,
    broker: &Wanted,
    own: &Identity,
) -> Result<Vec<String>, AdminError> {
    let host = names::service_host(&broker.name, &cluster.namespace);
    let client =
        AdminClient::new(own, names::admin_address(&broker.name, &cluster.namespace), &host, DEADLINE)?;
    let registered = match client.addresses().await {
        // A broker of an earlier release takes no addresses while it runs.
        Err(AdminError::Refused { code: 404, .. }) => return Ok(Vec::new()),
        answer => answer?,
    };
    let Some((next, news)) = change(&registered, &broker.addresses) else { return Ok(Vec::new()) };
    client.set_addresses(&next).await?;
    Ok(news)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{cluster, validated};
    use serde_json::{Value, json};

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    fn wanted_of(status: &Value, ports: &Value) -> Vec<Wanted> {
        let cluster = validated(&cluster(|_| {}), &Observed::default()).unwrap();
        let pod = json!({
            "metadata": {"name": "demo-main-0-0", "labels": {names::BROKER: "true"}},
            "spec": {"containers": [{"name": "broker", "ports": ports}], "nodeName": "m0"},
            "status": status,
        });
        let observed = Observed { pods: vec![serde_json::from_value(pod).unwrap()], ..Observed::default() };
        wanted(&cluster, &observed, &Addresses::node_ports([("demo-main-0-external", 31_001)]))
    }

    #[test]
    fn a_broker_that_runs_is_to_be_known_by_what_its_pod_has() {
        let running = json!([{"name": "broker", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]);
        let mut status = json!({"hostIP": "10.0.0.7", "containerStatuses": running});
        let ports = json!([{"name": names::ADMIN, "containerPort": names::ADMIN_PORT}]);
        let [broker] = wanted_of(&status, &ports).try_into().unwrap();
        assert!(!broker.is_ready);
        let expected = [
            ("EXTERNAL", address("10.0.0.7", 31_001)),
            ("INTERNAL", address("demo-main-0.shop.svc", 9092)),
            ("REPLICATION", address("demo-main-0.shop.svc", 9091)),
        ];
        assert_eq!(broker.addresses, expected.map(|(name, it)| (name.to_owned(), it)).into());
        status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        assert!(wanted_of(&status, &ports)[0].is_ready);
        assert_eq!(wanted_of(&status, &json!([])), [], "of a release before that port");
        status["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert_eq!(wanted_of(&status, &ports), []);
    }

    #[test]
    fn a_broker_is_told_what_differs_of_the_listeners_that_it_has() {
        let wants = |pairs: &[(&str, Address)]| -> BTreeMap<_, _> {
            pairs.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect()
        };
        let (old, new) = (address("10.0.0.7", 31_001), address("fd00::7", 31_001));
        let registered = admin::Addresses(BTreeMap::from([
            ("EDGE".to_owned(), None),
            ("EXTERNAL".to_owned(), Some(old.clone())),
            ("REPLICATION".to_owned(), Some(address("a", 9091))),
        ]));
        let same = wants(&[("EXTERNAL", old), ("REPLICATION", address("a", 9091))]);
        assert_eq!(change(&registered, &same), None);
        assert_eq!(
            change(&registered, &wants(&[("LATER", new.clone())])),
            None,
            "a listener of the next start"
        );
        assert_eq!(change(&registered, &wants(&[])), None, "what is known of it stays");

        let edge = address("edge.example", 443);
        let (next, news) =
            change(&registered, &wants(&[("EXTERNAL", new.clone()), ("EDGE", edge.clone())])).unwrap();
        assert_eq!(next.0["EXTERNAL"], Some(new));
        assert_eq!((&next.0["EDGE"], &next.0["REPLICATION"]), (&Some(edge), &registered.0["REPLICATION"]));
        assert_eq!(news, ["EDGE is edge.example:443 now", "EXTERNAL is [fd00::7]:31001 now"]);
    }
}

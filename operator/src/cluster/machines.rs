//! Addresses of the machines, Kubernetes' Nodes: watched, because clients may be told them. They belong to no namespace; an operator that may not
//! read them does without.

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// By name: kinds of addresses with the address, in Kubernetes' order. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machines(Arc<BTreeMap<String, Vec<(String, String)>>>);

impl Machines {
    /// The addresses of a machine.
    pub fn of(&self, machine: &str) -> Option<&[(String, String)]> {
        self.0.get(machine).map(Vec::as_slice)
    }

    fn with(&self, node: &Node) -> Self {
        let status = node.status.as_ref();
        let addresses = status.and_then(|s| s.addresses.as_ref()).into_iter().flatten();
        let addresses = addresses.map(|a| (a.type_.clone(), a.address.clone())).collect();
        let mut all = (*self.0).clone();
        all.insert(node.name_any(), addresses);
        Self(Arc::new(all))
    }

    fn without(&self, machine: &str) -> Self {
        let mut all = (*self.0).clone();
        all.remove(machine);
        Self(Arc::new(all))
    }
}

/// What is known of them now, and each time that it is something else.
#[derive(Clone, Debug)]
pub struct Watched(watch::Receiver<Option<Machines>>);

impl Watched {
    /// None where the operator may not read them, or has not yet.
    pub fn now(&self) -> Option<Machines> {
        self.0.borrow().clone()
    }

    /// An item for each change from now on.
    pub fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        stream::unfold(self.0.clone(), async |mut watched| {
            watched.changed().await.ok()?;
            Some(((), watched))
        })
        .boxed()
    }
}

/// Watches them until `stop`.
pub fn watch(client: &Client, stop: CancellationToken) -> (Watched, impl Future<Output = ()> + use<>) {
    let (sender, receiver) = watch::channel(None);
    let api = Api::<Node>::all(client.clone());
    let run = async move {
        tokio::select! {
            () = follow(api, &sender) => {}
            () = stop.cancelled() => {}
        }
    };
    (Watched(receiver), run)
}

async fn follow(api: Api<Node>, known: &watch::Sender<Option<Machines>>) {
    // Asked once: a watch that is refused would be tried again for ever.
    if let Err(kube::Error::Api(status)) = api.list(&ListParams::default().limit(1)).await
        && status.code == 403
    {
        tracing::info!(
            "machines may not be read: brokers with node ports tell clients their internal addresses"
        );
        return std::future::pending().await;
    }
    let mut events = watcher(api, watcher::Config::default().page_size(100)).default_backoff().boxed();
    let mut anew = Machines::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => anew = Machines::default(),
            Ok(watcher::Event::InitApply(node)) => anew = anew.with(&node),
            Ok(watcher::Event::InitDone) => put(known, |_| std::mem::take(&mut anew)),
            Ok(watcher::Event::Apply(node)) => put(known, |now| now.with(&node)),
            Ok(watcher::Event::Delete(node)) => put(known, |now| now.without(&node.name_any())),
            Err(error) => tracing::debug!(%error, "the watch of the machines"),
        }
    }
}

/// Whoever follows is told only where it is something else.
fn put(known: &watch::Sender<Option<Machines>>, change: impl FnOnce(&Machines) -> Machines) {
    known.send_if_modified(|now| {
        let next = change(&now.clone().unwrap_or_default());
        let is_new = now.as_ref() != Some(&next);
        *now = Some(next);
        is_new
    });
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &[(&str, &str)]); N]> for Machines {
    fn from(machines: [(&str, &[(&str, &str)]); N]) -> Self {
        let owned = |(kind, address): &(&str, &str)| ((*kind).to_owned(), (*address).to_owned());
        let all = machines.into_iter().map(|(name, all)| (name.to_owned(), all.iter().map(owned).collect()));
        Self(Arc::new(all.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, address: &str) -> Node {
        let addresses =
            json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]);
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"addresses": addresses}}))
            .unwrap()
    }

    #[test]
    fn a_change_of_addresses_is_told_and_nothing_else() {
        let (sender, mut receiver) = watch::channel(None);
        let mut is_told = |change: &dyn Fn(&Machines) -> Machines| {
            put(&sender, change);
            let told = receiver.has_changed().unwrap();
            receiver.mark_unchanged();
            told
        };
        assert!(is_told(&|_| Machines::default()), "that they may be read");
        assert!(is_told(&|now| now.with(&node("a", "10.0.0.1"))));
        assert!(!is_told(&|now| now.with(&node("a", "10.0.0.1"))), "a heartbeat");
        assert!(is_told(&|now| now.with(&node("a", "10.0.0.2"))));
        assert!(!is_told(&|now| now.without("b")));
        assert!(is_told(&|now| now.without("a")));
        let known = sender.borrow().clone().unwrap();
        assert_eq!(known.of("a"), None);
    }
}

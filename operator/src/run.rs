//! Wiring: the client, the Lease, the controllers, the HTTP endpoints, and an orderly end.

use crate::{
    cluster::{apply::Writer, controller, machines},
    context::{Backoff, Context},
    kafka::Pool,
    lease::{Keeper, Leadership},
    report::Events,
    telemetry::{self, Health, Metrics},
    topic::controller::{self as topic, Stores, Triggers},
};
use anyhow::Context as _;
use clap::Args;
use futures::{StreamExt, future, stream};
use kube::{Client, Config};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How the operator runs.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Image of the brokers whose KafkaCluster names none
    #[arg(long, env = "OTTLA_BROKER_IMAGE", default_value = concat!("ottla-broker:", env!("CARGO_PKG_VERSION")))]
    pub broker_image: String,
    /// Namespaces to look after, separated by commas; all without any
    #[arg(long, env = "OTTLA_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Name of the Lease
    #[arg(long, default_value = "ottla-operator")]
    pub lease_name: String,
    /// Namespace of the Lease; the current one when absent
    #[arg(long)]
    pub lease_namespace: Option<String>,
    /// Namespace of the operator's own pods, which NetworkPolicies let through to the brokers; without it they let everybody through
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// This instance's name in the Lease
    #[arg(long, env = "POD_NAME", default_value_t = format!("ottla-operator-{}", std::process::id()))]
    pub identity: String,
    /// Where /livez, /readyz and /metrics answer; `[::]` includes IPv4
    #[arg(long, default_value = "[::]:8080")]
    pub http: SocketAddr,
}

impl Options {
    /// The defaults and the environment, without a command line.
    pub fn parse_from_defaults() -> Self {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            options: Options,
        }
        <Alone as clap::Parser>::parse_from(["ottla-operator"]).options
    }
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the Kubernetes cluster cannot be reached at all, or the HTTP address is taken.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let client = client().await?;
    let lease_namespace =
        options.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let (keeper, leadership) =
        Keeper::new(client.clone(), &lease_namespace, &options.lease_name, &options.identity);
    let metrics = Arc::new(Metrics::default());
    let warm = Arc::new(AtomicBool::new(false));
    let (machines, watching) = machines::watch(&client, stop.clone());
    let context = Arc::new(Context {
        writer: Writer::new(client.clone(), leadership.clone()),
        events: Events::new(client, &options.identity),
        default_image: options.broker_image.clone(),
        namespace: options.namespace.clone().filter(|name| !name.is_empty()),
        backoff: Backoff::default(),
        kafka: Pool::new(leadership.clone(), Arc::clone(&metrics)),
        machines,
        triggers: Triggers::default(),
        metrics: Arc::clone(&metrics),
    });
    let health = Health { metrics, warm: Arc::clone(&warm), leadership: leadership.clone() };

    // The Lease is given up last: until the controllers have come to rest, this instance may still be writing.
    let rested = CancellationToken::new();
    let lease = tokio::spawn(keeper.run(rested.clone()));
    let http = tokio::spawn(telemetry::serve(options.http, health, stop.clone()));
    let controllers = controllers(&context, &options, &leadership, &warm, &stop);
    tokio::select! {
        _ = future::join(controllers, watching) => {}
        result = http => result?.with_context(|| format!("cannot serve on {}", options.http))?,
    }
    rested.cancel();
    lease.await?;
    Ok(())
}

async fn client() -> anyhow::Result<Client> {
    let mut config =
        Config::infer().await.context("no Kubernetes configuration, neither of a pod nor a kubeconfig")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).context("the Kubernetes configuration cannot be used")
}

/// All controllers, until `stop` and what was under way has ended.
async fn controllers(
    context: &Arc<Context>,
    options: &Options,
    leadership: &Leadership,
    warm: &Arc<AtomicBool>,
    stop: &CancellationToken,
) {
    let scopes = scopes(&options.watch_namespaces);
    let client = context.writer.client();
    let mut stores = Stores { topics: Vec::new(), clusters: Vec::new() };
    let (mut runs, mut touched) = (Vec::new(), Vec::new());
    for scope in scopes {
        let again = stream::select(taking_over(leadership), context.machines.changes());
        let (store, run) = controller::run(Arc::clone(context), scope, again, stop.clone());
        stores.clusters.push(store);
        runs.push(run);
        let (store, stream) = topic::watch(controller::api(client, scope));
        stores.topics.push(store);
        touched.push(stream);
    }
    let warming = async {
        stores.ready().await;
        warm.store(true, Ordering::Release);
        future::pending::<()>().await;
    };
    let topics = topic::run(Arc::clone(context), stores.clone(), touched, leadership.clone(), stop.clone());
    tokio::select! {
        _ = future::join(future::join_all(runs), topics) => {}
        () = warming => {}
    }
}

/// Each namespace once; all of them where none is named.
fn scopes(namespaces: &[String]) -> Vec<Option<&str>> {
    let named: BTreeSet<_> =
        namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    match named.is_empty() {
        true => vec![None],
        false => named.into_iter().map(Some).collect(),
    }
}

/// An item each time that the Lease becomes ours.
fn taking_over(leadership: &Leadership) -> impl futures::Stream<Item = ()> + Send + use<> {
    stream::unfold(leadership.clone(), async |mut leadership| {
        leadership.lost().await;
        leadership.acquired().await;
        Some(((), leadership))
    })
    .boxed()
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        token.cancel();
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_is_watched_once_and_all_where_none_is_named() {
        let of = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
            scopes(&names).into_iter().map(|n| n.map(str::to_owned)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [None]);
        assert_eq!(of(&[""]), [None], "an empty variable");
        assert_eq!(of(&["b", " a", "b", ""]), [Some("a".to_owned()), Some("b".to_owned())]);
    }
}

//! The watches that call for passes, and the loop that makes them.

use super::{
    deletion::SETTLE,
    pass::{self, Input, Memory, PassError},
    queue::{ClusterKey, Queue},
};
use crate::{
    cluster::controller::Guarded,
    context::{Context, RECONCILE_DEADLINE},
    crd::KafkaTopic,
    lease::Leadership,
    report,
};
use futures::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use kube::{
    Api, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Passes at the same time.
const PASSES: usize = 8;
/// What others change in Kafka is found within this time.
const RESYNC: Duration = Duration::from_secs(60);
/// Changes within this time are one pass.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// For the status of a topic that cannot be read.
const REPORT_DEADLINE: Duration = Duration::from_secs(5);

/// A topic as it was read: parsed, or why not.
pub type GuardedTopic = DeserializeGuard<KafkaTopic>;

/// Calls for passes. Cheap to clone.
#[derive(Clone)]
pub struct Triggers(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
    epoch: Instant,
}

impl Default for Triggers {
    fn default() -> Self {
        Self(Arc::new(Shared { queue: Mutex::default(), changed: Notify::new(), epoch: Instant::now() }))
    }
}

impl Triggers {
    /// Asks for a pass over `key` after `delay`.
    pub fn call(&self, key: ClusterKey, delay: Duration) {
        let at = self.now() + delay;
        self.with(|queue| queue.add(key, at));
        self.0.changed.notify_one();
    }

    fn now(&self) -> Duration {
        self.0.epoch.elapsed()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Queue) -> T) -> T {
        f(&mut self.0.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a key may be due.
    async fn due(&self) {
        let wait = self.with(|queue| queue.next()).map(|at| at.saturating_sub(self.now()));
        let timer = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            () = self.0.changed.notified() => {}
        }
    }
}

/// Topics and clusters as the watches last showed them.
#[derive(Clone)]
pub struct Stores {
    /// By watched scope.
    pub topics: Vec<Store<GuardedTopic>>,
    /// By watched scope.
    pub clusters: Vec<Store<Guarded>>,
}

impl Stores {
    fn input(&self, key: &ClusterKey, now: Duration) -> Input {
        let here = |topic: &KafkaTopic| {
            topic.spec.cluster == key.name && topic.namespace().as_deref() == Some(&key.namespace)
        };
        let topics = self.topics.iter().flat_map(Store::state).filter_map(|t| t.0.as_ref().ok().cloned());
        let reference = reflector::ObjectRef::new(&key.name).within(&key.namespace);
        let cluster = self.clusters.iter().find_map(|store| store.get(&reference));
        Input {
            key: key.clone(),
            cluster: cluster.and_then(|c| c.0.as_ref().ok().cloned()),
            topics: topics.filter(here).map(Arc::new).collect(),
            now,
        }
    }

    /// Waits until both are complete: what is missing from a half-read list is not gone.
    pub async fn ready(&self) {
        // Fails when the watch has ended, which is a stop.
        for store in &self.clusters {
            let _ = store.wait_until_ready().await;
        }
        for store in &self.topics {
            let _ = store.wait_until_ready().await;
        }
    }

    /// Every cluster that there is or that a topic names.
    fn keys(&self) -> BTreeSet<ClusterKey> {
        let named = self.topics.iter().flat_map(Store::state).filter_map(|t| key_of(t.0.as_ref().ok()?));
        let clusters = self
            .clusters
            .iter()
            .flat_map(Store::state)
            .filter_map(|c| Some(ClusterKey { namespace: c.namespace()?, name: c.name_any() }));
        named.chain(clusters).collect()
    }
}

fn key_of(topic: &KafkaTopic) -> Option<ClusterKey> {
    Some(ClusterKey { namespace: topic.namespace()?, name: topic.spec.cluster.clone() })
}

/// A watch of the topics behind `api`: the store, and the stream that fills it.
pub fn watch(api: Api<GuardedTopic>) -> (Store<GuardedTopic>, BoxStream<'static, Arc<GuardedTopic>>) {
    let (store, writer) = reflector::store();
    let stream = watcher(api, watcher::Config::default().page_size(200))
        .default_backoff()
        .modify(|topic| topic.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects()
        .filter_map(async |item| match item {
            Ok(topic) => Some(Arc::new(topic)),
            Err(error) => {
                tracing::warn!(%error, "watching topics");
                None
            }
        });
    (store, stream.boxed())
}

/// Makes passes until `stop`, and lets those that are under way end.
pub async fn run(
    context: Arc<Context>,
    stores: Stores,
    touched: Vec<BoxStream<'static, Arc<GuardedTopic>>>,
    mut leadership: Leadership,
    stop: CancellationToken,
) {
    let triggers = context.triggers.clone();
    let mut touched = stream::select_all(touched);
    let mut resync = tokio::time::interval(RESYNC);
    let mut memories: HashMap<ClusterKey, Memory> = HashMap::new();
    let mut seen = Seen::default();
    let mut running: FuturesUnordered<BoxFuture<'static, Ended>> = FuturesUnordered::new();
    let mut taking_over = Box::pin(take_over(&mut leadership));
    let waiting = stores.clone();
    let mut warming = Box::pin(waiting.ready());
    let mut warm = false;
    while !stop.is_cancelled() {
        while let Some(key) =
            triggers.with(|queue| if warm { queue.start(triggers.now(), PASSES) } else { None })
        {
            let memory = memories.remove(&key).unwrap_or_default();
            let input = stores.input(&key, triggers.now());
            running.push(work(input, memory, Arc::clone(&context)).boxed());
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = &mut warming, if !warm => warm = true,
            () = triggers.due(), if warm => {}
            Some(ended) = running.next() => {
                triggers.with(|queue| queue.finish(&ended.key));
                if let Some(delay) = ended.again {
                    triggers.call(ended.key.clone(), delay);
                }
                if ended.memory != Memory::default() {
                    memories.insert(ended.key, ended.memory);
                }
            }
            Some(topic) = touched.next() => {
                if seen.is_news(&topic, &stores) {
                    touch(&topic, &triggers, &context).await;
                }
            }
            Some(()) = taking_over.next() => call_all(&stores, &triggers),
            _ = resync.tick() => call_all(&stores, &triggers),
        }
    }
    while running.next().await.is_some() {}
}

/// An item each time that the Lease becomes ours.
fn take_over(leadership: &mut Leadership) -> impl Stream<Item = ()> + use<> {
    stream::unfold(leadership.clone(), async |mut leadership| {
        leadership.lost().await;
        leadership.acquired().await;
        Some(((), leadership))
    })
}

fn call_all(stores: &Stores, triggers: &Triggers) {
    for key in stores.keys() {
        triggers.call(key, Duration::ZERO);
    }
}

/// The generations that the watch has shown, so that a status that we wrote ourselves is no news.
#[derive(Default)]
struct Seen(HashMap<reflector::ObjectRef<GuardedTopic>, Option<i64>>);

impl Seen {
    /// Whether `topic` is new, changed or gone.
    fn is_news(&mut self, topic: &GuardedTopic, stores: &Stores) -> bool {
        let reference = reflector::ObjectRef::from_obj(topic);
        if !stores.topics.iter().any(|store| store.get(&reference).is_some()) {
            self.0.remove(&reference);
            return true;
        }
        let generation = topic.meta().generation;
        self.0.insert(reference, generation) != Some(generation)
    }
}

async fn touch(topic: &GuardedTopic, triggers: &Triggers, context: &Context) {
    match &topic.0 {
        Ok(topic) => {
            if let Some(key) = key_of(topic) {
                triggers.call(key, DEBOUNCE);
            }
        }
        Err(invalid) if context.writer.is_leading().is_ok() => {
            let name = invalid.metadata.name.as_deref();
            match tokio::time::timeout(REPORT_DEADLINE, report::invalid::<KafkaTopic>(invalid, context)).await
            {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(topic = name, %error, "cannot report on a topic that cannot be read");
                }
                Err(_) => tracing::warn!(topic = name, "cannot report on a topic in time"),
            }
        }
        Err(_) => {}
    }
}

struct Ended {
    key: ClusterKey,
    memory: Memory,
    again: Option<Duration>,
}

async fn work(input: Input, mut memory: Memory, context: Arc<Context>) -> Ended {
    let key = input.key.clone();
    if context.writer.is_leading().is_err() {
        return Ended { key, memory: Memory::default(), again: None };
    }
    let start = Instant::now();
    let result = tokio::time::timeout(RECONCILE_DEADLINE, pass::pass(&input, &mut memory, &context));
    let result = result.await.unwrap_or(Err(PassError::Deadline));
    let name = format!("KafkaTopic/{}/{}", key.namespace, key.name);
    let (label, again) = match &result {
        Ok(look_again) => {
            context.backoff.succeeded(&name);
            ("ok", look_again.then_some(SETTLE))
        }
        Err(error) => {
            let delay = context.backoff.failed(&name);
            tracing::warn!(cluster = key.name, namespace = key.namespace, %error, ?delay, "pass over topics failed");
            ("failed", Some(delay))
        }
    };
    context.metrics.reconciled("KafkaTopic", label, start.elapsed());
    Ended { key, memory, again }
}

//! A consumer group: takes part as applications do, commits once a second, and notes what it was given.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};

use super::Load;
use crate::client::Complaints;
use crate::judge::Deliveries;
use crate::record;

/// A consumer that is given nothing for so long is given up.
const STUCK: Duration = Duration::from_secs(30);

/// One group at work.
pub(super) struct Group {
    deliveries: Arc<Mutex<Deliveries>>,
    threads: Vec<JoinHandle<()>>,
}

impl Group {
    pub(super) fn start(load: &Arc<Load>, index: u32, bases: &[i64]) -> anyhow::Result<Self> {
        let name = format!("verify-{}-{index}", load.run);
        let deliveries = Arc::new(Mutex::new(Deliveries::new(name.clone(), load.run, bases)));
        let threads = (0..load.options.consumers)
            .map(|consumer| {
                let client = client(load, &name, consumer)?;
                let (load, deliveries) = (Arc::clone(load), Arc::clone(&deliveries));
                let member = Member { load, deliveries, group: name.clone(), consumer, client };
                Ok(std::thread::Builder::new()
                    .name(format!("{name}-{consumer}"))
                    .spawn(move || member.run())?)
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { deliveries, threads })
    }

    /// After `consuming` was cleared: what the group was given.
    pub(super) fn finish(self) -> Deliveries {
        for thread in self.threads {
            let _ = thread.join();
        }
        std::mem::replace(&mut *self.deliveries.lock(), Deliveries::new(String::new(), 0, &[]))
    }
}

/// Until every group was given as many records as were acknowledged and no more come, or one was given none for as long as patience
/// lasts. On a busy machine a group that is far behind is slow, and not at fault.
pub(super) fn wait(groups: &[Group], acked: u64, patience: Duration) {
    let bound = Instant::now() + patience * 2;
    for group in groups {
        let (mut known, mut end) = (0, bound);
        while known < acked && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            let delivered = group.deliveries.lock().delivered();
            if delivered > known {
                (known, end) = (delivered, bound.min(Instant::now() + patience));
            }
        }
    }
    let end = bound.max(Instant::now() + Duration::from_secs(1));
    // Records that were not acknowledged and are in the log all the same come after, if at all.
    let sum = || groups.iter().map(|group| group.deliveries.lock().delivered()).sum::<u64>();
    loop {
        let before = sum();
        std::thread::sleep(Duration::from_millis(300));
        if sum() == before || Instant::now() >= end {
            return;
        }
    }
}

fn client(load: &Arc<Load>, group: &str, consumer: u32) -> anyhow::Result<BaseConsumer<Complaints>> {
    let mut config = load.options.target.config();
    config.set("group.id", group).set("client.id", format!("{group}-{consumer}"));
    config.set("auto.offset.reset", "earliest").set("auto.commit.interval.ms", "1000");
    config.set("session.timeout.ms", "10000").set("heartbeat.interval.ms", "1000");
    config.set("check.crcs", "true").set("fetch.wait.max.ms", "100");
    for (key, value) in &load.options.target.settings {
        config.set(key, value);
    }
    BaseConsumer::from_config_and_context(&config, Complaints::of(group.to_owned())).context("consumer")
}

struct Member {
    load: Arc<Load>,
    deliveries: Arc<Mutex<Deliveries>>,
    group: String,
    consumer: u32,
    client: BaseConsumer<Complaints>,
}

impl Member {
    fn run(mut self) {
        if let Err(error) = self.client.subscribe(&[&self.load.topic]) {
            return eprintln!("subscribe: {error}");
        }
        let mut given = Instant::now();
        while self.load.consuming.load(Ordering::Relaxed) {
            // Errors are brokers that are away: the client's own complaints say so.
            if let Some(Ok(message)) = self.client.poll(Duration::from_millis(100)) {
                self.given(&message);
                given = Instant::now();
            } else if given.elapsed() > STUCK {
                given = Instant::now();
                if let Err(error) = self.begin_anew() {
                    eprintln!("{}-{}: {error:#}", self.group, self.consumer);
                }
            }
        }
        // What is locked up does not come to an end, and the process is about to.
        if given.elapsed() > STUCK / 2 {
            std::mem::forget(self.client);
        }
    }

    /// Goes on with another client. librdkafka may lock itself up while it forgets a broker (issue 5476 there): then it sends
    /// nothing any more, and cannot be closed.
    fn begin_anew(&mut self) -> anyhow::Result<()> {
        eprintln!("{}-{}: nothing for {STUCK:?}, another client goes on", self.group, self.consumer);
        let client = client(&self.load, &self.group, self.consumer)?;
        client.subscribe(&[&self.load.topic])?;
        // It leaves the group, if it can.
        let given_up = std::mem::replace(&mut self.client, client);
        std::thread::spawn(move || drop(given_up));
        Ok(())
    }

    fn given(&self, message: &BorrowedMessage<'_>) {
        let Some((id, _)) = message.payload().and_then(record::read) else { return };
        if id.run != self.load.run {
            return;
        }
        if self.deliveries.lock().given(message.partition(), message.offset(), id) {
            self.load.series.lock().delivered(self.load.schedule.due(id.number), self.load.now());
        }
    }
}

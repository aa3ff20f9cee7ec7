//! Reads what is there, from its beginning to its end.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message as _;

use super::{MB, Options, Outcome};
use crate::client::{Complaints, Topic, assign, watermarks};
use crate::compare::usage;
use crate::schedule::Schedule;

/// Reads a topic at a set rate.
///
/// # Errors
///
/// Where it is not read within the time.
pub fn drain(options: &Options) -> anyhow::Result<Outcome> {
    let topic = Topic { name: options.topic.clone(), partitions: 1, replication: 1, configs: Vec::new() };
    let partitions = options.target.topic(&topic)?;
    let reader = client(options)?;
    let end = Instant::now() + Duration::try_from_secs_f64(options.seconds)?;
    let marks = watermarks(&reader, &options.topic, partitions, end)?;
    let wanted: u64 = marks.iter().map(|(first, next)| (next - first).unsigned_abs()).sum();
    assign(&reader, &options.topic, (0..).zip(marks.iter().map(|(first, _)| *first)))?;

    let start = Instant::now();
    let schedule = options.records().map(Schedule::new);
    let mut outcome = Outcome::default();
    while outcome.records < wanted {
        anyhow::ensure!(Instant::now() < end, "read {} of {wanted} records in time", outcome.records);
        if let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) {
            outcome.bytes += message.payload().map_or(0, <[u8]>::len) as u64;
            outcome.records += 1;
        }
        if let Some(schedule) = schedule {
            let due = start + Duration::from_nanos(schedule.due(outcome.records));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    outcome.rate = outcome.bytes as f64 / start.elapsed().as_secs_f64().max(0.001) / MB;
    outcome.cpu = usage::cpu_seconds(std::process::id())?;
    Ok(outcome)
}

fn client(options: &Options) -> anyhow::Result<BaseConsumer<Complaints>> {
    let mut config = options.target.config();
    config.set("group.id", "drain-unused").set("client.id", "drain").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "error");
    // A small queue, so that the broker is asked at the rate at which records are taken out.
    config.set("queued.max.messages.kbytes", "4096").set("queued.min.messages", "4096");
    config.set("fetch.queue.backoff.ms", "5");
    for (key, value) in &options.target.settings {
        config.set(key, value);
    }
    BaseConsumer::from_config_and_context(&config, Complaints::of("drain".to_owned())).context("consumer")
}

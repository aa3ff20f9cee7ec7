//! Writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::{MB, Options, Outcome};
use crate::client::{Complaints, Topic, watermarks};
use crate::compare::usage;
use crate::record::{self, Random, RecordId};
use crate::schedule::Schedule;
use crate::series::{Series, nanoseconds};

/// Values that are sent in turn; making one for each record would cost the generator what the broker is to have.
const VALUES: u64 = 1024;
/// How long the last acknowledgements may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections are made before the load begins.
const SET_UP: Duration = Duration::from_millis(500);

/// Writes for as long as it is told to and waits for every acknowledgement.
///
/// # Errors
///
/// No topic, or a setting that librdkafka does not know.
pub fn pour(options: &Options) -> anyhow::Result<Outcome> {
    // Before there are other threads: each has it from the one that starts it.
    rustix::process::nice(options.nice)?;
    let partitions = options.target.topic(&Topic {
        name: options.topic.clone(),
        partitions: options.partitions,
        replication: options.replication,
        configs: options.topic_configs.clone(),
    })?;
    let tally = Arc::new(Tally::new(options, usize::try_from(partitions)?));
    let client = client(options, &tally)?;
    let _ = client.client().fetch_metadata(Some(&options.topic), Duration::from_secs(5));
    let pouring = Pouring { options, tally: &tally, client, partitions: partitions.unsigned_abs() };
    let Some(schedule) = tally.schedule else { return pouring.as_fast_as_it_goes() };
    pouring.at_rate(schedule);
    let _ = pouring.client.flush(PATIENCE);
    tally.outcome(options)
}

type Client = ThreadedProducer<Counting, NoCustomPartitioner>;

fn client(options: &Options, tally: &Arc<Tally>) -> anyhow::Result<Client> {
    let mut config = options.target.config();
    config.set("client.id", "pour").set("enable.idempotence", "true").set("acks", "all");
    config.set("linger.ms", options.linger.to_string());
    // Full batches only where the broker is slower than the generator; stock otherwise.
    config.set("queue.buffering.max.kbytes", "65536").set("queue.buffering.max.messages", "65536");
    if tally.schedule.is_none() {
        // A callback for each record would cost the generator, not the broker, the core that it has.
        config.set("delivery.report.only.error", "true").set("linger.ms", "5");
    }
    for (key, value) in &options.target.settings {
        config.set(key, value);
    }
    let context = Counting { tally: Arc::clone(tally), complaints: Complaints::of("pour".to_owned()) };
    Client::from_config_and_context(&config, context).context("producer")
}

/// What became of the records.
struct Tally {
    start: Instant,
    schedule: Option<Schedule>,
    ramp: u64,
    size: u64,
    series: Mutex<Series>,
    acked: AtomicU64,
    /// Acknowledged between the ramp and the end of sending.
    steady: AtomicU64,
    failed: AtomicU64,
    end: u64,
}

impl Tally {
    fn new(options: &Options, partitions: usize) -> Self {
        let seconds = |count: f64| Duration::try_from_secs_f64(count).unwrap_or_default();
        Self {
            start: Instant::now() + SET_UP,
            schedule: options.records().map(Schedule::new),
            ramp: nanoseconds(seconds(options.ramp)),
            size: u64::from(options.size),
            series: Mutex::new(Series::new(partitions, seconds(options.ramp))),
            acked: AtomicU64::new(0),
            steady: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            end: nanoseconds(seconds(options.seconds)),
        }
    }

    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    fn acked(&self, partition: i32, number: u64) {
        let now = self.now();
        self.acked.fetch_add(1, Ordering::Relaxed);
        if (self.ramp..self.end).contains(&now) {
            self.steady.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(schedule) = self.schedule {
            self.series.lock().acked(partition, schedule.due(number), now);
        }
    }

    fn outcome(&self, options: &Options) -> anyhow::Result<Outcome> {
        let series = self.series.lock();
        let records = self.acked.load(Ordering::Relaxed);
        let steady = self.steady.load(Ordering::Relaxed) * self.size;
        Ok(Outcome {
            records,
            bytes: records * self.size,
            failed: self.failed.load(Ordering::Relaxed),
            rate: steady as f64 / (options.seconds - options.ramp).max(0.001) / MB,
            cpu: usage::cpu_seconds(std::process::id())?,
            latency: series.latency(),
            rows: series.rows(),
        })
    }
}

struct Counting {
    tally: Arc<Tally>,
    complaints: Complaints,
}

impl ClientContext for Counting {
    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ProducerContext for Counting {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => self.tally.acked(message.partition(), number as u64),
            Err((error, _)) => {
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
                self.complaints.say(&error.to_string());
            }
        }
    }
}

struct Pouring<'a> {
    options: &'a Options,
    tally: &'a Tally,
    client: Client,
    partitions: u32,
}

impl Pouring<'_> {
    fn at_rate(&self, schedule: Schedule) {
        let count = schedule.within(Duration::from_nanos(self.tally.end));
        let (values, mut random) = self.values();
        for (number, value) in (0..count).zip(values.iter().cycle()) {
            let due = schedule.due(number);
            let left =
                (self.tally.start + Duration::from_nanos(due)).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                std::thread::sleep(left);
            }
            self.tally.series.lock().sent(0, due);
            self.send(value, random.below(self.partitions), number);
        }
    }

    /// Counted by the ends of the log, which tell what was acknowledged without a callback for each record.
    fn as_fast_as_it_goes(&self) -> anyhow::Result<Outcome> {
        let reader = self.options.target.reader("pour")?;
        let first = self.log_ends(&reader)?;
        let (values, mut random) = self.values();
        let mut steady = None;
        for (number, value) in (0..).zip(values.iter().cycle()) {
            if number % 64 == 0 {
                let now = self.tally.now();
                if steady.is_none() && now >= self.tally.ramp {
                    steady = Some((Instant::now(), self.log_ends(&reader)?));
                }
                if now >= self.tally.end {
                    break;
                }
            }
            self.send(value, random.below(self.partitions), number);
        }
        let (since, before) = steady.unwrap_or((self.tally.start, first));
        let seconds = since.elapsed().as_secs_f64().max(0.001);
        let rate = ((self.log_ends(&reader)? - before) * self.tally.size) as f64 / seconds / MB;
        self.client.flush(PATIENCE).context("the last acknowledgements")?;
        self.tally.acked.store(self.log_ends(&reader)? - first, Ordering::Relaxed);
        Ok(Outcome { rate, ..self.tally.outcome(self.options)? })
    }

    /// How many records the topic was ever given.
    fn log_ends(&self, reader: &BaseConsumer<Complaints>) -> anyhow::Result<u64> {
        let partitions = i32::try_from(self.partitions)?;
        let marks = watermarks(reader, &self.options.topic, partitions, Instant::now() + PATIENCE)?;
        Ok(marks.iter().map(|(_, next)| next.unsigned_abs()).sum())
    }

    fn values(&self) -> (Vec<Vec<u8>>, Random) {
        let size = usize::try_from(self.options.size).unwrap_or(record::HEADER);
        let value = |number| {
            let mut value = Vec::new();
            record::write(RecordId { run: 0, producer: 0, number }, size, &mut value);
            value
        };
        ((0..VALUES).map(value).collect(), Random::new(1))
    }

    /// Hands a record over; where the queue is full, waits for room.
    fn send(&self, value: &[u8], partition: u32, number: u64) {
        let opaque = usize::try_from(number).unwrap_or(usize::MAX);
        let mut record = BaseRecord::<(), [u8], usize>::with_opaque_to(&self.options.topic, opaque)
            .partition(i32::try_from(partition).unwrap_or(0))
            .payload(value);
        loop {
            match self.client.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => {
                    self.tally.failed.fetch_add(1, Ordering::Relaxed);
                    return self.client.context().complaints.say(&error.to_string());
                }
            }
        }
    }
}

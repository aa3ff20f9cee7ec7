//! One idempotent producer: sends what is due when it is due, and notes what becomes of each record.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::{Load, seconds};
use crate::client::Complaints;
use crate::judge::Ledger;
use crate::record::{self, Random, RecordId};

/// A producer at work.
pub(super) struct Producing {
    ledger: Arc<Noted>,
    thread: JoinHandle<()>,
}

/// What librdkafka calls back.
struct Noted {
    load: Arc<Load>,
    ledger: Mutex<Ledger>,
    complaints: Complaints,
}

type Client = ThreadedProducer<Noting, NoCustomPartitioner>;

struct Noting(Arc<Noted>);

impl ClientContext for Noting {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.complaints.error(error, reason);
    }
}

impl ProducerContext for Noting {
    /// The record's number.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let (noted, number) = (&self.0, number as u64);
        let now = noted.load.now();
        match result {
            Ok(message) => {
                noted.ledger.lock().acked(number, message.offset());
                noted.load.series.lock().acked(message.partition(), noted.load.schedule.due(number), now);
            }
            Err((error, _)) => noted.failed(number, error, now),
        }
    }
}

impl Noted {
    fn failed(&self, number: u64, error: &KafkaError, now: u64) {
        self.complaints.say(&format!("record {number} failed: {error}"));
        self.ledger.lock().failed(number);
        self.load.series.lock().failed(now);
    }
}

impl Producing {
    pub(super) fn start(load: &Arc<Load>, producer: u32) -> anyhow::Result<Self> {
        let noted = Arc::new(Noted {
            load: Arc::clone(load),
            ledger: Mutex::new(Ledger::new(producer)),
            complaints: Complaints::of(format!("producer {producer}")),
        });
        let client = client(load, &noted, producer)?;
        let ledger = Arc::clone(&noted);
        let thread = std::thread::Builder::new()
            .name(format!("producer {producer}"))
            .spawn(move || Sender { noted, client, producer }.run())?;
        Ok(Self { ledger, thread })
    }

    /// Waits until every record is acknowledged or given up, within the bounds of the load.
    pub(super) fn finish(self) -> anyhow::Result<Ledger> {
        self.thread.join().map_err(|_| anyhow::anyhow!("a producer's thread panicked"))?;
        let producer = self.ledger.ledger.lock().producer();
        Ok(std::mem::replace(&mut *self.ledger.ledger.lock(), Ledger::new(producer)))
    }
}

fn client(load: &Arc<Load>, noted: &Arc<Noted>, producer: u32) -> anyhow::Result<Client> {
    let patience = load.options.patience + load.options.seconds;
    let mut config = load.options.target.config();
    config.set("client.id", format!("verify-{producer}"));
    config.set("enable.idempotence", "true").set("acks", "all");
    config.set("compression.type", &load.options.compression);
    config.set("linger.ms", load.options.linger.to_string());
    // Nothing is given up before the load's own patience ends.
    config.set("message.timeout.ms", seconds(patience).as_millis().to_string());
    config.set("retry.backoff.ms", "50").set("retry.backoff.max.ms", "500");
    for (key, value) in &load.options.target.settings {
        config.set(key, value);
    }
    let client = Client::from_config_and_context(&config, Noting(Arc::clone(noted))).context("producer")?;
    // Connects. Where it fails, sending says so.
    let _ = client.client().fetch_metadata(Some(&load.topic), Duration::from_secs(1));
    Ok(client)
}

/// The thread that sends.
struct Sender {
    noted: Arc<Noted>,
    client: Client,
    producer: u32,
}

impl Sender {
    fn run(self) {
        let load = Arc::clone(&self.noted.load);
        let end = load.start + seconds(load.options.seconds) + load.patience();
        let mut random = Random::new(load.run ^ (u64::from(self.producer) << 32));
        let mut value = Vec::new();
        let size = usize::try_from(load.options.size).unwrap_or(record::HEADER);
        for number in 0..load.count {
            let partition = i32::try_from(random.below(load.partitions.unsigned_abs())).unwrap_or(0);
            record::write(RecordId { run: load.run, producer: self.producer, number }, size, &mut value);
            let due = load.schedule.due(number);
            wait_until(load.start + Duration::from_nanos(due));
            if load.over.load(Ordering::Relaxed) {
                break;
            }
            self.noted.ledger.lock().sent(partition);
            load.series.lock().sent(partition, due);
            if let Err(error) = self.send(&value, partition, number, end) {
                self.noted.failed(number, &error, load.now());
            }
            if Instant::now() > end {
                break;
            }
        }
        if let Err(error) = self.client.flush(end.saturating_duration_since(Instant::now())) {
            self.noted.complaints.say(&format!("flush: {error}"));
        }
    }

    /// Hands a record over; where the client's queue is full, waits for room.
    fn send(&self, value: &[u8], partition: i32, number: u64, end: Instant) -> Result<(), KafkaError> {
        let opaque = usize::try_from(number).unwrap_or(usize::MAX);
        let mut record = BaseRecord::<(), [u8], usize>::with_opaque_to(&self.noted.load.topic, opaque)
            .partition(partition)
            .payload(value);
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < end =>
                {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

fn wait_until(at: Instant) {
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

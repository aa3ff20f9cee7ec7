//! Writes batches that were made beforehand and lie in a file in memory, so that the generator costs little more than the sockets
//! do, and not even a copy: what a broker takes at its most is not what a client library can make. Batches are numbered by
//! idempotent producers, as a library would.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchHeader, HEADER_LEN, Record, crc32c};
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use ottla_wire::{ErrorCode, Records, Str};
use rustix::fs::MemfdFlags;

use super::{MB, Options, Outcome};
use crate::client::Topic;
use crate::compare::usage;
use crate::connection::Connection;
use crate::record::{self, RecordId};

/// A version in which the records are the last bytes of the request.
const PRODUCE: i16 = 8;
const INIT_PRODUCER_ID: i16 = 1;
/// Between two questions for a producer id.
const RETRY: Duration = Duration::from_millis(50);
/// Requests on their way on one connection; Kafka remembers so many batches of a producer.
const IN_FLIGHT: usize = 5;

/// A flood.
#[derive(Debug, Clone, clap::Args)]
pub struct FloodOptions {
    /// The load; it knows no rate
    #[command(flatten)]
    pub load: Options,
    /// Bytes of a batch, more or less
    #[arg(long, default_value_t = 131_072)]
    pub batch: usize,
    /// Connections, each a producer with partitions of its own
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// MB of values after which it ends before its time
    #[arg(long)]
    pub megabytes: Option<u64>,
}

/// Writes for as long as it is told to, to one node that leads all partitions.
///
/// # Errors
///
/// The node is not there, or refuses a batch.
pub fn flood(options: &FloodOptions) -> anyhow::Result<Outcome> {
    let load = &options.load;
    let partitions = load.target.topic(&Topic {
        name: load.topic.clone(),
        partitions: load.partitions,
        replication: load.replication,
        configs: load.topic_configs.clone(),
    })?;
    let address = load.target.bootstrap.to_socket_addrs()?.next().context("no address")?;
    let seconds = |count: f64| Duration::try_from_secs_f64(count).unwrap_or_default();
    let start = Instant::now();
    let run = Run {
        options,
        address,
        from: start + seconds(load.ramp),
        until: start + seconds(load.seconds),
        acked: AtomicU64::new(0),
        steady: AtomicU64::new(0),
    };
    let count = options.connections.clamp(1, usize::try_from(partitions)?);
    std::thread::scope(|scope| {
        let of = |first: usize| (0..partitions).skip(first).step_by(count).collect::<Vec<_>>();
        let threads: Vec<_> = (0..count)
            .map(|first| (of(first), &run))
            .map(|(partitions, run)| scope.spawn(move || run.produce(&partitions)))
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a producer's thread panicked"),
        })
    })?;
    run.outcome()
}

/// What all connections share.
struct Run<'a> {
    options: &'a FloodOptions,
    address: SocketAddr,
    from: Instant,
    until: Instant,
    /// Records.
    acked: AtomicU64,
    /// Of these, between the ramp and the end.
    steady: AtomicU64,
}

impl Run<'_> {
    fn produce(&self, partitions: &[i32]) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.address, "flood")?;
        let producer = self.producer(&mut connection)?;
        let batches = partitions.iter().map(|index| Batch::new(self.options, &connection, *index, producer));
        let mut batches = batches.collect::<anyhow::Result<Vec<_>>>()?;
        let mut in_flight = 0;
        for turn in 0.. {
            let over = self.is_over();
            if over && in_flight == 0 {
                break;
            }
            if over || in_flight == IN_FLIGHT {
                self.note(&connection.receive::<ProduceRequest>(PRODUCE)?)?;
                in_flight -= 1;
            }
            let next = turn % batches.len();
            if let Some(batch) = batches.get_mut(next).filter(|_| !over) {
                batch.send(&mut connection)?;
                in_flight += 1;
            }
        }
        Ok(())
    }

    /// Id and epoch. A broker that has only just started has none to give yet.
    fn producer(&self, connection: &mut Connection) -> anyhow::Result<(i64, i16)> {
        let init = InitProducerIdRequest { transactional_id: None, ..InitProducerIdRequest::default() };
        loop {
            let producer = connection.call(&init, INIT_PRODUCER_ID)?;
            match ErrorCode::try_from(producer.error_code) {
                Ok(ErrorCode::None) => return Ok((producer.producer_id, producer.producer_epoch)),
                Ok(error) if error.is_retriable() && !self.is_over() => thread::sleep(RETRY),
                _ => anyhow::bail!("InitProducerId: error code {}", producer.error_code),
            }
        }
    }

    fn is_over(&self) -> bool {
        let bytes = || self.acked.load(Ordering::Relaxed) * u64::from(self.options.load.size);
        Instant::now() >= self.until || self.options.megabytes.is_some_and(|most| bytes() >= most * 1_000_000)
    }

    fn note(&self, response: &ProduceResponse) -> anyhow::Result<()> {
        let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let code = partition.context("an answer without a partition")?.error_code;
        anyhow::ensure!(code == 0, "error code {code}");
        let records = records_of(self.options);
        self.acked.fetch_add(records, Ordering::Relaxed);
        if (self.from..self.until).contains(&Instant::now()) {
            self.steady.fetch_add(records, Ordering::Relaxed);
        }
        Ok(())
    }

    fn outcome(&self) -> anyhow::Result<Outcome> {
        let records = self.acked.load(Ordering::Relaxed);
        let size = u64::from(self.options.load.size);
        let seconds = Instant::now().min(self.until).saturating_duration_since(self.from).as_secs_f64();
        let steady = (self.steady.load(Ordering::Relaxed) * size) as f64;
        Ok(Outcome {
            records,
            bytes: records * size,
            rate: steady / seconds.max(0.001) / MB,
            cpu: usage::cpu_seconds(std::process::id())?,
            ..Outcome::default()
        })
    }
}

fn records_of(options: &FloodOptions) -> u64 {
    u64::try_from(options.batch).unwrap_or(0).div_ceil(u64::from(options.load.size).max(1)).max(1)
}

/// A request with one batch to one partition; only numbers change from one to the next. As many copies lie in the file as there
/// may be on their way, and one more.
struct Batch {
    file: File,
    frame_len: usize,
    copy: usize,
    header: BatchHeader,
    body_crc: u32,
    body_len: usize,
}

impl Batch {
    fn new(
        options: &FloodOptions,
        connection: &Connection,
        index: i32,
        (id, epoch): (i64, i16),
    ) -> anyhow::Result<Self> {
        let records = filled(options, index, (id, epoch))?;
        let (header, body) = records.split_at_checked(HEADER_LEN).context("a batch")?;
        let (header, body_crc, body_len) = (BatchHeader::parse(header)?, crc32c(body), body.len());
        let data = PartitionProduceData {
            index,
            records: Some(Records::Bytes(records)),
            ..PartitionProduceData::default()
        };
        let topic = TopicProduceData {
            name: Str::from(options.load.topic.as_str()),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let frame = connection.frame(&request, PRODUCE)?;
        let mut file = File::from(rustix::fs::memfd_create("flood", MemfdFlags::CLOEXEC)?);
        for _ in 0..=IN_FLIGHT {
            file.write_all(&frame)?;
        }
        Ok(Self { file, frame_len: frame.len(), copy: 0, header, body_crc, body_len })
    }

    /// Sends the next one.
    fn send(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        self.header.seal_with_body_crc(self.body_crc, self.body_len);
        let end = (self.copy + 1) * self.frame_len;
        let header = u64::try_from(end - self.body_len - HEADER_LEN)?;
        self.file.write_all_at(&self.header.to_bytes(), header)?;
        let next = i64::from(self.header.base_sequence) + i64::from(self.header.record_count);
        self.header.base_sequence = i32::try_from(next % (i64::from(i32::MAX) + 1)).unwrap_or(0);
        self.copy = (self.copy + 1) % (IN_FLIGHT + 1);
        connection.send_file(&self.file, u64::try_from(end - self.frame_len)?, self.frame_len)
    }
}

fn filled(options: &FloodOptions, index: i32, (id, epoch): (i64, i16)) -> anyhow::Result<Bytes> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let timestamp = i64::try_from(now)?;
    let size = usize::try_from(options.load.size)?;
    let mut batch = BatchBuilder::new(0).producer(id, epoch, 0);
    let mut value = Vec::new();
    for number in 0..records_of(options) {
        record::write(RecordId { run: 0, producer: index.unsigned_abs(), number }, size, &mut value);
        batch.push(Record { timestamp, value: Some(Bytes::from(value.clone())), ..Record::default() });
    }
    Ok(batch.build())
}

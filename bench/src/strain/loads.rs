//! What a broker is strained with while it serves a load of its own: clients that take much and give little.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchHeader, HEADER_LEN, Record};
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};
use ottla_wire::{Records, Str};
use rustix::fs::{Advice, fadvise};

use crate::connection::Connection;

/// Versions that name topics and need no session.
const FETCH: i16 = 11;
const PRODUCE: i16 = 8;
/// Batches of a large frame, each to a partition of its own, and the bytes of each: just below
/// `socket.request.max.bytes` and `max.message.bytes` as they are by default.
pub(super) const LARGE_PARTITIONS: i32 = 100;
const LARGE_BATCH: usize = 1_000_000;
/// Fetches that a slow consumer sends without reading an answer.
const UNREAD: usize = 10;

/// Clients that run beside the load, until stopped.
pub(super) struct Strain {
    stop: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
    /// Connections that only have to be there.
    held: Vec<Connection>,
}

impl Strain {
    pub(super) fn none() -> Self {
        Self { stop: Arc::default(), bytes: Arc::default(), threads: Vec::new(), held: Vec::new() }
    }

    /// Reads a topic of one partition from its beginning, again and again, after its files were dropped from the page
    /// cache; so many MB a second at the most.
    pub(super) fn cold_reader(mut self, address: SocketAddr, topic: &str, files: PathBuf, rate: f64) -> Self {
        let (stop, bytes, topic) = (Arc::clone(&self.stop), Arc::clone(&self.bytes), topic.to_owned());
        self.threads.push(std::thread::spawn(move || {
            let mut connection = Connection::open(address, "cold-reader")?;
            let begun = Instant::now();
            let pace = |read: u64| {
                let due = Duration::try_from_secs_f64(read as f64 / rate / 1e6).unwrap_or_default();
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            };
            while !stop.load(Ordering::Relaxed) {
                forget(&files)?;
                read_through(&mut connection, &topic, &stop, &bytes, &pace)?;
            }
            Ok(())
        }));
        self
    }

    /// Consumers that ask for 50 MB ten times over and read nothing.
    pub(super) fn slow_consumers(
        mut self,
        address: SocketAddr,
        topic: &str,
        count: usize,
    ) -> anyhow::Result<Self> {
        for _ in 0..count {
            let mut connection = Connection::open(address, "slow-consumer")?;
            let frame = connection.frame(&fetch(topic, 0, 50_000_000), FETCH)?;
            for _ in 0..UNREAD {
                connection.send(&frame)?;
            }
            self.held.push(connection);
        }
        Ok(self)
    }

    /// Producers that send frames of 100 MB, all at once at first, and then so many MB a second together.
    pub(super) fn large_frames(
        mut self,
        address: SocketAddr,
        topic: &str,
        count: u32,
        rate: f64,
    ) -> anyhow::Result<Self> {
        let frame: Arc<[u8]> = large_frame(&Connection::open(address, "large-frames")?, topic)?.into();
        let every = Duration::try_from_secs_f64(f64::from(count) * frame.len() as f64 / rate / 1e6)?;
        for _ in 0..count {
            let (stop, bytes, frame) = (Arc::clone(&self.stop), Arc::clone(&self.bytes), Arc::clone(&frame));
            self.threads.push(std::thread::spawn(move || {
                let mut connection = Connection::open(address, "large-frames")?;
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    connection.send(&frame)?;
                    let answer = connection.receive::<ProduceRequest>(PRODUCE)?;
                    let codes = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
                    let refused = codes.map(|partition| partition.error_code).find(|code| *code != 0);
                    anyhow::ensure!(refused.is_none(), "a large frame: error code {refused:?}");
                    bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
                    while begun.elapsed() < every && !stop.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                Ok(())
            }));
        }
        Ok(self)
    }

    /// Connections that were used once.
    pub(super) fn idle(mut self, address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        for _ in 0..count {
            let mut connection = Connection::open(address, "idle")?;
            connection.call(&ApiVersionsRequest::default(), 0)?;
            self.held.push(connection);
        }
        Ok(self)
    }

    /// Ends it; how many bytes were read and written.
    pub(super) fn end(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client's thread panicked"))??;
        }
        Ok(self.bytes.load(Ordering::Relaxed))
    }
}

/// Has the system drop what it holds of a partition's files.
fn forget(files: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(files).with_context(|| files.display().to_string())? {
        let file = std::fs::File::open(entry?.path())?;
        file.sync_data()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn read_through(
    connection: &mut Connection,
    topic: &str,
    stop: &AtomicBool,
    bytes: &AtomicU64,
    pace: &dyn Fn(u64),
) -> anyhow::Result<()> {
    let mut offset = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = connection.call(&fetch(topic, offset, 4_000_000), FETCH)?;
        let partition = answer.responses.into_iter().flat_map(|topic| topic.partitions).next();
        let partition = partition.context("an answer without a partition")?;
        anyhow::ensure!(partition.error_code == 0, "a cold read: error code {}", partition.error_code);
        let Some(Records::Bytes(records)) = partition.records else { return Ok(()) };
        let read = records.len() as u64;
        pace(bytes.fetch_add(read, Ordering::Relaxed) + read);
        match next_offset(&records)? {
            Some(next) => offset = next,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Behind the last batch.
fn next_offset(records: &Bytes) -> anyhow::Result<Option<i64>> {
    let (mut rest, mut next) = (records.as_ref(), None);
    while rest.len() >= HEADER_LEN {
        let header = BatchHeader::parse(rest)?;
        next = Some(header.next_offset());
        rest = rest.get(header.size_in_bytes()..).unwrap_or_default();
    }
    Ok(next)
}

fn fetch(topic: &str, fetch_offset: i64, bytes: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition: 0,
        fetch_offset,
        partition_max_bytes: bytes,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: Str::from(topic), partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: bytes,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

fn large_frame(connection: &Connection, topic: &str) -> anyhow::Result<Vec<u8>> {
    let mut batch = BatchBuilder::new(0);
    for _ in 0..LARGE_BATCH / 10_000 {
        let value = Some(Bytes::from(vec![b'x'; 9_900]));
        batch.push(Record { timestamp: 0, value, ..Record::default() });
    }
    let batch = batch.build();
    let partition = |index| PartitionProduceData {
        index,
        records: Some(Records::Bytes(batch.clone())),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData {
        name: Str::from(topic),
        partition_data: (0..LARGE_PARTITIONS).map(partition).collect(),
        ..TopicProduceData::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data: vec![topic], ..ProduceRequest::default() };
    connection.frame(&request, PRODUCE)
}

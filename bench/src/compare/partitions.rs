//! A node with many partitions: what it takes to make them, to write to all, to start again after a clean stop and after
//! kill -9, how much memory and how many descriptors that needs, and what it does to the latency of a load.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, Record};
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{CreateTopicsRequest, ProduceRequest};
use ottla_wire::{Records, Str};

use super::node::{Kind, Node, Place, Programs};
use super::{ended, first_ack, home, prepared, usage};
use crate::connection::Connection;
use crate::load::Outcome;

/// How long any single step may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Partitions that one produce request writes to.
const AT_ONCE: usize = 500;

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The broker
    #[command(flatten)]
    pub programs: Programs,
    /// Apache Kafka instead of ours
    #[arg(long)]
    pub apache: bool,
    /// Partitions in all
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub partitions: u32,
    /// Topics that they are spread over, all made by one request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub topics: u32,
    /// Partitions of the load that latencies are compared with
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub few: u32,
    /// Descriptors that the broker may have
    #[arg(long, default_value_t = 20_000)]
    pub descriptors: u64,
    /// MB/s of the load
    #[arg(long, default_value_t = 5.0)]
    pub rate: f64,
    /// Seconds of the load; 0 leaves it out
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// Directory for the data
    #[arg(long, default_value = "target/bench-data")]
    pub disk: PathBuf,
}

/// What was measured. Seconds, bytes, milliseconds.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the table names them")]
pub struct Figures {
    pub partitions: u32,
    pub create: Step,
    pub produce: Step,
    pub resident: u64,
    pub descriptors: usize,
    pub stop: f64,
    pub clean_start: Step,
    pub clean_resident: u64,
    pub killed_start: Step,
    pub killed_resident: u64,
    pub few: Load,
    pub few_beside_many: Load,
    pub many: Load,
    pub resident_loaded: u64,
    pub others: f64,
}

/// How long something took, and how many CPU-seconds of the broker: where others use the machine, that says more.
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "the table names them")]
pub struct Step {
    pub seconds: f64,
    pub cpu: f64,
}

/// Latency of one load, ms.
#[derive(Debug, Default, Clone, Copy)]
#[expect(missing_docs, reason = "the table names them")]
pub struct Load {
    pub partitions: u32,
    pub p50: f64,
    pub p99: f64,
    pub rate: f64,
    /// CPU-seconds of the broker, and of the generator.
    pub cpu: (f64, f64),
}

/// Runs all of it, on nodes of its own.
///
/// # Errors
///
/// Where the broker refuses, fails, or takes too long.
pub fn run(options: &Options) -> anyhow::Result<Figures> {
    let mut figures = Figures { partitions: options.partitions, ..Figures::default() };
    let (began, busy) = (Instant::now(), usage::machine_seconds()?);
    let mut own = usage::cpu_seconds(std::process::id())?;
    if options.seconds > 0.0 {
        let mut bench = Bench::start(options)?;
        figures.few = bench.load("few", options.few)?;
        own -= bench.end()?;
    }
    let mut bench = Bench::start(options)?;
    bench.life(&mut figures)?;
    own -= bench.end()?;
    let busy = usage::machine_seconds()? - busy + own - usage::cpu_seconds(std::process::id())?;
    figures.others = busy.max(0.0) / began.elapsed().as_secs_f64();
    Ok(figures)
}

struct Bench<'a> {
    options: &'a Options,
    node: Node,
    /// CPU-seconds of what ended already.
    cpu: f64,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options) -> anyhow::Result<Self> {
        let kind = if options.apache { Kind::Apache } else { Kind::Ottla };
        let mut node = Node::format(kind, home(&options.disk)?, &options.programs, Place::ALONE, &[])?;
        node.set_descriptors(options.descriptors);
        node.start(None)?;
        let mut bench = Self { options, node, cpu: 0.0 };
        bench.create("start", 1, 1)?;
        Ok(bench)
    }

    /// From the making of the partitions to the start after kill -9.
    fn life(&mut self, figures: &mut Figures) -> anyhow::Result<()> {
        figures.create = self.create("many", self.options.topics, self.options.partitions)?;
        figures.produce = self.produce_to_all()?;
        (figures.resident, figures.descriptors) = self.size()?;
        if self.options.seconds > 0.0 {
            figures.few_beside_many = self.load("few", self.options.few)?;
            if self.options.topics == 1 {
                figures.many = self.load("many-0", self.options.partitions)?;
            }
        }
        (figures.resident_loaded, _) = self.size()?;
        let since = Instant::now();
        self.cpu += usage::cpu_seconds(self.node.pid()?)?;
        self.node.stop()?;
        figures.stop = since.elapsed().as_secs_f64();
        figures.clean_start = self.start_to_first_ack()?;
        (figures.clean_resident, _) = self.size()?;
        self.produce_to_all()?;
        self.cpu += usage::cpu_seconds(self.node.pid()?)?;
        self.node.kill();
        figures.killed_start = self.start_to_first_ack()?;
        (figures.killed_resident, _) = self.size()?;
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<f64> {
        let cpu = self.cpu + usage::cpu_seconds(self.node.pid()?)?;
        self.node.kill();
        Ok(cpu)
    }

    /// One request for so many topics with so many partitions in all; seconds until the answer. Asked again only while
    /// nobody listens.
    fn create(&mut self, name: &str, topics: u32, partitions: u32) -> anyhow::Result<Step> {
        let topic = |index: u32| CreatableTopic {
            name: Str::from(format!("{name}-{index}")),
            num_partitions: i32::try_from(partitions / topics).unwrap_or(1).max(1),
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: (0..topics).map(topic).collect(),
            timeout_ms: i32::try_from(PATIENCE.as_millis())?,
            ..CreateTopicsRequest::default()
        };
        let mut connection = self.connection()?;
        let step = self.begin()?;
        let response = connection.call(&request, 7)?;
        let took = step.end(self)?;
        for topic in response.topics {
            let why = topic.error_message.as_deref().unwrap_or_default();
            anyhow::ensure!(topic.error_code == 0, "{}: error code {} {why}", topic.name, topic.error_code);
        }
        Ok(took)
    }

    /// A record of 1 KiB to each partition, acks=all; seconds for all of them.
    fn produce_to_all(&mut self) -> anyhow::Result<Step> {
        let mut connection = self.connection()?;
        let each = self.options.partitions / self.options.topics;
        let all: Vec<(u32, u32)> = (0..self.options.topics)
            .flat_map(|topic| (0..each.max(1)).map(move |partition| (topic, partition)))
            .collect();
        let step = self.begin()?;
        for some in all.chunks(AT_ONCE) {
            produce(&mut connection, some)?;
        }
        step.end(self)
    }

    fn start_to_first_ack(&mut self) -> anyhow::Result<Step> {
        let step = Begun { since: Instant::now(), cpu: 0.0 };
        self.node.start(None)?;
        first_ack::wait(self.node.address(), "start-0", step.since + PATIENCE)?;
        step.end(self)
    }

    fn begin(&mut self) -> anyhow::Result<Begun> {
        Ok(Begun { cpu: usage::cpu_seconds(self.node.pid()?)?, since: Instant::now() })
    }

    /// Resident memory and open descriptors.
    fn size(&mut self) -> anyhow::Result<(u64, usize)> {
        let pid = self.node.pid()?;
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok((usage::resident(pid)?, open))
    }

    /// The load, to a topic that is made if it is not there.
    fn load(&mut self, topic: &str, partitions: u32) -> anyhow::Result<Load> {
        let options = self.options;
        let mut arguments = vec![std::env::current_exe()?.display().to_string(), "pour".to_owned()];
        for (name, value) in [
            ("--bootstrap", self.node.address().to_string()),
            ("--topic", topic.to_owned()),
            ("--partitions", partitions.to_string()),
            ("--rate", options.rate.to_string()),
            ("--seconds", options.seconds.to_string()),
            ("--ramp", (options.seconds / 4.0).to_string()),
        ] {
            arguments.extend([name.to_owned(), value]);
        }
        let answer = std::env::temp_dir().join(format!("ottla-partitions-{}.json", std::process::id()));
        let step = self.begin()?;
        let child = prepared(&arguments, None)?.stdout(std::fs::File::create(&answer)?).spawn()?;
        let bound = Duration::try_from_secs_f64(options.seconds)? + PATIENCE;
        let ended = ended(child, bound).with_context(|| arguments.join(" "));
        let text = std::fs::read(&answer)?;
        let _ = std::fs::remove_file(&answer);
        ended?;
        let outcome: Outcome = serde_json::from_slice(&text)?;
        anyhow::ensure!(outcome.failed == 0, "{} records failed", outcome.failed);
        self.cpu += outcome.cpu;
        let (p50, p99) = (outcome.latency.p50_ms, outcome.latency.p99_ms);
        let cpu = (step.end(self)?.cpu, outcome.cpu);
        Ok(Load { partitions, p50, p99, rate: outcome.rate, cpu })
    }

    /// A connection, as soon as somebody listens.
    fn connection(&self) -> anyhow::Result<Connection> {
        let end = Instant::now() + PATIENCE;
        loop {
            match Connection::open(self.node.address(), "partitions") {
                Ok(connection) => return Ok(connection),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

/// A step that is not over.
struct Begun {
    since: Instant,
    cpu: f64,
}

impl Begun {
    fn end(&self, bench: &mut Bench<'_>) -> anyhow::Result<Step> {
        let seconds = self.since.elapsed().as_secs_f64();
        Ok(Step { seconds, cpu: usage::cpu_seconds(bench.node.pid()?)? - self.cpu })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} (CPU {:.2})", self.seconds, self.cpu)
    }
}

fn produce(connection: &mut Connection, to: &[(u32, u32)]) -> anyhow::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    let now = i64::try_from(now)?;
    let mut topics: Vec<TopicProduceData> = Vec::new();
    for (topic, partition) in to {
        let name = Str::from(format!("many-{topic}"));
        let mut batch = BatchBuilder::new(0);
        let value = Some(Bytes::from_static(&[b'x'; 1024]));
        batch.push(Record { timestamp: now, value, ..Record::default() });
        let data = PartitionProduceData {
            index: i32::try_from(*partition)?,
            records: Some(Records::Bytes(batch.build())),
            ..PartitionProduceData::default()
        };
        match topics.last_mut().filter(|last| last.name == name) {
            Some(last) => last.partition_data.push(data),
            None => topics.push(TopicProduceData { name, partition_data: vec![data], ..Default::default() }),
        }
    }
    let request = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: topics, ..Default::default() };
    let response = connection.call(&request, 9)?;
    for topic in response.responses {
        for partition in topic.partition_responses {
            let code = partition.error_code;
            anyhow::ensure!(code == 0, "{}-{}: error code {code}", topic.name, partition.index);
        }
    }
    Ok(())
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / crate::load::MB;
        writeln!(f, "| {} partitions | |\n|---|---|", self.partitions)?;
        writeln!(f, "| create, one request, s | {} |", self.create)?;
        writeln!(f, "| a record of 1 KiB to each, s | {} |", self.produce)?;
        writeln!(f, "| ... then resident, MB | {:.0} |", mb(self.resident))?;
        writeln!(f, "| ... then descriptors | {} |", self.descriptors)?;
        for load in [&self.few, &self.few_beside_many, &self.many] {
            if load.partitions == 0 {
                continue;
            }
            let beside = if std::ptr::eq(load, &self.few) { "nothing" } else { "all" };
            writeln!(
                f,
                "| {:.1} MB/s to {} partitions beside {beside}: p50, p99 ms | {:.2}, {:.2} (CPU {:.1}, generator {:.1}) |",
                load.rate, load.partitions, load.p50, load.p99, load.cpu.0, load.cpu.1
            )?;
        }
        writeln!(f, "| resident after the loads, MB | {:.0} |", mb(self.resident_loaded))?;
        writeln!(f, "| clean stop, s | {:.2} |", self.stop)?;
        writeln!(f, "| start after it to the first acknowledged record, s | {} |", self.clean_start)?;
        writeln!(f, "| ... then resident, MB | {:.0} |", mb(self.clean_resident))?;
        writeln!(f, "| start after kill -9 to the first acknowledged record, s | {} |", self.killed_start)?;
        writeln!(f, "| ... then resident, MB | {:.0} |", mb(self.killed_resident))?;
        writeln!(f, "| CPUs that others used meanwhile | {:.2} |", self.others)
    }
}

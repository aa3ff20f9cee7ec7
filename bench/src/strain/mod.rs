//! A load at a fixed rate, alone and beside clients that strain the broker: what it costs the others, and in memory.

mod loads;

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use self::loads::Strain;
use crate::cgroup::{GroupUsage, MemoryLimit};
use crate::client::{Target, Topic};
use crate::compare::usage::{self, MemoryPeak};
use crate::compare::{Kind, Node, Place, Programs, ended, home, prepared};
use crate::connection::Connection;
use crate::load::flood::{FloodOptions, flood};
use crate::load::{self, MB, Outcome};

/// A topic to read cold, and one to write large frames to.
const COLD: &str = "cold";
const LARGE: &str = "large";
/// How long a broker may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long the broker has to settle after a strain.
const SETTLE: Duration = Duration::from_secs(3);

/// One way to strain a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum With {
    /// Nothing
    Alone,
    /// A reader of what is not in the page cache
    ColdReader,
    /// Consumers that ask for 50 MB again and again and read nothing
    SlowConsumers,
    /// Producers of frames of 100 MB
    LargeFrames,
    /// Connections that do nothing
    Idle,
    /// All of these at once
    All,
}

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The broker
    #[command(flatten)]
    pub programs: Programs,
    /// Strain Apache Kafka and not ours
    #[arg(long)]
    pub apache: bool,
    /// With what, in turn
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "alone,cold-reader,slow-consumers,large-frames,idle,all,alone"
    )]
    pub with: Vec<With>,
    /// The load's rate, MB/s of values of 1 KiB
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// The load's partitions
    #[arg(long, default_value_t = 8)]
    pub partitions: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 20.0)]
    pub seconds: f64,
    /// MB that the cold reader has to read
    #[arg(long, default_value_t = 5_000)]
    pub cold: u64,
    /// MB/s that the cold reader reads at the most
    #[arg(long, default_value_t = 100.0)]
    pub cold_rate: f64,
    /// Slow consumers
    #[arg(long, default_value_t = 100)]
    pub slow: usize,
    /// Producers of large frames
    #[arg(long, default_value_t = 20)]
    pub large: u32,
    /// MB/s that they write together, after the first frame of each
    #[arg(long, default_value_t = 50.0)]
    pub large_rate: f64,
    /// Idle connections
    #[arg(long, default_value_t = 2_000)]
    pub idle: usize,
    /// MiB that the broker may use, its page cache included: as a container has it
    #[arg(long)]
    pub memory: Option<u64>,
    /// Directory on a disk
    #[arg(long, default_value = "target/bench-data")]
    pub disk: PathBuf,
}

/// The load under one strain.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Beside what.
    pub with: With,
    /// The load.
    pub outcome: Outcome,
    /// The most resident memory of the broker, bytes.
    pub resident: u64,
    /// CPU-seconds of the broker.
    pub cpu: f64,
    /// CPUs that were busy with neither broker nor load nor strain.
    pub others: f64,
    /// Bytes that the strain read and wrote.
    pub strain: u64,
    /// Of the limit on memory, if there is one.
    pub group: Option<GroupUsage>,
}

/// Runs all.
///
/// # Errors
///
/// The broker or a load fails; in a limit on memory, that it was killed.
pub fn run(options: &Options) -> anyhow::Result<Vec<Measured>> {
    descriptors();
    let kind = if options.apache { Kind::Apache } else { Kind::Ottla };
    let limit = options.memory.map(|mib| MemoryLimit::new(mib << 20)).transpose()?;
    let frequent = [
        ("log.retention.check.interval.ms", "1000"),
        ("log.initial.task.delay.ms", "1000"),
        ("max.connections", "10000"),
    ];
    let mut node = Node::format(kind, home(&options.disk)?, &options.programs, Place::ALONE, &frequent)?;
    node.start_within(None, limit.as_ref())?;
    let mut bench = Bench { options, node, limit: limit.as_ref() };
    bench.prepare()?;
    let mut rows = Vec::new();
    for (number, with) in options.with.iter().enumerate() {
        eprintln!("{with:?}");
        rows.push(bench.measured(number, *with).with_context(|| format!("{with:?}"))?);
        std::thread::sleep(SETTLE);
    }
    bench.node.stop()?;
    Ok(rows)
}

/// As many as the system allows.
fn descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

struct Bench<'a> {
    options: &'a Options,
    node: Node,
    limit: Option<&'a MemoryLimit>,
}

impl Bench<'_> {
    fn uses(&self, which: With) -> bool {
        self.options.with.iter().any(|with| *with == which || *with == With::All)
    }

    /// What the strains read and write.
    fn prepare(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + READY;
        while let Err(error) = Connection::open(self.node.address(), "ready") {
            self.node.pid()?;
            anyhow::ensure!(Instant::now() < end, "not ready in time: {error:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
        if self.uses(With::ColdReader) || self.uses(With::SlowConsumers) {
            self.fill()?;
        }
        if self.uses(With::LargeFrames) {
            let bounded = ["retention.bytes=4000000", "segment.bytes=4000000", "file.delete.delay.ms=1000"];
            self.target().topic(&Topic {
                name: LARGE.to_owned(),
                partitions: loads::LARGE_PARTITIONS,
                replication: 1,
                configs: bounded.iter().filter_map(|pair| crate::client::pair(pair).ok()).collect(),
            })?;
        }
        self.pour("warm-up", (self.options.seconds / 4.0).max(3.0)).map(|_| ())
    }

    fn fill(&self) -> anyhow::Result<()> {
        eprintln!("writing {} MB to be read", self.options.cold);
        let load = load::Options {
            replication: 1,
            target: self.target(),
            topic: COLD.to_owned(),
            partitions: 1,
            topic_configs: Vec::new(),
            rate: 0.0,
            size: 1024,
            seconds: 600.0,
            ramp: 0.0,
            linger: 0.0,
            nice: 0,
        };
        let filling =
            FloodOptions { load, batch: 65_536, connections: 1, megabytes: Some(self.options.cold) };
        let filled = flood(&filling)?;
        anyhow::ensure!(filled.bytes >= self.options.cold * 1_000_000, "only {} bytes in time", filled.bytes);
        Ok(())
    }

    fn strain(&self, with: With) -> anyhow::Result<Strain> {
        let address = self.node.address();
        let files = self.node.home().join("data").join(format!("{COLD}-0"));
        let mut strain = Strain::none();
        let any = |which| with == which || with == With::All;
        if any(With::ColdReader) {
            strain = strain.cold_reader(address, COLD, files, self.options.cold_rate);
        }
        if any(With::SlowConsumers) {
            strain = strain.slow_consumers(address, COLD, self.options.slow)?;
        }
        if any(With::Idle) {
            strain = strain.idle(address, self.options.idle)?;
        }
        if any(With::LargeFrames) {
            strain = strain.large_frames(address, LARGE, self.options.large, self.options.large_rate)?;
        }
        Ok(strain)
    }

    fn measured(&mut self, number: usize, with: With) -> anyhow::Result<Measured> {
        let pid = self.node.pid()?;
        let (broker, machine) = (usage::cpu_seconds(pid)?, usage::machine_seconds()?);
        let (own, since) = (usage::cpu_seconds(std::process::id())?, Instant::now());
        let memory = MemoryPeak::follow(vec![pid]);
        let strain = self.strain(with)?;
        let outcome = self.pour(&format!("load-{number}"), self.options.seconds);
        let resident = memory.end();
        let group = self.limit.map(MemoryLimit::usage).transpose()?;
        let strain = strain.end().and_then(|bytes| outcome.map(|outcome| (bytes, outcome)));
        // Where the broker has ended, that is what is wrong, whatever its clients say.
        let pid = self.node.pid()?;
        let (strain, outcome) = strain?;
        let (broker, machine) = (usage::cpu_seconds(pid)? - broker, usage::machine_seconds()? - machine);
        let own = usage::cpu_seconds(std::process::id())? - own;
        let others = (machine - broker - own - outcome.cpu).max(0.0) / since.elapsed().as_secs_f64();
        Ok(Measured { with, outcome, resident, cpu: broker, others, strain, group })
    }

    fn target(&self) -> Target {
        Target { bootstrap: self.node.address().to_string(), settings: Vec::new() }
    }

    /// The load, in a process of its own; its topic is gone afterwards.
    fn pour(&self, topic: &str, seconds: f64) -> anyhow::Result<Outcome> {
        let options = self.options;
        let bootstrap = self.node.address().to_string();
        let program = std::env::current_exe()?.display().to_string();
        let (rate, partitions) = (options.rate.to_string(), options.partitions.to_string());
        let (length, ramp) = (seconds.to_string(), (seconds / 5.0).min(3.0).to_string());
        let arguments = [
            &program,
            "pour",
            "--bootstrap",
            &bootstrap,
            "--topic",
            topic,
            "--rate",
            &rate,
            "--partitions",
            &partitions,
            "--seconds",
            &length,
            "--ramp",
            &ramp,
            "--linger",
            "1",
        ];
        let answer = self.node.home().join("load.json");
        let arguments = arguments.map(str::to_owned);
        let child = prepared(&arguments, None)?.stdout(File::create(&answer)?).spawn()?;
        ended(child, Duration::try_from_secs_f64(seconds + 120.0)?)?;
        let outcome = serde_json::from_slice(&std::fs::read(&answer)?)?;
        self.target().delete(topic)?;
        Ok(outcome)
    }
}

/// A table of what was measured; ratios to the first load alone.
#[must_use]
pub fn table(rows: &[Measured]) -> String {
    let alone = rows.iter().find(|row| row.with == With::Alone).map(|row| row.outcome.latency.p99_ms);
    let limited = rows.iter().any(|row| row.group.is_some());
    let mut text = String::from(
        "| beside | p50 ms | p99 ms | ratio | p99.9 ms | MB/s | failed | RSS MB | broker's CPUs | strain MB | CPUs that others used |",
    );
    text.push_str(if limited { " group's peak MB | page cache MB | killed |\n" } else { "\n" });
    text.push_str(&"|---".repeat(if limited { 14 } else { 11 }));
    text.push_str("|\n");
    for row in rows {
        let latency = row.outcome.latency;
        let seconds = row.outcome.rows.len().max(1) as f64;
        text.push_str(&format!(
            "| {} | {:.2} | {:.2} | {} | {:.2} | {:.1} | {} | {:.1} | {:.2} | {:.0} | {:.2} |",
            name(row.with),
            latency.p50_ms,
            latency.p99_ms,
            alone.map_or(String::new(), |alone| format!("{:.2}", latency.p99_ms / alone)),
            latency.p999_ms,
            row.outcome.rate,
            row.outcome.failed,
            row.resident as f64 / MB,
            row.cpu / seconds,
            row.strain as f64 / MB,
            row.others,
        ));
        if let Some(group) = row.group {
            let (peak, cached) = (group.peak as f64 / MB, group.cached as f64 / MB);
            text.push_str(&format!(" {peak:.0} | {cached:.0} | {} |", group.kills));
        }
        text.push('\n');
    }
    text
}

fn name(with: With) -> &'static str {
    match with {
        With::Alone => "nothing",
        With::ColdReader => "a cold reader",
        With::SlowConsumers => "slow consumers",
        With::LargeFrames => "frames of 100 MB",
        With::Idle => "idle connections",
        With::All => "all of these",
    }
}

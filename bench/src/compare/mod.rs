//! Apache Kafka and ours in turn, under the same load.

mod cluster;
pub mod durable;
mod first_ack;
mod node;
pub mod partitions;
mod phase;
mod results;
pub mod usage;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

pub use self::cluster::Cluster;
pub use self::node::{Kind, Node, Place, Programs, prepared};
use self::phase::Phase;
pub use self::phase::ended;
use self::results::{Generator, Side};
pub use self::results::{Measure, Results};

/// Bytes of a GiB.
const GIB: f64 = 1_073_741_824.0;
/// CPUs of the broker and of the generator, where each has one.
const BROKER_CPU: usize = 0;
const GENERATOR_CPU: usize = 1;
/// How long a broker may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// On tmpfs, each partition keeps so much.
const BOUNDED: [&str; 4] =
    ["retention.bytes=67108864", "segment.bytes=33554432", "file.delete.delay.ms=1000", "retention.ms=60000"];

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The brokers
    #[command(flatten)]
    pub programs: Programs,
    /// Nodes of each cluster, all brokers and controllers; of more than one, partitions have three replicas at most
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// How often each broker is measured, in turn
    #[arg(long, default_value_t = 5)]
    pub pairs: usize,
    /// Seconds of load before anything counts, on each start of a broker
    #[arg(long, default_value_t = 60.0)]
    pub warm_up: f64,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// One pair, short: says whether all of it works, not how fast it is
    #[arg(long)]
    pub quick: bool,
    /// Rates to hold, MB/s
    #[arg(long, value_delimiter = ',', default_values_t = [20, 40])]
    pub rates: Vec<u32>,
    /// Numbers of partitions
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pub partitions: Vec<u32>,
    /// Milliseconds that the producer waits for more records
    #[arg(long, default_value_t = 1.0)]
    pub linger: f64,
    /// Directory on a disk, for the loads at a rate
    #[arg(long, default_value = "target/bench-data")]
    pub disk: PathBuf,
    /// Directory on a tmpfs, for the peak
    #[arg(long, default_value = "/dev/shm")]
    pub tmpfs: PathBuf,
    /// Directory for results.json, results.md and the plots
    #[arg(long, default_value = "target/bench-results")]
    pub output: PathBuf,
}

/// Runs all pairs and writes what they came to after each, so that a run that is cut short has told something.
///
/// # Errors
///
/// Where a broker or a load fails, or takes too long.
pub fn run(mut options: Options) -> anyhow::Result<Results> {
    if options.quick {
        (options.pairs, options.warm_up, options.seconds) = (1, 5.0, 6.0);
    }
    std::fs::create_dir_all(&options.output)?;
    let mut results = Results { nodes: options.nodes, sides: Vec::new() };
    for pair in 1..=options.pairs {
        for kind in [Kind::Apache, Kind::Ottla] {
            let name = results::name(kind);
            eprintln!("pair {pair} of {}: {name}", options.pairs);
            let side = measured(&options, kind).with_context(|| format!("pair {pair}, {name}"))?;
            results.sides.push(side);
        }
        results.write(&options.output)?;
    }
    Ok(results)
}

fn measured(options: &Options, kind: Kind) -> anyhow::Result<Side> {
    let mut side = Side::new(kind);
    if options.nodes == 1 {
        start_to_first_ack(options, &mut side)?;
    }
    rates(options, &mut side)?;
    peak(options, &mut side)?;
    Ok(side)
}

/// A directory of this process's own there, which does not exist.
///
/// # Errors
///
/// The system's.
pub fn home(directory: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let home = std::path::absolute(directory)?.join(format!("ottla-bench-{}", std::process::id()));
    if home.exists() {
        std::fs::remove_dir_all(&home)?;
    }
    Ok(home)
}

/// A node that has a topic is stopped and started again; the time from there to a record that it acknowledges.
fn start_to_first_ack(options: &Options, side: &mut Side) -> anyhow::Result<()> {
    let mut bench = Bench::new(options, side.kind, &options.disk, &[], None)?;
    bench.pour("start", 1, 1.0, 1.0, &[])?;
    for _ in 0..3 {
        bench.cluster.stop()?;
        let start = Instant::now();
        bench.cluster.start(None)?;
        first_ack::wait(bench.cluster.first()?, "start", start + READY)?;
        side.set(Measure::Start, start.elapsed().as_secs_f64() * 1000.0);
    }
    bench.cluster.stop()
}

/// Loads at fixed rates, each written and then read from the page cache.
fn rates(options: &Options, side: &mut Side) -> anyhow::Result<()> {
    let mut bench = Bench::new(options, side.kind, &options.disk, &[], None)?;
    let most = options.rates.iter().max().copied().unwrap_or(20);
    bench.pour("warm-up", 16, f64::from(most), options.warm_up / 2.0, &[])?;
    bench.drain("warm-up", f64::from(most), options.warm_up)?;
    bench.delete("warm-up")?;
    for partitions in &options.partitions {
        for rate in &options.rates {
            let topic = format!("load-{partitions}-{rate}");
            let (rate, partitions) = (*rate, *partitions);
            let produced = bench.pour(&topic, partitions, f64::from(rate), options.seconds, &[])?;
            side.produced(rate, partitions, &produced);
            let consumed = bench.drain(&topic, f64::from(rate), options.seconds)?;
            side.consumed(rate, partitions, &consumed);
            bench.delete(&topic)?;
        }
    }
    bench.cluster.stop()
}

/// As fast as it goes, the broker on one CPU and the generator on the other.
fn peak(options: &Options, side: &mut Side) -> anyhow::Result<()> {
    let frequent = [("log.retention.check.interval.ms", "1000"), ("log.initial.task.delay.ms", "1000")];
    let mut bench =
        Bench::new(options, side.kind, &options.tmpfs, &frequent, Some((BROKER_CPU, GENERATOR_CPU)))?;
    let partitions = options.partitions.iter().max().copied().unwrap_or(16);
    bench.pour("warm-up", partitions, 0.0, options.warm_up / 2.0, &BOUNDED)?;
    // Batches made beforehand go to one node that leads everything.
    let generators = [Generator::Records, Generator::LargeRecords, Generator::Batches];
    for by in generators.into_iter().filter(|by| options.nodes == 1 || *by != Generator::Batches) {
        let topic = format!("peak-{by:?}").to_lowercase();
        let phase = bench.flat_out(by, &topic, partitions)?;
        side.peak(by, &phase);
        bench.delete(&topic)?;
    }
    bench.cluster.stop()
}

/// A cluster that runs, and where its loads run.
struct Bench<'a> {
    options: &'a Options,
    cluster: Cluster,
    generator_cpu: Option<usize>,
    files: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(
        options: &'a Options,
        kind: Kind,
        directory: &Path,
        more: &[(&str, &str)],
        cpus: Option<(usize, usize)>,
    ) -> anyhow::Result<Self> {
        let mut cluster = Cluster::format(kind, &home(directory)?, &options.programs, options.nodes, more)?;
        cluster.start(cpus.map(|(broker, _)| broker))?;
        Ok(Self {
            options,
            cluster,
            generator_cpu: cpus.map(|(_, generator)| generator),
            files: options.output.clone(),
        })
    }

    fn pour(
        &mut self,
        topic: &str,
        partitions: u32,
        rate: f64,
        seconds: f64,
        configs: &[&str],
    ) -> anyhow::Result<Phase> {
        let mut arguments = vec!["pour".to_owned()];
        arguments.extend(["--partitions".to_owned(), partitions.to_string()]);
        arguments.extend(["--linger".to_owned(), self.options.linger.to_string()]);
        arguments.extend(["--seconds".to_owned(), seconds.to_string()]);
        arguments.extend(["--ramp".to_owned(), (seconds / 5.0).min(3.0).to_string()]);
        configs
            .iter()
            .for_each(|config| arguments.extend(["--topic-config".to_owned(), (*config).to_owned()]));
        self.load(arguments, topic, rate, seconds + 120.0)
    }

    /// As fast as a generator can, or the broker.
    fn flat_out(&mut self, by: Generator, topic: &str, partitions: u32) -> anyhow::Result<Phase> {
        let seconds = self.options.seconds;
        let (load, size) = match by {
            Generator::Records => ("pour", 1024),
            Generator::LargeRecords => ("pour", 8192),
            Generator::Batches => ("flood", 1024),
        };
        let mut arguments = vec![load.to_owned()];
        arguments.extend(["--partitions".to_owned(), partitions.to_string()]);
        arguments.extend(["--size".to_owned(), size.to_string()]);
        arguments.extend(["--seconds".to_owned(), seconds.to_string()]);
        arguments.extend(["--ramp".to_owned(), (seconds / 5.0).min(3.0).to_string()]);
        for config in BOUNDED {
            arguments.extend(["--topic-config".to_owned(), config.to_owned()]);
        }
        self.load(arguments, topic, 0.0, seconds + 120.0)
    }

    /// Reads what `seconds` of a load at this rate wrote.
    fn drain(&mut self, topic: &str, rate: f64, seconds: f64) -> anyhow::Result<Phase> {
        let bound = seconds * 3.0 + 60.0;
        let arguments = vec!["drain".to_owned(), "--seconds".to_owned(), bound.to_string()];
        self.load(arguments, topic, rate, bound + 60.0)
    }

    fn delete(&self, topic: &str) -> anyhow::Result<()> {
        self.target().delete(topic)
    }

    fn target(&self) -> crate::client::Target {
        crate::client::Target { bootstrap: self.cluster.bootstrap(), settings: Vec::new() }
    }

    fn load(
        &mut self,
        mut arguments: Vec<String>,
        topic: &str,
        rate: f64,
        bound: f64,
    ) -> anyhow::Result<Phase> {
        arguments.extend(["--replication".to_owned(), self.options.nodes.min(3).to_string()]);
        arguments.extend(["--topic".to_owned(), topic.to_owned(), "--rate".to_owned(), rate.to_string()]);
        Phase::of(&mut self.cluster, &arguments, self.generator_cpu, &self.files, bound)
    }
}

//! The load that proves. N idempotent producers at a set rate with acks=all, M consumer groups, every record numbered; in the
//! end the log is read from its first record to its last and judged.

mod audit;
mod consume;
mod produce;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;

use self::audit::Audit;
use self::consume::Group;
use self::produce::Producing;
pub use self::report::Summary;
use crate::client::{Target, Topic, watermarks};
use crate::judge::Judge;
use crate::schedule::Schedule;
use crate::series::Series;

/// Connections are made before the load begins, so that its first second is like the others.
const SET_UP: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which cluster
    #[command(flatten)]
    pub target: Target,
    /// Topic to write to; made if it is not there (default: verify-SEED)
    #[arg(long)]
    pub topic: Option<String>,
    /// Partitions of the topic, if it is made
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Replicas of the topic, if it is made; -1: the broker's default
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub replication_factor: i32,
    /// Configuration of the topic, if it is made, key=value
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = crate::client::pair)]
    pub topic_configs: Vec<(String, String)>,
    /// Idempotent producers
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub producers: u32,
    /// Consumer groups
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=1000))]
    pub groups: u32,
    /// Consumers in each group
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub consumers: u32,
    /// Records a second, all producers together
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(24..))]
    pub size: u32,
    /// Seconds to send for
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// Stop sending as soon as standard input ends
    #[arg(long)]
    pub until_input_ends: bool,
    /// Seconds that each may take after that: the last acknowledgements, the groups, reading the log
    #[arg(long, default_value_t = 60.0)]
    pub patience: f64,
    /// Which records go where; the name of the run (default: from the clock)
    #[arg(long)]
    pub seed: Option<u64>,
    /// Compression of the producers
    #[arg(long, default_value = "none")]
    pub compression: String,
    /// Milliseconds that a producer waits for more records
    #[arg(long, default_value_t = 5.0)]
    pub linger: f64,
    /// Records that the client may give up without the judgement being bad
    #[arg(long, default_value_t = 0)]
    pub allow_failed: u64,
    /// Draw what happened in each second
    #[arg(long, value_name = "FILE")]
    pub svg: Option<std::path::PathBuf>,
    /// Leave the topic when all is well (it always stays when not)
    #[arg(long)]
    pub keep: bool,
}

/// What all threads of a load share.
struct Load {
    options: Options,
    run: u64,
    topic: String,
    partitions: i32,
    schedule: Schedule,
    /// Records of each producer.
    count: u64,
    start: Instant,
    series: Mutex<Series>,
    consuming: AtomicBool,
    /// Whether sending is to stop.
    over: AtomicBool,
}

impl Load {
    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        crate::series::nanoseconds(self.start.elapsed())
    }

    fn patience(&self) -> Duration {
        seconds(self.options.patience)
    }
}

fn seconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count).unwrap_or(Duration::ZERO)
}

/// Runs a load to its end.
///
/// # Errors
///
/// Where no judgement was possible: no topic, no offsets, a log that cannot be read to its end in time.
pub fn run(options: Options) -> anyhow::Result<Summary> {
    let seed = options.seed.unwrap_or_else(seed_of_the_clock);
    let topic = options.topic.clone().unwrap_or_else(|| format!("verify-{seed}"));
    let partitions = options.target.topic(&Topic {
        name: topic.clone(),
        partitions: options.partitions,
        replication: options.replication_factor,
        configs: kept(&options.topic_configs),
    })?;
    let reader = options.target.reader("audit")?;
    let bases = watermarks(&reader, &topic, partitions, Instant::now() + seconds(options.patience))?;
    let bases: Vec<i64> = bases.into_iter().map(|(_, next)| next).collect();

    let schedule = Schedule::new(options.rate / f64::from(options.producers));
    let load = Arc::new(Load {
        run: seed,
        topic,
        partitions,
        schedule,
        count: schedule.within(seconds(options.seconds)).max(1),
        start: Instant::now() + SET_UP,
        series: Mutex::new(Series::new(usize::try_from(partitions)?, Duration::ZERO)),
        consuming: AtomicBool::new(true),
        over: AtomicBool::new(false),
        options,
    });
    bounded(&load);
    if load.options.until_input_ends {
        end_with_input(&load);
    }

    let groups = (0..load.options.groups)
        .map(|group| Group::start(&load, group, &bases))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let producers = (0..load.options.producers)
        .map(|producer| Producing::start(&load, producer))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let ledgers = producers.into_iter().map(Producing::finish).collect::<anyhow::Result<Vec<_>>>()?;
    let gaps = load.series.lock().gaps();

    let audit = Audit::of(&load, reader, &bases)?;
    let acked = ledgers.iter().map(|ledger| ledger.acked_count()).sum::<u64>();
    consume::wait(&groups, acked, load.patience());
    load.consuming.store(false, Ordering::Relaxed);
    let deliveries = groups.into_iter().map(Group::finish).collect();

    let mut judge = Judge::new(load.run, ledgers, deliveries);
    let expired = audit.read(&load, |found| judge.found(found))?;
    let summary = Summary::of(&load, judge.verdict(), gaps, expired);
    if summary.good && !load.options.keep && load.options.topic.is_none() {
        load.options.target.delete(&load.topic)?;
    }
    Ok(summary)
}

/// The log must hold all that was acknowledged until it is read.
fn kept(configs: &[(String, String)]) -> Vec<(String, String)> {
    let mut kept = vec![("retention.ms".to_owned(), "-1".to_owned())];
    kept.retain(|(key, _)| configs.iter().all(|(given, _)| given != key));
    kept.extend_from_slice(configs);
    kept
}

fn seed_of_the_clock() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}

fn end_with_input(load: &Arc<Load>) {
    let load = Arc::clone(load);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        load.over.store(true, Ordering::Relaxed);
    });
}

/// Ends the process where something hangs beyond every bound: a caller must never wait for ever.
fn bounded(load: &Arc<Load>) {
    let bound = seconds(load.options.seconds) + load.patience() * 4 + Duration::from_secs(30);
    std::thread::spawn(move || {
        std::thread::sleep(bound);
        eprintln!("not finished after {} s", bound.as_secs());
        std::process::exit(2);
    });
}

/// Writes the plot, if one is wanted.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn draw(summary: &Summary, file: Option<&std::path::Path>) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, summary.svg()).with_context(|| file.display().to_string())
}

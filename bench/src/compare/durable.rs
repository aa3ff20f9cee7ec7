//! Acknowledged is what is on the disks of all in sync (`flush.messages=1`): a rate held for minutes, by our nodes on the
//! disk's own syncs and on syncs that each take longer, and how many of them it takes.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::phase::Phase;
use super::{Cluster, Kind, Programs, home};

/// A load begins so many seconds before it counts.
const RAMP: f64 = 3.0;
/// How often the disk is asked to sync before anything runs on it, and how much each time.
const PROBES: usize = 200;
const PROBE_BYTES: [u8; 16 << 10] = [b'x'; 16 << 10];
/// How many times a sync may make an acknowledgement wait: its own and the one before it, on the leader and on a follower.
const SYNCS_IN_A_ROW: f64 = 4.0;
/// Seconds of the load whose syncs are counted, where the tracer does nothing else: it stops a thread twice at each, and its times are not
/// the disk's.
const COUNTING: f64 = 10.0;
/// How far the load stands back. While an idempotent producer of librdkafka waits for the five requests that it may have on their way,
/// it asks its sockets 400,000 times a second: on two CPUs it was that what syncs waited for, not the disk.
const NICE: i32 = 19;
/// How long the disk may settle before a load.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a tracer may take to write what it counted.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The brokers
    #[command(flatten)]
    pub programs: Programs,
    /// Nodes, all brokers and controllers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// Numbers of partitions
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pub partitions: Vec<u32>,
    /// MB/s
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Seconds of each load
    #[arg(long, default_value_t = 120.0)]
    pub seconds: f64,
    /// Milliseconds that each sync takes longer; needs strace, which counts them, too (without a delay in a short run of its own)
    #[arg(long, value_delimiter = ',', default_values_t = [0, 5])]
    pub delays: Vec<u32>,
    /// Directory on a disk
    #[arg(long, default_value = "target/bench-data")]
    pub disk: PathBuf,
}

/// Runs all loads; a table of what they came to.
///
/// # Errors
///
/// Where a broker or a load fails, or takes too long.
pub fn run(options: &Options) -> anyhow::Result<String> {
    std::fs::create_dir_all(&options.disk)?;
    let sync = sync_time(&options.disk)?;
    let mut table =
        format!("a sync of 16 KiB on the idle disk: p50 {:.2} ms, p99 {:.2} ms\n\n", sync.p50, sync.p99);
    table +=
        "| | partitions | MB/s | p50 ms | p99 ms | aim | CPU-s/GiB | syncs/MiB | RSS MB | others' CPUs |\n";
    table += "|---|---|---|---|---|---|---|---|---|---|\n";
    for partitions in &options.partitions {
        let cached = measured(options, *partitions, Promise::PageCache, options.seconds, false)?;
        let _ = writeln!(table, "{}", Row { partitions: *partitions, run: &cached, aim: None });
        for delay in &options.delays {
            let run = on_disk(options, *partitions, *delay)?;
            let aim = cached.phase.outcome.latency.p99_ms + SYNCS_IN_A_ROW * (sync.p99 + f64::from(*delay));
            let _ = writeln!(table, "{}", Row { partitions: *partitions, run: &run, aim: Some(aim) });
        }
    }
    Ok(table)
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy)]
enum Promise {
    PageCache,
    /// Each sync takes so many ms longer.
    Disk {
        delay: u32,
    },
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageCache => write!(f, "page cache"),
            Self::Disk { delay: 0 } => write!(f, "disk"),
            Self::Disk { delay } => write!(f, "disk, syncs {delay} ms longer"),
        }
    }
}

struct Run {
    promise: Promise,
    phase: Phase,
    syncs_per_mib: Option<f64>,
}

struct Row<'a> {
    partitions: u32,
    run: &'a Run,
    aim: Option<f64>,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, outcome) = (&self.run.phase, &self.run.phase.outcome);
        let (p50, p99) = (outcome.latency.p50_ms, outcome.latency.p99_ms);
        let aim = self.aim.map_or(String::new(), |aim| {
            format!("≤ {aim:.1}: {}", if p99 <= aim { "met" } else { "**not met**" })
        });
        let syncs = self.run.syncs_per_mib.map_or(String::new(), |syncs| format!("{syncs:.1}"));
        let (cpu, resident) = (phase.cpu_per_gib(), phase.resident as f64 / crate::load::MB);
        let (promise, partitions, rate, others) =
            (self.run.promise, self.partitions, outcome.rate, phase.others);
        write!(
            f,
            "| {promise} | {partitions} | {rate:.1} | {p50:.2} | {p99:.1} | {aim} | {cpu:.1} | {syncs} | {resident:.0} | {others:.2} |"
        )
    }
}

/// The load, and how many syncs it takes: counted beside where the tracer has to slow them anyway, else in a run of its own.
fn on_disk(options: &Options, partitions: u32, delay: u32) -> anyhow::Result<Run> {
    let promise = Promise::Disk { delay };
    if delay > 0 {
        return measured(options, partitions, promise, options.seconds, true);
    }
    let run = measured(options, partitions, promise, options.seconds, false)?;
    let counting = measured(options, partitions, promise, COUNTING.min(options.seconds), true)?;
    Ok(Run { syncs_per_mib: counting.syncs_per_mib, ..run })
}

/// One load on a new cluster.
fn measured(
    options: &Options,
    partitions: u32,
    promise: Promise,
    seconds: f64,
    is_traced: bool,
) -> anyhow::Result<Run> {
    eprintln!("{partitions} partitions, {promise}");
    // What earlier loads left to be written or deleted is not this one's.
    rustix::fs::sync();
    std::thread::sleep(SETTLE);
    let home = home(&options.disk)?;
    let mut cluster = Cluster::format(Kind::Ottla, &home, &options.programs, options.nodes, &[])?;
    let counts: Vec<PathBuf> =
        (0..options.nodes).map(|node| home.with_extension(format!("{node}.syncs"))).collect();
    if let Promise::Disk { delay } = promise
        && is_traced
    {
        cluster.nodes().zip(&counts).for_each(|(node, count)| node.set_wrapper(tracer(count, delay)));
    }
    cluster.start(None)?;
    let mut arguments = vec!["pour".to_owned()];
    for (name, value) in [
        ("--topic", "load".to_owned()),
        ("--partitions", partitions.to_string()),
        ("--replication", options.nodes.min(3).to_string()),
        ("--rate", options.rate.to_string()),
        ("--seconds", seconds.to_string()),
        ("--ramp", RAMP.to_string()),
        ("--nice", NICE.to_string()),
        ("--topic-config", format!("flush.messages={}", flush_messages(promise))),
    ] {
        arguments.extend([name.to_owned(), value]);
    }
    let phase = Phase::of(&mut cluster, &arguments, None, &options.disk, seconds + 120.0)?;
    anyhow::ensure!(phase.outcome.failed == 0, "{} records failed", phase.outcome.failed);
    cluster.stop()?;
    let mib = phase.outcome.bytes.max(1) as f64 / f64::from(1 << 20);
    let syncs = is_traced.then(|| counts.iter().map(|count| counted(count)).sum::<anyhow::Result<u64>>());
    let syncs_per_mib = syncs.transpose()?.map(|syncs| syncs as f64 / mib);
    Ok(Run { promise, phase, syncs_per_mib })
}

fn flush_messages(promise: Promise) -> i64 {
    match promise {
        Promise::PageCache => i64::MAX,
        Promise::Disk { .. } => 1,
    }
}

/// Counts syncs and makes each take longer. The program that it is put before keeps its process id.
fn tracer(count: &Path, delay: u32) -> Vec<String> {
    let mut command: Vec<String> = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-c",
        "--seccomp-bpf",
        "-e",
        "trace=fsync,fdatasync,syncfs,sync_file_range",
    ]
    .map(str::to_owned)
    .to_vec();
    if delay > 0 {
        let micros = u64::from(delay) * 1000;
        command.extend(["-e".to_owned(), format!("inject=fsync,fdatasync,syncfs:delay_exit={micros}")]);
    }
    command.extend(["-o".to_owned(), count.display().to_string()]);
    command
}

/// The calls that a tracer counted; it writes them when its program has ended.
fn counted(file: &Path) -> anyhow::Result<u64> {
    let end = Instant::now() + PATIENCE;
    loop {
        let summary = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(calls) = calls_of(&summary) {
            let _ = std::fs::remove_file(file);
            return Ok(calls);
        }
        anyhow::ensure!(Instant::now() < end, "{}: no count of syncs", file.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The last line: share, seconds, time of a call, calls, perhaps errors, `total`.
fn calls_of(summary: &str) -> Option<u64> {
    let total = summary.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

/// Milliseconds.
struct SyncTime {
    p50: f64,
    p99: f64,
}

fn sync_time(directory: &Path) -> anyhow::Result<SyncTime> {
    let path = directory.join(format!("sync-{}", std::process::id()));
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        file.write_all(&PROBE_BYTES)?;
        let since = Instant::now();
        file.sync_data()?;
        times.push(since.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(PROBES * share / 100).copied().context("no sync was measured");
    Ok(SyncTime { p50: at(50)?, p99: at(99)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_summary_is_found() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.016213         140       115         1 fdatasync\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.016213         140       115         1 total\n";
        assert_eq!(calls_of(summary), Some(115));
        assert_eq!(calls_of("% time"), None);
    }
}

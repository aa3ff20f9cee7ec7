//! One load on a cluster, in a process of its own, and what it cost.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::cluster::Cluster;
use super::node::prepared;
use super::usage::{self, MemoryPeak};
use crate::load::Outcome;

/// What a load came to, and what it cost.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    pub(super) outcome: Outcome,
    /// CPU-seconds of all brokers.
    pub(super) cpu: f64,
    /// The brokers' memory at its most, all together, bytes.
    pub(super) resident: u64,
    /// CPUs that were busy with neither broker nor load.
    pub(super) others: f64,
}

impl Phase {
    /// Runs this program with these arguments and a bootstrap address. `bound` is in seconds; `files` is a directory for the
    /// answer.
    pub(super) fn of(
        cluster: &mut Cluster,
        arguments: &[String],
        cpu: Option<usize>,
        files: &Path,
        bound: f64,
    ) -> anyhow::Result<Self> {
        let mut command = vec![std::env::current_exe()?.display().to_string()];
        command.extend_from_slice(arguments);
        command.extend(["--bootstrap".to_owned(), cluster.bootstrap()]);
        let (memory, since) = (MemoryPeak::follow(cluster.pids()?), Instant::now());
        let (brokers, machine) = (cluster.cpu_seconds()?, usage::machine_seconds()?);

        let answer = files.join(format!("load-{}.json", std::process::id()));
        let child = prepared(&command, cpu)?.stdout(File::create(&answer)?).spawn()?;
        let ended = ended(child, Duration::try_from_secs_f64(bound)?);
        let resident = memory.end();
        ended.with_context(|| command.join(" "))?;
        let (brokers, machine) = (cluster.cpu_seconds()? - brokers, usage::machine_seconds()? - machine);

        let outcome: Outcome = serde_json::from_slice(&std::fs::read(&answer)?)?;
        let _ = std::fs::remove_file(&answer);
        let others = (machine - brokers - outcome.cpu).max(0.0) / since.elapsed().as_secs_f64();
        Ok(Self { outcome, cpu: brokers, resident, others })
    }

    /// CPU-seconds of all brokers for each GiB.
    pub(super) fn cpu_per_gib(&self) -> f64 {
        self.cpu / (self.outcome.bytes.max(1) as f64 / super::GIB)
    }
}

/// Waits for a process; kills it where it takes too long.
///
/// # Errors
///
/// It failed, or took too long.
pub fn ended(mut child: Child, bound: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + bound;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => anyhow::bail!("{status}"),
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                anyhow::bail!("not finished after {} s", bound.as_secs());
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

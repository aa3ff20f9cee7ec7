//! The two loads of the benchmark, each in a process of its own: writing at a set rate or as fast as the broker takes it, and
//! reading at a set rate what was written.

mod drain;
pub mod flood;
mod pour;

use serde::{Deserialize, Serialize};

pub use self::drain::drain;
pub use self::pour::pour;
use crate::client::Target;
use crate::series::{Percentiles, Row};

/// Bytes of a megabyte, as disks and networks count it.
pub const MB: f64 = 1e6;

/// One load.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which cluster
    #[command(flatten)]
    pub target: Target,
    /// Topic to write to or to read
    #[arg(long)]
    pub topic: String,
    /// Partitions of the topic, if it is made
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Replicas of each partition of the topic, if it is made
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub replication: i32,
    /// Configuration of the topic, if it is made, key=value
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = crate::client::pair)]
    pub topic_configs: Vec<(String, String)>,
    /// MB/s; 0: as fast as the broker takes it
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(24..))]
    pub size: u32,
    /// Seconds to write for; when reading, the longest that it may take
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// Seconds at the start that count in no percentile and in no rate
    #[arg(long, default_value_t = 2.0)]
    pub ramp: f64,
    /// Milliseconds that the producer waits for more records
    #[arg(long, default_value_t = 1.0)]
    pub linger: f64,
    /// How far it stands back where CPUs are short
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=19))]
    pub nice: i32,
}

impl Options {
    /// Records a second; `None` without a rate.
    fn records(&self) -> Option<f64> {
        (self.rate > 0.0).then(|| self.rate * MB / f64::from(self.size))
    }
}

/// What a load came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Records acknowledged, or read.
    pub records: u64,
    /// Their values' bytes.
    pub bytes: u64,
    /// Records given up.
    pub failed: u64,
    /// MB/s after the ramp.
    pub rate: f64,
    /// CPU-seconds of this process.
    pub cpu: f64,
    /// From when a record was due to its acknowledgement; nothing without a rate, and nothing when reading.
    pub latency: Percentiles,
    /// By second.
    pub rows: Vec<Row>,
}

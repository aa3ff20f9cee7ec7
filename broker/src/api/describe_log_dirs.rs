//! DescribeLogDirs (35): what lies in each log directory, and how much room its file system has (KIP-113, KIP-827), and whether it gets new
//! partitions (KIP-1066).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ottla_quorum::MetadataVersion;
use ottla_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_wire::{ErrorCode, Str};
use tracing::warn;

use super::RequestContext;
use crate::broker::Broker;
use crate::partition::{FutureReplica, LogDirectory, Partition};
use crate::security::{Operation, Resource};

/// The partitions asked for; `None` means all.
type Asked = Option<BTreeSet<(Str, i32)>>;

/// Looks into every directory; one that failed is told as such.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if !broker.allows(context, Operation::Describe, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return DescribeLogDirsResponse { error_code, ..Default::default() };
    }
    let asked: Asked = request.topics.map(|topics| {
        let indexes = topics.into_iter().flat_map(|topic| {
            let name = topic.topic;
            topic.partitions.into_iter().map(move |index| (name.clone(), index))
        });
        indexes.collect()
    });
    let partitions = Arc::clone(&broker.partitions);
    let knows_cordons = broker.image().metadata_version().is_some_and(MetadataVersion::has_cordoned_log_dirs);
    let look = move || {
        let replicas = (partitions.all(), partitions.future_replicas());
        let describe = |directory: &Arc<LogDirectory>| {
            let result = describe(directory, &replicas, &asked);
            DescribeLogDirsResult { is_cordoned: knows_cordons && result.is_cordoned, ..result }
        };
        partitions.directories().iter().map(describe).collect()
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(results) => DescribeLogDirsResponse { results, ..Default::default() },
        Err(_) => {
            DescribeLogDirsResponse { error_code: ErrorCode::UnknownServerError.code(), ..Default::default() }
        }
    }
}

/// Partitions, and copies that are being filled to take their place.
type Replicas = (Vec<Arc<Partition>>, Vec<FutureReplica>);

fn describe(directory: &Arc<LogDirectory>, (all, future): &Replicas, asked: &Asked) -> DescribeLogDirsResult {
    let log_dir = Str::from(directory.path().to_string_lossy().into_owned());
    let space = if directory.is_offline() { None } else { space(directory.path()) };
    let Some((total_bytes, usable_bytes)) = space else {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir,
            ..Default::default()
        };
    };
    let mut topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let current = all.iter().filter(|partition| Arc::ptr_eq(&partition.directory(), directory));
    let future = future.iter().filter(|future| Arc::ptr_eq(&future.directory, directory));
    let rows = current.map(|partition| (partition.name(), row(partition)));
    for (name, row) in rows.chain(future.map(|future| (future.partition.name(), future_row(future)))) {
        let key = (name.topic.clone(), name.partition);
        if asked.as_ref().is_none_or(|asked| asked.contains(&key)) {
            topics.entry(key.0).or_default().push(row);
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic { name, partitions, ..Default::default() }
    });
    DescribeLogDirsResult {
        log_dir,
        topics: topics.collect(),
        total_bytes,
        usable_bytes,
        is_cordoned: directory.is_cordoned(),
        ..Default::default()
    }
}

fn row(partition: &Partition) -> DescribeLogDirsPartition {
    let lag = partition.high_watermark().0 - partition.log_end_offset().0;
    DescribeLogDirsPartition {
        partition_index: partition.name().partition,
        partition_size: i64::try_from(partition.size()).unwrap_or(i64::MAX),
        offset_lag: lag.max(0),
        ..Default::default()
    }
}

/// Its lag is what it misses of the log that it is to replace.
fn future_row(future: &FutureReplica) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: future.partition.name().partition,
        partition_size: i64::try_from(future.size).unwrap_or(i64::MAX),
        offset_lag: future.partition.log_end_offset().0 - future.end.0,
        is_future_key: true,
        ..Default::default()
    }
}

/// Size of the file system and what of it can be written, in bytes.
fn space(path: &Path) -> Option<(i64, i64)> {
    let stat = rustix::fs::statvfs(path)
        .inspect_err(|error| warn!(directory = %path.display(), %error, "file system cannot be asked"))
        .ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    Some((bytes(stat.f_blocks), bytes(stat.f_bavail)))
}

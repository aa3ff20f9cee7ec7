//! What is read of a broker at a scrape: partitions, logs, memory, disks.

use std::fmt::Error;
use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::broker::Broker;
use crate::cleaner::Uncleanable;
use crate::partition::MoveFigures;
use crate::storage::FileSystem;

/// Kafka's number for a broker that serves.
const RUNNING: i64 = 3;

/// Reads the state of a broker, as long as there is one.
#[derive(Debug)]
pub struct BrokerState(pub Weak<Broker>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    topic: String,
    partition: i32,
}

impl Collector for BrokerState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(broker) = self.0.upgrade() else { return Ok(()) };
        for (name, help, value) in numbers(&broker) {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        isr_changes(&broker, &mut encoder)?;
        moves(&broker.partitions.move_figures(), &mut encoder)?;
        uncleanable(&broker, &mut encoder)?;
        cordons(&broker, &mut encoder)?;
        disks(&broker, &mut encoder)?;
        logs(&broker, &mut encoder)
    }
}

/// A gauge: its name, what it says, and its value.
pub(super) type Number = (&'static str, &'static str, i64);

fn numbers(broker: &Broker) -> Vec<Number> {
    let mut numbers = replicas(broker);
    numbers.extend(broker.cleaner.figures());
    numbers.extend(memory(broker));
    let offline = broker.partitions.directories().iter().filter(|directory| directory.is_offline()).count();
    numbers.push((
        "kafka_log_logmanager_offlinelogdirectorycount",
        "Fenced log directories",
        number(offline),
    ));
    numbers.push((
        "kafka_log_logmanager_cordonedlogdirectorycount",
        "Log directories that get no new partitions",
        number(broker.partitions.directories().iter().filter(|directory| directory.is_cordoned()).count()),
    ));
    numbers.push((
        "kafka_server_fetchsessioncache_numincrementalfetchsessions",
        "Open fetch sessions",
        number(broker.fetch_sessions.len()),
    ));
    let state = if broker.is_ready() { RUNNING } else { 1 };
    numbers.push(("kafka_server_kafkaserver_brokerstate", "3 when the broker serves", state));
    numbers
}

fn memory(broker: &Broker) -> Vec<Number> {
    let (used, size) = (broker.memory.used(), broker.memory.size());
    vec![
        ("kafka_network_socketserver_memorypoolused", "Bytes that requests hold", number(used)),
        (
            "kafka_network_socketserver_memorypoolavailable",
            "Bytes of queued.max.request.bytes that are free",
            number(size.saturating_sub(used)),
        ),
        (
            "ottla_network_unsentresponsebytes",
            "Bytes in memory of responses that clients do not take",
            number(broker.memory.responses()),
        ),
    ]
}

fn replicas(broker: &Broker) -> Vec<Number> {
    let all = broker.partitions.all();
    let count = |which: &dyn Fn(&crate::partition::Leadership) -> bool| {
        number(all.iter().filter(|partition| which(&partition.leadership())).count())
    };
    let offline = all.iter().filter(|partition| partition.directory().is_offline()).count();
    vec![
        ("kafka_server_replicamanager_partitioncount", "Partitions hosted", number(all.len())),
        ("kafka_server_replicamanager_leadercount", "Partitions led", count(&|l| l.here)),
        (
            "kafka_server_replicamanager_underreplicatedpartitions",
            "Led partitions with replicas out of sync",
            count(&|l| l.here && l.isr.len() < l.replicas.len()),
        ),
        (
            "kafka_server_replicamanager_underminisrpartitioncount",
            "Led partitions below min.insync.replicas",
            count(&|l| l.here && l.isr.len() < l.effective_min_isr()),
        ),
        (
            "kafka_server_replicamanager_atminisrpartitioncount",
            "Led partitions at min.insync.replicas",
            count(&|l| l.here && l.isr.len() == l.effective_min_isr()),
        ),
        (
            "kafka_server_replicamanager_offlinereplicacount",
            "Partitions in fenced directories",
            number(offline),
        ),
    ]
}

fn isr_changes(broker: &Broker, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let changes = broker.partitions.surroundings().isr_changes.counted();
    for (name, help, count) in [
        ("kafka_server_replicamanager_isrshrinks", "ISRs that lost a member here", changes.shrinks),
        ("kafka_server_replicamanager_isrexpands", "ISRs that got a member here", changes.expands),
        ("kafka_server_replicamanager_failedisrupdates", "ISRs that the controller refused", changes.failed),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(family)?;
    }
    Ok(())
}

/// Under the client id that Kafka gives to the threads which copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct MovesLabel;

impl EncodeLabelSet for MovesLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        [("clientId", "ReplicaAlterLogDirs")].encode(encoder)
    }
}

fn moves(figures: &MoveFigures, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let standing = number(figures.standing);
    for (name, help, value) in [
        ("maxlag", "Most records that a copy in another directory lacks", figures.max_lag),
        ("failedpartitionscount", "Moves between directories that stand still", standing),
    ] {
        let name = format!("kafka_server_replicaalterlogdirsmanager_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family.encode_family(&MovesLabel)?)?;
    }
    let left = i64::try_from(figures.left_bytes).unwrap_or(i64::MAX);
    for (name, help, value) in [
        ("ottla_moves_partitions", "Partitions that move between directories", number(figures.partitions)),
        ("ottla_moves_waiting", "Of these, those whose target is full", number(figures.waiting)),
        ("ottla_moves_left_bytes", "Bytes that are still to be copied", left),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(value).encode(family)?;
    }
    for (name, help, count) in [
        ("ottla_moves_copied_bytes", "Bytes copied between directories", figures.copied_bytes),
        ("ottla_moves_completed", "Moves between directories that are done", figures.completed),
        ("ottla_moves_failed", "Moves between directories that were given up", figures.failed),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(family)?;
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DirectoryLabel(String);

impl EncodeLabelSet for DirectoryLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        [("logDirectory", self.0.as_str())].encode(encoder)
    }
}

/// A metric of what cannot be cleaned: its name, what it says, and how to read it.
type UncleanableMetric = (&'static str, &'static str, fn(&Uncleanable) -> i64);

const UNCLEANABLE: [UncleanableMetric; 2] = [
    (
        "kafka_log_logcleanermanager_uncleanable_partitions_count",
        "Partitions that the cleaner leaves alone",
        |uncleanable| uncleanable.partitions,
    ),
    (
        "kafka_log_logcleanermanager_uncleanable_bytes",
        "Bytes in partitions that the cleaner leaves alone",
        |uncleanable| uncleanable.bytes,
    ),
];

fn uncleanable(broker: &Broker, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let all = broker.cleaner.uncleanable();
    for (name, help, read) in UNCLEANABLE {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for uncleanable in &all {
            let label = DirectoryLabel(uncleanable.directory.clone());
            ConstGauge::new(read(uncleanable)).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}

/// A metric of a log directory's file system: its name, what it says, and how to read it.
type DiskMetric = (&'static str, &'static str, fn(&FileSystem) -> i64);

fn cordons(broker: &Broker, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let (name, help) = ("kafka_log_logmanager_logdirectorycordoned", "1 for one that gets no new partitions");
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for directory in broker.partitions.directories() {
        let label = DirectoryLabel(directory.path().display().to_string());
        ConstGauge::new(i64::from(directory.is_cordoned())).encode(family.encode_family(&label)?)?;
    }
    Ok(())
}

const DISKS: [DiskMetric; 3] = [
    ("ottla_disk_available_bytes", "Bytes that can be written to the file system", FileSystem::available),
    ("ottla_disk_reserve_bytes", "Bytes of it that producers may not fill", FileSystem::reserve),
    ("ottla_disk_full", "1 while produce is refused for want of space", |disk| i64::from(disk.is_low())),
];

fn disks(broker: &Broker, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    for (name, help, read) in DISKS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for directory in broker.partitions.directories().iter().filter(|directory| !directory.is_offline()) {
            let label = DirectoryLabel(directory.path().display().to_string());
            ConstGauge::new(read(directory.file_system())).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}

/// A metric of a log: its name, what it says, and how to read it.
type LogMetric = (&'static str, &'static str, fn(&crate::partition::Partition) -> i64);

const LOG_METRICS: [LogMetric; 4] = [
    ("kafka_log_log_size", "Bytes in the log", |partition| {
        i64::try_from(partition.size()).unwrap_or(i64::MAX)
    }),
    ("kafka_log_log_numlogsegments", "Segments of the log", |partition| number(partition.segment_count())),
    ("kafka_log_log_logstartoffset", "First offset", |partition| partition.log_start_offset().0),
    ("kafka_log_log_logendoffset", "Next offset", |partition| partition.log_end_offset().0),
];

fn logs(broker: &Broker, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let all = broker.partitions.all();
    for (name, help, read) in LOG_METRICS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for partition in &all {
            let id = partition.name();
            let label = PartitionLabel { topic: id.topic.to_string(), partition: id.partition };
            ConstGauge::new(read(partition)).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}

pub(super) fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

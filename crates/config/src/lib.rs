//! Configuration: every key of Kafka 4.3, typed and validated.
//!
//! [`Sources`] (file, environment, `--override`) become [`Settings`] (text with its origin, each key checked by itself
//! against [`keys`]), and those one [`Config`] (typed, cross-checked), which the rest of the broker reads. What is wrong
//! is said once, at start, with the key, the reason and the place.

mod dynamic;
mod environment;
mod error;
pub mod keys;
mod listener;
mod node;
mod providers;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod topic;
mod typed;
pub mod value;
#[cfg(test)]
mod verdict_tests;

use std::path::PathBuf;
use std::time::Duration;

pub use dynamic::{
    BrokerLayers, BrokerScope, ConfigSource, Lookup, Nothing, Synonym, is_dynamic, list_append,
    list_subtract, validate_broker_config, validate_broker_configs, validate_topic_config,
};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use keys::passes_through;
pub use listener::{Listener, ListenerName, ProtocolMap, SecurityProtocol};
pub use settings::{Setting, Settings, Sources};
pub use topic::{TopicConfig, topic_synonyms, topic_value, validate_topic_configs};

/// What a node is configured to be and do.
#[derive(Debug, Clone)]
pub struct Config {
    /// `node.id` (or `broker.id`).
    pub node_id: i32,
    /// `process.roles`.
    pub roles: Roles,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `listeners`: what is bound, controller listeners included.
    pub listeners: Vec<Listener>,
    /// What is registered for clients and brokers: `advertised.listeners`, or from `listeners`; no controller listener.
    pub advertised_listeners: Vec<Listener>,
    /// What is registered for controllers and put into the quorum's voter set.
    pub advertised_controller_listeners: Vec<Listener>,
    /// `controller.listener.names`.
    pub controller_listener_names: Vec<ListenerName>,
    /// `inter.broker.listener.name`.
    pub inter_broker_listener_name: ListenerName,
    /// Metadata quorum.
    pub quorum: Quorum,
    /// `log.dirs`, or `log.dir`: at least one.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, or the first of `log_dirs`.
    pub metadata_log_dir: PathBuf,
    /// `cordoned.log.dirs`: those of `log_dirs` that get no new partitions (KIP-1066).
    pub cordoned_log_dirs: Vec<PathBuf>,
    /// Elections that the controller holds by itself.
    pub elections: Elections,
    /// Topics that are made without being told how.
    pub topics: Topics,
    /// `__consumer_offsets`.
    pub offsets: Offsets,
    /// Consumer groups.
    pub group: Group,
    /// Connections and requests.
    pub network: Network,
    /// Fetches.
    pub fetch: Fetch,
    /// Replicas of partitions.
    pub replication: Replication,
    /// What is done to logs in the background.
    pub log: LogTasks,
    /// The log cleaner.
    pub cleaner: Cleaner,
    /// Idempotent producers.
    pub producers: Producers,
    /// How quotas are measured.
    pub quotas: Quotas,
    /// `ottla.http.listener`: host (empty: all addresses) and port of health and metrics; `None` if switched off.
    pub http: Option<(String, u16)>,
    /// The port for questions and live changes.
    pub admin: AdminPort,
    /// Cluster id to format empty directories with (`CLUSTER_ID` in the environment).
    pub cluster_id: Option<String>,
    /// Whether empty log directories are formatted at start: when started without a file of settings, without roles, or
    /// with a cluster id in the environment.
    pub format_if_empty: bool,
    /// This host's name, advertised where a listener has none.
    pub host_name: String,
    /// All static settings, for DescribeConfigs and the defaults of topics.
    pub settings: Settings,
}

/// `process.roles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Serves clients.
    pub broker: bool,
    /// May vote in the metadata quorum.
    pub controller: bool,
}

/// `ottla.admin.*`: the port for questions and live changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminPort {
    /// `ottla.admin.listener`: host (empty: all addresses) and port; `None` if switched off.
    pub listener: Option<(String, u16)>,
    /// `ottla.admin.tls.certificate.path`.
    pub certificate: PathBuf,
    /// `ottla.admin.tls.key.path`.
    pub key: PathBuf,
    /// `ottla.admin.tls.ca.path`.
    pub authorities: PathBuf,
}

/// The metadata quorum and its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    /// `controller.quorum.voters`: the static voters, if the quorum is of the static kind.
    pub voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers`.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_after_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; zero is never.
    pub snapshot_interval: Duration,
    /// `metadata.log.segment.bytes`.
    pub segment_bytes: i32,
    /// `metadata.log.segment.ms`.
    pub segment_ms: i64,
    /// `metadata.max.retention.bytes`; negative is unlimited.
    pub retention_bytes: i64,
    /// `metadata.max.retention.ms`; negative is unlimited.
    pub retention_ms: i64,
    /// `controller.quorum.election.timeout.ms`.
    pub election_timeout: Duration,
    /// `controller.quorum.election.backoff.max.ms`.
    pub election_backoff_max: Duration,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch_timeout: Duration,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout: Duration,
    /// `controller.quorum.retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `broker.session.timeout.ms`.
    pub session_timeout: Duration,
}

/// Elections of leaders that the active controller holds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elections {
    /// `auto.leader.rebalance.enable`.
    pub auto_rebalance: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub rebalance_interval: Duration,
    /// `unclean.leader.election.interval.ms`.
    pub unclean_interval: Duration,
}

/// A static voter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Its node id.
    pub id: i32,
    /// Its controller listener's host.
    pub host: String,
    /// And port.
    pub port: u16,
}

/// Topics that are made without being told how, or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// `auto.create.topics.enable`.
    pub auto_create: bool,
    /// `delete.topic.enable`.
    pub delete_enable: bool,
}

/// The offsets topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets {
    /// `offsets.topic.num.partitions`.
    pub num_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub segment_bytes: i32,
    /// `offsets.retention.minutes`.
    pub retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `offset.metadata.max.bytes`.
    pub metadata_max_bytes: i32,
    /// `offsets.commit.timeout.ms`.
    pub commit_timeout: Duration,
    /// `offsets.load.buffer.size`.
    pub load_buffer_bytes: i32,
}

/// Classic consumer groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`.
    pub max_size: i32,
}

/// Connections and requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// `socket.send.buffer.bytes`; `None` (-1) leaves it to the system.
    pub send_buffer_bytes: Option<i32>,
    /// `socket.receive.buffer.bytes`; `None` (-1) leaves it to the system.
    pub receive_buffer_bytes: Option<i32>,
    /// `socket.listen.backlog.size`.
    pub backlog: i32,
    /// `socket.request.max.bytes`.
    pub max_request_bytes: i32,
    /// `connections.max.idle.ms`; `None` (negative) is never.
    pub max_idle: Option<Duration>,
    /// `max.connections`.
    pub max_connections: i32,
    /// `max.connections.per.ip`.
    pub max_connections_per_ip: i32,
    /// `max.connections.per.ip.overrides`.
    pub max_connections_overrides: Vec<(String, i32)>,
    /// `queued.max.request.bytes`; `None` (-1) leaves it to the broker.
    pub queued_max_bytes: Option<i64>,
}

/// Fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub session_slots: i32,
    /// `max.request.partition.size.limit`: partitions in one DescribeTopicPartitions response.
    pub max_described_partitions: i32,
}

/// How followers fetch, and how leaders judge them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// `num.replica.fetchers`: connections to each leader.
    pub fetchers: usize,
    /// `replica.fetch.max.bytes`: of one partition in a response.
    pub fetch_max_bytes: i32,
    /// `replica.fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub response_max_bytes: i32,
    /// `replica.fetch.wait.max.ms`.
    pub fetch_max_wait: Duration,
    /// `replica.socket.timeout.ms`: a broker that does not answer for so long is given up.
    pub socket_timeout: Duration,
    /// `replica.fetch.backoff.ms`: after an error.
    pub fetch_backoff: Duration,
    /// `replica.lag.time.max.ms`: after so long without everything a replica is out of sync.
    pub max_lag: Duration,
    /// `leader.replication.throttled.rate`: bytes per second to replicas out of sync of throttled partitions.
    pub leader_throttled_rate: i64,
    /// `follower.replication.throttled.rate`: bytes per second for own replicas out of sync of throttled partitions.
    pub follower_throttled_rate: i64,
    /// `replication.quota.window.num`: samples that these rates are made of.
    pub quota_windows: u32,
    /// `replication.quota.window.size.seconds`: length of a sample.
    pub quota_window: Duration,
    /// `replica.alter.log.dirs.io.max.bytes.per.second`: for moves of replicas between directories.
    pub alter_log_dirs_rate: i64,
    /// `alter.log.dirs.replication.quota.window.num`: samples that this rate is made of.
    pub alter_log_dirs_windows: u32,
    /// `alter.log.dirs.replication.quota.window.size.seconds`: length of a sample.
    pub alter_log_dirs_window: Duration,
    /// `num.replica.alter.log.dirs.threads`: partitions that are moved at a time; as many as there are directories where it is not set.
    pub alter_log_dirs_threads: usize,
    /// `replica.selector.class`: whether consumers are sent to a replica in their rack; the only one that there is.
    pub rack_aware: bool,
}

/// What is done to logs in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTasks {
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval: Duration,
    /// `log.initial.task.delay.ms`.
    pub initial_delay: Duration,
    /// `log.flush.scheduler.interval.ms`.
    pub flush_check_interval: Duration,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_checkpoint_interval: Duration,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub start_checkpoint_interval: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_checkpoint_interval: Duration,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads: i32,
    /// `ottla.disk.reserve.bytes`: what clients may not fill of each file system; `None` (-1) is by its size, 0 is off.
    pub disk_reserve_bytes: Option<u64>,
}

/// The log cleaner: what compacts logs in the background.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaner {
    /// `log.cleaner.enable`.
    pub enable: bool,
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: bytes of the offset maps of all threads.
    pub dedupe_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`: how full a map may become.
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`: bytes of the buffers of all threads.
    pub io_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`: read and written, by all threads.
    pub max_bytes_per_second: f64,
    /// `log.cleaner.backoff.ms`: how long a thread rests that finds nothing to clean.
    pub backoff: Duration,
}

/// Idempotent producers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producers {
    /// `producer.id.expiration.ms`.
    pub expiration: Duration,
    /// `producer.id.expiration.check.interval.ms`.
    pub expiration_check_interval: Duration,
}

/// How quotas are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// `quota.window.num`: samples that a rate is made of.
    pub windows: u32,
    /// `quota.window.size.seconds`: length of a sample.
    pub window: Duration,
    /// `controller.quota.window.num`: samples that make the burst of a quota of mutations.
    pub mutation_windows: u32,
    /// `controller.quota.window.size.seconds`.
    pub mutation_window: Duration,
}

/// A configuration and what should be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings, each naming its key.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads, checks and resolves all sources.
    ///
    /// # Errors
    /// Everything that is wrong: with single keys, or else with how they fit together.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let mut warnings = Vec::new();
        let mut settings = Settings::gather(sources, &mut warnings)?;
        let errors = settings.check(&mut warnings);
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        settings.mirror("node.id", "broker.id");
        let alone = node::assume_single_node(&mut settings);
        let mut config = typed::config(&settings, &sources.host_name)?;
        config.cluster_id = environment::cluster_id(&sources.environment).map(str::to_owned);
        config.format_if_empty = alone || sources.file.is_none() || config.cluster_id.is_some();
        Ok(Loaded { config, warnings })
    }

    /// A node started with nothing: broker and controller, port 9092, data in `./data`.
    pub fn default_single_node() -> Config {
        Config::load(&Sources { host_name: "localhost".into(), ..Sources::default() })
            .expect("the defaults are valid, as a test shows")
            .config
    }

    /// The layers of a broker's configuration without anything that was changed while it ran.
    pub fn layers(&self) -> BrokerLayers<'_> {
        BrokerLayers::fixed(&self.settings)
    }

    /// Reads properties written as `key=value` lines, over the defaults of a single node. For tests and tools.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_overrides(overrides: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let overrides =
            overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Ok(Config::load(&Sources { overrides, host_name: "localhost".into(), ..Sources::default() })?.config)
    }
}

//! A topic's configuration: its own overrides over the broker's dynamic and static defaults.

use ottla_log::{CompressionLevels, CompressionType, LogConfig};
use ottla_wire::batch::{Compression, TimestampType};

use super::dynamic::{BrokerLayers, ConfigSource, Lookup, Nothing, Synonym, validate_topic_config};
use super::error::{ConfigError, ConfigErrors};
use super::keys;
use super::value::{Value, list};

/// Every topic key, typed. Times in ms, sizes in bytes; -1 is unlimited where Kafka says so.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// What the topic's logs obey.
    pub log: LogConfig,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
    /// `leader.replication.throttled.replicas`.
    pub leader_throttled_replicas: Vec<String>,
    /// `follower.replication.throttled.replicas`.
    pub follower_throttled_replicas: Vec<String>,
    /// `remote.storage.enable`.
    pub remote_storage: bool,
}

impl TopicConfig {
    /// The effective configuration. Overrides that do not fit are passed over: they were checked when they were made.
    pub fn resolve(layers: &BrokerLayers<'_>, overrides: &dyn Lookup) -> TopicConfig {
        let read = Effective { layers, overrides };
        TopicConfig {
            log: log_config(&read),
            min_insync_replicas: read.number("min.insync.replicas"),
            unclean_leader_election: read.flag("unclean.leader.election.enable"),
            leader_throttled_replicas: read.list("leader.replication.throttled.replicas"),
            follower_throttled_replicas: read.list("follower.replication.throttled.replicas"),
            remote_storage: read.flag("remote.storage.enable"),
        }
    }
}

/// Everywhere that a topic key is set, strongest first, down to the broker's default: values as they are written there.
pub fn topic_synonyms(name: &str, layers: &BrokerLayers<'_>, overrides: &dyn Lookup) -> Vec<Synonym> {
    let Some(key) = keys::topic(name) else { return Vec::new() };
    let own = overrides.lookup(name).map(|value| Synonym {
        name: key.name,
        value: value.to_owned(),
        source: ConfigSource::DynamicTopic,
    });
    own.into_iter().chain(layers.synonyms(&key.synonyms)).collect()
}

/// A topic key's effective value as text, in the topic key's unit.
pub fn topic_value(name: &str, layers: &BrokerLayers<'_>, overrides: &dyn Lookup) -> Option<String> {
    let key = keys::topic(name)?;
    topic_synonyms(name, layers, overrides)
        .iter()
        .map(in_topic_unit)
        .find(|value| key.parse(value).is_ok())
        .or_else(|| key.default_text().map(str::to_owned))
}

/// Broker keys that count hours or minutes, in the milliseconds of the topic's key; negative is unlimited.
fn in_topic_unit(synonym: &Synonym) -> String {
    let millis = match synonym.name.rsplit_once('.') {
        Some((_, "hours")) => 3_600_000,
        Some((_, "minutes")) => 60_000,
        _ => return synonym.value.clone(),
    };
    match synonym.value.trim().parse::<i64>() {
        Ok(count) if count < 0 => "-1".into(),
        Ok(count) => count.saturating_mul(millis).to_string(),
        Err(_) => synonym.value.clone(),
    }
}

/// Checks all configs of a topic together, as they would be after a change.
///
/// # Errors
/// Everything that is wrong with them: unknown keys, bad values, values that contradict each other.
pub fn validate_topic_configs(layers: &BrokerLayers<'_>, configs: &dyn Lookup) -> Result<(), ConfigErrors> {
    let mut errors: Vec<_> = configs
        .keys()
        .into_iter()
        .filter_map(|key| validate_topic_config(key, configs.lookup(key).unwrap_or_default()).err())
        .collect();
    if errors.is_empty() {
        errors.extend(conflicts(&TopicConfig::resolve(layers, configs)));
    }
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}

fn conflicts(topic: &TopicConfig) -> Vec<ConfigError> {
    let checks = [
        (
            topic.log.min_compaction_lag_ms <= topic.log.max_compaction_lag_ms,
            "min.compaction.lag.ms must not be more than max.compaction.lag.ms",
        ),
        (!topic.remote_storage, "remote.storage.enable must be false: this broker has no tiered storage yet"),
    ];
    checks
        .into_iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, text)| ConfigError::Conflict(text.into()))
        .collect()
}

fn log_config(read: &Effective<'_>) -> LogConfig {
    let cleanup = read.list("cleanup.policy");
    let internal_segment_bytes: u32 = read.number("internal.segment.bytes");
    let segment_bytes =
        if internal_segment_bytes > 0 { internal_segment_bytes } else { read.number("segment.bytes") };
    LogConfig {
        segment_bytes,
        segment_ms: read.number("segment.ms"),
        segment_jitter_ms: read.number("segment.jitter.ms"),
        segment_index_bytes: read.number("segment.index.bytes"),
        index_interval_bytes: read.number("index.interval.bytes"),
        preallocate: read.flag("preallocate"),
        max_message_bytes: read.number("max.message.bytes"),
        timestamp_type: match read.text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        timestamp_before_max_ms: read.number("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: read.number("message.timestamp.after.max.ms"),
        compression_type: compression_type(&read.text("compression.type")),
        compression_levels: CompressionLevels {
            gzip: read.number("compression.gzip.level"),
            zstd: read.number("compression.zstd.level"),
        },
        delete: cleanup.iter().any(|policy| policy == "delete"),
        compact: cleanup.iter().any(|policy| policy == "compact"),
        delete_retention_ms: read.number("delete.retention.ms"),
        min_compaction_lag_ms: read.number("min.compaction.lag.ms"),
        max_compaction_lag_ms: read.number("max.compaction.lag.ms"),
        min_cleanable_dirty_ratio: read.ratio("min.cleanable.dirty.ratio"),
        retention_ms: read.number("retention.ms"),
        retention_bytes: read.number("retention.bytes"),
        file_delete_delay_ms: read.number("file.delete.delay.ms"),
        flush_messages: read.number("flush.messages"),
        flush_ms: read.number("flush.ms"),
        producer_id_expiration_ms: read.broker_number("producer.id.expiration.ms"),
        ..LogConfig::default()
    }
}

fn compression_type(name: &str) -> CompressionType {
    match name {
        "uncompressed" => CompressionType::Fixed(Compression::None),
        "gzip" => CompressionType::Fixed(Compression::Gzip),
        "snappy" => CompressionType::Fixed(Compression::Snappy),
        "lz4" => CompressionType::Fixed(Compression::Lz4),
        "zstd" => CompressionType::Fixed(Compression::Zstd),
        _ => CompressionType::Producer,
    }
}

/// Typed reading of a topic's effective values.
struct Effective<'a> {
    layers: &'a BrokerLayers<'a>,
    overrides: &'a dyn Lookup,
}

impl Effective<'_> {
    fn value(&self, name: &str) -> Option<Value> {
        keys::topic(name)?.parse(&topic_value(name, self.layers, self.overrides)?).ok()
    }

    fn number<T: TryFrom<i64> + Default>(&self, name: &str) -> T {
        match self.value(name) {
            Some(Value::Number(number)) => T::try_from(number).unwrap_or_default(),
            _ => T::default(),
        }
    }

    fn broker_number(&self, name: &'static str) -> i64 {
        let values = self.layers.synonyms(&[name]);
        values.iter().find_map(|synonym| synonym.value.trim().parse().ok()).unwrap_or_default()
    }

    fn ratio(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Double(number)) => number,
            _ => 0.0,
        }
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Bool(true)))
    }

    fn text(&self, name: &str) -> String {
        match self.value(name) {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        }
    }

    fn list(&self, name: &str) -> Vec<String> {
        topic_value(name, self.layers, self.overrides).map(|text| list(&text)).unwrap_or_default()
    }
}

/// A topic's configuration on a node where nothing was set.
impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig::resolve(&BrokerLayers::fixed(&super::Settings::default()), &Nothing)
    }
}

//! From checked settings to the typed [`Config`].

use std::path::PathBuf;
use std::time::Duration;

use super::listener::host_and_port;
use super::node::Node;
use super::reader::Reader;
use super::{
    AdminPort, Cleaner, Config, ConfigError, ConfigErrors, Elections, Fetch, Group, LogTasks, Network,
    Offsets, Producers, Quorum, Quotas, Replication, Settings, Topics, node,
};

/// Directories that get no new partitions.
pub(super) const CORDONED: &str = "cordoned.log.dirs";
/// All of them.
const ALL: &str = "*";
/// The only `replica.selector.class` that there is; without one nobody is sent elsewhere.
const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// Resolves settings of which each is valid by itself.
pub(super) fn config(settings: &Settings, host_name: &str) -> Result<Config, ConfigErrors> {
    let read = Reader(settings);
    let mut errors = Vec::new();
    let network = network(&read).unwrap_or_else(|error| {
        errors.push(error);
        Network::unlimited()
    });
    let http = own_listener(&read, "ottla.http.listener").unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let admin = admin(&read).unwrap_or_else(|error| {
        errors.push(error);
        AdminPort::default()
    });
    errors.extend(conflicts(&read));
    let node = match node::resolve(&read, host_name) {
        Ok(node) if errors.is_empty() => node,
        Ok(_) => return Err(ConfigErrors(errors)),
        Err(more) => {
            errors.extend(more.0);
            return Err(ConfigErrors(errors));
        }
    };
    Ok(Config { host_name: host_name.to_owned(), http, admin, ..assemble(&read, node, network) })
}

fn assemble(read: &Reader<'_>, node: Node, network: Network) -> Config {
    let log_dirs = log_dirs(read);
    let first = log_dirs.first().cloned().unwrap_or_default();
    let cordoned = read.list(CORDONED);
    let all = cordoned.iter().any(|dir| dir == ALL);
    Config {
        cordoned_log_dirs: match all {
            true => log_dirs.clone(),
            false => cordoned.into_iter().map(PathBuf::from).collect(),
        },
        node_id: node.id,
        roles: node.roles,
        // Empty where the variable is taken from a label that is not there.
        rack: read.optional_text("broker.rack").filter(|rack| !rack.is_empty()),
        listeners: node.listeners,
        advertised_listeners: node.advertised,
        advertised_controller_listeners: node.advertised_controllers,
        controller_listener_names: node.controller_names,
        inter_broker_listener_name: node.inter_broker,
        quorum: Quorum { voters: node.voters, bootstrap_servers: node.bootstrap_servers, ..quorum(read) },
        metadata_log_dir: read.optional_text("metadata.log.dir").map_or(first, PathBuf::from),
        log_dirs,
        elections: elections(read),
        topics: topics(read),
        offsets: offsets(read),
        group: group(read),
        network,
        fetch: fetch(read),
        replication: replication(read),
        log: log_tasks(read),
        cleaner: cleaner(read),
        producers: producers(read),
        quotas: quotas(read),
        http: None,
        admin: AdminPort::default(),
        cluster_id: None,
        format_if_empty: false,
        host_name: String::new(),
        settings: read.0.clone(),
    }
}

impl Network {
    fn unlimited() -> Network {
        Network {
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            backlog: 50,
            max_request_bytes: i32::MAX,
            max_idle: None,
            max_connections: i32::MAX,
            max_connections_per_ip: i32::MAX,
            max_connections_overrides: Vec::new(),
            queued_max_bytes: None,
        }
    }
}

/// Whether these are directories of a node that can be cordoned: its own, or [`ALL`] alone.
pub(super) fn may_be_cordoned(cordoned: &[String], log_dirs: &[PathBuf]) -> bool {
    let is_own = |dir: &String| log_dirs.iter().any(|own| own.as_os_str() == dir.as_str());
    matches!(cordoned, [all] if all == ALL) || cordoned.iter().all(is_own)
}

fn log_dirs(read: &Reader<'_>) -> Vec<PathBuf> {
    let dirs = if read.is_set("log.dirs") { read.list("log.dirs") } else { read.list("log.dir") };
    dirs.into_iter().map(PathBuf::from).collect()
}

fn quorum(read: &Reader<'_>) -> Quorum {
    Quorum {
        voters: Vec::new(),
        bootstrap_servers: Vec::new(),
        snapshot_after_bytes: read.number("metadata.log.max.record.bytes.between.snapshots"),
        snapshot_interval: read.millis("metadata.log.max.snapshot.interval.ms"),
        segment_bytes: read.number("metadata.log.segment.bytes"),
        segment_ms: read.number("metadata.log.segment.ms"),
        retention_bytes: read.number("metadata.max.retention.bytes"),
        retention_ms: read.number("metadata.max.retention.ms"),
        election_timeout: read.millis("controller.quorum.election.timeout.ms"),
        election_backoff_max: read.millis("controller.quorum.election.backoff.max.ms"),
        fetch_timeout: read.millis("controller.quorum.fetch.timeout.ms"),
        request_timeout: read.millis("controller.quorum.request.timeout.ms"),
        retry_backoff: read.millis("controller.quorum.retry.backoff.ms"),
        heartbeat_interval: read.millis("broker.heartbeat.interval.ms"),
        session_timeout: read.millis("broker.session.timeout.ms"),
    }
}

fn elections(read: &Reader<'_>) -> Elections {
    Elections {
        auto_rebalance: read.flag("auto.leader.rebalance.enable"),
        rebalance_interval: Duration::from_secs(read.number("leader.imbalance.check.interval.seconds")),
        unclean_interval: read.millis("unclean.leader.election.interval.ms"),
    }
}

fn topics(read: &Reader<'_>) -> Topics {
    Topics {
        num_partitions: read.number("num.partitions"),
        replication_factor: read.number("default.replication.factor"),
        auto_create: read.flag("auto.create.topics.enable"),
        delete_enable: read.flag("delete.topic.enable"),
    }
}

fn offsets(read: &Reader<'_>) -> Offsets {
    let minutes: u64 = read.number("offsets.retention.minutes");
    Offsets {
        num_partitions: read.number("offsets.topic.num.partitions"),
        replication_factor: read.number("offsets.topic.replication.factor"),
        segment_bytes: read.number("offsets.topic.segment.bytes"),
        retention: Duration::from_secs(minutes.saturating_mul(60)),
        retention_check_interval: read.millis("offsets.retention.check.interval.ms"),
        metadata_max_bytes: read.number("offset.metadata.max.bytes"),
        commit_timeout: read.millis("offsets.commit.timeout.ms"),
        load_buffer_bytes: read.number("offsets.load.buffer.size"),
    }
}

fn group(read: &Reader<'_>) -> Group {
    Group {
        min_session_timeout: read.millis("group.min.session.timeout.ms"),
        max_session_timeout: read.millis("group.max.session.timeout.ms"),
        initial_rebalance_delay: read.millis("group.initial.rebalance.delay.ms"),
        max_size: read.number("group.max.size"),
    }
}

fn network(read: &Reader<'_>) -> Result<Network, ConfigError> {
    let buffer = |key: &str| Some(read.number::<i32>(key)).filter(|bytes| *bytes >= 0);
    let idle: i64 = read.number("connections.max.idle.ms");
    Ok(Network {
        send_buffer_bytes: buffer("socket.send.buffer.bytes"),
        receive_buffer_bytes: buffer("socket.receive.buffer.bytes"),
        backlog: read.number("socket.listen.backlog.size"),
        max_request_bytes: read.number("socket.request.max.bytes"),
        max_idle: u64::try_from(idle).ok().map(Duration::from_millis),
        max_connections: read.number("max.connections"),
        max_connections_per_ip: read.number("max.connections.per.ip"),
        max_connections_overrides: connection_overrides(read)?,
        queued_max_bytes: Some(read.number("queued.max.request.bytes")).filter(|bytes| *bytes > 0),
    })
}

fn connection_overrides(read: &Reader<'_>) -> Result<Vec<(String, i32)>, ConfigError> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let pair = |pair: String| {
        let (host, limit) = pair.rsplit_once(':')?;
        Some((host.trim().to_owned(), limit.trim().parse().ok().filter(|limit: &i32| *limit >= 0)?))
    };
    let pairs = super::value::list(&read.text(KEY)).into_iter().map(pair).collect::<Option<Vec<_>>>();
    pairs.ok_or_else(|| read.invalid(KEY, "must be a list of address:limit".into()))
}

fn fetch(read: &Reader<'_>) -> Fetch {
    Fetch {
        max_bytes: read.number("fetch.max.bytes"),
        session_slots: read.number("max.incremental.fetch.session.cache.slots"),
        max_described_partitions: read.number("max.request.partition.size.limit"),
    }
}

fn replication(read: &Reader<'_>) -> Replication {
    Replication {
        fetchers: read.number("num.replica.fetchers"),
        fetch_max_bytes: read.number("replica.fetch.max.bytes"),
        fetch_min_bytes: read.number("replica.fetch.min.bytes"),
        response_max_bytes: read.number("replica.fetch.response.max.bytes"),
        fetch_max_wait: read.millis("replica.fetch.wait.max.ms"),
        socket_timeout: read.millis("replica.socket.timeout.ms"),
        fetch_backoff: read.millis("replica.fetch.backoff.ms"),
        max_lag: read.millis("replica.lag.time.max.ms"),
        leader_throttled_rate: read.number("leader.replication.throttled.rate"),
        follower_throttled_rate: read.number("follower.replication.throttled.rate"),
        quota_windows: read.number("replication.quota.window.num"),
        quota_window: Duration::from_secs(read.number("replication.quota.window.size.seconds")),
        alter_log_dirs_rate: read.number("replica.alter.log.dirs.io.max.bytes.per.second"),
        alter_log_dirs_windows: read.number("alter.log.dirs.replication.quota.window.num"),
        alter_log_dirs_window: Duration::from_secs(
            read.number("alter.log.dirs.replication.quota.window.size.seconds"),
        ),
        alter_log_dirs_threads: match read.number("num.replica.alter.log.dirs.threads") {
            0 => log_dirs(read).len(),
            threads => threads,
        },
        rack_aware: read.text("replica.selector.class") == RACK_AWARE,
    }
}

fn log_tasks(read: &Reader<'_>) -> LogTasks {
    LogTasks {
        retention_check_interval: read.millis("log.retention.check.interval.ms"),
        initial_delay: read.millis("log.initial.task.delay.ms"),
        flush_check_interval: read.millis("log.flush.scheduler.interval.ms"),
        recovery_checkpoint_interval: read.millis("log.flush.offset.checkpoint.interval.ms"),
        start_checkpoint_interval: read.millis("log.flush.start.offset.checkpoint.interval.ms"),
        high_watermark_checkpoint_interval: read.millis("replica.high.watermark.checkpoint.interval.ms"),
        recovery_threads: read.number("num.recovery.threads.per.data.dir"),
        disk_reserve_bytes: u64::try_from(read.number::<i64>("ottla.disk.reserve.bytes")).ok(),
    }
}

fn cleaner(read: &Reader<'_>) -> Cleaner {
    Cleaner {
        enable: read.flag("log.cleaner.enable"),
        threads: read.number("log.cleaner.threads"),
        dedupe_bytes: read.number("log.cleaner.dedupe.buffer.size"),
        load_factor: read.double("log.cleaner.io.buffer.load.factor"),
        io_bytes: read.number("log.cleaner.io.buffer.size"),
        max_bytes_per_second: read.double("log.cleaner.io.max.bytes.per.second"),
        backoff: read.millis("log.cleaner.backoff.ms"),
    }
}

fn producers(read: &Reader<'_>) -> Producers {
    Producers {
        expiration: read.millis("producer.id.expiration.ms"),
        expiration_check_interval: read.millis("producer.id.expiration.check.interval.ms"),
    }
}

fn quotas(read: &Reader<'_>) -> Quotas {
    Quotas {
        windows: read.number("quota.window.num"),
        window: Duration::from_secs(read.number("quota.window.size.seconds")),
        mutation_windows: read.number("controller.quota.window.num"),
        mutation_window: Duration::from_secs(read.number("controller.quota.window.size.seconds")),
    }
}

/// Host and port of what is not Kafka's protocol.
fn own_listener(read: &Reader<'_>, key: &str) -> Result<Option<(String, u16)>, ConfigError> {
    let text = read.text(key);
    if text.is_empty() {
        return Ok(None);
    }
    let address = host_and_port(&text);
    address
        .map(Some)
        .ok_or_else(|| read.invalid(key, "must be HOST:PORT, :PORT, or empty to switch it off".into()))
}

fn admin(read: &Reader<'_>) -> Result<AdminPort, ConfigError> {
    const KEY: &str = "ottla.admin.listener";
    let path = |key: &str| PathBuf::from(read.text(key));
    let port = AdminPort {
        listener: own_listener(read, KEY)?,
        certificate: path("ottla.admin.tls.certificate.path"),
        key: path("ottla.admin.tls.key.path"),
        authorities: path("ottla.admin.tls.ca.path"),
    };
    let lacks =
        [&port.certificate, &port.key, &port.authorities].iter().any(|path| path.as_os_str().is_empty());
    match port.listener.is_some() && lacks {
        true => Err(read.invalid(
            KEY,
            "needs ottla.admin.tls.certificate.path, ottla.admin.tls.key.path and ottla.admin.tls.ca.path"
                .into(),
        )),
        false => Ok(port),
    }
}

/// Keys that contradict each other, apart from those of the node and its listeners.
fn conflicts(read: &Reader<'_>) -> Vec<ConfigError> {
    let long = |key: &str| read.number::<i64>(key);
    let checks = [
        (
            ["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
                .iter()
                .all(|key| !read.is_set(key) || long(key) != 0),
            "log.retention.ms, log.retention.minutes and log.retention.hours must not be 0: -1 keeps records for ever",
        ),
        (
            long("broker.heartbeat.interval.ms").saturating_mul(2) <= long("broker.session.timeout.ms"),
            "broker.heartbeat.interval.ms must be at most half of broker.session.timeout.ms",
        ),
        (
            long("group.min.session.timeout.ms") <= long("group.max.session.timeout.ms"),
            "group.min.session.timeout.ms must not be more than group.max.session.timeout.ms",
        ),
        (
            !matches!(long("queued.max.request.bytes"), bytes if bytes > 0 && bytes < long("socket.request.max.bytes")),
            "queued.max.request.bytes must be at least socket.request.max.bytes, or -1",
        ),
        (
            long("replica.fetch.wait.max.ms") <= long("replica.lag.time.max.ms"),
            "replica.fetch.wait.max.ms must not be more than replica.lag.time.max.ms",
        ),
        (
            !read.is_set("replica.selector.class") || read.text("replica.selector.class") == RACK_AWARE,
            "replica.selector.class may be org.apache.kafka.common.replica.RackAwareReplicaSelector and no other",
        ),
        (
            long("replica.fetch.wait.max.ms") <= long("replica.socket.timeout.ms"),
            "replica.fetch.wait.max.ms must not be more than replica.socket.timeout.ms",
        ),
        (
            long("max.connections.per.ip") > 0 || !read.text("max.connections.per.ip.overrides").is_empty(),
            "max.connections.per.ip may be 0 only with max.connections.per.ip.overrides",
        ),
        (
            may_be_cordoned(&read.list(CORDONED), &log_dirs(read)),
            "cordoned.log.dirs must be * alone, or name directories of log.dirs as they are written there",
        ),
    ];
    checks
        .into_iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, text)| ConfigError::Conflict(text.into()))
        .collect()
}

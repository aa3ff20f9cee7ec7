use std::collections::BTreeMap;

use super::keys::{DefaultValue, Scope, Status};
use super::*;

fn load(overrides: &[(&str, &str)]) -> Result<Config, String> {
    Config::from_overrides(overrides).map_err(|errors| errors.to_string())
}

fn error(overrides: &[(&str, &str)]) -> String {
    load(overrides).map(|config| format!("{config:?}")).expect_err("a wrong configuration")
}

fn text(listeners: &[Listener]) -> Vec<String> {
    listeners.iter().map(ToString::to_string).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn from_file(content: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    std::fs::write(&file, content).unwrap();
    let environment = pairs(environment);
    Config::load(&Sources { file: Some(file), environment, host_name: "host".into(), ..Sources::default() })
}

fn from_environment(environment: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let environment = pairs(environment);
    Config::load(&Sources { environment, host_name: "host".into(), ..Sources::default() })
}

#[test]
fn started_from_nothing_it_is_one_node_on_localhost() {
    let config = Config::default_single_node();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.roles, Roles { broker: true, controller: true });
    assert_eq!(text(&config.listeners), ["PLAINTEXT://:9092", "CONTROLLER://localhost:9093"]);
    assert_eq!(text(&config.advertised_listeners), ["PLAINTEXT://localhost:9092"]);
    assert_eq!(text(&config.advertised_controller_listeners), ["CONTROLLER://localhost:9093"]);
    assert_eq!(config.log_dirs, [PathBuf::from("data")]);
    assert_eq!(config.metadata_log_dir, PathBuf::from("data"));
    assert!(config.format_if_empty);
}

const TUTORIAL: &str = "
# The file that comes with Kafka 4
process.roles=broker,controller
node.id=7
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
log.dirs=/tmp/kraft-combined-logs,/tmp/more
num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
log.retention.hours=168
log.segment.bytes=1073741824
";

#[test]
fn the_properties_file_of_kafkas_distribution_is_read() {
    let Loaded { config, warnings } = from_file(TUTORIAL, &[]).unwrap();
    assert_eq!((config.node_id, config.topics.num_partitions), (7, 3));
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kraft-combined-logs"), PathBuf::from("/tmp/more")]);
    assert_eq!(config.metadata_log_dir, PathBuf::from("/tmp/kraft-combined-logs"));
    assert_eq!(text(&config.listeners), ["PLAINTEXT://:9092", "CONTROLLER://:9093"]);
    assert_eq!(config.quorum.bootstrap_servers, [("localhost".to_owned(), 9093)]);
    assert!(!config.format_if_empty);
    let warned = |key: &str| warnings.iter().any(|warning| warning.contains(&format!("{key} has no effect")));
    assert!(warned("transaction.state.log.replication.factor"), "{warnings:?}");
    assert!(!warned("node.id") && !warned("log.retention.hours"), "{warnings:?}");
}

#[test]
fn a_file_of_the_static_kind_with_broker_id_is_read() {
    let file = "process.roles=broker,controller\nbroker.id=3\ncontroller.quorum.voters=3@localhost:19093\n\
        listeners=PLAINTEXT://:19092,CONTROLLER://:19093\ncontroller.listener.names=CONTROLLER\n";
    let config = from_file(file, &[]).unwrap().config;
    assert_eq!(config.node_id, 3);
    assert_eq!(config.quorum.voters, [Voter { id: 3, host: "localhost".into(), port: 19093 }]);
    assert_eq!(text(&config.advertised_listeners), ["PLAINTEXT://host:19092"]);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
}

#[test]
fn a_zookeeper_key_says_what_to_do() {
    let errors = from_file("broker.id=0\n\nzookeeper.connect=localhost:2181\n", &[]).unwrap_err().to_string();
    assert!(errors.contains("server.properties:3: zookeeper.connect is no longer a key"), "{errors}");
    for advice in ["process.roles", "node.id", "controller.quorum"] {
        assert!(errors.contains(advice), "{errors}");
    }
    let errors = from_environment(&[("KAFKA_ZOOKEEPER_CONNECT", "zk:2181")]).unwrap_err().to_string();
    assert!(errors.contains("KAFKA_ZOOKEEPER_CONNECT"), "{errors}");
}

#[test]
fn variables_of_a_compose_file_are_read() {
    let Loaded { config, warnings } = from_environment(&[
        ("KAFKA_BROKER_ID", "5"),
        ("KAFKA_LISTENERS", "INTERNAL://0.0.0.0:29092,EXTERNAL://0.0.0.0:9092"),
        ("KAFKA_ADVERTISED_LISTENERS", "INTERNAL://kafka:29092,EXTERNAL://localhost:9092"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT"),
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "INTERNAL"),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("KAFKA_HEAP_OPTS", "-Xmx1G"),
        ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
        ("KAFKA_CREATE_TOPICS", "a:1:1"),
        ("CLUSTER_ID", "MkU3OEVBNTcwNTJENDM2Qk"),
    ])
    .unwrap();
    assert_eq!(config.node_id, 5);
    assert_eq!(text(&config.advertised_listeners), ["INTERNAL://kafka:29092", "EXTERNAL://localhost:9092"]);
    assert_eq!(text(&config.advertised_controller_listeners), ["CONTROLLER://localhost:9093"]);
    assert!(!config.topics.auto_create);
    assert_eq!(config.cluster_id.as_deref(), Some("MkU3OEVBNTcwNTJENDM2Qk"));
    assert!(config.format_if_empty);
    assert_eq!(
        warnings,
        ["environment variable KAFKA_CREATE_TOPICS is ignored: there is no key create.topics"]
    );
}

#[test]
fn the_command_line_is_stronger_than_the_environment_and_that_than_the_file() {
    let partitions = |environment: &[(&str, &str)], overrides: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.properties");
        std::fs::write(&file, "num.partitions=2\nnum.partitions=3\n").unwrap();
        let (environment, overrides) = (pairs(environment), pairs(overrides));
        let sources = Sources {
            file: Some(file),
            environment,
            overrides,
            host_name: "host".into(),
            ..Sources::default()
        };
        Config::load(&sources).unwrap().config.topics.num_partitions
    };
    assert_eq!(partitions(&[], &[]), 3);
    assert_eq!(partitions(&[("KAFKA_NUM_PARTITIONS", "4")], &[]), 4);
    assert_eq!(partitions(&[("KAFKA_NUM_PARTITIONS", "4")], &[("num.partitions", "5")]), 5);
}

#[test]
fn a_wrong_key_or_value_is_named_with_its_place() {
    let errors = from_file("num.partition=3\n\nlog.segment.bytes=12\nnum.partitions=x\n", &[]).unwrap_err();
    let lines: Vec<_> = errors.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let expected = [
        "server.properties:3: invalid value \"12\" for log.segment.bytes: must be at least 1048576",
        "server.properties:1: unknown key num.partition; did you mean num.partitions?",
        "server.properties:4: invalid value \"x\" for num.partitions: must be a whole number from -2147483648 to 2147483647",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.ends_with(expected), "{line}");
    }
    assert!(error(&[("compression.type", "lzo")]).contains("must be one of gzip, lz4, producer"));
    assert!(error(&[("auto.create.topics.enable", "yes")]).contains("must be true or false"));
    assert!(error(&[("log.cleanup.policy", "delete,purge")]).contains("purge is not one of compact, delete"));
    assert!(error(&[("log.cleaner.min.cleanable.ratio", "1.5")]).contains("must be from 0 to 1"));
    assert!(from_file("a=\\u12", &[]).unwrap_err().to_string().contains("server.properties: line 1"));
    let missing = Sources { file: Some("/nowhere/server.properties".into()), ..Sources::default() };
    assert!(Config::load(&missing).unwrap_err().to_string().starts_with("/nowhere/server.properties: "));
}

#[test]
fn keys_that_do_not_fit_together_are_refused() {
    let node = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ("controller.quorum.bootstrap.servers", "localhost:9093"),
    ];
    let with = |changes: &[(&str, &str)]| {
        let mut all: BTreeMap<_, _> = node.into_iter().collect();
        all.extend(changes.iter().copied());
        let all: Vec<_> = all.into_iter().filter(|(_, value)| *value != "-").collect();
        load(&all).map(|_| "accepted".to_owned()).unwrap_or_else(|error| error)
    };
    assert_eq!(with(&[]), "accepted");
    for (changes, expected) in [
        (&[("node.id", "-")][..], "node.id has to be set"),
        (&[("node.id", "-1")], "at least 0"),
        (&[("broker.id", "2")], "node.id and broker.id mean the same and differ"),
        (&[("node.id", "-"), ("broker.id", "-1")], "ids are not generated"),
        (&[("process.roles", "broker")], "CONTROLLER must not be in listeners"),
        (
            &[
                ("process.roles", "broker"),
                ("listeners", "PLAINTEXT://:9092"),
                ("controller.quorum.voters", "1@a:1,2@b:1"),
            ],
            "node 1 is in it, and has to be a controller",
        ),
        (&[("process.roles", "controller")], "controller listeners only"),
        (&[("process.roles", "king")], "king is not one of broker, controller"),
        (&[("controller.listener.names", "-")], "controller.listener.names has to be set"),
        (&[("controller.listener.names", "CONTROLLER,OTHER")], "OTHER is not a name in listeners"),
        (&[("controller.listener.names", "CONTROLLER,PLAINTEXT")], "inter-broker listener"),
        (&[("controller.quorum.bootstrap.servers", "-")], "controller.quorum.bootstrap.servers (or"),
        (&[("controller.quorum.bootstrap.servers", "localhost")], "list of HOST:PORT"),
        (&[("controller.quorum.voters", "2@localhost:9093")], "node 1 is a controller, and has to be in it"),
        (&[("controller.quorum.voters", "1@a:1,1@b:1")], "node 1 is there twice"),
        (&[("controller.quorum.voters", "localhost:9093")], "list of ID@HOST:PORT"),
        (&[("listeners", "PLAINTEXT://:9092,CONTROLLER://:9092")], "have the same port"),
        (&[("listeners", "PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093")], "set advertised.listeners"),
        (&[("advertised.listeners", "PLAINTEXT://0.0.0.0:9092")], "cannot connect to 0.0.0.0"),
        (&[("advertised.listeners", "OUTSIDE://a:1")], "no security protocol for listener OUTSIDE"),
        (
            &[("advertised.listeners", "SSL://a:1")],
            "security protocol SSL of listener SSL is not supported yet",
        ),
        (
            &[("listeners", "SASL_SSL://:9092,CONTROLLER://:9093")],
            "security protocol SASL_SSL of listener SASL_SSL",
        ),
        (
            &[("inter.broker.listener.name", "INSIDE")],
            "inter.broker.listener.name is INSIDE, which is not advertised",
        ),
        (
            &[("inter.broker.listener.name", "PLAINTEXT"), ("security.inter.broker.protocol", "PLAINTEXT")],
            "set only one",
        ),
        (&[("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT")], "add CONTROLLER:PLAINTEXT"),
        (&[("listener.security.protocol.map", "PLAINTEXT:TLS")], "no security protocol"),
        (&[("log.retention.ms", "0")], "must not be 0"),
        (&[("broker.session.timeout.ms", "3000")], "at most half of broker.session.timeout.ms"),
        (&[("group.min.session.timeout.ms", "1800001")], "group.max.session.timeout.ms"),
        (&[("queued.max.request.bytes", "1000")], "socket.request.max.bytes"),
        (&[("max.connections.per.ip", "0")], "max.connections.per.ip.overrides"),
        (&[("max.connections.per.ip.overrides", "localhost")], "list of address:limit"),
        (&[("ottla.http.listener", "here")], "HOST:PORT"),
        (&[("ottla.admin.listener", "there")], "HOST:PORT"),
        (&[("ottla.admin.listener", ":9405")], "needs ottla.admin.tls.certificate.path"),
    ] {
        let found = with(changes);
        assert!(found.contains(expected), "{changes:?}: {found}");
    }
}

#[test]
fn a_single_node_keeps_what_was_set() {
    let config =
        load(&[("listeners", "PLAINTEXT://127.0.0.1:0"), ("log.dir", "/data"), ("node.id", "9")]).unwrap();
    assert_eq!(text(&config.listeners), ["PLAINTEXT://127.0.0.1:0", "CONTROLLER://localhost:9093"]);
    assert_eq!(text(&config.advertised_listeners), ["PLAINTEXT://127.0.0.1:0"]);
    assert_eq!((config.node_id, config.log_dirs), (9, vec![PathBuf::from("/data")]));
    let config = load(&[("listeners", "PLAINTEXT://:1,CONTROLLER://127.0.0.1:2")]).unwrap();
    assert_eq!(text(&config.advertised_controller_listeners), ["CONTROLLER://127.0.0.1:2"]);
    assert_eq!(config.quorum.bootstrap_servers, [("127.0.0.1".to_owned(), 2)]);
    assert_eq!(config.settings.text("offsets.topic.replication.factor"), Some("1"));
}

#[test]
fn keys_of_older_kafkas_are_warned_about() {
    let environment = [("KAFKA_INTER_BROKER_PROTOCOL_VERSION", "3.3"), ("KAFKA_BACKGROUND_THREADS", "2")];
    let warnings = from_environment(&environment).unwrap().warnings.join("\n");
    assert!(warnings.contains("inter.broker.protocol.version is ignored: "), "{warnings}");
    assert!(warnings.contains("background.threads has no effect"), "{warnings}");
}

#[test]
fn plugins_settings_pass_through() {
    let Loaded { config, warnings } =
        from_file(&format!("{TUTORIAL}listener.name.plaintext.sasl.x=y\n"), &[]).unwrap();
    assert_eq!(config.settings.text("listener.name.plaintext.sasl.x"), Some("y"));
    assert!(warnings.iter().any(|warning| warning.contains("listener.name.plaintext.sasl.x")));
}

#[test]
fn the_table_is_whole_and_every_default_is_a_value_of_its_key() {
    assert_eq!(keys::all(Scope::Broker).count(), 363 + 6);
    assert_eq!(keys::all(Scope::Topic).count(), 34);
    for key in keys::all(Scope::Broker).chain(keys::all(Scope::Topic)) {
        if let DefaultValue::Text(text) = key.default {
            key.parse(text).unwrap_or_else(|reason| panic!("{} = {text}: {reason}", key.name));
        }
        for synonym in &key.synonyms {
            assert!(keys::broker(synonym).is_some(), "{}: {synonym}", key.name);
        }
    }
    assert_eq!(keys::broker("node.id").map(|key| key.default), Some(DefaultValue::Required));
}

#[test]
fn what_changes_at_run_time_is_laid_over_what_was_configured() {
    let config = load(&[("max.connections", "10"), ("num.partitions", "3")]).unwrap();
    let cluster = BTreeMap::from([("max.connections", "20"), ("max.connections.per.ip", "5")]);
    let broker = BTreeMap::from([("max.connections", "30"), ("num.partitions", "9")]);
    let changed = config.with_dynamic(&cluster, &broker).unwrap();
    assert_eq!((changed.network.max_connections, changed.network.max_connections_per_ip), (30, 5));
    assert_eq!(changed.topics.num_partitions, 3, "read-only keys stay");
    let back = changed.with_dynamic(&Nothing, &Nothing).unwrap();
    assert_eq!(back.network.max_connections, 10, "a key that is reset is as configured again");
}

#[test]
fn directories_that_are_cordoned_are_a_nodes_own() {
    let dirs = ("log.dirs", "/a,/b");
    let cordoned = |value| load(&[dirs, ("cordoned.log.dirs", value)]).map(|config| config.cordoned_log_dirs);
    assert_eq!(cordoned("").unwrap(), Vec::<PathBuf>::new());
    assert_eq!(cordoned("/b").unwrap(), [PathBuf::from("/b")]);
    assert_eq!(cordoned("*").unwrap(), [PathBuf::from("/a"), PathBuf::from("/b")]);
    let refused = |value| cordoned(value).unwrap_err();
    assert!(["/a,*", "/c"].iter().all(|value| refused(value).contains("cordoned.log.dirs")));
    let config = load(&[dirs, ("cordoned.log.dirs", "/a")]).unwrap();
    let then = |value| {
        let broker = BTreeMap::from([("cordoned.log.dirs", value), ("max.connections", "7")]);
        let then = config.with_dynamic(&Nothing, &broker).unwrap();
        assert_eq!(then.network.max_connections, 7);
        then.cordoned_log_dirs
    };
    assert_eq!((then("/b"), then("")), (vec![PathBuf::from("/b")], Vec::new()));
    assert_eq!(then("/elsewhere"), [PathBuf::from("/a")], "what this node does not have has no effect");
    let others = BTreeMap::from([("cordoned.log.dirs", "/elsewhere")]);
    assert!(
        validate_broker_configs(&config, &others, BrokerScope::PerBroker).is_ok(),
        "another node may have it"
    );
}

#[test]
fn changes_at_run_time_are_checked() {
    use BrokerScope::{Cluster, PerBroker};
    let check = |key, value, scope| match validate_broker_config(key, value, scope) {
        Ok(()) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(check("message.max.bytes", "1", Cluster), "accepted");
    assert_eq!(check("message.max.bytes", "1", PerBroker), "accepted");
    assert_eq!(
        check("message.max.bytes", "x", Cluster).split(": ").next(),
        Some("invalid value \"x\" for message.max.bytes")
    );
    assert_eq!(check("node.id", "1", PerBroker), "node.id cannot be changed while the broker runs");
    assert_eq!(
        check("listeners", "PLAINTEXT://:1", PerBroker),
        "listeners cannot be changed while the broker runs"
    );
    assert_eq!(
        check("ssl.keystore.type", "PEM", Cluster),
        "ssl.keystore.type cannot be changed for all brokers at once"
    );
    assert!(check("ssl.keystore.typ", "PEM", Cluster).contains("did you mean ssl.keystore.type?"));
    assert!(!check("max.connections", "secret", Cluster).contains("hidden"));
    assert!(validate_topic_config("retention.ms", "-2").unwrap_err().to_string().contains("at least -1"));
    assert!(
        validate_topic_config("retention", "1").unwrap_err().to_string().contains("unknown key retention")
    );
}

#[test]
fn lists_are_appended_to_and_subtracted_from() {
    let append = |current, value| list_append(Scope::Topic, "cleanup.policy", current, value).unwrap();
    let subtract = |current, value| list_subtract(Scope::Topic, "cleanup.policy", current, value).unwrap();
    assert_eq!(append(None, "compact"), "delete,compact");
    assert_eq!(append(Some("compact"), "compact,delete"), "compact,delete");
    assert_eq!(subtract(None, "delete"), "");
    assert_eq!(subtract(Some("compact,delete"), "delete"), "compact");
    assert!(
        list_append(Scope::Topic, "retention.ms", None, "1").unwrap_err().to_string().contains("no list")
    );
    assert!(list_append(Scope::Topic, "nothing", None, "1").is_err());
}

fn log_config(config: &Config, overrides: &[(&str, &str)]) -> ottla_log::LogConfig {
    let overrides: BTreeMap<_, _> = overrides.iter().copied().collect();
    TopicConfig::resolve(&config.layers(), &overrides).log
}

#[test]
fn kafkas_topic_defaults_are_those_of_the_log() {
    assert_eq!(TopicConfig::default().log, ottla_log::LogConfig::default());
    assert_eq!(TopicConfig::default().min_insync_replicas, 1);
}

#[test]
fn a_topic_takes_its_defaults_from_the_broker_in_kafkas_order() {
    let retention = |settings: &[(&str, &str)]| log_config(&load(settings).unwrap(), &[]).retention_ms;
    assert_eq!(retention(&[("log.retention.hours", "1")]), 3_600_000);
    assert_eq!(retention(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]), 120_000);
    assert_eq!(retention(&[("log.retention.minutes", "2"), ("log.retention.ms", "3")]), 3);
    assert_eq!(retention(&[("log.retention.hours", "-1")]), -1);
    let config = load(&[("log.retention.ms", "3")]).unwrap();
    assert_eq!(log_config(&config, &[("retention.ms", "4")]).retention_ms, 4);
    assert_eq!(log_config(&config, &[("retention.ms", "not checked")]).retention_ms, 3);
}

#[test]
fn a_topics_configs_are_checked_together() {
    let config = Config::default_single_node();
    let check = |configs: &[(&str, &str)]| {
        let configs: BTreeMap<_, _> = configs.iter().copied().collect();
        validate_topic_configs(&config.layers(), &configs).map_err(|errors| errors.to_string())
    };
    assert_eq!(
        check(&[("cleanup.policy", "compact,delete"), ("retention.ms", "-1"), ("segment.bytes", "1048576")]),
        Ok(())
    );
    assert!(check(&[("a", "b"), ("segment.ms", "0")]).unwrap_err().contains('\n'));
    assert!(check(&[("max.compaction.lag.ms", "5"), ("min.compaction.lag.ms", "6")]).is_err());
    assert!(check(&[("remote.storage.enable", "true")]).unwrap_err().contains("tiered storage"));
    assert!(
        check(&[("leader.replication.throttled.replicas", "0:1,x")])
            .unwrap_err()
            .contains("partition:broker")
    );
}

/// Another valid value for a key, different from its default.
fn other_value(key: &keys::Key) -> String {
    let special = match key.name {
        "advertised.listeners" => "PLAINTEXT://elsewhere:9092",
        "broker.rack" | "metadata.log.dir" | "log.dir" | "log.dirs" => "/elsewhere",
        "cordoned.log.dirs" => "*",
        "controller.listener.names" => "OTHER",
        "controller.quorum.bootstrap.servers" => "elsewhere:9093",
        "controller.quorum.voters" => "1@elsewhere:9093",
        "inter.broker.listener.name" => "CONTROLLER",
        "listener.security.protocol.map" => "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT",
        "listeners" => "PLAINTEXT://:9095",
        "max.connections.per.ip.overrides" => "127.0.0.1:3",
        "ottla.http.listener" => "127.0.0.1:9405",
        "ottla.admin.listener" => "127.0.0.1:9406",
        "ottla.admin.tls.ca.path" | "ottla.admin.tls.certificate.path" | "ottla.admin.tls.key.path" => {
            "/elsewhere"
        }
        "process.roles" => "broker",
        "security.inter.broker.protocol" => "SSL",
        "node.id" | "broker.id" => "7",
        "follower.replication.throttled.replicas" | "leader.replication.throttled.replicas" => "0:1",
        "broker.heartbeat.interval.ms" => "1999",
        _ => "",
    };
    if !special.is_empty() {
        return special.to_owned();
    }
    other_values(key).next().unwrap_or_else(|| panic!("no other value for {}", key.name)).to_owned()
}

/// Values that fit the key and are not its default; maybe none.
fn other_values(key: &keys::Key) -> impl Iterator<Item = &'static str> {
    let candidates = [
        "true",
        "false",
        "3",
        "5",
        "100",
        "0.25",
        "1048577",
        "8388609",
        "10000000",
        "200000000",
        "compact",
        "zstd",
        "LogAppendTime",
    ];
    let fits = |value: &&str| Some(*value) != key.default_text() && key.parse(value).is_ok();
    candidates.into_iter().filter(fits).collect::<Vec<_>>().into_iter()
}

/// What a configuration does, without the settings it comes from.
fn shown(config: Result<Config, String>) -> String {
    match config {
        Ok(config) => {
            let topic = TopicConfig::resolve(&config.layers(), &Nothing);
            format!("{:?} {topic:?}", Config { settings: Settings::default(), ..config })
        }
        Err(error) => error,
    }
}

#[test]
fn every_broker_key_in_use_changes_the_configuration() {
    let nothing = shown(load(&[]));
    for key in keys::all(Scope::Broker).filter(|key| key.visibility != keys::Visibility::DynamicOnly) {
        // It changes what the values of others say: `providers`.
        if key.status != Status::InUse || key.name == "config.providers" {
            continue;
        }
        let value = other_value(key);
        let mut settings = vec![(key.name, value.as_str())];
        if key.name == "broker.id" {
            settings.push(("node.id", "7"));
        }
        assert_ne!(shown(load(&settings)), nothing, "{} is said to be in use", key.name);
    }
}

#[test]
fn every_topic_key_in_use_changes_the_topics_configuration() {
    let config = Config::default_single_node();
    for key in keys::all(Scope::Topic).filter(|key| key.status == Status::InUse) {
        let value = other_value(key);
        let overrides = BTreeMap::from([(key.name, value.as_str())]);
        let changed = TopicConfig::resolve(&config.layers(), &overrides);
        assert_ne!(changed, TopicConfig::default(), "{} is said to be in use", key.name);
    }
}

/// Who reads what drives nothing, or what is not said to drive something, is wrong about one of the two.
#[test]
fn no_key_without_effect_changes_the_configuration() {
    let nothing = shown(load(&[]));
    let without_effect = |key: &&keys::Key| key.status == Status::NoEffect;
    for key in keys::all(Scope::Broker).filter(without_effect) {
        for value in other_values(key) {
            let config = load(&[(key.name, value)]);
            // What cannot be had is refused.
            if config.is_ok() {
                assert_eq!(shown(config), nothing, "{} = {value} is said to have no effect", key.name);
            }
        }
    }
    let config = Config::default_single_node();
    for key in keys::all(Scope::Topic).filter(without_effect) {
        for value in other_values(key) {
            let overrides = BTreeMap::from([(key.name, value)]);
            if validate_topic_configs(&config.layers(), &overrides).is_ok() {
                let changed = TopicConfig::resolve(&config.layers(), &overrides);
                assert_eq!(
                    changed,
                    TopicConfig::default(),
                    "{} = {value} is said to have no effect",
                    key.name
                );
            }
        }
    }
}

/// Whether `text` has a test of that name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_it = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").is_some_and(|rest| rest.starts_with(&format!("{name}(")))
    };
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines.iter().take(at).rev().take_while(|line| line.starts_with("#["));
        is_it(line)
            && above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_key_in_use_names_a_test_that_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for key in keys::all(Scope::Broker).chain(keys::all(Scope::Topic)) {
        if key.status == Status::NoEffect {
            assert_eq!(key.proof, "", "{}", key.name);
            continue;
        }
        let (file, name) = key.proof.split_once("::").unwrap_or_else(|| panic!("{} has no proof", key.name));
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(has_test(&text, name), "{}: there is no test {name} in {file}", key.name);
    }
}

#[test]
fn the_search_for_tests_finds_tests_alone() {
    let text = "#[test]\n#[ignore]\nfn one() {\n}\nfn two() {}\n#[tokio::test(flavor = \"x\")]\nasync fn three() {\n";
    assert!(has_test(text, "one") && has_test(text, "three"));
    assert!(!has_test(text, "two") && !has_test(text, "on") && !has_test(text, "four"));
}

#[test]
fn every_row_of_keys_in_use_is_a_key() {
    for line in include_str!("in_use.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let scope = if columns[0] == "topic" { Scope::Topic } else { Scope::Broker };
        assert!(columns.len() == 4 && keys::find(scope, columns[1]).is_some(), "{line}");
    }
}

use std::path::Path;

use ottla_log::TimestampMs;
use ottla_log::checkpoint::MetaProperties;
use ottla_log::disk::StdDisk;
use ottla_quorum::bootstrap;
use tempfile::TempDir;

use super::directories::{Directories, StorageError};
use super::format::{Controllers, FormatError, Plan, command, run};
use super::random_uuid;
use crate::cli::FormatArgs;
use crate::config::{Config, Sources};

const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";
const NOW: TimestampMs = TimestampMs(1_795_230_374_876);

/// Two log directories, the metadata log in the second.
fn node(root: &Path, changes: &[(&str, &str)]) -> Config {
    let dirs = format!("{},{}", root.join("a").display(), root.join("b").display());
    let metadata = root.join("b").display().to_string();
    let mut overrides = vec![("log.dirs", dirs.as_str()), ("metadata.log.dir", &metadata), ("node.id", "3")];
    overrides.extend_from_slice(changes);
    Config::from_overrides(&overrides).unwrap()
}

fn plan(config: &Config) -> Plan<'_> {
    Plan {
        config,
        cluster_id: CLUSTER.into(),
        controllers: Controllers::Standalone,
        release: None,
        features: Vec::new(),
        ignore_formatted: false,
    }
}

fn meta(dir: &Path) -> MetaProperties {
    MetaProperties::read(&StdDisk, dir).unwrap().expect("formatted")
}

fn format_args(root: &Path, properties: &str) -> FormatArgs {
    let config = root.join("server.properties");
    std::fs::write(&config, format!("{properties}log.dirs={}\n", root.join("a").display())).unwrap();
    FormatArgs {
        cluster_id: CLUSTER.into(),
        config,
        ignore_formatted: false,
        release_version: None,
        features: Vec::new(),
        standalone: false,
        no_initial_controllers: false,
        initial_controllers: None,
    }
}

const DYNAMIC: &str = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
    controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\n";
const STATIC: &str = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
    controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@localhost:9093\n";
const FIRST_SNAPSHOT: &str = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";

#[test]
fn formatting_writes_what_kafka_writes() {
    let root = TempDir::new().unwrap();
    let config = node(root.path(), &[]);
    let said = run(&plan(&config), &StdDisk, NOW).unwrap();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].ends_with("/a with metadata.version 4.3-IV0"), "{said:?}");
    let (a, b) = (meta(&root.path().join("a")), meta(&root.path().join("b")));
    assert_eq!((a.cluster_id.as_deref(), a.node_id), (Some(CLUSTER), Some(3)));
    assert_eq!((b.cluster_id.as_deref(), b.node_id), (Some(CLUSTER), Some(3)));
    assert_ne!(a.directory_id, b.directory_id);
    for dir in ["a", "b"] {
        let found =
            bootstrap::read(&StdDisk, &root.path().join(dir)).unwrap().expect("a bootstrap.checkpoint");
        assert_eq!(found.metadata_version().map(|version| version.level()), Some(30));
        assert_eq!(found.records.len(), 1, "no feature that does not work is finalised");
    }
    assert!(
        !root.path().join("a").join(FIRST_SNAPSHOT).exists(),
        "voters are only where the metadata log is"
    );
    assert!(root.path().join("b").join(FIRST_SNAPSHOT).exists());
}

#[test]
fn a_formatted_directory_is_not_formatted_again() {
    let root = TempDir::new().unwrap();
    let config = node(root.path(), &[]);
    run(&plan(&config), &StdDisk, NOW).unwrap();
    let before = meta(&root.path().join("a"));
    assert!(matches!(run(&plan(&config), &StdDisk, NOW), Err(FormatError::AlreadyFormatted(_))));
    let again = Plan { ignore_formatted: true, ..plan(&config) };
    assert_eq!(run(&again, &StdDisk, NOW).unwrap(), ["all log directories are formatted already"]);
    let other = Plan { ignore_formatted: true, cluster_id: "another".into(), ..plan(&config) };
    let error = run(&other, &StdDisk, NOW).unwrap_err().to_string();
    assert!(
        error.contains(CLUSTER) && error.contains("another") && error.contains("meta.properties"),
        "{error}"
    );
    assert_eq!(meta(&root.path().join("a")), before);
}

#[test]
fn it_has_to_be_said_who_the_first_controllers_are() {
    let root = TempDir::new().unwrap();
    let run = |properties: &str, change: &dyn Fn(&mut FormatArgs)| {
        let mut args = format_args(root.path(), properties);
        change(&mut args);
        command(&args, &StdDisk, NOW).map(|said| said.join("\n")).unwrap_or_else(|error| error.to_string())
    };
    assert!(
        run(DYNAMIC, &|_| {}).contains("--standalone, --initial-controllers or --no-initial-controllers")
    );
    assert!(run(STATIC, &|args| args.standalone = true).contains("controller.quorum.voters is set"));
    let initial = |list: &'static str| run(DYNAMIC, &|args| args.initial_controllers = Some(list.into()));
    assert!(initial("1@localhost:9093").contains("ID@HOST:PORT:DIRECTORY"));
    assert!(initial("2@localhost:9093:JEXY6aqzQY-32P5TStzaFg").contains("controller 1 is not in it"));
    assert!(initial("1@a:1:JEXY6aqzQY-32P5TStzaFg,2@b:1:JEXY6aqzQY-32P5TStzaFg").contains("of another"));
    assert!(!root.path().join("a").exists(), "nothing is written before everything is checked");
    assert!(initial("1@localhost:9093:JEXY6aqzQY-32P5TStzaFg").contains("formatted"));
    assert_eq!(meta(&root.path().join("a")).directory_id.as_deref(), Some("JEXY6aqzQY-32P5TStzaFg"));
    assert!(root.path().join("a").join(FIRST_SNAPSHOT).exists());
}

const BROKER: &str = "process.roles=broker\nnode.id=4\nlisteners=PLAINTEXT://:9092\n\
    controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093,other:9093\n";
const THREE: &str =
    "1@a:9093:JEXY6aqzQY-32P5TStzaFg,2@b:9093:CGYqMXzsS5ib6Q_kxO9xJw,3@[::1]:9093:nNT7LmHcSOKrhvlAJG7rRA";

#[test]
fn every_first_voter_and_every_broker_that_is_told_of_them_begins_with_the_same_voters() {
    let mut snapshots = Vec::new();
    for (properties, id) in
        [(DYNAMIC, 1), (DYNAMIC, 2), (DYNAMIC, 3), (BROKER, 4)].map(|(text, id)| (text.to_owned(), id))
    {
        let root = TempDir::new().unwrap();
        let properties = properties.replace("node.id=1", &format!("node.id={id}"));
        let initial = FormatArgs {
            initial_controllers: Some(THREE.into()),
            features: vec![("eligible.leader.replicas.version".into(), 1), ("kraft.version".into(), 1)],
            ..format_args(root.path(), &properties)
        };
        command(&initial, &StdDisk, NOW).unwrap();
        snapshots.push(std::fs::read(root.path().join("a").join(FIRST_SNAPSHOT)).unwrap());
        let own = meta(&root.path().join("a")).directory_id.expect("an id");
        assert_eq!(THREE.contains(&format!("{id}@")), THREE.contains(&own), "node {id} has {own}");
        let found =
            bootstrap::read(&StdDisk, &root.path().join("a")).unwrap().expect("a bootstrap.checkpoint");
        assert_eq!((found.records.len(), found.level("eligible.leader.replicas.version")), (2, 1));
    }
    assert!(snapshots.windows(2).all(|pair| pair[0] == pair[1]), "byte for byte, with the time of the test");

    let root = TempDir::new().unwrap();
    let args = FormatArgs {
        initial_controllers: Some(format!("4@d:1:{}", random_uuid().unwrap())),
        ..format_args(root.path(), BROKER)
    };
    assert!(command(&args, &StdDisk, NOW).unwrap_err().to_string().contains("has to be a controller"));
}

#[test]
fn static_voters_and_nodes_that_join_get_no_first_snapshot() {
    let three = STATIC.replace("1@localhost:9093", "1@localhost:9093,2@b:9093,3@c:9093");
    for (properties, joins) in
        [(STATIC, false), (&three, false), (DYNAMIC, true), (BROKER, false), (BROKER, true)]
    {
        let root = TempDir::new().unwrap();
        let args = FormatArgs { no_initial_controllers: joins, ..format_args(root.path(), properties) };
        command(&args, &StdDisk, NOW).unwrap();
        assert!(root.path().join("a/bootstrap.checkpoint").exists());
        assert!(!root.path().join("a").join(FIRST_SNAPSHOT).exists());
    }
}

#[test]
fn feature_levels_are_chosen_and_checked() {
    let root = TempDir::new().unwrap();
    let config = node(root.path(), &[]);
    let with = |release: Option<&str>, features: &[(&str, i16)], controllers: Controllers| {
        let features = features.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        let plan = Plan { release: release.map(str::to_owned), features, controllers, ..plan(&config) };
        run(&plan, &StdDisk, NOW).map(|_| ()).map_err(|error| error.to_string())
    };
    let standalone = || Controllers::Standalone;
    for (release, features, expected) in [
        (Some("4.4"), &[][..], "there is no release 4.4: the first is 3.3-IV3, the last 4.3-IV0"),
        (None, &[("metadata.version", 31)], "metadata.version"),
        (None, &[("share.version", 1)], "feature share.version is finalised at level 1"),
        (None, &[("no.such.feature", 1)], "no.such.feature"),
        (None, &[("kraft.version", 0)], "kraft.version=0 needs static voters"),
        (Some("4.2"), &[("metadata.version", 29)], "exclude each other"),
    ] {
        let error = with(release, features, standalone()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    assert!(
        with(None, &[("kraft.version", 1)], Controllers::Configured).unwrap_err().contains("dynamic voters")
    );
    assert!(!root.path().join("a").exists());
    with(Some("4.2-IV0"), &[("kraft.version", 1), ("transaction.version", 0)], standalone()).unwrap();
    let found = bootstrap::read(&StdDisk, &root.path().join("a")).unwrap().expect("a bootstrap.checkpoint");
    assert_eq!(found.metadata_version().map(|version| version.level()), Some(28));
}

#[test]
fn a_cluster_id_is_text_that_fits_everywhere() {
    let root = TempDir::new().unwrap();
    let config = node(root.path(), &[]);
    for bad in ["", "a b", "a\n", "ä", &"x".repeat(129)] {
        let result = run(&Plan { cluster_id: bad.into(), ..plan(&config) }, &StdDisk, NOW);
        assert!(matches!(result, Err(FormatError::ClusterId(_))), "{bad:?}");
    }
}

#[test]
fn a_node_formats_its_directories_only_if_it_was_told_no_roles() {
    let root = TempDir::new().unwrap();
    let config = node(root.path(), &[]);
    let opened = Directories::open(&config, &StdDisk, NOW).unwrap();
    assert_eq!(opened.all.len(), 2);
    assert_eq!(meta(&root.path().join("b")).directory_id, Some(opened.metadata_id.to_string()));
    let cluster_id = opened.cluster_id.clone();
    drop(opened);
    assert_eq!(Directories::open(&config, &StdDisk, NOW).unwrap().cluster_id, cluster_id);

    let other = TempDir::new().unwrap();
    let args = format_args(other.path(), DYNAMIC);
    let sources = Sources { file: Some(args.config.clone()), host_name: "host".into(), ..Sources::default() };
    let config = Config::load(&sources).unwrap().config;
    let error = Directories::open(&config, &StdDisk, NOW).unwrap_err();
    assert!(matches!(error, StorageError::NotFormatted(_)));
    assert!(error.to_string().contains("ottla-broker format --standalone"), "{error}");
    command(&FormatArgs { standalone: true, ..args }, &StdDisk, NOW).unwrap();
    assert_eq!(&*Directories::open(&config, &StdDisk, NOW).unwrap().cluster_id, CLUSTER);
}

#[test]
fn directories_of_others_are_refused() {
    let root = TempDir::new().unwrap();
    let config = node(root.path(), &[]);
    run(&plan(&config), &StdDisk, NOW).unwrap();
    let open = |config: &Config| {
        Directories::open(config, &StdDisk, NOW).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(open(&config), Ok(()));
    let error = open(&node(root.path(), &[("node.id", "4")])).unwrap_err();
    assert!(error.contains("node.id is 3, and this is node 4"), "{error}");
    let other = Config { cluster_id: Some("another".into()), ..node(root.path(), &[]) };
    assert!(open(&other).unwrap_err().contains("expected another"));
    let b = meta(&root.path().join("b"));
    b.write(&StdDisk, &root.path().join("a")).unwrap();
    assert!(open(&config).unwrap_err().contains("the same directory.id"));
    MetaProperties { cluster_id: None, ..b }.write(&StdDisk, &root.path().join("a")).unwrap();
    assert!(open(&config).unwrap_err().contains("cluster.id is missing"));
}

#[test]
fn a_directory_that_is_new_gets_its_id_only_when_the_others_proved_good() {
    let root = TempDir::new().unwrap();
    let config = node(root.path(), &[]);
    run(&plan(&config), &StdDisk, NOW).unwrap();
    let a = root.path().join("a");
    std::fs::remove_file(a.join("meta.properties")).unwrap();
    let mut opened = Directories::open(&config, &StdDisk, NOW).unwrap();
    assert_eq!(MetaProperties::read(&StdDisk, &a).unwrap(), None);
    opened.complete(&StdDisk).unwrap();
    assert_eq!(meta(&a).directory_id, Some(opened.all[0].id.to_string()));
    assert_eq!((meta(&a).cluster_id.as_deref(), meta(&a).node_id), (Some(CLUSTER), Some(3)));
    drop(opened);

    std::fs::remove_file(root.path().join("b/meta.properties")).unwrap();
    let error = Directories::open(&config, &StdDisk, NOW).unwrap_err();
    assert!(matches!(error, StorageError::NotFormatted(_)), "the metadata log has to be there: {error}");
}

#[test]
fn random_ids_are_different_and_of_version_4() {
    let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| random_uuid().unwrap()).collect();
    assert_eq!(ids.len(), 1000);
    for id in ids {
        assert_eq!((id.as_bytes()[6] >> 4, id.as_bytes()[8] >> 6), (4, 2));
        assert!(!id.to_string().starts_with('-'));
    }
}

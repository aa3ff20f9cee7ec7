use super::lines::decode;
use super::*;
use crate::disk::StdDisk;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn offsets_are_lines_of_topic_partition_offset() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(RECOVERY_POINT);
    let checkpoint = OffsetCheckpoint::new(Arc::new(StdDisk), path.clone());
    assert!(checkpoint.read().unwrap().is_empty());
    let offsets =
        BTreeMap::from([(("a".to_owned(), 3), Offset(7)), (("b-c".to_owned(), 0), Offset(1 << 40))]);
    checkpoint.write(&offsets).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\na 3 7\nb-c 0 1099511627776\n");
    assert_eq!(checkpoint.read().unwrap(), offsets);
    assert_eq!(StdDisk.list(dir.path()).unwrap(), [RECOVERY_POINT], "no temporary file is left");
}

#[test]
fn malformed_checkpoints_are_errors() {
    let number = |fields: &[&str]| fields.first()?.parse::<i64>().ok();
    for text in ["", "1\n0\n", "0\n", "0\nx\n", "0\n2\n5\n", "0\n0\n5\n", "0\n1\nx\n", "0\n-1\n", "0\n1\n\n"]
    {
        assert!(decode(text, number).is_err(), "{text:?}");
    }
    let mut state = 7u64;
    for _ in 0..5_000 {
        let mut raw = b"0\n2\ntopic 3 7\nother 0 99\n".to_vec();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(state >> 33).unwrap() % raw.len();
            raw[at] = u8::try_from(state >> 24 & 0x7f).unwrap();
        }
        let _ = decode(std::str::from_utf8(&raw).unwrap(), |fields| fields.get(2)?.parse::<i64>().ok());
    }
}

#[test]
fn clean_shutdown_names_the_broker_epoch() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(CleanShutdown::read(&StdDisk, dir.path()).unwrap(), None);
    CleanShutdown { broker_epoch: 42 }.write(&StdDisk, dir.path()).unwrap();
    assert_eq!(CleanShutdown::read(&StdDisk, dir.path()).unwrap(), Some(CleanShutdown { broker_epoch: 42 }));
    std::fs::write(dir.path().join(CleanShutdown::FILE), "").unwrap();
    assert_eq!(CleanShutdown::read(&StdDisk, dir.path()).unwrap(), Some(CleanShutdown { broker_epoch: -1 }));
    CleanShutdown::remove(&StdDisk, dir.path()).unwrap();
    assert_eq!(CleanShutdown::read(&StdDisk, dir.path()).unwrap(), None);
}

#[test]
fn meta_properties_round_trip_with_unknown_keys() {
    let dir = tempfile::tempdir().unwrap();
    let text = "#\n#Sat Nov 21\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\ndirectory.id=abc\\:d\nnode.id=1\nversion=1\nx.y: z\n";
    std::fs::write(dir.path().join(MetaProperties::FILE), text).unwrap();
    let read = MetaProperties::read(&StdDisk, dir.path()).unwrap().unwrap();
    assert_eq!((read.node_id, read.directory_id.as_deref()), (Some(1), Some("abc:d")));
    assert_eq!(read.others, BTreeMap::from([("x.y".to_owned(), "z".to_owned())]));
    read.write(&StdDisk, dir.path()).unwrap();
    assert_eq!(MetaProperties::read(&StdDisk, dir.path()).unwrap().unwrap(), read);
    std::fs::write(dir.path().join(MetaProperties::FILE), "version=9\n").unwrap();
    assert!(MetaProperties::read(&StdDisk, dir.path()).is_err());
}

#[test]
fn meta_properties_of_version_0_have_a_broker_id() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(MetaProperties::FILE), "version=0\nbroker.id=3\nnode.id=x\n").unwrap();
    let read = MetaProperties::read(&StdDisk, dir.path()).unwrap().unwrap();
    assert_eq!(read, MetaProperties { node_id: Some(3), ..MetaProperties::default() });
    read.write(&StdDisk, dir.path()).unwrap();
    assert_eq!(MetaProperties::read(&StdDisk, dir.path()).unwrap().unwrap(), read);
}

#[test]
fn meta_properties_are_written_in_ascii() {
    let dir = tempfile::tempdir().unwrap();
    let others = BTreeMap::from([("ä b".to_owned(), " 😀\t=".to_owned())]);
    let written = MetaProperties { others, ..MetaProperties::default() };
    written.write(&StdDisk, dir.path()).unwrap();
    assert!(std::fs::read(dir.path().join(MetaProperties::FILE)).unwrap().is_ascii());
    assert_eq!(MetaProperties::read(&StdDisk, dir.path()).unwrap().unwrap(), written);
}

#[test]
fn partition_metadata_round_trips() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = PartitionMetadata { topic_id: "nDsUiWNBTjSxSAuoUPvWQw".into() };
    metadata.write(&StdDisk, dir.path()).unwrap();
    assert_eq!(PartitionMetadata::read(&StdDisk, dir.path()).unwrap(), Some(metadata));
    std::fs::write(dir.path().join(PartitionMetadata::FILE), "").unwrap();
    assert_eq!(PartitionMetadata::read(&StdDisk, dir.path()).unwrap(), None, "as a power cut may leave it");
    for text in ["version: 1\ntopic_id: x\n", "version: 0\n", "version: 0\ntopic_id:\n"] {
        std::fs::write(dir.path().join(PartitionMetadata::FILE), text).unwrap();
        assert!(PartitionMetadata::read(&StdDisk, dir.path()).is_err(), "{text:?}");
    }
}

//! Apache's own tool reads what we write: `DumpLogSegments`, deep iteration and index checks.
//!
//! Runs if `OTTLA_KAFKA_LIBS` names the directory with Kafka's jars; then java must be there too. CI sets it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use bytes::Bytes;
use ottla_log::cleaner::{Buffers, LogAccess, Unhurried};
use ottla_log::compression::{Compression, compress};
use ottla_log::disk::StdDisk;
use ottla_log::{
    CompressionLevels, CompressionType, LeaderEpoch, Log, LogConfig, Opening, Origin, TimestampMs,
};
use ottla_wire::batch::{BatchBuilder, BatchError, Record, TimestampType};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn libs() -> Option<PathBuf> {
    let libs = PathBuf::from(std::env::var_os("OTTLA_KAFKA_LIBS")?);
    assert!(libs.is_dir(), "OTTLA_KAFKA_LIBS is no directory: {}", libs.display());
    Some(libs)
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 10_000,
        index_interval_bytes: 1000,
        timestamp_before_max_ms: i64::MAX,
        ..LogConfig::default()
    }
}

fn open(dir: &Path, config: LogConfig, clean: bool) -> Log {
    let opening = Opening { clean, ..Opening::default() };
    Log::open(dir.to_path_buf(), config, Arc::new(StdDisk), opening, NOW).unwrap()
}

fn batch(i: i64, codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(4000 + i % 3, 0, i32::try_from(i / 3 * 7).unwrap());
    for j in 0..7 {
        builder.push(Record {
            timestamp: NOW.0 + i * 10 - j,
            key: (j % 2 == 0).then(|| format!("key-{i}").into()),
            value: Some(format!("value-{i}-{j}-{}", "y".repeat(200)).into()),
            headers: vec![("h".into(), None), ("i".into(), Some(Bytes::from_static(b"1")))],
        });
    }
    let levels = CompressionLevels::default();
    builder
        .build_with(codec, |body| compress(codec, levels, body).map_err(|_| BatchError::Build("codec")))
        .unwrap()
}

/// Every codec, kept and rebuilt; both kinds of timestamps; a commit and an abort marker; several epochs.
fn fill(log: &mut Log) {
    let mut i = 0;
    for target in [
        None,
        Some(Compression::None),
        Some(Compression::Gzip),
        Some(Compression::Snappy),
        Some(Compression::Lz4),
        Some(Compression::Zstd),
    ] {
        for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            log.update_config(LogConfig {
                compression_type: target.map_or(CompressionType::Producer, CompressionType::Fixed),
                timestamp_type,
                ..config()
            });
            for codec in Compression::ALL.into_iter().cycle().take(15) {
                log.append_as_leader(
                    batch(i, codec),
                    LeaderEpoch(i32::try_from(i / 40).unwrap()),
                    Origin::Client,
                    NOW,
                )
                .unwrap();
                i += 1;
            }
        }
    }
    fill_transactions(log);
}

/// One that is committed and one that is aborted.
fn fill_transactions(log: &mut Log) {
    let epoch = log.last_epoch().unwrap();
    for commit in [true, false] {
        let mut data = BatchBuilder::new(0).producer(7000 + i64::from(commit), 0, 0).transactional(true);
        data.push(Record {
            timestamp: NOW.0,
            key: Some("t".into()),
            value: Some(Bytes::from_static(b"t")),
            ..Record::default()
        });
        log.append_as_leader(data.build(), epoch, Origin::Client, NOW).unwrap();
        let mut marker =
            BatchBuilder::new(0).producer(7000 + i64::from(commit), 0, -1).transactional(true).control(true);
        let kind = i16::from(commit).to_be_bytes();
        marker.push(Record {
            timestamp: NOW.0,
            key: Some(Bytes::copy_from_slice(&[&[0, 0], &kind[..]].concat())),
            value: Some(Bytes::from_static(&[0, 0, 0, 0, 0, 9])),
            headers: vec![],
        });
        log.append_as_leader(marker.build(), epoch, Origin::Coordinator, NOW).unwrap();
    }
}

fn dump(libs: &Path, dir: &Path, extensions: &[&str], options: &[&str]) -> String {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| extensions.iter().any(|e| path.extension().is_some_and(|x| x == *e)))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {extensions:?} in {}", dir.display());
    let output = Command::new("java")
        .args(["-Xmx256M", "-cp", &format!("{}/*", libs.display()), "org.apache.kafka.tools.DumpLogSegments"])
        .args(options)
        .args(["--files", &files.join(",")])
        .output()
        .expect("java runs when OTTLA_KAFKA_LIBS is set");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for sign in [
        "Exception",
        "Found timestamp mismatch",
        "indexed offsets are not found",
        "invalid bytes at the end",
        "Found out of order",
        "Mismatches in",
        "corrupt",
        "isvalid: false",
        "missing",
    ] {
        assert!(!text.contains(sign) && !errors.contains(sign), "{sign}: {text}\n{errors}");
    }
    text
}

#[test]
fn apache_reads_our_segments() {
    let Some(libs) = libs() else {
        eprintln!("not run: OTTLA_KAFKA_LIBS is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("topic-0");
    let mut log = open(&path, config(), false);
    fill(&mut log);
    let end = log.end_offset().0;
    assert!(log.segment_count() > 5, "{} segments", log.segment_count());
    log.close_clean(NOW).unwrap();

    let records = dump(&libs, &path, &["log"], &["--deep-iteration", "--print-data-log"]);
    for offset in [0, end / 2, end - 1] {
        assert!(records.contains(&format!("offset: {offset} ")), "offset {offset} is not listed");
    }
    let listed = records.lines().filter(|line| line.trim_start().starts_with("| offset:")).count();
    assert_eq!(i64::try_from(listed).unwrap(), end, "{}", records.get(..2000).unwrap_or(&records));
    for sign in [
        "compresscodec: gzip",
        "compresscodec: snappy",
        "compresscodec: lz4",
        "compresscodec: zstd",
        "endTxnMarker: ABORT",
        "endTxnMarker: COMMIT",
        "LogAppendTime",
        "CreateTime",
    ] {
        assert!(records.contains(sign), "{sign} does not occur");
    }
    let sane = dump(&libs, &path, &["index"], &["--index-sanity-check"]);
    assert!(sane.contains("passed sanity check"), "{sane}");
    let timed = dump(&libs, &path, &["index", "timeindex"], &[]);
    assert!(timed.contains("timestamp:"), "{timed}");
    let producers = dump(&libs, &path, &["snapshot"], &[]);
    assert!(producers.contains("producerId: 4000"), "{producers}");
    let aborted = dump(&libs, &path, &["txnindex"], &[]);
    assert!(aborted.contains("producerId: 7000"), "{aborted}");
}

/// The log's own lock is not needed here.
struct Alone(std::cell::RefCell<Log>);

impl LogAccess for Alone {
    fn with_log<R>(&self, work: impl FnOnce(&mut Log) -> R) -> Option<R> {
        Some(work(&mut self.0.borrow_mut()))
    }
}

fn keyed(i: i64, codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(4000 + i % 3, 0, i32::try_from(i / 3 * 7).unwrap());
    for j in 0..7 {
        builder.push(Record {
            timestamp: NOW.0 + i * 10 - j,
            key: Some(format!("key-{}", (i * 7 + j) % 31).into()),
            value: (j != 3).then(|| format!("value-{i}-{j}-{}", "y".repeat(200)).into()),
            headers: vec![("h".into(), None)],
        });
    }
    let levels = CompressionLevels::default();
    let compress = |body: &[u8]| compress(codec, levels, body).map_err(|_| BatchError::Build("codec"));
    builder.build_with(codec, compress).unwrap()
}

#[test]
fn apache_reads_what_the_cleaner_leaves() {
    let Some(libs) = libs() else {
        eprintln!("not run: OTTLA_KAFKA_LIBS is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("topic-0");
    let compacted = LogConfig { compact: true, delete_retention_ms: 1000, ..config() };
    let mut log = open(&path, compacted, false);
    // Of this one nothing is left but its producer's sequence.
    let mut once = BatchBuilder::new(0).producer(4999, 0, 0);
    once.push(Record {
        timestamp: NOW.0,
        key: Some("key-1".into()),
        value: Some("v".into()),
        headers: vec![],
    });
    log.append_as_leader(once.build(), LeaderEpoch(0), Origin::Client, NOW).unwrap();
    for i in 0..150 {
        let codec = Compression::ALL[usize::try_from(i).unwrap() % Compression::ALL.len()];
        log.append_as_leader(keyed(i, codec), LeaderEpoch(0), Origin::Client, NOW).unwrap();
    }
    fill_transactions(&mut log);
    log.roll(NOW).unwrap();
    log.append_as_leader(keyed(150, Compression::None), LeaderEpoch(1), Origin::Client, NOW).unwrap();
    let before = log.segment_count();
    let log = Alone(std::cell::RefCell::new(log));
    // The first round sets the tombstones' horizon, the last one takes them.
    for now in [NOW.0, NOW.0 + 500, NOW.0 + 1000] {
        let cleaning = {
            let log = log.0.borrow();
            let cleanable = log.cleanable(None, log.end_offset(), TimestampMs(now)).unwrap();
            log.cleaning(&cleanable).unwrap()
        };
        cleaning.run(&Buffers::default(), &mut Unhurried, &log, TimestampMs(now)).unwrap();
        let records = dump(&libs, &path, &["log"], &["--deep-iteration", "--print-data-log"]);
        let listed = records.lines().filter(|line| line.contains("| offset:") && line.contains("key: key-"));
        let tombstones = records.lines().filter(|line| line.contains("valueSize: -1")).count();
        assert!(listed.count() < 60, "{}", records.get(..2000).unwrap_or(&records));
        // One tombstone is in the active segment.
        assert_eq!(tombstones > 1, now < NOW.0 + 1000, "at {now}");
        // Other records of such a batch keep it.
        assert!(records.contains("deleteHorizonMs: OptionalLong["), "at {now}");
        for sign in ["endTxnMarker: ABORT", "endTxnMarker: COMMIT", "count: 0 "] {
            assert!(records.contains(sign), "{sign} does not occur");
        }
    }
    let log = log.0.into_inner();
    assert!(log.segment_count() < before);
    log.close_clean(NOW).unwrap();
    let sane = dump(&libs, &path, &["index"], &["--index-sanity-check"]);
    assert!(sane.contains("passed sanity check"), "{sane}");
    dump(&libs, &path, &["index", "timeindex"], &[]);
    let aborted = dump(&libs, &path, &["txnindex"], &[]);
    assert!(aborted.contains("producerId: 7000"), "{aborted}");
}

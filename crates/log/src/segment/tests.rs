use super::*;
use crate::index::{OffsetEntry, TimeEntry};
use ottla_wire::batch::{BatchBuilder, Record};

impl Segment {
    /// Both indexes hold what the batches in the file ask for; time entries that closing added may lie between.
    pub(crate) fn check_indexes(&self, config: &LogConfig) {
        let (mut offsets, mut times) = (Vec::new(), Vec::new());
        let (mut since, mut max) = (0, MaxTimestamp { timestamp: TimestampMs::NONE, offset: self.base });
        let mut walk = self.walk_from(0).unwrap();
        let mut all = Vec::new();
        while let Some(batch) = walk.next().unwrap() {
            let last = Offset(batch.header.last_offset());
            if batch.header.max_timestamp > max.timestamp.0 {
                max = MaxTimestamp { timestamp: TimestampMs(batch.header.max_timestamp), offset: last };
            }
            let time =
                TimeEntry { timestamp: max.timestamp.0, relative_offset: self.relative(max.offset).unwrap() };
            all.push(time);
            if since > u64::from(config.index_interval_bytes) {
                let position = i32::try_from(batch.position).unwrap();
                offsets.push(OffsetEntry { relative_offset: self.relative(last).unwrap(), position });
                times.push(time);
                since = 0;
            }
            since += u64::try_from(batch.header.size_in_bytes()).unwrap();
        }
        times.dedup();
        let base = self.base;
        assert_eq!(self.offset_index.all(), offsets, "offset index of {base}");
        let actual = self.time_index.all();
        assert!(actual.is_sorted_by(|a, b| a.timestamp < b.timestamp), "{actual:?}");
        assert!(
            times.iter().all(|time| actual.contains(time)),
            "time index of {base}: {actual:?} lacks some of {times:?}"
        );
        assert!(
            actual.iter().all(|time| all.contains(time)),
            "time index of {base}: {actual:?} has more than {all:?}"
        );
        assert_eq!(self.max_timestamp().unwrap(), max);
    }
}

fn info(raw: &[u8]) -> BatchInfo {
    let header = ottla_wire::batch::BatchHeader::parse(raw).unwrap();
    BatchInfo {
        base_offset: Offset(header.base_offset),
        last_offset: Offset(header.last_offset()),
        max_timestamp: TimestampMs(header.max_timestamp),
        size: raw.len(),
    }
}

#[test]
fn random_damage_never_panics_and_leaves_a_readable_segment() {
    let config = LogConfig { index_interval_bytes: 100, ..LogConfig::default() };
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::StdDisk);
    let mut rng = crate::testing::Rng::new(42);
    for _ in 0..300 {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(&disk, dir.path(), Offset(5), &config, TimestampMs(0)).unwrap();
        for i in 0..20 {
            let mut builder = BatchBuilder::new(5 + i);
            builder.push(Record { timestamp: i, value: Some(vec![1; 50].into()), ..Record::default() });
            let raw = builder.build();
            segment.append(&[IoSlice::new(&raw)], &[info(&raw)], &config).unwrap();
        }
        segment.finish().unwrap();
        drop(segment);
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let mut raw = std::fs::read(&path).unwrap();
            for _ in 0..rng.below(4) {
                let at = rng.below(raw.len());
                if let Some(byte) = raw.get_mut(at) {
                    *byte = u8::try_from(rng.below(256)).unwrap();
                }
            }
            std::fs::write(&path, raw).unwrap();
        }
        let log = dir.path().join(names::file_name(Offset(5), names::LOG));
        let size = disk.len(&log).unwrap().unwrap();
        let mut segment = Segment::existing(&disk, dir.path(), Offset(5), size, TimestampMs(0));
        for offset in 0..30 {
            let _ = segment.find(Offset(offset));
            let _ = segment.find_time(TimestampMs(offset), Offset(5));
        }
        let _ = (segment.last_batch(), segment.max_timestamp(), segment.txn_index().read());
        let recovered = segment.recover(&config, true, |_, _| Ok(())).unwrap();
        segment.check_indexes(&config);
        assert_eq!(
            segment.last_batch().unwrap().map_or(5, |last| last.header.next_offset()),
            recovered.end.0
        );
    }
}

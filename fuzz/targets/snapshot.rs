//! A snapshot of the metadata log. What is read can be written; that, read again, is written the same. The first byte has
//! flags: 1 asks for right checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::{Scratch, flags, repair_checksums};
use ottla_log::disk::StdDisk;
use ottla_quorum::snapshot::{self, Snapshot, SnapshotId};
use ottla_wire::Str;

const ID: SnapshotId = SnapshotId { end_offset: 33, epoch: 1 };
const NOW: i64 = 1_700_000_000_000;

fuzz_target!(|data: &[u8]| {
    let Some((flags, data)) = flags(data) else { return };
    let mut data = data.to_vec();
    if flags & 1 == 1 {
        repair_checksums(&mut data);
    }
    let scratch = Scratch::new();
    scratch.file(&ID.file_name(), &data);
    let Ok(first) = read(&scratch) else { return };
    assert_eq!(first.image.provenance.offset, ID.end_offset - 1);
    // A record that an old metadata.version cannot express is refused.
    let Some(written) = write(&scratch, &first) else { return };
    let second = read(&scratch).expect("what was written can be read");
    let again = write(&scratch, &second).expect("what was read can be written");
    assert!(written == again, "a snapshot of a snapshot is another one");
});

fn read(scratch: &Scratch) -> Result<Snapshot, snapshot::SnapshotError> {
    snapshot::read(&StdDisk, &scratch.path().join(ID.file_name()), ID, &Str::from("cluster"))
}

fn write(scratch: &Scratch, snapshot: &Snapshot) -> Option<Vec<u8>> {
    let id =
        snapshot::write(&StdDisk, scratch.path(), &snapshot.image, snapshot.voters.as_ref(), NOW).ok()?;
    assert_eq!(id, ID);
    Some(std::fs::read(scratch.path().join(ID.file_name())).expect("it was written"))
}

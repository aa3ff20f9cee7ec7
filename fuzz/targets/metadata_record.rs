//! A value of the metadata log, frame and all. Both readers of frames agree; the record can be applied to an image.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_quorum::{MetadataImage, VersionedRecord};
use ottla_wire::records::decode_frame;
use ottla_wire::registry::{Kind, SCHEMAS};

fuzz_target!(|data: &[u8]| {
    let value = Bytes::copy_from_slice(data);
    if let Ok(frame) = decode_frame(value.clone()) {
        let known = |kind, key| kind == Kind::MetadataRecord && key == Some(frame.api_key);
        for schema in SCHEMAS.iter().filter(|schema| known(schema.kind, schema.key)) {
            ottla_fuzz::check(schema, frame.body.clone(), frame.version);
        }
    }
    let Ok(record) = VersionedRecord::decode(value) else { return };
    if let Ok(written) = record.encode() {
        let again = VersionedRecord::decode(written.clone()).expect("what was written can be read");
        assert_eq!(again.encode().expect("what was read can be written"), written);
    }
    let mut image = MetadataImage::default();
    let before = image.clone();
    if image.apply(&record.record).is_err() {
        assert!(image == before, "a record that does not fit changes nothing");
    }
});

//! A value of the metadata log, frame and all.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_wire::records::decode_frame;
use ottla_wire::registry::{Kind, SCHEMAS};

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = decode_frame(Bytes::copy_from_slice(data)) else { return };
    let known = |kind, key| kind == Kind::MetadataRecord && key == Some(frame.api_key);
    for schema in SCHEMAS.iter().filter(|schema| known(schema.kind, schema.key)) {
        assert!(schema.settles(frame.body.clone(), frame.version));
    }
});

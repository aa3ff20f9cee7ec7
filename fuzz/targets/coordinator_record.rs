//! A record in a coordinator's topic: key (after its length), then value. Each as every type that it may be, and both
//! together as the group coordinator loads them.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_broker::group::record::GroupRecord;
use ottla_wire::records::split_prefix;
use ottla_wire::registry::{Kind, SCHEMAS};

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let key = Bytes::copy_from_slice(ottla_fuzz::piece(&mut rest));
    let value = Bytes::copy_from_slice(rest);
    if let Ok((kind, body)) = split_prefix(key.clone()) {
        for schema in SCHEMAS.iter().filter(|schema| schema.kind == Kind::CoordinatorKey) {
            if schema.key == Some(kind) {
                ottla_fuzz::check(schema, body.clone(), 0);
            }
        }
    }
    if let Ok((version, body)) = split_prefix(value.clone()) {
        for schema in SCHEMAS.iter().filter(|schema| schema.kind == Kind::CoordinatorValue) {
            ottla_fuzz::check(schema, body.clone(), version);
        }
    }
    for value in [Some(value), None] {
        let Ok(record) = GroupRecord::decode(Some(key.clone()), value) else { continue };
        if let (Ok((key, value)), false) = (record.encode(), record == GroupRecord::Other) {
            assert_eq!(GroupRecord::decode(Some(key), value).expect("what was written can be read"), record);
        }
    }
});

//! Key or value of a record in a coordinator's topic, as each of the types that it may be.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_wire::records::split_prefix;
use ottla_wire::registry::{Kind, SCHEMAS};

fuzz_target!(|data: &[u8]| {
    let Ok((prefix, body)) = split_prefix(Bytes::copy_from_slice(data)) else { return };
    for schema in SCHEMAS {
        match schema.kind {
            Kind::CoordinatorKey if schema.key == Some(prefix) => assert!(schema.settles(body.clone(), 0)),
            Kind::CoordinatorValue => assert!(schema.settles(body.clone(), prefix)),
            _ => {}
        }
    }
});

//! A frame from a client: header, and the body that key and version promise.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_wire::registry::Schema;
use ottla_wire::{ApiKey, decode_request_header};

fuzz_target!(|data: &[u8]| {
    let Ok((header, mut body)) = decode_request_header(Bytes::copy_from_slice(data)) else { return };
    let Ok(key) = ApiKey::try_from(header.request_api_key) else { return };
    let schema = Schema::by_name(&format!("{key}Request")).expect("every key has a request");
    ottla_fuzz::check(schema, body.rest(), header.request_api_version);
});

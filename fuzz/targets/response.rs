//! What another broker answers: key and version (a byte each) are known, the body is not to be trusted.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla_wire::ApiKey;
use ottla_wire::registry::Schema;

fuzz_target!(|data: &[u8]| {
    let [key, version, body @ ..] = data else { return };
    let Ok(key) = ApiKey::try_from(i16::from(*key)) else { return };
    let schema = Schema::by_name(&format!("{key}Response")).expect("every key has a response");
    ottla_fuzz::check(schema, Bytes::copy_from_slice(body), i16::from(*version));
});

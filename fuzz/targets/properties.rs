//! `server.properties` and `meta.properties`. Nothing grows beyond the file, a node's configuration is accepted or refused with a
//! reason, and an identity that is written is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_config::{Config, Sources};
use ottla_fuzz::Scratch;
use ottla_log::checkpoint::MetaProperties;
use ottla_log::disk::StdDisk;
use ottla_log::properties::parse;

fuzz_target!(|data: &[u8]| {
    let scratch = Scratch::new();
    if let Ok(found) = parse(data) {
        let size: usize = found.iter().map(|property| property.key.len() + property.value.len()).sum();
        assert!(size <= data.len(), "{size} bytes from {}", data.len());
        assert!(found.iter().all(|property| !property.key.is_empty()));
        load(&scratch, data);
    }
    scratch.file(MetaProperties::FILE, data);
    let read = || MetaProperties::read(&StdDisk, scratch.path());
    if let Ok(Some(identity)) = read() {
        identity.write(&StdDisk, scratch.path()).expect("it can be written");
        let again = read().expect("what was written can be read").expect("the file is there");
        assert_eq!(again, identity);
    }
});

fn load(scratch: &Scratch, data: &[u8]) {
    let file = Some(scratch.file("server.properties", data));
    match Config::load(&Sources { file, host_name: "localhost".into(), ..Sources::default() }) {
        Ok(loaded) => assert!(!loaded.config.listeners.is_empty() && !loaded.config.log_dirs.is_empty()),
        Err(errors) => assert!(!errors.0.is_empty() && errors.0.iter().all(|e| !e.to_string().is_empty())),
    }
}

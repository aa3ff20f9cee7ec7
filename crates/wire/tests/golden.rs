//! What Apache Kafka's own classes wrote is read and written again, byte for byte: every message, every version.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test may panic"
)]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::goldens;
use ottla_wire::registry::SCHEMAS;
use ottla_wire::{ApiKey, EncodeFault, ErrorCode};

#[test]
fn every_golden_is_read_and_written_again() {
    for golden in goldens() {
        for version in golden.versions.clone() {
            let again = golden.schema.recode(golden.bytes.clone(), version, version);
            let again = again.unwrap_or_else(|error| panic!("{golden:?}: {error}"));
            let again = again.unwrap_or_else(|error| panic!("{golden:?}: {error}"));
            assert!(again == golden.bytes, "{golden:?} version {version} became {again:02x?}");
        }
    }
}

#[test]
fn defaults_are_those_of_kafka() {
    for golden in goldens().filter(|golden| golden.variant == "default") {
        for version in golden.versions.clone() {
            assert_eq!(
                golden.schema.default_bytes(version),
                Ok(golden.bytes.clone()),
                "{golden:?} {version}"
            );
        }
    }
}

#[test]
fn there_are_goldens_for_every_message_and_version() {
    let covered: BTreeSet<(&str, i16)> =
        goldens().flat_map(|golden| golden.versions.clone().map(move |v| (golden.schema.name, v))).collect();
    for schema in SCHEMAS {
        for version in schema.versions.clone() {
            assert!(covered.contains(&(schema.name, version)), "{} {version}", schema.name);
        }
    }
    assert!(SCHEMAS.len() > 250);
    for variant in ["default", "filled", "nulls", "edge", "tagged"] {
        assert!(goldens().any(|golden| golden.variant == variant), "{variant}");
    }
}

/// What one version wrote, the others write too or refuse by name.
#[test]
fn messages_move_between_versions() {
    let (mut written, mut refused) = (0, 0);
    for golden in goldens() {
        for version in golden.schema.versions.clone() {
            match golden.schema.recode(golden.bytes.clone(), *golden.versions.end(), version).unwrap() {
                Ok(bytes) => {
                    golden.schema.decode(bytes, version).unwrap();
                    written += 1;
                }
                Err(error) => {
                    let lost = matches!(error.fault, EncodeFault::NotInVersion(_) | EncodeFault::Null(_));
                    assert!(lost, "{golden:?} at {version}: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(written > 1000 && refused > 100, "{written} written, {refused} refused");
}

#[test]
fn versions_outside_of_the_schema_are_refused() {
    for schema in SCHEMAS {
        for version in [schema.versions.start() - 1, schema.versions.end() + 1] {
            assert!(schema.decode(Bytes::new(), version).is_err());
            assert!(schema.default_bytes(version).is_err());
        }
    }
}

#[test]
fn error_codes_are_those_of_kafka() {
    let ours =
        ErrorCode::ALL.iter().map(|code| format!("{} {} {}", code.code(), code.name(), code.is_retriable()));
    assert_eq!(ours.collect::<Vec<_>>(), include_str!("../golden/errors.txt").lines().collect::<Vec<_>>());
    for code in ErrorCode::ALL {
        assert_eq!(ErrorCode::try_from(code.code()), Ok(*code));
        assert!(!code.to_string().is_empty());
    }
    assert!(ErrorCode::try_from(-2).is_err());
}

#[test]
fn api_keys_are_those_of_kafka() {
    let ours = ApiKey::ALL.iter().map(|key| {
        let versions = key.min_version()..=key.latest_version();
        let headers = versions
            .map(|v| format!(" {}/{}", key.request_header_version(v), key.response_header_version(v)));
        let (min, latest, max) = (key.min_version(), key.latest_version(), key.max_version());
        format!("{} {key} {min} {latest} {max}{}", key.code(), headers.collect::<String>())
    });
    assert_eq!(ours.collect::<Vec<_>>(), include_str!("../golden/api-keys.txt").lines().collect::<Vec<_>>());
    assert_eq!(ApiKey::try_from(1), Ok(ApiKey::Fetch));
    assert!(ApiKey::try_from(4).is_err());
    assert_eq!((ApiKey::Produce.advertised_min(), ApiKey::Fetch.advertised_min()), (0, 4));
}

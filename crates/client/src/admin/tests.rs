//! What counts as an identity, and how answers look on the wire.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::UnixTime;
use serde_json::json;

use super::{Blocker, Cost, Identity, IdentityError, Permit, Purpose};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key for the host `node`, to answer or to ask.
fn issue(by: &Authority, usage: ExtendedKeyUsagePurpose) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["node".to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

/// Days after the beginning of 2026.
fn day(days: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs((20_454 + days) * 86_400))
}

fn read((certificate, key): &(String, String), authorities: &str) -> Result<Identity, IdentityError> {
    Identity::read(certificate.as_bytes(), key.as_bytes(), authorities.as_bytes())
}

#[test]
fn a_certificate_holds_in_its_time_and_for_its_purpose_alone() {
    let (ours, other) = (authority(), authority());
    let made = issue(&ours, ExtendedKeyUsagePurpose::ServerAuth);
    let identity = read(&made, &ours.pem()).unwrap();
    assert!(identity.check(Purpose::Server, day(40)).is_ok());
    for (purpose, at) in [(Purpose::Client, day(40)), (Purpose::Server, day(100))] {
        assert!(identity.check(purpose, at).is_err(), "{purpose:?} {at:?}");
    }
    assert!(read(&made, &other.pem()).unwrap().check(Purpose::Server, day(40)).is_err());
    let both = other.pem() + &ours.pem();
    assert!(read(&made, &both).unwrap().check(Purpose::Server, day(40)).is_ok());
}

#[test]
fn what_is_missing_or_does_not_fit_is_no_identity() {
    let ours = authority();
    let made = issue(&ours, ExtendedKeyUsagePurpose::ServerAuth);
    let other = issue(&ours, ExtendedKeyUsagePurpose::ServerAuth);
    let mixed = (made.0.clone(), other.1);
    assert!(matches!(read(&mixed, &ours.pem()), Err(IdentityError::Key(_))));
    let empty = (String::new(), made.1.clone());
    assert!(matches!(read(&empty, &ours.pem()), Err(IdentityError::Unreadable { what: "certificate", .. })));
    let damaged = (made.0.clone(), made.1.replace("BEGIN", "BEGUN"));
    assert!(matches!(read(&damaged, &ours.pem()), Err(IdentityError::Unreadable { what: "key", .. })));
    assert!(matches!(read(&made, ""), Err(IdentityError::Unreadable { what: "authorities", .. })));
}

#[test]
fn answers_look_like_this() {
    let granted = Permit::Granted {
        for_ms: 30_000,
        cost: Cost { partitions: vec!["t-0".to_owned()], majority: false },
    };
    let blockers = vec![
        Blocker::BelowMinIsr { partition: "t-1".to_owned(), in_sync: vec![3], min_isr: 2 },
        Blocker::NewController { for_ms: 5 },
    ];
    for (answer, text) in [
        (
            granted,
            json!({"verdict": "granted", "forMs": 30_000, "cost": {"partitions": ["t-0"], "majority": false}}),
        ),
        (Permit::NotNeeded, json!({"verdict": "not-needed"})),
        (
            Permit::Refused { blockers, count: 2 },
            json!({"verdict": "refused", "count": 2, "blockers": [
                {"reason": "below-min-isr", "partition": "t-1", "inSync": [3], "minIsr": 2},
                {"reason": "new-controller", "forMs": 5},
            ]}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&answer).unwrap(), text);
        assert_eq!(serde_json::from_value::<Permit>(text).unwrap(), answer);
    }
}

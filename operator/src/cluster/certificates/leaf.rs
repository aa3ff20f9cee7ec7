//! A certificate that signs nothing: a node's, or the operator's.

use super::{BACKDATED, DAY, Facts, IssueError, authority::Authority, bytes, date, later, names, text};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use ottla_client::admin::{Identity, Purpose, UnixTime};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// How long one lasts, in seconds.
pub const LIFE: i64 = 90 * DAY;

/// What a certificate is to be.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Name of its Secret.
    pub secret: String,
    /// Whose it is, for people.
    pub subject: String,
    /// The DNS names that it is for.
    pub names: BTreeSet<String>,
    /// To answer or to ask.
    pub purpose: Purpose,
    /// Labels of its Secret.
    pub labels: BTreeMap<String, String>,
}

/// Why a certificate is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// There is none.
    Missing,
    /// It cannot be used, or the authority that signs did not sign it.
    Invalid(String),
    /// Two thirds of its time are over.
    Old,
    /// It is for other names.
    Names,
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is none"),
            Self::Invalid(why) => f.write_str(why),
            Self::Old => f.write_str("two thirds of its time are over"),
            Self::Names => f.write_str("it is for other names"),
        }
    }
}

/// Why it is to be made now; `None` while it holds.
pub fn due(secret: Option<&Secret>, leaf: &Leaf, authority: &Authority, now: Timestamp) -> Option<Due> {
    let Some(secret) = secret else { return Some(Due::Missing) };
    let part = |key| text(secret, key).unwrap_or_default();
    let (certificate, key) = (part(names::CERTIFICATE_FILE), part(names::KEY_FILE));
    let signer = authority.current.certificate.as_bytes();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)));
    let read = Identity::read(certificate.as_bytes(), key.as_bytes(), signer);
    if let Err(why) = read.and_then(|identity| identity.check(leaf.purpose, at)) {
        return Some(Due::Invalid(why.to_string()));
    }
    let Some(facts) = Facts::read(certificate) else {
        return Some(Due::Invalid("it cannot be read".to_owned()));
    };
    if now >= facts.renewed_at() {
        return Some(Due::Old);
    }
    (facts.names != leaf.names).then_some(Due::Names)
}

/// The Secret's data with the authorities that count now; `None` if it has them.
pub fn with_authorities(
    secret: Option<&Secret>,
    authority: &Authority,
) -> Option<BTreeMap<String, ByteString>> {
    let secret = secret?;
    let trusted = authority.trusted();
    if text(secret, names::AUTHORITIES_FILE) == Some(trusted.as_str()) {
        return None;
    }
    let mut data = secret.data.clone()?;
    data.insert(names::AUTHORITIES_FILE.to_owned(), bytes(&trusted));
    Some(data)
}

impl Leaf {
    /// Has it signed; what its Secret is to hold.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn issue(
        &self,
        authority: &Authority,
        now: Timestamp,
        key: KeyPair,
    ) -> Result<BTreeMap<String, ByteString>, IssueError> {
        let mut params = CertificateParams::new(self.names.iter().cloned().collect::<Vec<_>>())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.subject.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.not_before = date(later(now, -BACKDATED));
        params.not_after = date(later(now, LIFE).min(authority.current.facts.not_after));
        let certificate = params.signed_by(&key, &authority.current.issuer()?)?.pem();
        let parts = [
            (names::CERTIFICATE_FILE, certificate),
            (names::KEY_FILE, key.serialize_pem()),
            (names::AUTHORITIES_FILE, authority.trusted()),
        ];
        Ok(parts.into_iter().map(|(key, value)| (key.to_owned(), bytes(&value))).collect())
    }
}

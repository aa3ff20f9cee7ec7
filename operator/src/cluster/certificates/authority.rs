//! The authority of a cluster's admin ports: who signs, who will next, who did before.
//!
//! A new one is trusted for [`OVERLAP`] before it signs, so that everybody knows it by then, and the one before it for as long afterwards.

use super::{BACKDATED, DAY, Facts, IssueError, bytes, date, later, names, text};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use std::{collections::BTreeMap, fmt};

/// How long an authority lasts, in seconds.
pub const LIFE: i64 = 3650 * DAY;
/// How long two are trusted before the newer one signs, and after, in seconds.
pub const OVERLAP: i64 = DAY;

const KEY: &str = "ca.key";
const NEXT: [&str; 2] = ["next.crt", "next.key"];
const OLD: &str = "old.crt";

/// A certificate that signs others, and its key; both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Its own certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// What the certificate says.
    pub facts: Facts,
}

/// All that is in the authority's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Signs.
    pub current: Signer,
    /// Will sign; trusted already.
    pub next: Option<Signer>,
    /// Signed before; trusted still. PEM, empty if there is none.
    pub old: String,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Keep,
    /// There is none that can sign: make one.
    Make(Why),
    /// Make the next one.
    AddNext,
    /// The next one signs from now on.
    Promote,
    /// Those that signed before are not trusted any more.
    ForgetOld,
}

/// Why an authority is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none, or what is there cannot be read.
    Lost,
    /// It lasted its time.
    Expired,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "was lost",
            Self::Expired => "has expired",
        })
    }
}

/// What is due.
pub fn step(authority: Option<&Authority>, now: Timestamp) -> Step {
    let Some(authority) = authority else { return Step::Make(Why::Lost) };
    let since = |signer: &Signer| signer.facts.not_before;
    match &authority.next {
        _ if now >= authority.current.facts.not_after => Step::Make(Why::Expired),
        Some(next) if now >= later(since(next), BACKDATED + OVERLAP) => Step::Promote,
        Some(_) => Step::Keep,
        None if now >= authority.current.facts.renewed_at() => Step::AddNext,
        None if !authority.old.is_empty()
            && now >= later(since(&authority.current), BACKDATED + 2 * OVERLAP) =>
        {
            Step::ForgetOld
        }
        None => Step::Keep,
    }
}

/// The authority after the step.
///
/// # Errors
/// No certificate can be made.
pub fn take(
    before: Option<Authority>,
    step: Step,
    cluster: &str,
    now: Timestamp,
    fresh_key: &mut impl FnMut() -> Result<KeyPair, rcgen::Error>,
) -> Result<Authority, IssueError> {
    let new = |key| Signer::make(cluster, now, key);
    Ok(match (before, step) {
        (None, _) | (_, Step::Make(_)) => {
            Authority { current: new(fresh_key()?)?, next: None, old: String::new() }
        }
        (Some(authority), Step::Keep) => authority,
        (Some(authority), Step::AddNext) => Authority { next: Some(new(fresh_key()?)?), ..authority },
        (Some(Authority { current, next: Some(next), .. }), Step::Promote) => {
            Authority { current: next, next: None, old: current.certificate }
        }
        (Some(authority), Step::Promote) => authority,
        (Some(authority), Step::ForgetOld) => Authority { old: String::new(), ..authority },
    })
}

impl Authority {
    /// Reads its Secret; `None` where it cannot sign.
    pub fn read(secret: &Secret) -> Option<Self> {
        let signer = |certificate, key| Signer::read(text(secret, certificate)?, text(secret, key)?);
        Some(Self {
            current: signer(names::AUTHORITIES_FILE, KEY)?,
            next: signer(NEXT[0], NEXT[1]),
            old: text(secret, OLD).unwrap_or_default().to_owned(),
        })
    }

    /// What its Secret holds.
    pub fn data(&self) -> BTreeMap<String, ByteString> {
        let mut data = vec![(names::AUTHORITIES_FILE, &self.current.certificate), (KEY, &self.current.key)];
        if let Some(next) = &self.next {
            data.extend([(NEXT[0], &next.certificate), (NEXT[1], &next.key)]);
        }
        if !self.old.is_empty() {
            data.push((OLD, &self.old));
        }
        data.into_iter().map(|(key, value)| (key.to_owned(), bytes(value))).collect()
    }

    /// All certificates that count, PEM.
    pub fn trusted(&self) -> String {
        let next = self.next.as_ref().map_or("", |next| next.certificate.as_str());
        format!("{}{next}{}", self.current.certificate, self.old)
    }
}

impl Signer {
    fn read(certificate: &str, key: &str) -> Option<Self> {
        let facts = Facts::read(certificate)?;
        let pair = KeyPair::from_pem(key).ok()?;
        let fits = pair.subject_public_key_info() == facts.public_key;
        fits.then(|| Self { certificate: certificate.to_owned(), key: key.to_owned(), facts })
    }

    fn make(cluster: &str, now: Timestamp, key: KeyPair) -> Result<Self, IssueError> {
        let mut params = CertificateParams::default();
        // Two that are trusted at once differ in name, too.
        let mark: String = key.public_key_raw().iter().skip(1).take(4).map(|b| format!("{b:02x}")).collect();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, cluster);
        params.distinguished_name.push(DnType::CommonName, format!("Ottla admin CA {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date(later(now, -BACKDATED));
        params.not_after = date(later(now, LIFE));
        let certificate = params.self_signed(&key)?.pem();
        let facts = Facts::read(&certificate).ok_or(rcgen::Error::CouldNotParseCertificate)?;
        Ok(Self { certificate, key: key.serialize_pem(), facts })
    }

    /// Signs with it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn issuer(&self) -> Result<Issuer<'static, KeyPair>, rcgen::Error> {
        Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)
    }
}

//! A certificate with its key, and the authorities whose certificates count: what either side of the admin port is.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Why texts are no identity, or one that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No certificate in the text, or one that cannot be read.
    #[error("{what}: {reason}")]
    Unreadable {
        /// Which of the texts.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key is another certificate's, or of a kind that is not known.
    #[error("the key does not go with the certificate: {0}")]
    Key(rustls::Error),
    /// None of the authorities vouches for the certificate, now and for this purpose.
    #[error("the certificate does not hold: {0}")]
    Invalid(webpki::Error),
    /// The authorities cannot be used.
    #[error("authorities: {0}")]
    Authorities(String),
}

/// What a certificate is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To answer: a node's.
    Server,
    /// To ask: the operator's.
    Client,
}

/// A certificate with its key, and the authorities whose certificates count.
#[derive(Debug)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Identity {
    /// Reads PEM: a certificate (and those between it and an authority), its private key, the authorities' certificates.
    ///
    /// # Errors
    /// Something is missing, cannot be read, or the key is not the certificate's.
    pub fn read(certificate: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, IdentityError> {
        let chain = certificates("certificate", certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| IdentityError::Unreadable { what: "key", reason: error.to_string() })?;
        let authorities = certificates("authorities", authorities)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone()).map_err(|error| IdentityError::Authorities(error.to_string()))?;
        }
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(IdentityError::Key)?;
        Ok(Self { certified: Arc::new(certified), roots: Arc::new(roots), authorities })
    }

    /// Whether one of the authorities vouches for the certificate, at this time and for this purpose.
    ///
    /// # Errors
    /// It does not; expired, for instance, or another authority's.
    pub fn check(&self, purpose: Purpose, now: UnixTime) -> Result<(), IdentityError> {
        let anchors: Vec<TrustAnchor<'_>> =
            self.authorities.iter().filter_map(|it| anchor_from_trusted_cert(it).ok()).collect();
        let (first, between) =
            self.certified.cert.split_first().ok_or(IdentityError::Invalid(webpki::Error::BadDer))?;
        let certificate = EndEntityCert::try_from(first).map_err(IdentityError::Invalid)?;
        let usage = match purpose {
            Purpose::Server => KeyUsage::server_auth(),
            Purpose::Client => KeyUsage::client_auth(),
        };
        let algorithms = provider().signature_verification_algorithms.all;
        let checked = certificate.verify_for_usage(algorithms, &anchors, between, now, usage, None, None);
        checked.map(drop).map_err(IdentityError::Invalid)
    }

    /// Answers who shows a certificate of one of the authorities, and nobody else.
    ///
    /// # Errors
    /// The authorities cannot be used.
    pub fn server(&self) -> Result<ServerConfig, IdentityError> {
        let told = |error: String| IdentityError::Authorities(error);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider())
            .build()
            .map_err(|error| told(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let config = config.map_err(|error| told(error.to_string()))?;
        let own = Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&self.certified)));
        Ok(config.with_client_cert_verifier(verifier).with_cert_resolver(own))
    }

    /// Asks who shows a certificate of one of the authorities.
    ///
    /// # Errors
    /// The authorities cannot be used.
    pub fn client(&self) -> Result<ClientConfig, IdentityError> {
        let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let config = config.map_err(|error| IdentityError::Authorities(error.to_string()))?;
        let own = Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&self.certified)));
        Ok(config.with_root_certificates(Arc::clone(&self.roots)).with_client_cert_resolver(own))
    }
}

/// One library of cryptography, whatever else the process has.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

fn certificates(what: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let unreadable = |reason: String| IdentityError::Unreadable { what, reason };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|error| unreadable(error.to_string()))?;
    if all.is_empty() { Err(unreadable("no certificate in it".to_owned())) } else { Ok(all) }
}

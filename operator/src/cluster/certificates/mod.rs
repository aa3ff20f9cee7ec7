//! The certificates of a cluster's admin ports: an authority, a certificate for each node to answer with, one for the operator to ask with.
//!
//! What is due follows from what is there and from the time ([`authority::step`], [`leaf::due`]); [`renew`] makes it, with keys that it is given.
//! Each is a Secret. A node's is mounted by its pod and read again when it changes, so nothing here restarts anything. The authority's key is in
//! one Secret that no pod mounts. Secrets are read by name, so that the operator needs no right to list them.

pub mod authority;
pub mod leaf;

use super::{
    apply::WriteError,
    names,
    validate::{Node, ValidatedCluster},
};
use crate::context::Context;
use authority::{Authority, Step};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, ResourceExt};
use leaf::Leaf;
use ottla_client::admin::{Identity, Purpose};
use rcgen::KeyPair;
use std::collections::{BTreeMap, BTreeSet};

/// Certificates count from so long before they are made, in seconds: clocks differ.
const BACKDATED: i64 = 300;
/// A day, in seconds.
const DAY: i64 = 86_400;

/// What is to be written, and what came of it.
#[derive(Debug, Default)]
pub struct Renewal {
    /// Secrets that are new or changed.
    pub secrets: Vec<Secret>,
    /// The operator's own, changed or not.
    pub operator: Option<Secret>,
    /// What users are told: an authority that was lost is another one now.
    pub news: Option<String>,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("a certificate cannot be made: {0}")]
pub struct IssueError(#[from] rcgen::Error);

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// It counts from here on.
    pub not_before: Timestamp,
    /// Until here.
    pub not_after: Timestamp,
    /// The DNS names that it is for.
    pub names: BTreeSet<String>,
    /// The key that it is for, as SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
}

impl Facts {
    /// Reads the first certificate of a PEM text.
    pub fn read(pem: &str) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let validity = certificate.validity();
        let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.iter().flat_map(|found| &found.value.general_names).filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        Some(Self {
            not_before: at(validity.not_before)?,
            not_after: at(validity.not_after)?,
            names: names.collect(),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// After two thirds of its time.
    pub fn renewed_at(&self) -> Timestamp {
        let (from, to) = (self.not_before.as_second(), self.not_after.as_second());
        later(self.not_before, to.saturating_sub(from) / 3 * 2)
    }
}

/// So many seconds later.
fn later(from: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(from.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

fn date(at: Timestamp) -> time::OffsetDateTime {
    // Years up to 9999 on either side.
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

/// What the cluster's certificates are to be.
fn leaves(cluster: &ValidatedCluster) -> Vec<Leaf> {
    let of_node = |node: &Node| Leaf {
        secret: names::node_secret(&node.name),
        subject: node.name.clone(),
        names: host_names(&node.name, &cluster.namespace),
        purpose: Purpose::Server,
        labels: names::node_labels(&cluster.name, &node.pool, node.id),
    };
    let operator = Leaf {
        secret: names::operator_secret(&cluster.name),
        subject: names::FIELD_MANAGER.to_owned(),
        names: BTreeSet::from([names::FIELD_MANAGER.to_owned()]),
        purpose: Purpose::Client,
        labels: names::labels(&cluster.name),
    };
    cluster.nodes.iter().map(of_node).chain([operator]).collect()
}

/// The names of a node's Service, which is how it is reached.
fn host_names(node: &str, namespace: &str) -> BTreeSet<String> {
    BTreeSet::from([node.to_owned(), format!("{node}.{namespace}"), names::service_host(node, namespace)])
}

/// Makes what is due. `present` are the cluster's Secrets that are there.
///
/// # Errors
/// No certificate can be made.
pub fn renew(
    cluster: &ValidatedCluster,
    present: &[Secret],
    now: Timestamp,
    fresh_key: &mut impl FnMut() -> Result<KeyPair, rcgen::Error>,
) -> Result<Renewal, IssueError> {
    let find = |name: &str| present.iter().find(|s| s.name_any() == name);
    let leaves = leaves(cluster);
    let mut renewal = Renewal::default();

    let name = names::authority_secret(&cluster.name);
    let before = find(&name).and_then(Authority::read);
    let step = authority::step(before.as_ref(), now);
    if let Step::Make(why) = step
        && leaves.iter().any(|leaf| find(&leaf.secret).is_some())
    {
        renewal.news = Some(format!(
            "the authority of the admin ports {why} and is another one now; nodes take their new certificates without a restart, in a minute or two"
        ));
    }
    let authority = authority::take(before, step, &cluster.name, now, fresh_key)?;
    if step != Step::Keep {
        tracing::info!(cluster = cluster.name, ?step, "the authority of the admin ports changes");
        renewal.secrets.push(secret(
            cluster,
            &name,
            names::labels(&cluster.name),
            "Opaque",
            authority.data(),
        ));
    }

    for leaf in &leaves {
        let there = find(&leaf.secret);
        let data = match leaf::due(there, leaf, &authority, now) {
            Some(why) => {
                tracing::info!(cluster = cluster.name, secret = leaf.secret, %why, "a certificate is made");
                Some(leaf.issue(&authority, now, fresh_key()?)?)
            }
            None => leaf::with_authorities(there, &authority),
        };
        let made =
            data.map(|data| secret(cluster, &leaf.secret, leaf.labels.clone(), "kubernetes.io/tls", data));
        if leaf.purpose == Purpose::Client {
            renewal.operator = made.as_ref().or(there).cloned();
        }
        renewal.secrets.extend(made);
    }
    Ok(renewal)
}

fn secret(
    cluster: &ValidatedCluster,
    name: &str,
    labels: BTreeMap<String, String>,
    type_: &str,
    data: BTreeMap<String, ByteString>,
) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(cluster.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![cluster.owner.clone()]),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// A text in a Secret.
fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

/// With which the operator asks, if its Secret is right.
pub fn identity(secret: &Secret) -> Option<Identity> {
    let part = |key| text(secret, key).unwrap_or_default().as_bytes();
    let (certificate, key) = (part(names::CERTIFICATE_FILE), part(names::KEY_FILE));
    Identity::read(certificate, key, part(names::AUTHORITIES_FILE)).ok()
}

/// The renewal as it was carried out.
#[derive(Debug, Default)]
pub struct Certificates {
    /// With which the operator asks.
    pub operator: Option<Identity>,
    /// What users are told.
    pub news: Option<String>,
}

/// Reads the cluster's Secrets, makes what is due and writes it.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn carry_out(cluster: &ValidatedCluster, context: &Context) -> Result<Certificates, WriteError> {
    let present = observe(context.writer.client(), cluster).await?;
    let renewal = renew(cluster, &present, Timestamp::now(), &mut || {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
    });
    let renewal = renewal.map_err(|error| WriteError::Certificate(error.to_string()))?;
    context.writer.apply(&cluster.namespace, &renewal.secrets, &present).await?;
    Ok(Certificates { operator: renewal.operator.as_ref().and_then(identity), news: renewal.news })
}

/// Those that are the cluster's; one of somebody else's with such a name is refused when it would be written.
async fn observe(client: &Client, cluster: &ValidatedCluster) -> Result<Vec<Secret>, WriteError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &cluster.namespace);
    let names = leaves(cluster).into_iter().map(|leaf| leaf.secret);
    let names = names.chain([names::authority_secret(&cluster.name)]);
    let found = futures::future::try_join_all(names.map(|name| {
        let api = api.clone();
        async move { api.get_opt(&name).await.map_err(|error| unreadable(&name, error)) }
    }));
    let found = found.await?.into_iter().flatten();
    let wanted = names::labels(&cluster.name);
    let is_ours = |secret: &Secret| wanted.iter().all(|(key, value)| secret.labels().get(key) == Some(value));
    Ok(found.filter(is_ours).collect())
}

fn unreadable(name: &str, source: kube::Error) -> WriteError {
    WriteError::Api { kind: "Secret".to_owned(), name: name.to_owned(), source: Box::new(source) }
}

/// Drops the Secret of a node that is gone.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn forget(cluster: &ValidatedCluster, node: &str, context: &Context) -> Result<(), WriteError> {
    let name = names::node_secret(node);
    let api: Api<Secret> = Api::namespaced(context.writer.client().clone(), &cluster.namespace);
    let found = api.get_metadata_opt(&name).await.map_err(|error| unreadable(&name, error))?;
    let Some(found) = found else { return Ok(()) };
    match found.uid() {
        Some(uid) if found.labels().get(names::CLUSTER) == Some(&cluster.name) => {
            context.writer.delete::<Secret>(&cluster.namespace, &name, uid).await
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! Access control entries, SCRAM credentials, quotas, delegation tokens, and records that nobody here knows.
//!
//! The broker does not act on these yet. They are kept so that a snapshot written here holds what the log held.

use std::collections::BTreeMap;

use ottla_wire::records::metadata::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, UserScramCredentialRecord,
    ZkMigrationStateRecord, client_quota_record,
};
use ottla_wire::{Str, Uuid};

use crate::record::{MetadataRecord, UnknownRecord};

/// Whom a quota is for: pairs of a kind (`user`, `client-id`, `ip`) and a name, `None` being the default.
pub type QuotaEntity = Vec<(Str, Option<Str>)>;

/// What is kept of the records that concern security.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecurityImage {
    /// Access control entries by id.
    pub acls: BTreeMap<Uuid, AccessControlEntryRecord>,
    /// SCRAM credentials by mechanism and user.
    pub scram: BTreeMap<(i8, Str), UserScramCredentialRecord>,
    /// Quotas by entity.
    pub quotas: BTreeMap<QuotaEntity, BTreeMap<Str, f64>>,
    /// Delegation tokens by id.
    pub tokens: BTreeMap<Str, DelegationTokenRecord>,
    /// State of a migration from ZooKeeper, long over.
    pub zk_migration_state: Option<i8>,
    /// Records of unknown types in the order of the log, each once.
    pub unknown: Vec<UnknownRecord>,
}

impl SecurityImage {
    pub(super) fn apply(&mut self, record: &MetadataRecord) {
        use MetadataRecord as R;
        match record {
            R::AccessControlEntry(entry) => {
                self.acls.insert(entry.id, entry.clone());
            }
            R::RemoveAccessControlEntry(entry) => {
                self.acls.remove(&entry.id);
            }
            R::UserScramCredential(credential) => {
                let key = (credential.mechanism, credential.name.clone());
                self.scram.insert(key, credential.clone());
            }
            R::RemoveUserScramCredential(credential) => {
                self.scram.remove(&(credential.mechanism, credential.name.clone()));
            }
            R::ClientQuota(quota) => self.apply_quota(quota),
            R::DelegationToken(token) => {
                self.tokens.insert(token.token_id.clone(), token.clone());
            }
            R::RemoveDelegationToken(token) => {
                self.tokens.remove(&token.token_id);
            }
            R::ZkMigrationState(state) => self.zk_migration_state = Some(state.zk_migration_state),
            R::Unknown(record) if !self.unknown.contains(record) => self.unknown.push(record.clone()),
            _ => {}
        }
    }

    fn apply_quota(&mut self, quota: &ClientQuotaRecord) {
        let entity = entity_of(quota);
        if !quota.remove {
            self.quotas.entry(entity).or_default().insert(quota.key.clone(), quota.value);
            return;
        }
        if let Some(values) = self.quotas.get_mut(&entity) {
            values.remove(&quota.key);
            if values.is_empty() {
                self.quotas.remove(&entity);
            }
        }
    }

    pub(super) fn write_quotas(&self, records: &mut Vec<MetadataRecord>) {
        for (entity, values) in &self.quotas {
            for (key, value) in values {
                records.push(MetadataRecord::ClientQuota(ClientQuotaRecord {
                    entity: entity
                        .iter()
                        .map(|(entity_type, entity_name)| client_quota_record::EntityData {
                            entity_type: entity_type.clone(),
                            entity_name: entity_name.clone(),
                            ..Default::default()
                        })
                        .collect(),
                    key: key.clone(),
                    value: *value,
                    remove: false,
                    ..Default::default()
                }));
            }
        }
    }

    pub(super) fn write_rest(&self, records: &mut Vec<MetadataRecord>) {
        records.extend(self.acls.values().cloned().map(MetadataRecord::AccessControlEntry));
        records.extend(self.scram.values().cloned().map(MetadataRecord::UserScramCredential));
        records.extend(self.tokens.values().cloned().map(MetadataRecord::DelegationToken));
        records.extend(self.zk_migration_state.map(|state| {
            MetadataRecord::ZkMigrationState(ZkMigrationStateRecord {
                zk_migration_state: state,
                ..Default::default()
            })
        }));
        records.extend(self.unknown.iter().cloned().map(MetadataRecord::Unknown));
    }
}

/// The order of the pairs means nothing.
fn entity_of(quota: &ClientQuotaRecord) -> QuotaEntity {
    let mut entity: QuotaEntity =
        quota.entity.iter().map(|data| (data.entity_type.clone(), data.entity_name.clone())).collect();
    entity.sort();
    entity
}

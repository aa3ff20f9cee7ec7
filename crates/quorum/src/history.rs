//! The voters and the level of `kraft.version` along the log: a voter set counts as soon as it is there, and no more
//! once it is truncated away (KIP-853).

use std::collections::BTreeMap;

use ottla_wire::batch::Batch;

use crate::control::ControlRecord;
use crate::features::KRaftVersion;
use crate::replay::ReplayError;
use crate::snapshot::control_records;
use crate::voters::VoterSet;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct VoterHistory {
    /// From the newest snapshot.
    base: (Option<VoterSet>, KRaftVersion),
    voters: BTreeMap<i64, VoterSet>,
    versions: BTreeMap<i64, KRaftVersion>,
}

impl VoterHistory {
    /// Begins with what a snapshot says.
    pub fn new(voters: Option<VoterSet>, version: KRaftVersion) -> Self {
        Self { base: (voters, version), ..Self::default() }
    }

    /// Reads a batch of the log; true if it changed something.
    ///
    /// # Errors
    /// The batch is damaged, or of a level that is not served.
    pub fn batch(&mut self, batch: &Batch) -> Result<bool, ReplayError> {
        let mut changed = false;
        for (offset, record) in (batch.header.base_offset..).zip(control_records(batch)?) {
            changed |= self.record(offset, &record)?;
        }
        Ok(changed)
    }

    fn record(&mut self, offset: i64, record: &ControlRecord) -> Result<bool, ReplayError> {
        match record {
            ControlRecord::KRaftVersion(record) => {
                let level = record.kraft_version;
                let version =
                    KRaftVersion::from_level(level).ok_or(ReplayError::KRaftVersion { offset, level })?;
                self.versions.insert(offset, version);
            }
            ControlRecord::Voters(record) => {
                self.voters.insert(offset, VoterSet::from_record(record));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Forgets what is at the offset and behind; true if something was.
    pub fn truncate(&mut self, offset: i64) -> bool {
        let (voters, versions) = (self.voters.split_off(&offset), self.versions.split_off(&offset));
        !voters.is_empty() || !versions.is_empty()
    }

    /// The newest voters, if they are dynamic.
    pub fn voters(&self) -> Option<&VoterSet> {
        self.voters.last_key_value().map(|(_, voters)| voters).or(self.base.0.as_ref())
    }

    /// The newest level.
    pub fn version(&self) -> KRaftVersion {
        self.versions.last_key_value().map_or(self.base.1, |(_, version)| *version)
    }

    /// Whether a record of the log, rather than a snapshot, has the voters.
    pub fn is_in_log(&self) -> bool {
        !self.voters.is_empty()
    }
}

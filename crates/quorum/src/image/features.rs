//! Finalised features.

use std::collections::BTreeMap;

use ottla_wire::Str;
use ottla_wire::records::metadata::FeatureLevelRecord;

use crate::features::{FeatureError, KRaftVersion, check};
use crate::metadata_version::MetadataVersion;
use crate::record::MetadataRecord;

/// Finalised features and their levels; a feature at level 0 is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeaturesImage {
    /// Level of `kraft.version`, which comes from control records and is no part of `levels`.
    pub kraft_version: KRaftVersion,
    /// Levels by name, `metadata.version` among them, as they are in the log.
    pub levels: BTreeMap<Str, i16>,
}

impl FeaturesImage {
    /// Finalised level of `metadata.version`, if there is one and it is served.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.levels.get(MetadataVersion::FEATURE).and_then(|level| MetadataVersion::from_level(*level))
    }

    /// Finalised level of a feature, 0 if it is not finalised.
    pub fn level(&self, name: &str) -> i16 {
        if name == KRaftVersion::FEATURE {
            return self.kraft_version.level();
        }
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// Whether everything that is finalised is served here.
    ///
    /// # Errors
    /// Names the first feature and level that is not.
    pub fn check_supported(&self) -> Result<(), FeatureError> {
        self.levels.iter().try_for_each(|(name, level)| check(name, *level))
    }

    pub(super) fn apply(&mut self, record: &FeatureLevelRecord) {
        if record.feature_level == 0 {
            self.levels.remove(&record.name);
        } else {
            self.levels.insert(record.name.clone(), record.feature_level);
        }
    }

    /// `metadata.version` goes first: it says how to read the rest.
    pub(super) fn write(&self, records: &mut Vec<MetadataRecord>) {
        let (first, rest): (Vec<_>, Vec<_>) =
            self.levels.iter().partition(|(name, _)| &***name == MetadataVersion::FEATURE);
        records.extend(first.into_iter().chain(rest).map(|(name, level)| {
            MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: name.clone(),
                feature_level: *level,
                ..Default::default()
            })
        }));
    }
}

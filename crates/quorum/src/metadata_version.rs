//! The level of the feature `metadata.version`, and what each level means for the records that are written.

use std::fmt;

/// A finalised level of `metadata.version`. Only levels that are served exist: 3.3-IV3 (7) to 4.3-IV0 (30).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

impl MetadataVersion {
    /// Name of the feature.
    pub const FEATURE: &'static str = "metadata.version";
    /// 3.3-IV3, the lowest level that is served.
    pub const MINIMUM: Self = Self(7);
    /// 4.3-IV0, what a new cluster gets.
    pub const LATEST: Self = Self(30);

    /// The level, if it is served.
    pub fn from_level(level: i16) -> Option<Self> {
        (Self::MINIMUM.0..=Self::LATEST.0).contains(&level).then_some(Self(level))
    }

    /// The level that a release or level name stands for: `4.3`, `4.3-IV0`. A release alone is its last level.
    pub fn from_name(name: &str) -> Option<Self> {
        let exact = NAMES.iter().find(|(_, known)| *known == name);
        let release = || {
            NAMES
                .iter()
                .rev()
                .find(|(_, known)| known.split_once("-IV").is_some_and(|(release, _)| release == name))
        };
        exact.or_else(release).map(|(level, _)| Self(*level))
    }

    /// The level as records carry it.
    pub const fn level(self) -> i16 {
        self.0
    }

    /// Whether the level brought records that the level before cannot express, so that it cannot be left again.
    pub fn changes_metadata(level: i16) -> bool {
        [7, 8, 11, 13, 14, 15, 17, 23, 30].contains(&level)
    }

    /// Version of `RegisterBrokerRecord`.
    pub fn register_broker_record_version(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// Version of `PartitionRecord`.
    pub fn partition_record_version(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }

    /// Version of `PartitionChangeRecord`.
    pub fn partition_change_record_version(self) -> i16 {
        self.partition_record_version()
    }

    /// Replicas are assigned to log directories (KIP-858).
    pub fn has_directory_assignment(self) -> bool {
        self.0 >= 17
    }

    /// A leader whose ISR shrinks keeps its epoch (before, every shrink was a new one).
    pub fn keeps_epoch_on_isr_shrink(self) -> bool {
        self.0 >= 12
    }

    /// Metadata transactions may be written (KIP-868).
    pub fn has_transactions(self) -> bool {
        self.0 >= 13
    }

    /// Controllers register (KIP-919).
    pub fn has_controller_registration(self) -> bool {
        self.0 >= 15
    }

    /// Log directories can be cordoned.
    pub fn has_cordoned_log_dirs(self) -> bool {
        self.0 >= 30
    }

    /// Partition records may carry eligible leader replicas (KIP-966).
    pub fn has_eligible_leader_replicas(self) -> bool {
        self.0 >= 23
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(level, _)| *level == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

const NAMES: &[(i16, &str)] = &[
    (7, "3.3-IV3"),
    (8, "3.4-IV0"),
    (9, "3.5-IV0"),
    (10, "3.5-IV1"),
    (11, "3.5-IV2"),
    (12, "3.6-IV0"),
    (13, "3.6-IV1"),
    (14, "3.6-IV2"),
    (15, "3.7-IV0"),
    (16, "3.7-IV1"),
    (17, "3.7-IV2"),
    (18, "3.7-IV3"),
    (19, "3.7-IV4"),
    (20, "3.8-IV0"),
    (21, "3.9-IV0"),
    (22, "4.0-IV0"),
    (23, "4.0-IV1"),
    (24, "4.0-IV2"),
    (25, "4.0-IV3"),
    (26, "4.1-IV0"),
    (27, "4.1-IV1"),
    (28, "4.2-IV0"),
    (29, "4.2-IV1"),
    (30, "4.3-IV0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_to_levels_and_back() {
        assert_eq!(MetadataVersion::from_name("4.3-IV0"), Some(MetadataVersion::LATEST));
        assert_eq!(MetadataVersion::from_name("4.3"), Some(MetadataVersion::LATEST));
        assert_eq!(MetadataVersion::from_name("3.7").map(MetadataVersion::level), Some(19));
        assert_eq!(MetadataVersion::from_name("4.4"), None);
        assert_eq!(MetadataVersion::LATEST.to_string(), "4.3-IV0");
        for (level, name) in NAMES {
            let version = MetadataVersion::from_level(*level).expect("every named level is served");
            assert_eq!(version.to_string(), *name);
        }
    }

    #[test]
    fn levels_out_of_range_are_not_served() {
        assert_eq!(MetadataVersion::from_level(6), None);
        assert_eq!(MetadataVersion::from_level(31), None);
    }

    #[test]
    fn record_versions_follow_the_level() {
        let at = |level| MetadataVersion::from_level(level).expect("served");
        assert_eq!(at(7).register_broker_record_version(), 1);
        assert_eq!(at(16).register_broker_record_version(), 2);
        assert_eq!(at(29).register_broker_record_version(), 3);
        assert_eq!(at(30).register_broker_record_version(), 4);
        assert_eq!(at(16).partition_record_version(), 0);
        assert_eq!(at(22).partition_record_version(), 1);
        assert_eq!(at(23).partition_record_version(), 2);
    }
}

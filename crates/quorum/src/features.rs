//! Which features and levels this broker serves, and the refusal of a directory that finalises others.

use crate::metadata_version::MetadataVersion;

/// The level of `kraft.version`: static voters (0) or a voter set in the log (1, KIP-853).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KRaftVersion {
    /// Voters are configured, nothing about them is in the log.
    #[default]
    Static,
    /// Voters, their directories and endpoints are records of the log.
    Dynamic,
}

impl KRaftVersion {
    /// Name of the feature.
    pub const FEATURE: &'static str = "kraft.version";

    /// The level, if it is served.
    pub fn from_level(level: i16) -> Option<Self> {
        match level {
            0 => Some(Self::Static),
            1 => Some(Self::Dynamic),
            _ => None,
        }
    }

    /// The level as records carry it.
    pub fn level(self) -> i16 {
        match self {
            Self::Static => 0,
            Self::Dynamic => 1,
        }
    }
}

/// A feature and the levels of it that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Kafka's name of the feature.
    pub name: &'static str,
    /// Lowest level served.
    pub min: i16,
    /// Highest level served.
    pub max: i16,
}

/// Eligible leader replicas (KIP-966): at level 1 the controller keeps them.
pub const ELIGIBLE_LEADER_REPLICAS: &str = "eligible.leader.replicas.version";

/// Every feature that Kafka 4.3 knows, with the levels served here.
pub const SUPPORTED: &[SupportedFeature] = &[
    SupportedFeature { name: ELIGIBLE_LEADER_REPLICAS, min: 0, max: 1 },
    SupportedFeature { name: "group.version", min: 0, max: 0 },
    SupportedFeature { name: KRaftVersion::FEATURE, min: 0, max: 1 },
    SupportedFeature {
        name: MetadataVersion::FEATURE,
        min: MetadataVersion::MINIMUM.level(),
        max: MetadataVersion::LATEST.level(),
    },
    SupportedFeature { name: "share.version", min: 0, max: 0 },
    SupportedFeature { name: "streams.version", min: 0, max: 0 },
    SupportedFeature { name: "transaction.version", min: 0, max: 0 },
];

/// The features that are advertised: those that may be finalised at a level above 0.
pub fn advertised() -> impl Iterator<Item = SupportedFeature> {
    SUPPORTED.iter().copied().filter(|feature| feature.max > 0)
}

/// A finalised feature or level that this broker does not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// The feature is known, the level is not served.
    #[error("feature {name} is finalised at level {level}; this broker supports levels {min} to {max}")]
    Level {
        /// Name of the feature.
        name: String,
        /// Level found.
        level: i16,
        /// Lowest level served.
        min: i16,
        /// Highest level served.
        max: i16,
    },
    /// Nobody here has heard of the feature.
    #[error(
        "feature {name} is finalised at level {level}; this broker does not know it and supports only level 0"
    )]
    Unknown {
        /// Name of the feature.
        name: String,
        /// Level found.
        level: i16,
    },
}

/// Whether a feature may be finalised at this level.
///
/// # Errors
/// The feature is unknown and not 0, or the level is outside what is served.
pub fn check(name: &str, level: i16) -> Result<(), FeatureError> {
    match SUPPORTED.iter().find(|feature| feature.name == name) {
        Some(feature) if (feature.min..=feature.max).contains(&level) => Ok(()),
        Some(feature) => {
            Err(FeatureError::Level { name: name.to_owned(), level, min: feature.min, max: feature.max })
        }
        None if level == 0 => Ok(()),
        None => Err(FeatureError::Unknown { name: name.to_owned(), level }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn served_levels_pass() {
        for (name, level) in [
            ("metadata.version", 7),
            ("metadata.version", 30),
            ("kraft.version", 1),
            ("group.version", 0),
            ("a.future.feature", 0),
        ] {
            assert_eq!(check(name, level), Ok(()), "{name}={level}");
        }
    }

    #[test]
    fn refusals_name_feature_level_and_range() {
        let refused = |name, level| check(name, level).expect_err("not served").to_string();
        assert_eq!(
            refused("transaction.version", 2),
            "feature transaction.version is finalised at level 2; this broker supports levels 0 to 0"
        );
        assert_eq!(
            refused("metadata.version", 31),
            "feature metadata.version is finalised at level 31; this broker supports levels 7 to 30"
        );
        assert!(refused("a.future.feature", 1).contains("a.future.feature"));
    }

    #[test]
    fn features_that_stay_at_zero_are_not_advertised() {
        let names: Vec<_> = advertised().map(|feature| feature.name).collect();
        assert_eq!(names, [ELIGIBLE_LEADER_REPLICAS, "kraft.version", "metadata.version"]);
    }
}

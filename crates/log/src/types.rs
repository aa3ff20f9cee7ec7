//! Offsets, epochs, ids and times of a log as types of their own.

use std::fmt;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                Self(raw)
            }
        }
    };
}

newtype!(
    /// Position of a record in a partition, from 0 on.
    Offset(i64)
);
newtype!(
    /// Count of leader changes of a partition; -1 where none is known.
    LeaderEpoch(i32)
);
newtype!(
    /// Id of an idempotent or transactional producer; -1 for none.
    ProducerId(i64)
);
newtype!(
    /// Fences older instances of a producer; -1 for none.
    ProducerEpoch(i16)
);
newtype!(
    /// Milliseconds since 1970-01-01 UTC; -1 for none.
    TimestampMs(i64)
);

impl Offset {
    /// The first offset of a new partition.
    pub const ZERO: Self = Self(0);
    /// Beyond every record.
    pub const MAX: Self = Self(i64::MAX);

    /// The offset `delta` further, saturating.
    #[must_use]
    pub fn plus(self, delta: i64) -> Self {
        Self(self.0.saturating_add(delta))
    }
}

impl LeaderEpoch {
    /// No epoch known.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// No producer.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// No epoch known.
    pub const NONE: Self = Self(-1);
}

impl TimestampMs {
    /// No timestamp.
    pub const NONE: Self = Self(-1);
}

//! Facts about request types; the table itself is generated.

use std::fmt;
use std::ops::RangeInclusive;

use crate::ApiKey;

/// A row of the generated table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApiSpec {
    pub name: &'static str,
    pub min: i16,
    /// The highest version that is not marked unstable.
    pub max: i16,
    /// The highest version there is.
    pub latest: i16,
    pub request_flexible_from: Option<i16>,
    pub response_flexible_from: Option<i16>,
    pub on_broker: bool,
    pub on_controller: bool,
}

/// No request type has this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown API key {0}")]
pub struct UnknownApiKey(pub i16);

impl TryFrom<i16> for ApiKey {
    type Error = UnknownApiKey;

    fn try_from(code: i16) -> Result<Self, UnknownApiKey> {
        Self::from_code(code).ok_or(UnknownApiKey(code))
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The name, without `Request`.
    pub const fn name(self) -> &'static str {
        self.spec().name
    }

    /// The lowest version that can be read.
    pub const fn min_version(self) -> i16 {
        self.spec().min
    }

    /// The highest stable version.
    pub const fn max_version(self) -> i16 {
        self.spec().max
    }

    /// The highest version that can be read, which may be unstable.
    pub const fn latest_version(self) -> i16 {
        self.spec().latest
    }

    /// The stable versions: those to be served.
    pub const fn versions(self) -> RangeInclusive<i16> {
        self.min_version()..=self.max_version()
    }

    /// The lowest version to be advertised. Produce says 0 although less than its minimum is refused: some versions
    /// of librdkafka turn compression off otherwise (KAFKA-18659).
    pub const fn advertised_min(self) -> i16 {
        match self {
            Self::Produce => 0,
            _ => self.min_version(),
        }
    }

    /// The version of the header before a request of this version.
    pub const fn request_header_version(self, version: i16) -> i16 {
        match self.spec().request_flexible_from {
            Some(from) if version >= from => 2,
            _ => 1,
        }
    }

    /// The version of the header before a response of this version. Always 0 for ApiVersions, since the client does
    /// not know yet what the broker understands (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self.spec().response_flexible_from {
            Some(from) if version >= from && !matches!(self, Self::ApiVersions) => 1,
            _ => 0,
        }
    }

    /// Whether brokers serve it on their listeners.
    pub const fn is_on_broker(self) -> bool {
        self.spec().on_broker
    }

    /// Whether controllers serve it on their listeners.
    pub const fn is_on_controller(self) -> bool {
        self.spec().on_controller
    }
}

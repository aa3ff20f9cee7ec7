//! Small files that must be whole or not there.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use ottla_log::disk::{Disk, OpenMode};

/// Writes aside, syncs, renames, and syncs the directory: after a crash the file is the old one or the new one.
pub(crate) fn write_atomically(disk: &dyn Disk, path: &Path, suffix: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = with_suffix(path, suffix);
    let file = disk.open(&aside, OpenMode::Truncate)?;
    if let Err(error) = file.write_at(&[IoSlice::new(bytes)], 0) {
        // On a full disk the half of it would be in the way of those who make room.
        drop(file);
        disk.remove_file(&aside)?;
        return Err(error);
    }
    file.sync()?;
    drop(file);
    disk.rename(&aside, path)?;
    sync_parent(disk, path)
}

/// Whole content, `None` if there is no such file.
pub(crate) fn read_if_exists(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes creations, renames and removals in the file's directory durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

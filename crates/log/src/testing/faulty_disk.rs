//! Real files that remember what of them would survive a power cut.

use super::Rng;
use super::crash::{Change, crashed};
use crate::disk::{Disk, DiskFile, DiskTree, OpenMode, Space, StdDisk};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A [`Disk`] over a real directory. Writes go through, so that files can be read as any others; what was not
/// synced is journalled, and [`FaultyDisk::cut_power`] rewrites the directory to a state that a crash may leave.
///
/// Names are lost in order within their directory, as on a journalling file system; with the name of a directory goes
/// what is in it. Of a directory whose new name is lost what was made in it since is lost, too.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    names: Names,
    durable_names: Names,
    name_changes: Vec<NameChange>,
    space_left: Option<usize>,
    sync_fails: bool,
    syncs: Arc<RwLock<()>>,
    synced: u64,
    broken: Option<PathBuf>,
    changes_left: Option<usize>,
}

type Names = BTreeMap<PathBuf, Arc<Inode>>;

/// A file, or a directory, whose content does not count.
#[derive(Debug, Default)]
struct Inode {
    is_dir: bool,
    content: Mutex<Content>,
}

impl Inode {
    fn sync(&self) {
        let mut content = self.content.lock();
        for change in std::mem::take(&mut content.changes) {
            change.apply(&mut content.durable);
        }
    }
}

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(PathBuf, Arc<Inode>),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Create(path, _) | Self::Rename(path, _) | Self::Remove(path) => path.parent(),
        }
    }

    fn apply(self, names: &mut Names) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path, inode);
            }
            Self::Rename(from, to) => {
                // With a directory goes what is in it.
                let below = names.range(from.clone()..).take_while(|(path, _)| path.starts_with(&from));
                let moved: Vec<_> = below.map(|(path, inode)| (path.clone(), Arc::clone(inode))).collect();
                for (path, inode) in moved {
                    names.remove(&path);
                    let within = path.strip_prefix(&from).unwrap_or(Path::new(""));
                    let to = if within.as_os_str().is_empty() { to.clone() } else { to.join(within) };
                    names.insert(to, inode);
                }
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
        }
    }
}

impl FaultyDisk {
    /// Over what is in `root`, all of which counts as durable.
    ///
    /// # Errors
    /// The system's.
    pub fn new(root: &Path) -> io::Result<Self> {
        let mut names = BTreeMap::new();
        load(root, &mut names)?;
        let state = State { durable_names: names.clone(), names, ..State::default() };
        Ok(Self { root: root.to_path_buf(), state: Arc::new(Mutex::new(state)) })
    }

    /// Lets writes fail with a full disk after so many more bytes.
    pub fn set_space_left(&self, bytes: Option<usize>) {
        self.state.lock().space_left = bytes;
    }

    /// Lets every sync of a file fail, or succeed again.
    pub fn set_sync_fails(&self, fails: bool) {
        self.state.lock().sync_fails = fails;
    }

    /// How many syncs there have been, of files, of directories and of whole trees.
    pub fn syncs(&self) -> u64 {
        self.state.lock().synced
    }

    /// Does something while no sync of a file or a tree comes to its end.
    pub fn while_syncs_wait<R>(&self, act: impl FnOnce() -> R) -> R {
        let syncs = Arc::clone(&self.state.lock().syncs);
        let _waiting = syncs.write();
        act()
    }

    /// Lets everything below a directory fail, reads too, as a disk does that has died.
    pub fn set_broken(&self, dir: Option<&Path>) {
        self.state.lock().broken = dir.map(Path::to_path_buf);
    }

    /// Lets everything that changes a file or a name fail after so many more changes, as if the power were gone.
    pub fn set_changes_left(&self, changes: Option<usize>) {
        self.state.lock().changes_left = changes;
    }

    /// Replaces what is in the root by one of the states that losing power now may leave, chosen by `seed`.
    ///
    /// Everything that used this disk must be dropped; open the root with a new one.
    ///
    /// # Errors
    /// The system's, while rewriting.
    pub fn cut_power(&self, seed: u64) -> io::Result<()> {
        let mut rng = Rng::new(seed);
        let state = self.state.lock();
        let names = surviving_names(&state, &mut rng);
        for path in state.names.iter().filter(|(_, inode)| !inode.is_dir).map(|(path, _)| path) {
            fs::remove_file(path)?;
        }
        let lost = |path: &Path| {
            let mut above = path.ancestors().skip(1).take_while(|above| *above != self.root);
            above.any(|above| state.names.contains_key(above) && !names.contains_key(above))
        };
        for (path, _) in names.iter().filter(|(path, inode)| inode.is_dir && !lost(path)) {
            fs::create_dir_all(path)?;
        }
        for (path, inode) in names.iter().filter(|(path, inode)| !inode.is_dir && !lost(path)) {
            let content = inode.content.lock();
            fs::write(path, crashed(&content.durable, &content.changes, &mut rng))?;
        }
        // The deepest first.
        for (path, _) in state.names.iter().rev().filter(|(_, inode)| inode.is_dir) {
            if !names.contains_key(path) || lost(path) {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    /// The directory that it lies over.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        self.state.lock().check(path)
    }

    fn change_name(&self, change: NameChange) {
        let mut state = self.state.lock();
        change.clone().apply(&mut state.names);
        state.name_changes.push(change);
    }
}

impl State {
    fn check(&self, path: &Path) -> io::Result<()> {
        match &self.broken {
            Some(broken) if path.starts_with(broken) => Err(io::Error::other("disk is broken")),
            _ => Ok(()),
        }
    }

    fn one_more_change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

fn load(dir: &Path, names: &mut Names) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_dir = path.is_dir();
        let mut content = Content::default();
        if is_dir {
            load(&path, names)?;
        } else {
            content.durable = fs::read(&path)?;
        }
        names.insert(path, Arc::new(Inode { is_dir, content: Mutex::new(content) }));
    }
    Ok(())
}

/// The durable names, and in each directory some first part of the changes since.
fn surviving_names(state: &State, rng: &mut Rng) -> Names {
    let mut names = state.durable_names.clone();
    let mut left: BTreeMap<&Path, usize> = BTreeMap::new();
    for change in &state.name_changes {
        *left.entry(change.dir().unwrap_or(Path::new(""))).or_default() += 1;
    }
    for count in left.values_mut() {
        *count = if rng.one_in(3) { *count } else { rng.below(*count + 1) };
    }
    for change in &state.name_changes {
        let Some(count) = change.dir().and_then(|dir| left.get_mut(dir)) else { continue };
        if let Some(fewer) = count.checked_sub(1) {
            *count = fewer;
            change.clone().apply(&mut names);
        }
    }
    names
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.check(path)?;
        if matches!(mode, OpenMode::Create | OpenMode::Truncate) {
            self.state.lock().one_more_change()?;
        }
        let real = StdDisk.open(path, mode)?;
        let known = self.state.lock().names.get(path).cloned();
        let inode = match known {
            Some(inode) => inode,
            None => {
                let inode = Arc::new(Inode::default());
                self.change_name(NameChange::Create(path.to_path_buf(), inode.clone()));
                inode
            }
        };
        if mode == OpenMode::Truncate {
            inode.content.lock().changes.push(Change::SetLen(0));
        }
        Ok(Arc::new(FaultyFile { real, inode, path: path.to_path_buf(), state: self.state.clone() }))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(dir)?;
        let mut missing: Vec<_> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        while let Some(dir) = missing.pop() {
            StdDisk.create_dir_all(dir)?;
            let inode = Arc::new(Inode { is_dir: true, ..Inode::default() });
            self.change_name(NameChange::Create(dir.to_path_buf(), inode));
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.check(dir)?;
        StdDisk.list(dir)
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        self.check(path)?;
        StdDisk.len(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(from)?;
        self.state.lock().one_more_change()?;
        StdDisk.rename(from, to)?;
        self.change_name(NameChange::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        self.state.lock().one_more_change()?;
        StdDisk.remove_file(path)?;
        self.change_name(NameChange::Remove(path.to_path_buf()));
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(dir)?;
        StdDisk.remove_dir_all(dir)?;
        let mut state = self.state.lock();
        state.names.retain(|path, _| !path.starts_with(dir));
        state.durable_names.retain(|path, _| !path.starts_with(dir));
        state.name_changes.retain(|change| change.dir().is_none_or(|parent| !parent.starts_with(dir)));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(dir)?;
        let mut state = self.state.lock();
        state.one_more_change()?;
        state.synced += 1;
        let changes = std::mem::take(&mut state.name_changes);
        for change in changes {
            if change.dir() == Some(dir) {
                change.apply(&mut state.durable_names);
            } else {
                state.name_changes.push(change);
            }
        }
        Ok(())
    }

    fn tree(&self, dir: &Path) -> io::Result<Arc<dyn DiskTree>> {
        Ok(Arc::new(FaultyTree { disk: self.clone(), dir: dir.to_owned() }))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.check(dir)?;
        let real = StdDisk.space(dir)?;
        let left = self.state.lock().space_left.map(|left| u64::try_from(left).unwrap_or(u64::MAX));
        let device = u64::try_from(Arc::as_ptr(&self.state).addr()).unwrap_or_default();
        Ok(Space { device, total: real.total, available: left.unwrap_or(real.available) })
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        self.check(path)?;
        StdDisk.modified_ms(path)
    }

    fn set_modified_ms(&self, path: &Path, modified: i64) -> io::Result<()> {
        StdDisk.set_modified_ms(path, modified)
    }
}

#[derive(Debug)]
struct FaultyFile {
    real: Arc<dyn DiskFile>,
    inode: Arc<Inode>,
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl FaultyFile {
    /// One more change, if the disk does any.
    fn change(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check(&self.path)?;
        state.one_more_change()
    }

    /// How much of a write the disk has room for.
    fn room(&self, len: usize) -> usize {
        match &mut self.state.lock().space_left {
            None => len,
            Some(left) => {
                let room = len.min(*left);
                *left -= room;
                room
            }
        }
    }
}

#[derive(Debug)]
struct FaultyTree {
    disk: FaultyDisk,
    dir: PathBuf,
}

impl DiskTree for FaultyTree {
    fn sync(&self) -> io::Result<()> {
        self.disk.check(&self.dir)?;
        let syncs = Arc::clone(&self.disk.state.lock().syncs);
        let _may_end = syncs.read();
        let mut state = self.disk.state.lock();
        state.one_more_change()?;
        state.synced += 1;
        if state.sync_fails {
            return Err(io::Error::other("sync failed"));
        }
        let within = |path: Option<&Path>| path.is_some_and(|path| path.starts_with(&self.dir));
        state.names.iter().filter(|(path, _)| within(Some(path))).for_each(|(_, inode)| inode.sync());
        let (done, left) = std::mem::take(&mut state.name_changes)
            .into_iter()
            .partition(|change: &NameChange| within(change.dir()));
        state.name_changes = left;
        let done: Vec<NameChange> = done;
        done.into_iter().for_each(|change| change.apply(&mut state.durable_names));
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn file(&self) -> &Arc<File> {
        self.real.file()
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.change()?;
        let mut bytes = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<_>>();
        let whole = bytes.len();
        bytes.truncate(self.room(whole));
        self.real.write_at(&[IoSlice::new(&bytes)], offset)?;
        let written = bytes.len();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.inode.content.lock().changes.push(Change::Write { at, bytes });
        if written < whole { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.state.lock().check(&self.path)?;
        self.real.read_at(buffer, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change()?;
        self.real.set_len(len)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.inode.content.lock().changes.push(Change::SetLen(len));
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let wanted = usize::try_from(len).map_err(io::Error::other)?;
        if self.state.lock().space_left.is_some_and(|left| left < wanted) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.room(wanted);
        self.real.reserve(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }

    /// Nothing is really synced: the model decides what survives, and tests are quick.
    fn sync(&self) -> io::Result<()> {
        let syncs = Arc::clone(&self.state.lock().syncs);
        let _may_end = syncs.read();
        self.change()?;
        {
            let mut state = self.state.lock();
            state.synced += 1;
            if state.sync_fails {
                return Err(io::Error::other("sync failed"));
            }
        }
        self.inode.sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &FaultyDisk, path: &Path, bytes: &[u8]) -> Arc<dyn DiskFile> {
        let file = disk.open(path, OpenMode::Truncate).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
        file
    }

    #[test]
    fn synced_files_with_synced_names_survive_and_others_may_not() {
        let (mut lost, mut torn, mut whole) = (0, 0, 0);
        for seed in 0..200 {
            let dir = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::new(dir.path()).unwrap();
            let (kept, other) = (dir.path().join("kept"), dir.path().join("other"));
            write(&disk, &kept, &[1; 10_000]).sync().unwrap();
            disk.sync_dir(dir.path()).unwrap();
            write(&disk, &other, &[2; 10_000]);
            disk.cut_power(seed).unwrap();
            assert_eq!(fs::read(&kept).unwrap(), [1; 10_000]);
            match fs::read(&other) {
                Err(_) => lost += 1,
                Ok(content) if content == [2; 10_000] => whole += 1,
                Ok(_) => torn += 1,
            }
        }
        assert!(lost > 10 && torn > 10 && whole > 10, "{lost} {torn} {whole}");
    }

    #[test]
    fn replaced_files_are_old_or_new() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..100 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            fs::write(&path, "old").unwrap();
            let disk = FaultyDisk::new(dir.path()).unwrap();
            crate::checkpoint::replace(&disk, &path, b"new").unwrap();
            let next = dir.path().join("f.tmp");
            write(&disk, &next, b"newer").sync().unwrap();
            disk.rename(&next, &path).unwrap();
            disk.cut_power(seed).unwrap();
            match &*fs::read(&path).unwrap() {
                b"new" => old += 1,
                b"newer" => new += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(old > 10 && new > 10, "{old} {new}");
    }

    #[test]
    fn a_directory_whose_name_is_lost_takes_its_files_along() {
        let (mut lost, mut there) = (0, 0);
        for seed in 0..100 {
            let root = tempfile::tempdir().unwrap();
            let disk = FaultyDisk::new(root.path()).unwrap();
            let dir = root.path().join("a/b");
            disk.create_dir_all(&dir).unwrap();
            write(&disk, &dir.join("f"), b"content").sync().unwrap();
            disk.sync_dir(&dir).unwrap();
            if seed % 2 == 0 {
                disk.tree(root.path()).unwrap().sync().unwrap();
            }
            disk.cut_power(seed).unwrap();
            match fs::read(dir.join("f")) {
                Ok(content) => there += usize::from(content == b"content"),
                Err(_) => lost += 1,
            }
            assert!(seed % 2 == 1 || dir.join("f").exists(), "what was synced is lost");
            assert_eq!(dir.exists(), dir.join("f").exists());
            FaultyDisk::new(root.path()).unwrap();
        }
        assert!(lost > 10 && there > 60, "{lost} {there}");
    }

    #[test]
    fn a_full_disk_takes_a_part() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(dir.path()).unwrap();
        let file = disk.open(&dir.path().join("f"), OpenMode::Create).unwrap();
        disk.set_space_left(Some(3));
        let error = file.write_at(&[IoSlice::new(b"hello")], 0).unwrap_err();
        assert_eq!((error.kind(), file.len().unwrap()), (ErrorKind::StorageFull, 3));
    }
}

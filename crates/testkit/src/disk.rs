//! A disk in memory that remembers what of it would survive a power cut.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ottla_log::disk::{Disk, DiskFile, OpenMode, Space};
use ottla_log::testing::{Change, crashed};
use ottla_wire::Records;
use parking_lot::Mutex;

use crate::Rng;

/// Modification time of every file that nobody set it of, in ms.
const MODIFIED_MS: i64 = 1_700_000_000_000;
/// Bytes of a disk that is not full.
const SIZE: u64 = 1 << 40;

/// A [`Disk`] without files of the system, as fast as memory. [`MemoryDisk::cut_power`] leaves of what was not synced what a
/// crash may leave: pages in any order, torn ones, names in the order in which they were made in a directory.
///
/// Clones are the same disk: what a process that died had not synced is still there for the next.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    names: Names,
    durable_names: Names,
    name_changes: Vec<NameChange>,
    made: u64,
    space_left: Option<usize>,
    broken: bool,
    syncs: u64,
}

type Names = BTreeMap<String, Arc<Inode>>;

#[derive(Debug)]
struct Inode {
    /// In which order they were made.
    number: u64,
    is_dir: bool,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
    modified: Option<i64>,
}

impl Content {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.bytes);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            change.apply(&mut self.durable);
        }
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, Arc<Inode>),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn dir(&self) -> &str {
        match self {
            Self::Create(path, _) | Self::Rename(path, _) | Self::Remove(path) => parent(path),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), Arc::clone(inode));
            }
            Self::Rename(from, to) => {
                let Some(inode) = names.remove(from) else { return };
                if inode.is_dir {
                    for (path, inode) in below(names, from) {
                        names.remove(&path);
                        names.insert(format!("{to}{}", path.get(from.len()..).unwrap_or_default()), inode);
                    }
                }
                names.insert(to.clone(), inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Everything below a directory.
fn below(names: &Names, dir: &str) -> Vec<(String, Arc<Inode>)> {
    let first = format!("{dir}/");
    let within = names.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first));
    within.map(|(path, inode)| (path.clone(), Arc::clone(inode))).collect()
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets writes fail with a full disk after so many more bytes.
    pub fn set_space_left(&self, bytes: Option<usize>) {
        self.state.lock().space_left = bytes;
    }

    /// Lets everything fail, reads too, as a disk does that has died.
    pub fn set_broken(&self, broken: bool) {
        self.state.lock().broken = broken;
    }

    /// How many times something was made durable.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Everything is durable as it is now.
    pub fn settle(&self) {
        let mut state = self.state.lock();
        state.names.values().for_each(|inode| inode.content.lock().sync());
        state.durable_names = state.names.clone();
        state.name_changes.clear();
    }

    /// Leaves one of the states that losing power now may leave, chosen by `seed`. Everything that used this disk is to be
    /// dropped before.
    pub fn cut_power(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut state = self.state.lock();
        let mut names = surviving_names(&state, &mut rng);
        let lost: Vec<String> =
            names.keys().filter(|path| is_without_parent(&names, path)).cloned().collect();
        lost.iter().for_each(|path| drop(names.remove(path)));
        let mut inodes: Vec<_> = names.values().filter(|inode| !inode.is_dir).cloned().collect();
        inodes.sort_by_key(|inode| inode.number);
        inodes.dedup_by_key(|inode| inode.number);
        for inode in inodes {
            let mut content = inode.content.lock();
            if !content.changes.is_empty() {
                content.bytes = crashed(&content.durable, &content.changes, &mut rng);
                content.durable = content.bytes.clone();
                content.changes.clear();
            }
        }
        state.durable_names = names.clone();
        state.names = names;
        state.name_changes.clear();
    }

    fn changed(&self, change: NameChange) {
        let mut state = self.state.lock();
        change.apply(&mut state.names);
        state.name_changes.push(change);
    }

    fn check(&self) -> io::Result<()> {
        self.state.lock().check()
    }
}

/// Whether a directory above it is gone. What lies at the top has none.
fn is_without_parent(names: &Names, path: &str) -> bool {
    let mut above = parent(path);
    while !above.is_empty() {
        if !names.contains_key(above) {
            return true;
        }
        above = parent(above);
    }
    false
}

/// The durable names, and in each directory some first part of the changes since.
fn surviving_names(state: &State, rng: &mut Rng) -> Names {
    let mut names = state.durable_names.clone();
    let mut left: Vec<(&str, usize)> = Vec::new();
    for change in &state.name_changes {
        match left.iter_mut().find(|(dir, _)| *dir == change.dir()) {
            Some((_, count)) => *count += 1,
            None => left.push((change.dir(), 1)),
        }
    }
    for (_, count) in &mut left {
        *count = if rng.one_in(3) { *count } else { rng.below(*count + 1) };
    }
    for change in &state.name_changes {
        let Some((_, count)) = left.iter_mut().find(|(dir, _)| *dir == change.dir()) else { continue };
        if let Some(fewer) = count.checked_sub(1) {
            *count = fewer;
            change.apply(&mut names);
        }
    }
    names
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.broken { Err(io::Error::other("disk is broken")) } else { Ok(()) }
    }

    fn inode(&mut self, is_dir: bool) -> Arc<Inode> {
        self.made += 1;
        Arc::new(Inode { number: self.made, is_dir, content: Mutex::default() })
    }

    /// How much of a write there is room for.
    fn room(&mut self, len: usize) -> usize {
        match &mut self.space_left {
            None => len,
            Some(left) => {
                let room = len.min(*left);
                *left -= room;
                room
            }
        }
    }

    fn found(&self, path: &str) -> io::Result<&Arc<Inode>> {
        self.names.get(path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Makes the names durable that changed in directories of which `within` is true.
    fn sync_names(&mut self, within: impl Fn(&str) -> bool) {
        self.syncs += 1;
        for change in std::mem::take(&mut self.name_changes) {
            if within(change.dir()) {
                change.apply(&mut self.durable_names);
            } else {
                self.name_changes.push(change);
            }
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let path = text(path);
        let mut state = self.state.lock();
        state.check()?;
        let inode = match state.names.get(&path).cloned() {
            Some(inode) => inode,
            None if matches!(mode, OpenMode::Create | OpenMode::Truncate) => {
                let above = parent(&path);
                if !above.is_empty() && !state.names.contains_key(above) {
                    return Err(ErrorKind::NotFound.into());
                }
                let inode = state.inode(false);
                drop(state);
                self.changed(NameChange::Create(path, Arc::clone(&inode)));
                inode
            }
            None => return Err(ErrorKind::NotFound.into()),
        };
        if mode == OpenMode::Truncate {
            inode.content.lock().change(Change::SetLen(0));
        }
        Ok(Arc::new(MemoryFile { inode, disk: self.clone() }))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check()?;
        let dir = text(dir);
        let ends = dir.char_indices().filter(|(at, found)| *found == '/' && *at > 0).map(|(at, _)| at);
        for end in ends.chain([dir.len()]) {
            let path = dir.get(..end).unwrap_or_default();
            let mut state = self.state.lock();
            if !path.is_empty() && !state.names.contains_key(path) {
                let inode = state.inode(true);
                drop(state);
                self.changed(NameChange::Create(path.to_owned(), inode));
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check()?;
        let dir = text(dir);
        state.found(&dir)?;
        let first = format!("{dir}/");
        let within = state.names.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first));
        let names = within.filter_map(|(path, _)| path.get(first.len()..));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.state.lock();
        state.check()?;
        Ok(state.names.get(&text(path)).map(|inode| inode.content.lock().bytes.len() as u64))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        let (from, to) = (text(from), text(to));
        self.state.lock().found(&from)?;
        self.changed(NameChange::Rename(from, to));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        let path = text(path);
        if self.state.lock().names.contains_key(&path) {
            self.changed(NameChange::Remove(path));
        }
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check()?;
        let (dir, mut state) = (text(dir), self.state.lock());
        let first = format!("{dir}/");
        let outside = |path: &str| path != dir && !path.starts_with(&first);
        state.names.retain(|path, _| outside(path));
        state.durable_names.retain(|path, _| outside(path));
        state.name_changes.retain(|change| outside(change.dir()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (dir, mut state) = (text(dir), self.state.lock());
        state.check()?;
        state.sync_names(|changed| changed == dir);
        Ok(())
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        let (dir, mut state) = (text(dir), self.state.lock());
        state.check()?;
        below(&state.names, &dir).iter().for_each(|(_, inode)| inode.content.lock().sync());
        let first = format!("{dir}/");
        state.sync_names(|changed| changed == dir || changed.starts_with(&first));
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let state = self.state.lock();
        state.check()?;
        let available = state.space_left.map_or(SIZE / 2, |left| left as u64);
        Ok(Space { device: 1, total: SIZE, available })
    }

    fn modified_ms(&self, path: &Path) -> io::Result<i64> {
        let state = self.state.lock();
        state.check()?;
        let modified = state.found(&text(path))?.content.lock().modified;
        Ok(modified.unwrap_or(MODIFIED_MS))
    }

    fn set_modified_ms(&self, path: &Path, modified: i64) -> io::Result<()> {
        let state = self.state.lock();
        state.found(&text(path))?.content.lock().modified = Some(modified);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    inode: Arc<Inode>,
    disk: MemoryDisk,
}

/// For whoever asks for the system's file where there is none.
fn no_file() -> &'static Arc<File> {
    static NONE: OnceLock<Arc<File>> = OnceLock::new();
    NONE.get_or_init(|| Arc::new(File::open("/dev/null").expect("every system has it")))
}

impl DiskFile for MemoryFile {
    fn file(&self) -> &Arc<File> {
        no_file()
    }

    fn records(&self, position: u64, len: usize) -> io::Result<Records> {
        let content = self.inode.content.lock();
        let from = usize::try_from(position).map_err(io::Error::other)?;
        let bytes = content.bytes.get(from..from.saturating_add(len));
        Ok(Records::Bytes(Bytes::copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?)))
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let whole = bytes.len();
        {
            let mut state = self.disk.state.lock();
            state.check()?;
            bytes.truncate(state.room(whole));
        }
        let written = bytes.len();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        self.inode.content.lock().change(Change::Write { at, bytes });
        if written < whole { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.check()?;
        let content = self.inode.content.lock();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let there = content.bytes.get(from..).unwrap_or_default();
        let len = there.len().min(buffer.len());
        let (to, from) = (buffer.get_mut(..len), there.get(..len));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.inode.content.lock().change(Change::SetLen(len));
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let wanted = usize::try_from(len).map_err(io::Error::other)?;
        let mut state = self.disk.state.lock();
        state.check()?;
        if state.space_left.is_some_and(|left| left < wanted) {
            return Err(ErrorKind::StorageFull.into());
        }
        state.room(wanted);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.inode.content.lock().bytes.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        {
            let mut state = self.disk.state.lock();
            state.check()?;
            state.syncs += 1;
        }
        self.inode.content.lock().sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! A disk in memory that remembers what of it would survive a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Component, Path};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ottla_log::disk::{Disk, DiskFile, DiskTree, OpenMode, Space};
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

/// What is in each directory, by its number and the name: whatever a directory is called, what is in it is in it.
type Names = BTreeMap<Entry, Arc<Inode>>;
type Entry = (u64, String);

/// The number of what has no directory above it.
const TOP: u64 = 0;

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
    Create(Entry, Arc<Inode>),
    Rename(Entry, Entry),
    Remove(Entry),
}

impl NameChange {
    fn dir(&self) -> u64 {
        match self {
            Self::Create(entry, _) | Self::Rename(entry, _) | Self::Remove(entry) => entry.0,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(entry, inode) => {
                names.insert(entry.clone(), Arc::clone(inode));
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(entry) => {
                names.remove(entry);
            }
        }
    }
}

/// The parts of a path, from the top.
fn parts(path: &Path) -> impl Iterator<Item = String> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    })
}

/// The entries of one directory.
fn within(names: &Names, dir: u64) -> impl Iterator<Item = (&Entry, &Arc<Inode>)> {
    names.range((dir, String::new())..).take_while(move |(entry, _)| entry.0 == dir)
}

/// Everything in a directory and below it.
fn below(names: &Names, dir: u64) -> Vec<(Entry, Arc<Inode>)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir];
    while let Some(dir) = dirs.pop() {
        for (entry, inode) in within(names, dir) {
            dirs.extend(inode.is_dir.then_some(inode.number));
            found.push((entry.clone(), Arc::clone(inode)));
        }
    }
    found
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
        let names = surviving_names(&state, &mut rng);
        // What lay in a directory that is gone.
        let names: Names = below(&names, TOP).into_iter().collect();
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

    fn check(&self) -> io::Result<()> {
        self.state.lock().check()
    }
}

/// The durable names, and in each directory some first part of the changes since.
fn surviving_names(state: &State, rng: &mut Rng) -> Names {
    let mut names = state.durable_names.clone();
    let mut left: Vec<(u64, usize)> = Vec::new();
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

    /// Where a path leads: the directory and the name in it.
    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let mut parts: Vec<String> = parts(path).collect();
        let name = parts.pop().ok_or(ErrorKind::InvalidInput)?;
        let mut dir = TOP;
        for part in parts {
            dir =
                self.names.get(&(dir, part)).filter(|inode| inode.is_dir).ok_or(ErrorKind::NotFound)?.number;
        }
        Ok((dir, name))
    }

    fn found(&self, path: &Path) -> io::Result<Arc<Inode>> {
        self.names.get(&self.entry(path)?).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn changed(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    /// Makes the names durable that changed in directories of which `within` is true.
    fn sync_names(&mut self, within: impl Fn(u64) -> bool) {
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
        let mut state = self.state.lock();
        state.check()?;
        let entry = state.entry(path)?;
        let inode = match state.names.get(&entry).cloned() {
            Some(inode) => inode,
            None if matches!(mode, OpenMode::Create | OpenMode::Truncate) => {
                let inode = state.inode(false);
                state.changed(NameChange::Create(entry, Arc::clone(&inode)));
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
        let mut state = self.state.lock();
        state.check()?;
        let mut above = TOP;
        for part in parts(dir) {
            let entry = (above, part);
            let known = state.names.get(&entry).map(|inode| inode.number);
            above = known.unwrap_or_else(|| {
                let inode = state.inode(true);
                let number = inode.number;
                state.changed(NameChange::Create(entry, inode));
                number
            });
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check()?;
        let dir = state.found(dir)?.number;
        Ok(within(&state.names, dir).map(|((_, name), _)| name.clone()).collect())
    }

    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        let state = self.state.lock();
        state.check()?;
        Ok(state.found(path).ok().map(|inode| inode.content.lock().bytes.len() as u64))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        state.found(from)?;
        let change = NameChange::Rename(state.entry(from)?, state.entry(to)?);
        state.changed(change);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        if state.found(path).is_ok() {
            let change = NameChange::Remove(state.entry(path)?);
            state.changed(change);
        }
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        let Ok(inode) = state.found(dir) else { return Ok(()) };
        let mut gone: BTreeSet<u64> =
            below(&state.names, inode.number).iter().map(|it| it.1.number).collect();
        gone.insert(inode.number);
        let stays =
            |entry: &Entry, inode: &Arc<Inode>| !gone.contains(&entry.0) && !gone.contains(&inode.number);
        state.names.retain(|entry, inode| stays(entry, inode));
        state.durable_names.retain(|entry, inode| stays(entry, inode));
        state.name_changes.retain(|change| match change {
            NameChange::Create(entry, inode) => stays(entry, inode),
            other => !gone.contains(&other.dir()),
        });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        let dir = state.found(dir)?.number;
        state.sync_names(|changed| changed == dir);
        Ok(())
    }

    fn tree(&self, dir: &Path) -> io::Result<Arc<dyn DiskTree>> {
        let dir = self.state.lock().found(dir)?.number;
        Ok(Arc::new(MemoryTree { disk: self.clone(), dir }))
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
        let modified = state.found(path)?.content.lock().modified;
        Ok(modified.unwrap_or(MODIFIED_MS))
    }

    fn set_modified_ms(&self, path: &Path, modified: i64) -> io::Result<()> {
        let state = self.state.lock();
        state.found(path)?.content.lock().modified = Some(modified);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    inode: Arc<Inode>,
    disk: MemoryDisk,
}

#[derive(Debug)]
struct MemoryTree {
    disk: MemoryDisk,
    /// Its number.
    dir: u64,
}

impl DiskTree for MemoryTree {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.check()?;
        let all = below(&state.names, self.dir);
        all.iter().for_each(|(_, inode)| inode.content.lock().sync());
        let within = |changed| changed == self.dir || all.iter().any(|(_, inode)| inode.number == changed);
        state.sync_names(within);
        Ok(())
    }
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

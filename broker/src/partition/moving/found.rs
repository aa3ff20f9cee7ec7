//! What a start makes of originals and copies that it finds.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::{Log, LogConfig, LogError, TimestampMs};
use ottla_wire::Uuid;
use tracing::{error, info, warn};

use crate::partition::load::{self, Found, Noted};
use crate::partition::{LogDirectory, TopicPartition};

/// Which of the directories has the partition, in the one that the metadata names before others. A copy that is alone, with all
/// directories at hand, gets the partition's name.
pub(in crate::partition) fn current(
    found: &mut [Found],
    name: &TopicPartition,
    topic_id: Uuid,
    assigned: Option<Uuid>,
    all_at_hand: bool,
) -> Option<usize> {
    let named = found.iter().position(|found| Some(found.directory.id()) == assigned);
    if let Some(at) = named
        && found.get_mut(at).is_some_and(|found| found.take(name, topic_id))
    {
        return Some(at);
    }
    let other = found.iter_mut().position(|found| found.take(name, topic_id));
    if other.is_some() || !all_at_hand {
        return other;
    }
    // Where the metadata says, or where it says that there is another, which is not there: both directories failed in the middle.
    let named = named?;
    let copy = (0..found.len()).find(|at| found.get(*at).is_some_and(|found| found.has_copy(name, topic_id)));
    let there = found.get(named).is_some_and(|found| found.has_copy(name, topic_id)).then_some(named);
    let at = there.or(copy)?;
    found.get_mut(at)?.promote(name, topic_id).then_some(at)
}

/// A copy that is to be filled further.
#[derive(Debug)]
pub(in crate::partition) struct Resumed {
    directory: Arc<LogDirectory>,
    path: PathBuf,
    noted: Noted,
}

/// The copy of a partition that lies in the directory at `current`: where the metadata says before others. Any further one is
/// removed.
pub(in crate::partition) fn resumed(
    found: &mut [Found],
    name: &TopicPartition,
    topic_id: Uuid,
    current: usize,
    assigned: Option<Uuid>,
) -> Option<Resumed> {
    let mut copies = Vec::new();
    for (at, found) in found.iter_mut().enumerate() {
        let Some(path) = found.take_copy(name, topic_id) else { continue };
        let directory = Arc::clone(&found.directory);
        let rank = (at == current, Some(directory.id()) != assigned);
        copies.push((rank, Resumed { noted: found.noted(name), directory, path }));
    }
    copies.sort_by_key(|(rank, _)| *rank);
    let mut copies = copies.into_iter();
    let first = copies.next();
    let (best, others) = match first {
        Some((rank, copy)) if !rank.0 => (Some(copy), None),
        other => (None, other),
    };
    for (_, copy) in others.into_iter().chain(copies) {
        load::remove(&**copy.directory.disk(), &copy.path);
    }
    best
}

impl Found {
    /// Gives a copy the partition's name; whether it is there under it now.
    fn promote(&mut self, name: &TopicPartition, topic_id: Uuid) -> bool {
        let Some(from) = self.take_copy(name, topic_id) else { return false };
        let (disk, to) = (self.directory.disk(), self.directory.path().join(name.to_string()));
        match disk.rename(&from, &to).and_then(|()| disk.sync_dir(self.directory.path())) {
            Ok(()) => {
                info!(partition = %name, directory = %self.directory.path().display(), "the end of a move is made good");
                true
            }
            Err(error) => {
                error!(partition = %name, %error, "a copy cannot be renamed");
                self.directory.fence(&error.to_string());
                false
            }
        }
    }
}

impl Resumed {
    /// Opens the copy; `None` where that is not possible: what is wrong with its directory is known then.
    pub(in crate::partition) fn open(
        self,
        name: &TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        now: TimestampMs,
    ) -> Option<(Arc<LogDirectory>, Box<Log>)> {
        let Self { directory, path, noted } = self;
        if directory.is_offline() {
            return None;
        }
        match load::open_at(&directory, path, topic_id, config, noted.opening, now) {
            Ok(log) => Some((directory, Box::new(log))),
            Err(error @ LogError::NoSpace { .. }) => {
                warn!(partition = %name, %error, "its move does not go on: the disk is full");
                None
            }
            Err(error) => {
                directory.fence(&error.to_string());
                None
            }
        }
    }
}

//! What a file may look like after the power was lost.
//!
//! Pages of 4 KiB are written back one by one, in any order, each as it was after any of the changes to it; a page
//! that was being written may be torn between its sectors of 512 bytes. The length is that of any moment, and what
//! lies inside it without having been written back is zero.

use super::Rng;

const SECTOR: usize = 512;
const SECTORS_PER_PAGE: usize = 8;

/// A change that is not durable yet.
#[derive(Clone, Debug)]
pub enum Change {
    /// Bytes from a position on.
    Write {
        /// Where.
        at: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// Cut, or extended with zeros.
    SetLen(usize),
}

impl Change {
    /// Makes the change.
    pub fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => content.resize(*len, 0),
            Self::Write { at, bytes } => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                if let Some(to) = content.get_mut(*at..*at + bytes.len()) {
                    to.copy_from_slice(bytes);
                }
            }
        }
    }
}

/// One of the contents that a crash may leave, given the durable content and the changes since.
#[must_use]
pub fn crashed(durable: &[u8], changes: &[Change], rng: &mut Rng) -> Vec<u8> {
    if changes.is_empty() || rng.one_in(5) {
        return durable.to_vec();
    }
    let versions = lengths(durable, changes);
    let longest = versions.iter().copied().max().unwrap_or_default();
    let chosen = choose(longest.div_ceil(SECTOR), changes.len(), rng);
    let mut image = vec![0; longest];
    let mut content = durable.to_vec();
    keep_sectors(&mut image, &content, &chosen, 0);
    for (version, change) in (1..).zip(changes) {
        change.apply(&mut content);
        keep_sectors(&mut image, &content, &chosen, version);
    }
    // The newest length is likely: writing back data and length go together.
    let at = if rng.one_in(2) { changes.len() } else { rng.below(changes.len() + 1) };
    image.truncate(versions.get(at).copied().unwrap_or_default());
    image
}

/// Lengths after none, one, two, … of the changes.
fn lengths(durable: &[u8], changes: &[Change]) -> Vec<usize> {
    let mut len = durable.len();
    let mut all = vec![len];
    for change in changes {
        len = match change {
            Change::SetLen(len) => *len,
            Change::Write { at, bytes } => len.max(at + bytes.len()),
        };
        all.push(len);
    }
    all
}

/// For each sector, after how many changes it was written back.
fn choose(sectors: usize, changes: usize, rng: &mut Rng) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(sectors);
    let mostly_new = rng.one_in(2);
    while chosen.len() < sectors {
        let version = |rng: &mut Rng| {
            if mostly_new && !rng.one_in(4) { changes } else { rng.below(changes + 1) }
        };
        let (page, other, torn) = (version(rng), version(rng), rng.one_in(4));
        for _ in 0..SECTORS_PER_PAGE.min(sectors - chosen.len()) {
            chosen.push(if torn && rng.one_in(2) { other } else { page });
        }
    }
    chosen
}

fn keep_sectors(image: &mut [u8], content: &[u8], chosen: &[usize], version: usize) {
    for ((to, from), at) in image.chunks_mut(SECTOR).zip(content.chunks(SECTOR)).zip(chosen) {
        if *at == version {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
    }
}

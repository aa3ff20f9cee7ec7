//! The format that Kafka's checkpoints share: version, number of entries, then an entry a line.

use super::corrupt;
use crate::disk::Disk;
use crate::error::LogError;
use std::fmt::Write;
use std::path::Path;

const VERSION: &str = "0";

/// Reads the entries, `None` if there is no file. `parse` is given the fields of a line.
pub(crate) fn read_entries<T>(
    disk: &dyn Disk,
    path: &Path,
    parse: impl Fn(&[&str]) -> Option<T>,
) -> Result<Option<Vec<T>>, LogError> {
    let Some(text) = super::read_text(disk, path)? else { return Ok(None) };
    decode(&text, parse).map(Some).map_err(|reason| corrupt(path, reason))
}

pub(super) fn decode<T>(text: &str, parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, String> {
    let mut lines = text.lines();
    let version = lines.next().ok_or("no version")?;
    if version.trim() != VERSION {
        return Err(format!("unknown version {version:?}"));
    }
    let count = lines.next().ok_or("no count")?;
    let count: usize = count.trim().parse().map_err(|_| format!("malformed count {count:?}"))?;
    let mut entries = Vec::new();
    for line in lines {
        let fields: Vec<_> = line.split_whitespace().collect();
        entries.push(parse(&fields).ok_or_else(|| format!("malformed line {line:?}"))?);
    }
    if entries.len() != count {
        return Err(format!("{count} entries expected, {} found", entries.len()));
    }
    Ok(entries)
}

/// Replaces the file by these lines.
pub(crate) fn write_entries(
    disk: &dyn Disk,
    path: &Path,
    lines: impl ExactSizeIterator<Item = String>,
) -> Result<(), LogError> {
    super::replace(disk, path, render(lines).as_bytes())
}

/// A file of these lines.
pub(crate) fn render(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

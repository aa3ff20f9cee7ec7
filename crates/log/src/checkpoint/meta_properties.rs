//! `meta.properties`: which node, cluster and directory a log directory belongs to.

use super::{corrupt, replace};
use crate::disk::Disk;
use crate::error::LogError;
use crate::properties;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Version 1 of the file. Unknown keys are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: Option<String>,
    /// `node.id`, or `broker.id` in a file of version 0.
    pub node_id: Option<i32>,
    /// `directory.id`, a UUID in Kafka's base64.
    pub directory_id: Option<String>,
    /// Everything else, version aside.
    pub others: BTreeMap<String, String>,
}

impl MetaProperties {
    /// Its name in the log directory.
    pub const FILE: &'static str = "meta.properties";

    /// What the directory says; `None` if it is not formatted.
    ///
    /// # Errors
    /// When the file cannot be read or is of an unknown version.
    pub fn read(disk: &dyn Disk, log_dir: &Path) -> Result<Option<Self>, LogError> {
        let path = log_dir.join(Self::FILE);
        let Some(text) = super::read_text(disk, &path)? else { return Ok(None) };
        Self::parse(&text).map(Some).map_err(|reason| corrupt(&path, reason))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let found = properties::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let mut others: BTreeMap<_, _> =
            found.into_iter().map(|property| (property.key, property.value)).collect();
        let version = others.remove("version").unwrap_or_else(|| "0".into());
        if version != "0" && version != "1" {
            return Err(format!("unknown version {version}"));
        }
        let (node_id, broker_id) = (others.remove("node.id"), others.remove("broker.id"));
        let node_id = if version == "1" { node_id } else { broker_id };
        let node_id =
            node_id.map(|id| id.parse().map_err(|_| format!("malformed node.id {id:?}"))).transpose()?;
        let cluster_id = others.remove("cluster.id");
        Ok(Self { cluster_id, node_id, directory_id: others.remove("directory.id"), others })
    }

    /// Replaces the file, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, disk: &dyn Disk, log_dir: &Path) -> Result<(), LogError> {
        let mut all = self.others.clone();
        all.insert("version".into(), "1".into());
        let known = [
            ("cluster.id", self.cluster_id.clone()),
            ("node.id", self.node_id.map(|id| id.to_string())),
            ("directory.id", self.directory_id.clone()),
        ];
        all.extend(known.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        let mut text = String::from("#\n");
        for (key, value) in all {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}={}", escape(&key, true), escape(&value, false));
        }
        replace(disk, &log_dir.join(Self::FILE), text.as_bytes())
    }
}

/// As Java reads it, which takes the file for Latin-1: everything else is escaped.
fn escape(raw: &str, is_key: bool) -> String {
    let mut out = String::with_capacity(raw.len());
    for (at, c) in raw.char_indices() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0c' => out.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => out.extend(['\\', c]),
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            _ if !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(c),
        }
    }
    out
}

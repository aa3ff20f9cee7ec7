//! `meta.properties`: which node, cluster and directory a log directory belongs to.

use super::{corrupt, replace};
use crate::disk::Disk;
use crate::error::LogError;
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
        let mut others = parse_properties(text)?;
        let version = others.remove("version").unwrap_or_else(|| "0".into());
        if version != "0" && version != "1" {
            return Err(format!("unknown version {version}"));
        }
        let node_id = others.remove(if version == "1" { "node.id" } else { "broker.id" });
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

/// Java's `.properties`: comments, `key=value`, `key:value` or `key value`, escapes, continued lines.
///
/// # Errors
/// Names the line with a malformed `\u` escape.
pub fn parse_properties(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    let mut lines = text.split(['\n', '\r']);
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches([' ', '\t', '\x0c']);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_with_odd_backslashes(&logical) {
            logical.pop();
            let Some(next) = lines.next() else { break };
            logical.push_str(next.trim_start_matches([' ', '\t', '\x0c']));
        }
        let (key, value) = split_key(&logical);
        let malformed = || format!("malformed escape in {logical:?}");
        all.insert(unescape(key).ok_or_else(malformed)?, unescape(value).ok_or_else(malformed)?);
    }
    Ok(all)
}

fn ends_with_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or blank that is not escaped.
fn split_key(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' | '\x0c' => {
                let (key, rest) = line.split_at(at);
                let rest = rest.trim_start_matches([' ', '\t', '\x0c']);
                let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
                return (key, value.trim_start_matches([' ', '\t', '\x0c']));
            }
            _ => {}
        }
    }
    (line, "")
}

fn unescape(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                out.push(char::from_u32(
                    u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?,
                )?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Some(out)
}

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
            _ => out.push(c),
        }
    }
    out
}

//! Takes the schemas out of Kafka's jars: without comments and prose, one field a line.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::schema::{FAMILIES, Field, Kind, Schema};

/// Which jar holds which family. Data types that the Raft layer writes are in the clients' jar too.
const JARS: [(&str, &str); 7] = [
    ("kafka-clients-", "client"),
    ("kafka-metadata-", "metadata"),
    ("kafka-group-coordinator-", "group"),
    ("kafka-transaction-coordinator-", "transaction"),
    ("kafka-share-coordinator-", "share"),
    ("kafka-storage-", "storage"),
    ("kafka-raft-", "raft"),
];

/// Data types of the clients' jar that are contents of control records.
const CONTROL_RECORDS: [&str; 7] = [
    "ControlRecordTypeSchema",
    "EndTxnMarker",
    "KRaftVersionRecord",
    "LeaderChangeMessage",
    "SnapshotFooterRecord",
    "SnapshotHeaderRecord",
    "VotersRecord",
];

/// Rewrites the schemas in `target` from the jars in `jars`.
pub fn extract(jars: &Path, target: &Path) -> Result<()> {
    for family in FAMILIES {
        let folder = target.join(family);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
    }
    for (prefix, family) in JARS {
        let jar = find_jar(jars, prefix)?;
        for entry in unzip(&["-Z1"], &jar, &[])?.lines().filter(|name| name.ends_with(".json")) {
            let text = unzip(&["-p"], &jar, &[entry])?;
            let schema = parse(&text).with_context(|| entry.to_owned())?;
            if !schema.valid_versions.is_empty() {
                let path = target.join(family_of(&schema, family)).join(format!("{}.json", schema.name));
                fs::write(path, render(&schema)?)?;
            }
        }
    }
    Ok(())
}

fn find_jar(folder: &Path, prefix: &str) -> Result<std::path::PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let version = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".jar"));
        if version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
            return Ok(path);
        }
    }
    bail!("no {prefix}<version>.jar in {}", folder.display())
}

fn unzip(flags: &[&str], jar: &Path, entries: &[&str]) -> Result<String> {
    let output = Command::new("unzip").args(flags).arg(jar).args(entries).output().context("unzip")?;
    if !output.status.success() {
        bail!("unzip {}: {}", jar.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn family_of<'a>(schema: &Schema, family: &'a str) -> &'a str {
    let control = schema.kind == Kind::Data && CONTROL_RECORDS.contains(&schema.name.as_str());
    if control { "raft" } else { family }
}

fn parse(text: &str) -> Result<Schema> {
    let mut value: Value = serde_json::from_str(&without_comments(text))?;
    strip_prose(&mut value);
    Ok(serde_json::from_value(value)?)
}

/// Removes `//` comments outside of strings.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.lines() {
        let (mut quoted, mut previous, mut end) = (false, ' ', line.len());
        for (at, c) in line.char_indices() {
            match c {
                '"' if previous != '\\' => quoted = !quoted,
                '/' if previous == '/' && !quoted => {
                    end = at - 1;
                    break;
                }
                _ => {}
            }
            previous = c;
        }
        kept.push_str(line.get(..end).unwrap_or(line));
        kept.push('\n');
    }
    kept
}

fn strip_prose(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("about");
            members.values_mut().for_each(strip_prose);
        }
        Value::Array(elements) => elements.iter_mut().for_each(strip_prose),
        _ => {}
    }
}

fn render(schema: &Schema) -> Result<String> {
    let mut head = schema.clone();
    (head.fields, head.common_structs) = (Vec::new(), Vec::new());
    let head = serde_json::to_string(&head)?;
    let mut text = head.strip_suffix(",\"fields\":[]}").unwrap_or(&head).to_owned();
    text.push_str(",\n\"fields\":[");
    render_fields(&mut text, &schema.fields, 1)?;
    text.push(']');
    if !schema.common_structs.is_empty() {
        text.push_str(",\n\"commonStructs\":[");
        for (n, common) in schema.common_structs.iter().enumerate() {
            let (comma, versions) = (if n == 0 { "" } else { "," }, serde_json::to_string(&common.versions)?);
            write!(text, "{comma}\n {{\"name\":\"{}\",\"versions\":{versions},\"fields\":[", common.name)?;
            render_fields(&mut text, &common.fields, 2)?;
            text.push_str("]}");
        }
        text.push(']');
    }
    text.push_str("}\n");
    Ok(text)
}

fn render_fields(text: &mut String, fields: &[Field], depth: usize) -> Result<()> {
    for (n, field) in fields.iter().enumerate() {
        let mut leaf = field.clone();
        leaf.fields.clear();
        let leaf = serde_json::to_string(&leaf)?;
        write!(text, "{}\n{}", if n == 0 { "" } else { "," }, " ".repeat(depth))?;
        if field.fields.is_empty() {
            text.push_str(&leaf);
        } else {
            write!(text, "{},\"fields\":[", leaf.strip_suffix('}').unwrap_or(&leaf))?;
            render_fields(text, &field.fields, depth + 1)?;
            text.push_str("]}");
        }
    }
    Ok(())
}

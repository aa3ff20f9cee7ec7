//! Rust sources for the schemas: one module a message, one list of modules a family, the table of API keys.

mod api_keys;
mod defaults;
mod message;
mod read;
mod registry;
mod scope;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::names::snake_case;
use crate::schema::{FAMILIES, Schema};

/// All files by path below `src/generated`.
pub fn sources(schemas: &[Schema]) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for family in FAMILIES {
        let members: Vec<&Schema> = schemas.iter().filter(|schema| schema.family == family).collect();
        let folder = folder_of(family);
        for schema in &members {
            let path = folder.join(format!("{}.rs", snake_case(&schema.name)));
            files.insert(path, message::source(schema)?);
        }
        files.insert(folder.join("mod.rs"), module_list(&members));
    }
    let records: String =
        FAMILIES.iter().filter(|f| **f != "client").map(|f| format!("pub mod {f};\n")).collect();
    files.insert("records/mod.rs".into(), records);
    files.insert("api_keys.rs".into(), api_keys::source(schemas)?);
    files.insert("registry.rs".into(), registry::source(schemas));
    let root = ["api_keys", "messages", "records", "registry"].map(|module| format!("pub mod {module};\n"));
    files.insert("mod.rs".into(), root.concat());
    Ok(files)
}

fn folder_of(family: &str) -> PathBuf {
    if family == "client" { "messages".into() } else { PathBuf::from("records").join(family) }
}

/// The path of a schema's struct inside the wire crate.
fn rust_path(schema: &Schema) -> String {
    match schema.family.as_str() {
        "client" => format!("crate::messages::{}", schema.name),
        family => format!("crate::records::{family}::{}", schema.name),
    }
}

fn module_list(members: &[&Schema]) -> String {
    let modules: String = members.iter().map(|s| format!("pub mod {};\n", snake_case(&s.name))).collect();
    let structs = members.iter().map(|s| format!("pub use {}::{};\n", snake_case(&s.name), s.name));
    format!("{modules}\n{}", structs.collect::<String>())
}

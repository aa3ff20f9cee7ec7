//! Extracts Kafka's message schemas from the published jars and turns them into Rust.
//!
//! - `ottla-wire-generator extract <jar-dir>` rewrites `crates/wire/schemas` (needs `unzip`);
//! - `ottla-wire-generator generate [--check]` rewrites `crates/wire/src/generated` (needs `rustfmt`), or fails
//!   when what is committed differs.

mod emit;
mod extract;
mod names;
mod output;
mod schema;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const USAGE: &str = "usage: ottla-wire-generator extract <jar-dir> | generate [--check]";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let wire = wire_crate();
    match arguments.as_slice() {
        ["extract", jars] => extract::extract(Path::new(jars), &wire.join("schemas")),
        ["generate"] => generated(&wire)?.write(&wire.join("src/generated")),
        ["generate", "--check"] => generated(&wire)?.check(&wire.join("src/generated")),
        _ => bail!(USAGE),
    }
}

fn wire_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn generated(wire: &Path) -> Result<output::Sources> {
    let schemas = schema::load(&wire.join("schemas"))?;
    output::Sources::formatted(emit::sources(&schemas)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_what_the_schemas_say() {
        let (wire, elsewhere) = (wire_crate(), wire_crate().join("schemas"));
        let sources = generated(&wire).unwrap();
        sources.check(&wire.join("src/generated")).unwrap();
        assert!(sources.check(&elsewhere).is_err());
    }
}

//! The table of request types.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use crate::schema::{Kind, Schema, Versions};

/// The enum `ApiKey` and one row of facts for each of its variants.
pub fn source(schemas: &[Schema]) -> Result<String> {
    let mut requests: Vec<&Schema> = schemas.iter().filter(|schema| schema.kind == Kind::Request).collect();
    requests.sort_by_key(|schema| schema.api_key);
    let (mut variants, mut rows, mut all, mut codes) =
        (String::new(), String::new(), String::new(), String::new());
    for request in &requests {
        let name = request.name.trim_end_matches("Request");
        let key = request.api_key.context("a request without key")?;
        let response = schemas.iter().find(|schema| schema.name == format!("{name}Response"));
        let response = response.with_context(|| format!("{name} has no response"))?;
        writeln!(variants, "/// The {name} API.\n{name} = {key},")?;
        write!(all, "ApiKey::{name}, ")?;
        writeln!(codes, "{key} => ApiKey::{name},")?;
        writeln!(rows, "ApiKey::{name} => {},", row(name, request, response))?;
    }
    Ok(format!(
        "use crate::api_key::ApiSpec;\n\n\
         /// A request type of the protocol.\n#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i16)]\npub enum ApiKey {{\n{variants}}}\n\n\
         impl ApiKey {{\n/// Every request type, by key.\npub const ALL: [ApiKey; {}] = [{all}];\n\n\
         pub(crate) fn from_code(code: i16) -> Option<Self> {{\nSome(match code {{ {codes} _ => return None }})\n}}\n\n\
         pub(crate) const fn spec(self) -> ApiSpec {{ match self {{\n{rows}}} }}\n}}\n",
        requests.len()
    ))
}

fn row(name: &str, request: &Schema, response: &Schema) -> String {
    let Versions { from, to } = request.valid_versions;
    let stable = if request.latest_version_unstable { to - 1 } else { to };
    let first = |versions: Versions| {
        if versions.is_empty() { "None".to_owned() } else { format!("Some({})", versions.from) }
    };
    let listens = |role: &str| request.listeners.iter().any(|listener| listener == role);
    format!(
        "ApiSpec {{ name: \"{name}\", min: {from}, max: {stable}, latest: {to}, request_flexible_from: {}, \
         response_flexible_from: {}, on_broker: {}, on_controller: {} }}",
        first(request.flexible_versions),
        first(response.flexible_versions),
        listens("broker"),
        listens("controller")
    )
}

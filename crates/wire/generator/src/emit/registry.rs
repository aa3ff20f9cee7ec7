//! The list of all schemas, for tests and tools that treat every message alike.

use crate::schema::{Kind, Schema};

use super::rust_path;

/// One row a message.
pub fn source(schemas: &[Schema]) -> String {
    let rows: String = schemas.iter().map(|schema| format!("{},\n", row(schema))).collect();
    format!(
        "use crate::registry::{{Kind, Schema}};\n\n/// Every message, record and header.\n\
         pub static SCHEMAS: &[Schema] = &[\n{rows}];\n"
    )
}

fn row(schema: &Schema) -> String {
    let kind = match schema.kind {
        Kind::Request => "Request",
        Kind::Response => "Response",
        Kind::Header => "Header",
        Kind::Metadata => "MetadataRecord",
        Kind::Data => "Data",
        Kind::CoordinatorKey => "CoordinatorKey",
        Kind::CoordinatorValue => "CoordinatorValue",
    };
    let key = schema.api_key.map_or("None".to_owned(), |key| format!("Some({key})"));
    format!("Schema::of::<{}>(\"{}\", Kind::{kind}, {key})", rust_path(schema), schema.family)
}

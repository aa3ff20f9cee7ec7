//! The module of one message: its structs, and what identifies it.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::scope::{Scope, is_nullable};
use super::{defaults, read, write};
use crate::names::field_name;
use crate::schema::{Field, Fixed, Kind, Schema, Type, Versions};

/// The source of a message's module.
pub fn source(schema: &Schema) -> Result<String> {
    let mut code = "use crate::generated_prelude::*;\n\n".to_owned();
    let root = Scope {
        name: &schema.name,
        fields: &schema.fields,
        versions: schema.valid_versions,
        flexible: schema.flexible_versions,
    };
    code.push_str(&structure(&root).with_context(|| schema.name.clone())?);
    code.push_str(&identity(schema));
    for scope in nested(schema, &root) {
        code.push_str(&structure(&scope).with_context(|| format!("{}.{}", schema.name, scope.name))?);
    }
    Ok(code)
}

/// The nested structs, outer ones first.
fn nested<'a>(schema: &'a Schema, root: &Scope<'a>) -> Vec<Scope<'a>> {
    let mut scopes = Vec::new();
    inline_structs(root.fields, root.versions, root.flexible, &mut scopes);
    for common in &schema.common_structs {
        let versions = root.versions.and(common.versions);
        let scope = Scope { name: &common.name, fields: &common.fields, versions, flexible: root.flexible };
        scopes.push(scope);
        inline_structs(&common.fields, versions, root.flexible, &mut scopes);
    }
    scopes
}

fn inline_structs<'a>(
    fields: &'a [Field],
    within: Versions,
    flexible: Versions,
    scopes: &mut Vec<Scope<'a>>,
) {
    for field in fields.iter().filter(|field| !field.fields.is_empty()) {
        if let Some(name) = struct_name(&field.kind) {
            let versions = within.and(field.versions());
            scopes.push(Scope { name, fields: &field.fields, versions, flexible });
            inline_structs(&field.fields, versions, flexible, scopes);
        }
    }
}

fn struct_name(kind: &Type) -> Option<&str> {
    match kind {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

fn structure(scope: &Scope) -> Result<String> {
    let flexible = !scope.flexible.is_empty();
    let mut derivable = true;
    for field in scope.fields {
        derivable &= defaults::is_derivable(field)?;
    }
    let derives = if derivable { "Debug, Clone, PartialEq, Default" } else { "Debug, Clone, PartialEq" };
    let mut code = format!("#[derive({derives})]\npub struct {} {{\n", scope.name);
    for field in scope.fields {
        writeln!(code, "pub {}: {},", field_name(&field.name), rust_type(field))?;
    }
    code.push_str(if flexible { "pub unknown_tagged_fields: Vec<RawTaggedField>,\n}\n\n" } else { "}\n\n" });
    if !derivable {
        writeln!(code, "impl Default for {} {{ fn default() -> Self {{ Self {{", scope.name)?;
        for field in scope.fields {
            writeln!(code, "{}: {},", field_name(&field.name), defaults::default_of(field)?)?;
        }
        code.push_str(if flexible { "unknown_tagged_fields: Vec::new(),\n} } }\n\n" } else { "} } }\n\n" });
    }
    write!(
        code,
        "impl Fields for {} {{\nfn read(d: &mut Decoder, v: i16) -> Result<Self, DecodeFault> {{\n{}\n}}\n\n\
         fn write(&self, e: &mut Encoder, v: i16) -> Result<(), EncodeFault> {{\n{}\n}}\n}}\n\n",
        scope.name,
        read::body(scope),
        write::body(scope)?
    )?;
    Ok(code)
}

fn identity(schema: &Schema) -> String {
    let Schema { name, valid_versions: Versions { from, to }, .. } = schema;
    let flexible = match schema.flexible_versions {
        versions if versions.is_empty() => "None".to_owned(),
        versions => format!("Some({})", versions.from),
    };
    let mut code = format!(
        "impl Message for {name} {{\nconst NAME: &'static str = \"{name}\";\n\
         const VERSIONS: RangeInclusive<i16> = {from}..={to};\n\
         const FLEXIBLE_FROM: Option<i16> = {flexible};\n}}\n\n"
    );
    if schema.kind == Kind::Request {
        let api = name.trim_end_matches("Request");
        code.push_str(&format!(
            "impl Request for {name} {{\nconst KEY: ApiKey = ApiKey::{api};\n\
             type Response = crate::messages::{api}Response;\n}}\n\n"
        ));
    } else if let (Some(key), false) = (schema.api_key, schema.kind == Kind::Response) {
        code.push_str(&format!("impl Record for {name} {{ const API_KEY: i16 = {key}; }}\n\n"));
    }
    code
}

fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.kind);
    if is_nullable(field) && field.kind != Type::Records { format!("Option<{plain}>") } else { plain }
}

fn plain_type(kind: &Type) -> String {
    match kind {
        Type::Fixed(Fixed::Uuid) => "Uuid".to_owned(),
        Type::Fixed(fixed) => read::method(*fixed).to_owned(),
        Type::String => "Str".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Records => "Option<Records>".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

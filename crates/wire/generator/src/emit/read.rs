//! The body of `read`.

use super::scope::{Scope, guarded, is_nullable};
use crate::names::field_name;
use crate::schema::{Field, Fixed, Type, Versions};

/// Statements that read the struct from `d` at version `v`.
pub fn body(scope: &Scope) -> String {
    let mut code = scope.bind_flexible();
    code.push_str("let mut m = Self::default();\n");
    for field in scope.fields {
        let (present, tagged) = (scope.of(field), scope.tagged(field));
        if present.is_empty() || tagged.covers(present) {
            continue;
        }
        let condition = Scope::condition(scope.versions, present);
        code.push_str(&guarded(condition.as_deref(), &assignment(scope, field, present)));
    }
    if !scope.flexible.is_empty() {
        let condition = Scope::condition(scope.versions, scope.flexible.and(scope.versions));
        code.push_str(&guarded(condition.as_deref(), &tags(scope)));
    }
    code.push_str("Ok(m)");
    code
}

fn tags(scope: &Scope) -> String {
    let mut arms = String::new();
    for field in scope.fields {
        let tagged = scope.tagged(field);
        let Some(tag) = field.tag.filter(|_| !tagged.is_empty()) else { continue };
        let guard = Scope::condition(scope.versions.and(scope.flexible), tagged);
        let guard = guard.map(|condition| format!(" if {condition}")).unwrap_or_default();
        arms.push_str(&format!("{tag}{guard} => {{ {} }}\n", assignment(scope, field, tagged)));
    }
    if arms.is_empty() {
        return "m.unknown_tagged_fields = d.unknown_tags()?;".to_owned();
    }
    format!(
        "m.unknown_tagged_fields = d.tags(|tag, d| {{ match tag {{ {arms} _ => return Ok(false) }} Ok(true) }})?;"
    )
}

fn assignment(scope: &Scope, field: &Field, within: Versions) -> String {
    let name = field_name(&field.name);
    let f = scope.flexible(field);
    let tagged = within == scope.tagged(field);
    if field.kind == Type::Records && within.and(field.nullable_versions).is_empty() {
        return format!("m.{name} = Some(d.bytes({f})?.into());");
    }
    if !is_nullable(field) || field.kind == Type::Records {
        return format!("m.{name} = {};", value(&field.kind, f));
    }
    let nullable = within.and(field.nullable_versions);
    match Scope::condition(within, nullable) {
        None => format!("m.{name} = {};", nullable_value(&field.kind, f, tagged)),
        Some(_) if nullable.is_empty() => format!("m.{name} = Some({});", value(&field.kind, f)),
        Some(condition) => format!(
            "m.{name} = if {condition} {{ {} }} else {{ Some({}) }};",
            nullable_value(&field.kind, f, tagged),
            value(&field.kind, f)
        ),
    }
}

fn value(kind: &Type, f: &str) -> String {
    match kind {
        Type::Fixed(fixed) => format!("d.{}()?", method(*fixed)),
        Type::String => format!("d.string({f})?"),
        Type::Bytes => format!("d.bytes({f})?"),
        Type::Records => format!("d.records({f})?"),
        Type::Struct(name) => format!("{name}::read(d, v)?"),
        Type::Array(element) => format!("d.array({f}, {})?", reader(element, f)),
    }
}

/// `tagged` structs have another marker for null.
fn nullable_value(kind: &Type, f: &str, tagged: bool) -> String {
    match kind {
        Type::String => format!("d.nullable_string({f})?"),
        Type::Bytes => format!("d.nullable_bytes({f})?"),
        Type::Struct(name) => format!("d.nullable_struct({tagged}, |d| {name}::read(d, v))?"),
        Type::Array(element) => format!("d.nullable_array({f}, {})?", reader(element, f)),
        Type::Fixed(_) | Type::Records => value(kind, f),
    }
}

/// A function that reads one element of an array.
fn reader(element: &Type, f: &str) -> String {
    match element {
        Type::Fixed(fixed) => format!("Decoder::{}", method(*fixed)),
        Type::String => format!("|d| d.string({f})"),
        Type::Bytes => format!("|d| d.bytes({f})"),
        Type::Records => format!("|d| d.records({f})"),
        Type::Struct(name) => format!("|d| {name}::read(d, v)"),
        Type::Array(inner) => format!("|d| d.array({f}, {})", reader(inner, f)),
    }
}

/// The method of decoder and encoder for a type of fixed width.
pub fn method(fixed: Fixed) -> &'static str {
    match fixed {
        Fixed::Bool => "bool",
        Fixed::I8 => "i8",
        Fixed::I16 => "i16",
        Fixed::U16 => "u16",
        Fixed::I32 => "i32",
        Fixed::U32 => "u32",
        Fixed::I64 => "i64",
        Fixed::F64 => "f64",
        Fixed::Uuid => "uuid",
    }
}

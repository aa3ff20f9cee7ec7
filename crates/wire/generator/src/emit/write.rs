//! The body of `write`.

use anyhow::Result;

use super::defaults::differs;
use super::read::method;
use super::scope::{Scope, guarded, is_nullable};
use crate::names::field_name;
use crate::schema::{Field, Type, Versions};

/// Statements that write the struct to `e` at version `v`.
pub fn body(scope: &Scope) -> Result<String> {
    let mut code = scope.bind_flexible();
    for field in scope.fields {
        code.push_str(&plain_field(scope, field)?);
    }
    if !scope.flexible.is_empty() {
        let condition = Scope::condition(scope.versions, scope.flexible.and(scope.versions));
        code.push_str(&guarded(condition.as_deref(), &tags(scope)?));
    }
    code.push_str("Ok(())");
    Ok(code)
}

/// Writes a field where it is untagged; refuses a value that a version without the field would lose.
fn plain_field(scope: &Scope, field: &Field) -> Result<String> {
    let (present, tagged) = (scope.of(field), scope.tagged(field));
    let lost = format!(
        "if {} {{ return Err(EncodeFault::NotInVersion(\"{}\")); }}",
        differs(field, &field_name(&field.name))?,
        scope.label(field)
    );
    let condition = Scope::condition(scope.versions, present);
    let untagged = if tagged.covers(present) { String::new() } else { statement(scope, field, present) };
    Ok(match (condition, field.ignorable) {
        (None, _) => format!("{untagged}\n"),
        (Some(_), true) if untagged.is_empty() => String::new(),
        (Some(condition), true) => guarded(Some(&condition), &untagged),
        (Some(_), false) if present.is_empty() => format!("{lost}\n"),
        (Some(condition), false) if untagged.is_empty() => guarded(Some(&negated(&condition)), &lost),
        (Some(condition), false) => format!("if {condition} {{ {untagged} }} else {lost}\n"),
    })
}

fn negated(condition: &str) -> String {
    for (operator, opposite) in [(" >= ", " < "), (" <= ", " > "), (" == ", " != ")] {
        if condition.contains(operator) && !condition.contains("..=") {
            return condition.replace(operator, opposite);
        }
    }
    format!("!{condition}")
}

fn tags(scope: &Scope) -> Result<String> {
    let mut tagged: Vec<&Field> =
        scope.fields.iter().filter(|field| !scope.tagged(field).is_empty()).collect();
    tagged.sort_by_key(|field| field.tag);
    if tagged.is_empty() {
        return Ok("e.unknown_tags(&self.unknown_tagged_fields)?;".to_owned());
    }
    let mut code = "let mut t = Tags::new();\n".to_owned();
    for field in tagged {
        let condition = Scope::condition(scope.versions.and(scope.flexible), scope.tagged(field));
        let differs = differs(field, &field_name(&field.name))?;
        let condition = condition.map(|c| format!("{c} && ({differs})")).unwrap_or(differs);
        let statement = statement(scope, field, scope.tagged(field));
        let tag = field.tag.unwrap_or_default();
        code.push_str(&format!("if {condition} {{ t.push({tag}, |e| {{ {statement} Ok(()) }})?; }}\n"));
    }
    code.push_str("e.tags(t, &self.unknown_tagged_fields)?;");
    Ok(code)
}

fn statement(scope: &Scope, field: &Field, within: Versions) -> String {
    let name = field_name(&field.name);
    let f = scope.flexible(field);
    let required = format!("required(&self.{name}, \"{}\")?", scope.label(field));
    if field.kind == Type::Records {
        let nullable = Scope::condition(within, within.and(field.nullable_versions));
        let check = match nullable {
            None => String::new(),
            Some(condition) => guarded(
                (condition != "false").then(|| negated(&condition)).as_deref(),
                &format!("{required};"),
            ),
        };
        return format!("{check}e.nullable_records({f}, &self.{name})?;");
    }
    if !is_nullable(field) {
        return non_null(&field.kind, f, &format!("self.{name}"), false);
    }
    let nullable = within.and(field.nullable_versions);
    let tagged = within == scope.tagged(field);
    match Scope::condition(within, nullable) {
        None => or_null(&field.kind, f, &name, tagged),
        Some(_) if nullable.is_empty() => non_null(&field.kind, f, &required, true),
        Some(condition) => format!(
            "if {condition} {{ {} }} else {{ {} }}",
            or_null(&field.kind, f, &name, tagged),
            non_null(&field.kind, f, &required, true)
        ),
    }
}

fn non_null(kind: &Type, f: &str, access: &str, is_reference: bool) -> String {
    let reference = if is_reference { access.to_owned() } else { format!("&{access}") };
    match kind {
        Type::Fixed(fixed) => format!("e.{}({access});", method(*fixed)),
        Type::String => format!("e.string({f}, {reference})?;"),
        Type::Bytes => format!("e.bytes({f}, {reference})?;"),
        Type::Records => String::new(),
        Type::Struct(_) => format!("{access}.write(e, v)?;"),
        Type::Array(element) => format!("e.array({f}, {reference}, {})?;", writer(element, f)),
    }
}

/// `tagged` structs have another marker for null.
fn or_null(kind: &Type, f: &str, name: &str, tagged: bool) -> String {
    match kind {
        Type::String => format!("e.nullable_string({f}, &self.{name})?;"),
        Type::Bytes => format!("e.nullable_bytes({f}, &self.{name})?;"),
        Type::Struct(_) => format!("e.nullable_struct({tagged}, &self.{name}, |e, x| x.write(e, v))?;"),
        Type::Array(element) => format!("e.nullable_array({f}, &self.{name}, {})?;", writer(element, f)),
        Type::Fixed(_) | Type::Records => String::new(),
    }
}

/// A function that writes one element of an array.
fn writer(element: &Type, f: &str) -> String {
    match element {
        Type::Fixed(fixed) => format!("|e, x| {{ e.{}(*x); Ok(()) }}", method(*fixed)),
        Type::String => format!("|e, x| e.string({f}, x)"),
        Type::Bytes => format!("|e, x| e.bytes({f}, x)"),
        Type::Records => format!("|e, x| e.nullable_records({f}, x)"),
        Type::Struct(_) => "|e, x| x.write(e, v)".to_owned(),
        Type::Array(inner) => format!("|e, x| e.array({f}, x, {})", writer(inner, f)),
    }
}

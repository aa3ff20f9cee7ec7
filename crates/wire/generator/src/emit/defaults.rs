//! Default values of fields, and the test whether a field has its default.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::scope::is_nullable;
use crate::schema::{Field, Fixed, Type};

/// The expression of a field's default.
pub fn default_of(field: &Field) -> Result<String> {
    if defaults_to_null(field) {
        return Ok("None".to_owned());
    }
    let value = match &field.kind {
        Type::Fixed(fixed) => fixed_default(*fixed, field)?,
        Type::String => match text(field).unwrap_or_default().as_str() {
            "" => "Str::new()".to_owned(),
            other => bail!("default {other:?} of a string"),
        },
        Type::Bytes => "Bytes::new()".to_owned(),
        Type::Records => "None".to_owned(),
        Type::Array(_) => "Vec::new()".to_owned(),
        Type::Struct(name) => format!("{name}::default()"),
    };
    Ok(if is_nullable(field) && field.kind != Type::Records { format!("Some({value})") } else { value })
}

/// Whether `#[derive(Default)]` gives the field's default.
pub fn is_derivable(field: &Field) -> Result<bool> {
    let default = default_of(field)?;
    Ok(!default.starts_with("Some(")
        && matches!(
            default.as_str(),
            "None" | "0" | "0.0" | "false" | "Uuid::ZERO" | "Str::new()" | "Bytes::new()" | "Vec::new()"
        )
        || matches!(&field.kind, Type::Struct(_) if !is_nullable(field)))
}

/// The condition for `self.name` not being the default.
pub fn differs(field: &Field, name: &str) -> Result<String> {
    let default = default_of(field)?;
    let inner = |access: &str| match &field.kind {
        Type::String | Type::Bytes | Type::Array(_) => format!("!{access}.is_empty()"),
        Type::Struct(struct_name) => format!("*{access} != {struct_name}::default()"),
        _ => format!("*{access} != {default}"),
    };
    Ok(match default.as_str() {
        "None" => format!("self.{name}.is_some()"),
        some if some.starts_with("Some(") => format!("self.{name}.as_ref().is_none_or(|x| {})", inner("x")),
        "true" => format!("!self.{name}"),
        "false" => format!("self.{name}"),
        "Str::new()" | "Bytes::new()" | "Vec::new()" => format!("!self.{name}.is_empty()"),
        other => format!("self.{name} != {other}"),
    })
}

fn defaults_to_null(field: &Field) -> bool {
    is_nullable(field) && text(field).as_deref() == Some("null")
}

fn text(field: &Field) -> Option<String> {
    match field.default.as_ref()? {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

fn fixed_default(fixed: Fixed, field: &Field) -> Result<String> {
    let text = text(field);
    Ok(match fixed {
        Fixed::Bool => text.unwrap_or_else(|| "false".to_owned()),
        Fixed::Uuid if text.is_none() => "Uuid::ZERO".to_owned(),
        Fixed::Uuid => bail!("default {text:?} of a uuid"),
        Fixed::F64 if text.is_none() => "0.0".to_owned(),
        Fixed::F64 => bail!("default {text:?} of a float"),
        _ => match text.as_deref() {
            None => "0".to_owned(),
            Some(text) => integer(text).with_context(|| format!("default {text}"))?.to_string(),
        },
    })
}

fn integer(text: &str) -> Result<i64> {
    Ok(match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16)?,
        None => text.parse()?,
    })
}

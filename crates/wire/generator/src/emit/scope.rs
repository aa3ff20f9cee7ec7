//! The versions in which a struct occurs, and the conditions on `v` that its fields need there.

use crate::names::field_name;
use crate::schema::{Field, Type, Versions};

/// A struct to be emitted.
pub struct Scope<'a> {
    pub name: &'a str,
    pub fields: &'a [Field],
    /// The versions in which it can occur.
    pub versions: Versions,
    /// The message's flexible versions.
    pub flexible: Versions,
}

impl Scope<'_> {
    /// The versions of this struct that have the field.
    pub fn of(&self, field: &Field) -> Versions {
        self.versions.and(field.versions())
    }

    /// The versions of this struct in which the field is a tagged one.
    pub fn tagged(&self, field: &Field) -> Versions {
        self.of(field).and(field.tagged_versions)
    }

    /// The condition for `v` being one of `versions`, given that it is one of `within`; `None` when always so.
    pub fn condition(within: Versions, versions: Versions) -> Option<String> {
        if versions.covers(within) {
            return None;
        }
        if versions.is_empty() {
            return Some("false".to_owned());
        }
        let from = (versions.from > within.from).then(|| format!("v >= {}", versions.from));
        let to = (versions.to < within.to).then(|| format!("v <= {}", versions.to));
        Some(match (from, to) {
            (Some(_), Some(_)) if versions.from == versions.to => format!("v == {}", versions.from),
            (Some(_), Some(_)) => format!("({}..={}).contains(&v)", versions.from, versions.to),
            (from, to) => from.or(to).unwrap_or_default(),
        })
    }

    /// The expression that tells whether the field's lengths are compact; `f` is bound where it depends on `v`.
    pub fn flexible(&self, field: &Field) -> &'static str {
        let flexible = field.flexible_versions.unwrap_or(self.flexible);
        if flexible.covers(self.of(field)) {
            "true"
        } else if self.of(field).and(flexible).is_empty() {
            "false"
        } else {
            "f"
        }
    }

    /// `let f = …;` where a field needs it.
    pub fn bind_flexible(&self) -> String {
        let needed = self.fields.iter().any(|field| self.flexible(field) == "f" && has_length(&field.kind));
        match Self::condition(self.versions, self.flexible.and(self.versions)) {
            Some(condition) if needed => format!("let f = {condition};\n"),
            _ => String::new(),
        }
    }

    /// `Struct.field`, for errors.
    pub fn label(&self, field: &Field) -> String {
        format!("{}.{}", self.name, field_name(&field.name).trim_start_matches("r#"))
    }
}

/// Whether some version lets the field be null, so that it is an `Option`.
pub fn is_nullable(field: &Field) -> bool {
    !field.nullable_versions.is_empty() || field.kind == Type::Records
}

fn has_length(kind: &Type) -> bool {
    !matches!(kind, Type::Fixed(_) | Type::Struct(_))
}

/// Wraps statements in a condition.
pub fn guarded(condition: Option<&str>, body: &str) -> String {
    match condition {
        Some(condition) => format!("if {condition} {{ {body} }}\n"),
        None => format!("{body}\n"),
    }
}

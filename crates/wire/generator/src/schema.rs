//! The model of a message schema, as committed under `crates/wire/schemas`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The folders of `crates/wire/schemas`, one per module of the generated code.
pub const FAMILIES: [&str; 7] = ["client", "metadata", "group", "transaction", "share", "storage", "raft"];

/// One message, record or header. The order of the fields is the order in the committed file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schema {
    /// Filled from the folder's name.
    #[serde(skip)]
    pub family: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<i16>,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<String>,
    pub valid_versions: Versions,
    #[serde(default, skip_serializing_if = "is_false")]
    pub latest_version_unstable: bool,
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub flexible_versions: Versions,
    #[serde(default)]
    pub fields: Vec<Field>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub common_structs: Vec<CommonStruct>,
}

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Request,
    Response,
    Header,
    Metadata,
    Data,
    CoordinatorKey,
    CoordinatorValue,
}

/// A field of a message or of a nested struct.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<Versions>,
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub nullable_versions: Versions,
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub tagged_versions: Versions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flexible_versions: Option<Versions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignorable: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub map_key: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub zero_copy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// A struct that several fields of one message use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommonStruct {
    pub name: String,
    pub versions: Versions,
    pub fields: Vec<Field>,
}

impl Field {
    /// The versions that have the field; the tagged ones where nothing else is said.
    pub fn versions(&self) -> Versions {
        self.versions.unwrap_or(self.tagged_versions)
    }
}

/// A field's type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Type {
    /// `bool`, `int8` … `float64`, `uuid`: of fixed width.
    Fixed(Fixed),
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

/// A type of fixed width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    Uuid,
}

const FIXED: [(&str, Fixed); 9] = [
    ("bool", Fixed::Bool),
    ("int8", Fixed::I8),
    ("int16", Fixed::I16),
    ("uint16", Fixed::U16),
    ("int32", Fixed::I32),
    ("uint32", Fixed::U32),
    ("int64", Fixed::I64),
    ("float64", Fixed::F64),
    ("uuid", Fixed::Uuid),
];

impl TryFrom<String> for Type {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(element) = text.strip_prefix("[]") {
            return Ok(Self::Array(Box::new(Self::try_from(element.to_owned())?)));
        }
        if let Some((_, fixed)) = FIXED.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Fixed(*fixed));
        }
        match text.as_str() {
            "string" => Ok(Self::String),
            "bytes" => Ok(Self::Bytes),
            "records" => Ok(Self::Records),
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Ok(Self::Struct(text)),
            _ => Err(format!("unknown type {text}")),
        }
    }
}

impl From<Type> for String {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Fixed(fixed) => {
                FIXED.iter().find(|(_, other)| *other == fixed).map_or("", |(name, _)| *name).to_owned()
            }
            Type::String => "string".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            Type::Records => "records".to_owned(),
            Type::Struct(name) => name,
            Type::Array(element) => format!("[]{}", Self::from(*element)),
        }
    }
}

/// A range of versions; `from > to` when empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Versions {
    pub from: i16,
    pub to: i16,
}

impl Default for Versions {
    fn default() -> Self {
        Self { from: 0, to: -1 }
    }
}

impl Versions {
    pub fn is_empty(&self) -> bool {
        self.from > self.to
    }

    pub fn and(self, other: Self) -> Self {
        let both = Self { from: self.from.max(other.from), to: self.to.min(other.to) };
        if both.is_empty() { Self::default() } else { both }
    }

    /// Whether every version of `other` is one of these.
    pub fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.from <= other.from && other.to <= self.to)
    }
}

impl TryFrom<String> for Versions {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = |n: &str| n.parse::<i16>().map_err(|e| format!("versions {text}: {e}"));
        if text == "none" {
            Ok(Self::default())
        } else if let Some(from) = text.strip_suffix('+') {
            Ok(Self { from: number(from)?, to: i16::MAX })
        } else if let Some((from, to)) = text.split_once('-') {
            Ok(Self { from: number(from)?, to: number(to)? })
        } else {
            Ok(Self { from: number(&text)?, to: number(&text)? })
        }
    }
}

impl From<Versions> for String {
    fn from(versions: Versions) -> Self {
        match versions {
            v if v.is_empty() => "none".to_owned(),
            v if v.to == i16::MAX => format!("{}+", v.from),
            v if v.from == v.to => v.from.to_string(),
            v => format!("{}-{}", v.from, v.to),
        }
    }
}

/// Every committed schema with at least one valid version, by family and name.
pub fn load(folder: &Path) -> Result<Vec<Schema>> {
    let mut schemas = Vec::new();
    for family in FAMILIES {
        let entries = fs::read_dir(folder.join(family)).with_context(|| format!("schemas/{family}"))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path)?;
            let schema: Schema = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            schemas.push(Schema { family: family.to_owned(), ..schema });
        }
    }
    if schemas.is_empty() {
        bail!("no schema under {}", folder.display());
    }
    Ok(schemas)
}

fn is_false(value: &bool) -> bool {
    !value
}

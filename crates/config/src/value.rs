//! Typed configuration values: reading them as Kafka does, and the checks on them.

use std::fmt::Write as _;

/// Type of a key, as Kafka names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`, in any case.
    Boolean,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// 16 bits.
    Short,
    /// A floating-point number.
    Double,
    /// Text.
    String,
    /// Texts separated by commas.
    List,
    /// The name of a Java class.
    Class,
    /// Text that is never shown.
    Password,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a boolean.
    Bool(bool),
    /// Of an int, long or short: the range of the type is checked.
    Number(i64),
    /// Of a double.
    Double(f64),
    /// Of a string, class or password.
    Text(String),
    /// Of a list.
    List(Vec<String>),
}

/// Which values a key allows.
#[derive(Debug, Clone, PartialEq)]
pub enum Valid {
    /// All of its type.
    Any,
    /// Numbers from least to most (either may be open), or one other number.
    Range(Option<f64>, Option<f64>, Option<f64>),
    /// One of these.
    In(Vec<&'static str>),
    /// One of these, in any case.
    InAnyCase(Vec<&'static str>),
    /// A list without duplicates: of these if there are any; perhaps not empty.
    List {
        /// Allowed elements; none means all.
        of: Vec<&'static str>,
        /// Whether the empty list is allowed.
        empty: bool,
    },
    /// Text that is not empty.
    NotEmpty,
    /// `*` or `partition:broker` pairs.
    ThrottledReplicas,
}

impl Type {
    /// From the table's spelling; anything unknown is text.
    pub fn from_name(name: &str) -> Type {
        match name {
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "short" => Type::Short,
            "double" => Type::Double,
            "list" => Type::List,
            "class" => Type::Class,
            "password" => Type::Password,
            _ => Type::String,
        }
    }

    /// Number of this type in DescribeConfigs responses.
    pub fn code(self) -> i8 {
        match self {
            Type::Boolean => 1,
            Type::String => 2,
            Type::Int => 3,
            Type::Short => 4,
            Type::Long => 5,
            Type::Double => 6,
            Type::List => 7,
            Type::Class => 8,
            Type::Password => 9,
        }
    }

    /// Reads a value; blanks around it do not count.
    ///
    /// # Errors
    /// What the text should have been.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        match self {
            Type::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err("must be true or false".into()),
            },
            Type::Int => number(text, i64::from(i32::MIN), i64::from(i32::MAX)),
            Type::Short => number(text, i64::from(i16::MIN), i64::from(i16::MAX)),
            Type::Long => number(text, i64::MIN, i64::MAX),
            Type::Double => match text.parse::<f64>() {
                Ok(value) if !value.is_nan() => Ok(Value::Double(value)),
                _ => Err("must be a number".into()),
            },
            Type::String | Type::Class | Type::Password => Ok(Value::Text(text.to_owned())),
            Type::List => Ok(Value::List(list(text))),
        }
    }
}

/// The elements of a comma-separated list; the empty text is the empty list.
pub fn list(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|element| element.trim().to_owned()).collect()
}

fn number(text: &str, least: i64, most: i64) -> Result<Value, String> {
    match text.parse::<i64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(Value::Number(value)),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

impl Valid {
    /// From the table's spelling.
    pub fn from_text(text: &'static str) -> Valid {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let names = || rest.split('|').filter(|name| !name.is_empty()).collect::<Vec<_>>();
        let mut bounds = rest.split(':').map(|bound| bound.parse().ok());
        let mut bound = || bounds.next().flatten();
        match kind {
            "range" | "range-or" => Valid::Range(bound(), bound(), bound()),
            "in" => Valid::In(names()),
            "in-any-case" => Valid::InAnyCase(names()),
            "list" => Valid::List { of: names(), empty: true },
            "list-not-empty" => Valid::List { of: names(), empty: false },
            "not-empty" => Valid::NotEmpty,
            "throttled-replicas" => Valid::ThrottledReplicas,
            _ => Valid::Any,
        }
    }

    /// # Errors
    /// What is allowed instead.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let holds = match (self, value) {
            (Valid::Range(least, most, or), value) => match as_number(value) {
                Some(number) => {
                    *or == Some(number)
                        || (least.is_none_or(|least| number >= least)
                            && most.is_none_or(|most| number <= most))
                }
                None => true,
            },
            (Valid::In(names), Value::Text(text)) => names.contains(&text.as_str()),
            (Valid::InAnyCase(names), Value::Text(text)) => {
                names.iter().any(|name| name.eq_ignore_ascii_case(text))
            }
            (Valid::List { of, empty }, Value::List(list)) => return check_list(of, *empty, list),
            (Valid::NotEmpty, Value::Text(text)) => !text.is_empty(),
            (Valid::ThrottledReplicas, Value::List(list)) => throttled_replicas(list),
            _ => true,
        };
        if holds { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(&self) -> String {
        match self {
            Valid::Range(least, most, or) => {
                let mut text = String::from("must be ");
                let _ = match (least, most) {
                    (Some(least), Some(most)) => write!(text, "from {least} to {most}"),
                    (Some(least), None) => write!(text, "at least {least}"),
                    (None, Some(most)) => write!(text, "at most {most}"),
                    (None, None) => write!(text, "a number"),
                };
                if let Some(or) = or {
                    let _ = write!(text, ", or {or}");
                }
                text
            }
            Valid::In(names) | Valid::InAnyCase(names) => format!("must be one of {}", names.join(", ")),
            Valid::NotEmpty => "must not be empty".into(),
            Valid::ThrottledReplicas => "must be * or a list of partition:broker".into(),
            Valid::List { .. } | Valid::Any => "is not allowed".into(),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "bounds in the table are far below 2^53; above it only order matters"
)]
fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        _ => None,
    }
}

fn check_list(of: &[&'static str], empty: bool, list: &[String]) -> Result<(), String> {
    if list.is_empty() && !empty {
        return Err("must not be empty".into());
    }
    for (index, element) in list.iter().enumerate() {
        if element.is_empty() {
            return Err("must not have empty elements".into());
        }
        if !of.is_empty() && !of.contains(&element.as_str()) {
            return Err(format!("{element} is not one of {}", of.join(", ")));
        }
        if list.iter().take(index).any(|other| other == element) {
            return Err(format!("{element} is there twice"));
        }
    }
    Ok(())
}

fn throttled_replicas(list: &[String]) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(list, [one] if one == "*")
        || list.iter().all(|pair| pair.split_once(':').is_some_and(|(a, b)| is_number(a) && is_number(b)))
}

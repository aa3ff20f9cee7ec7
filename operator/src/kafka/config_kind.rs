//! Kinds of configuration values, as `DescribeConfigs` tells them.

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    /// `true` or `false`.
    Boolean,
    /// 16 bits.
    Short,
    /// 32 bits.
    Int,
    /// 64 bits.
    Long,
    /// A number with a fraction.
    Double,
    /// Text of any form, as far as the kind tells.
    Other,
}

impl From<i8> for ConfigKind {
    fn from(code: i8) -> Self {
        match code {
            1 => Self::Boolean,
            3 => Self::Int,
            4 => Self::Short,
            5 => Self::Long,
            6 => Self::Double,
            _ => Self::Other,
        }
    }
}

impl ConfigKind {
    /// Whether `value` is of this kind, read as Kafka reads it: blanks around it do not count.
    pub fn accepts(self, value: &str) -> bool {
        let value = value.trim();
        match self {
            Self::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::Short => value.parse::<i16>().is_ok(),
            Self::Int => value.parse::<i32>().is_ok(),
            Self::Long => value.parse::<i64>().is_ok(),
            Self::Double => value.parse::<f64>().is_ok(),
            Self::Other => true,
        }
    }

    /// In words, after "is not".
    pub fn describe(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Short => "a whole number of 16 bits",
            Self::Int => "a whole number of 32 bits",
            Self::Long => "a whole number of 64 bits",
            Self::Double => "a number",
            Self::Other => "text",
        }
    }
}
